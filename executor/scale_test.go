package executor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
)

// large is a plan of n steps that each depend on two earlier ones, as the words say.
func large(t *testing.T, n int, words string) *dag.Plan {
	r := rand.New(rand.NewPCG(1, 2))
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("s%d %s", i, words)
		if i > 1 {
			lines[i] += fmt.Sprintf(" <- s%d s%d", r.IntN(i), r.IntN(i))
		}
	}
	return plan(t, lines...)
}

func TestTwentyThousandSteps(t *testing.T) {
	p := large(t, 20_000, "look")
	for _, limit := range []int{-1, 1, 5} {
		var running, most atomic.Int64
		ex := newExecutor(t, executor.Config{MaxParallel: limit, Handlers: handle(func(_ context.Context, req *actions.Request) (*actions.Result, error) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			running.Add(-1)
			if req.Number%1000 == 0 {
				return nil, fmt.Errorf("step %d is broken", req.Number)
			}
			return nil, nil
		})})
		report, err := ex.Run(t.Context(), p, executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, executor.RunSucceededWithWarnings, report.Status())
		require.True(t, limit < 0 || most.Load() <= int64(limit))
		steps := 0
		for s := range report.Steps() {
			steps++
			want := executor.Succeeded
			if s.Number%1000 == 0 {
				want = executor.Failed
			}
			if s.Status == executor.Blocked {
				require.NotEmpty(t, s.Cause)
				continue
			}
			require.Equal(t, want, s.Status)
		}
		require.Equal(t, 20_000, steps)
		why := report.Why("s19999")
		if len(why) > 0 {
			require.Equal(t, executor.ReasonHandlerError, why[len(why)-1].Reason)
		}
		sim, err := ex.Simulate(p, executor.SimulateOptions{})
		require.NoError(t, err)
		require.Equal(t, executor.RunSucceeded, sim.Status())
	}
}

func TestFiveThousandGatesAndWritersOfOneObject(t *testing.T) {
	var lines []string
	for i := range 5_000 {
		lines = append(lines, fmt.Sprintf("s%d fix(a) +gate", i))
	}
	p := plan(t, lines...)
	for _, early := range []bool{false, true} {
		rec := &recorder{}
		ex := newExecutor(t, executor.Config{Handlers: handle(func(context.Context, *actions.Request) (*actions.Result, error) { return nil, nil }),
			Approver: approval.Auto(), EarlyApproval: early, Observers: []executor.Observer{rec}})
		report, err := ex.Run(t.Context(), p, executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, executor.RunSucceeded, report.Status())
		require.Len(t, rec.events, 2+4*5_000)
	}
}

func TestAThousandParkedRunsCostLittle(t *testing.T) {
	const runs = 1000
	ex := newExecutor(t, executor.Config{Handlers: handle(func(context.Context, *actions.Request) (*actions.Result, error) { return nil, nil })})
	p := plan(t, "a look", "b look", "c fix +gate <- a b", "d fix +gate <- a", "e check <- c d", "f note <- e")
	before, goroutines := heap(), runtime.NumGoroutine()
	var all []*executor.Run
	for i := range runs {
		r, err := ex.Start(t.Context(), p, executor.RunOptions{ID: fmt.Sprint("r", i)})
		require.NoError(t, err)
		all = append(all, r)
	}
	for _, r := range all {
		report, err := r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunParked, report.Status())
		require.Len(t, report.Waiting(), 2)
	}
	each := (heap() - before) / runs
	t.Logf("%d bytes a parked run", each)
	require.Less(t, each, uint64(32<<10))
	require.LessOrEqual(t, runtime.NumGoroutine()-goroutines, runs)

	var deciders sync.WaitGroup
	for _, r := range all {
		deciders.Go(func() {
			for _, req := range r.Snapshot().Waiting() {
				if err := ex.Decide(context.Background(), r.ID(), req.Step.ID(), approval.Decision{Verdict: approval.Approved, By: "bob", Digest: req.Digest}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	deciders.Wait()
	for _, r := range all {
		<-r.Done()
		require.Equal(t, executor.RunSucceeded, r.Snapshot().Status())
	}
}

// heap is what lives, stacks included.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func TestAHundredStartsOfOneIDAreOneRun(t *testing.T) {
	var calls atomic.Int32
	ex := newExecutor(t, executor.Config{Handlers: handle(func(context.Context, *actions.Request) (*actions.Result, error) {
		calls.Add(1)
		return nil, nil
	})})
	p := plan(t, "a look", "b fix <- a")
	runs := make([]*executor.Run, 100)
	var starters sync.WaitGroup
	for i := range runs {
		starters.Go(func() {
			if i%2 == 0 {
				if report, err := ex.Run(context.Background(), p, executor.RunOptions{ID: "x"}); err != nil || report.Status() != executor.RunSucceeded {
					t.Errorf("%v, %v", report, err)
				}
			}
			var err error
			if runs[i], err = ex.Start(context.Background(), p, executor.RunOptions{ID: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	starters.Wait()
	<-runs[0].Done()
	for _, r := range runs {
		require.Same(t, runs[0], r)
	}
	require.EqualValues(t, 2, calls.Load())
}
