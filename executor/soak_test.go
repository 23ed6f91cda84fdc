package executor_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

var soak = flag.Duration("soak", 5*time.Second, "how long a thousand runs at once go on")

// faulty are handlers that end in every way that a handler can end.
type faulty struct{}

func (faulty) BeginsItself() bool { return true }

func (faulty) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	switch rand.IntN(40) {
	case 0:
		panic("no")
	case 1:
		runtime.Goexit()
	case 2:
		return nil, errBroken
	case 3:
		return nil, actions.Transient(errBroken)
	case 4: // deaf to its context, but not for ever
		time.Sleep(30 * time.Millisecond)
	case 5:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if err := req.Begin(ctx, &actions.Undo{Summary: "put it back"}); err != nil {
		return nil, err
	}
	if often(30) {
		return nil, errBroken
	}
	return nil, nil
}

func (faulty) Compensate(context.Context, *actions.Request, *actions.Undo) error {
	switch rand.IntN(20) {
	case 0:
		panic("no")
	case 1:
		return errBroken
	}
	return nil
}

// soaked runs one of the plans, cancels it or takes its context away at times, and checks how it ended.
func soaked(t *testing.T, ex *executor.Executor, p *dag.Plan, id string) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	r, err := ex.Start(ctx, p, executor.RunOptions{ID: id})
	if err != nil {
		t.Error(err)
		return
	}
	switch rand.IntN(20) {
	case 0:
		interrupt()
	case 1:
		if err := ex.Cancel(ctx, id, "enough"); err != nil && !errors.Is(err, executor.ErrFinished) {
			t.Error(err)
		}
	}
	<-r.Done()
	report := r.Snapshot()
	if !report.Status().Final() {
		t.Errorf("%s ended %s", id, report.Status())
	}
	for s := range report.Steps() {
		if s.Status != executor.Succeeded && len(report.Why(s.ID)) == 0 || !s.Status.Final() {
			t.Errorf("%s: nobody knows why %s is %s", id, s.ID, s.Status)
		}
	}
}

// TestAThousandRunsAtOnceLeaveNothingBehind has waves of a thousand runs, half of them with a journal, until the time of
// -soak is over: then no goroutine is left and the memory is what it was.
func TestAThousandRunsAtOnceLeaveNothingBehind(t *testing.T) {
	plans := make([]*dag.Plan, 50)
	for i := range plans {
		lines, _ := drawLines(rand.New(rand.NewPCG(uint64(i), 11)))
		for k := range lines {
			lines[k] += " !2s"
		}
		plans[i] = plan(t, lines...)
	}
	goroutines := runtime.NumGoroutine()
	lasting := executor.Config{
		Handlers: handlers(faulty{}), Approver: approval.Auto(), Grace: 20 * time.Millisecond, RunTimeout: 3 * time.Second, Retries: 1,
	}
	bare := newExecutor(t, lasting)
	var told atomic.Int64
	var flat uint64
	waves, began := 0, time.Now()
	for ; waves < 4 || time.Since(began) < *soak; waves++ {
		c := lasting
		c.Journal = journal.NewMemory()
		c.OnFailure = executor.FailurePolicy(waves % 3)
		c.Observers = []executor.Observer{executor.ObserverFunc(func(executor.Event) { told.Add(1) })}
		kept := newExecutor(t, c)
		var runs sync.WaitGroup
		for i := range 500 {
			runs.Go(func() { soaked(t, bare, plans[i%len(plans)], fmt.Sprint(waves, "-", i)) })
			runs.Go(func() { soaked(t, kept, plans[i%len(plans)], fmt.Sprint(i)) })
		}
		runs.Wait()
		for late := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(late); {
			runtime.Gosched()
		}
		require.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "a goroutine was left after wave %d", waves)
		if waves == 2 { // the Executor remembers as many finished runs as it ever does
			flat = heap()
		}
	}
	after := heap()
	t.Logf("%d runs, %d events, heap %d KB after 3 waves and %d KB at the end", waves*1000, told.Load(), flat>>10, after>>10)
	require.Less(t, after, flat+flat/4+4<<20, "memory grows from wave to wave")
}
