package executor_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

// stopped runs a plan in virtual time and cancels it after a while.
func stopped(t *testing.T, after time.Duration, c executor.Config, lines ...string) *executor.Report {
	t.Helper()
	var report *executor.Report
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, c)
		r, err := ex.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		time.Sleep(after)
		require.NoError(t, ex.Cancel(t.Context(), "x", "wrong cluster"))
		<-r.Done()
		report = r.Snapshot()
	})
	return report
}

func root(r *executor.Report, step string) executor.Cause {
	why := r.Why(step)
	return why[len(why)-1]
}

func TestWhatACancelStoppedNamesTheCancelAndNoEarlierFailure(t *testing.T) {
	report := stopped(t, 5*time.Second, executor.Config{Handlers: handle(failing("bad"))},
		"bad fix ~1s", "slow look ~10s", "read look <- slow", "then fix <- slow")
	require.Equal(t, "cancelled: bad=failed/handlerError@0-1 slow=failed/runCancelled@0-5 read=cancelled/runCancelled then=cancelled/runFailed<bad", outcome(report))
	require.Equal(t, executor.Cause{Reason: executor.ReasonRunCancelled, Message: "wrong cluster"}, root(report, "read"))
	require.Equal(t, executor.Cause{Reason: executor.ReasonRunCancelled, Message: "wrong cluster"}, root(report, "slow"))
	require.Equal(t, "bad", root(report, "then").Step)
	require.EqualError(t, report.Err(), "run x cancelled: wrong cluster: step 1 (bad) failed: bad is broken")
}

func TestAnInterruptIsExplainedByTheCallersCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancelCause(t.Context())
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		r, err := ex.Start(ctx, plan(t, "a fix ~10s", "b fix <- a", "c note ~10s <- b +always", "d note <- c +always"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.NoError(t, ex.Cancel(t.Context(), "x", "wrong cluster"))
		time.Sleep(5 * time.Second)
		interrupt(errors.New("the machine goes down"))
		<-r.Done()
		report := r.Snapshot()
		require.Equal(t, "interrupted: a=failed/runCancelled@0-5 b=cancelled/runCancelled c=unknown/interrupted@5-10 d=cancelled/interrupted", outcome(report))
		require.Equal(t, "wrong cluster", root(report, "b").Message)
		require.Equal(t, "the machine goes down", root(report, "c").Message)
		require.Equal(t, "the machine goes down", root(report, "d").Message)
		require.EqualError(t, report.Err(), "run x interrupted: the machine goes down")
	})
}

// heedless takes its time whatever its context says.
func heedless(failing ...string) actions.HandlerFunc {
	return func(_ context.Context, req *actions.Request) (*actions.Result, error) {
		time.Sleep(req.Expected)
		for _, s := range failing {
			if s == req.Step {
				return nil, errors.New("broken")
			}
		}
		return nil, nil
	}
}

func TestAStopThatComesTooLateToStopAnythingChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		want  string
		lines []string
	}{
		{"succeeded: a=succeeded@0-10", []string{"a fix ~10s"}},
		{"succeededWithWarnings: a=succeeded@0-10 bad=failed/handlerError@0-1", []string{"a fix ~10s", "bad look ~1s"}},
		{"failed: a=succeeded@0-10 bad=failed/handlerError@0-1", []string{"a look ~10s", "bad fix ~1s"}},
	} {
		rec := &recorder{}
		report := stopped(t, 5*time.Second, executor.Config{Handlers: handle(heedless("bad")), Observers: []executor.Observer{rec}}, tt.lines...)
		require.Equal(t, tt.want, outcome(report))
		if err := report.Err(); err != nil {
			require.NotContains(t, err.Error(), "wrong cluster")
		}
		require.Empty(t, rec.events[len(rec.events)-1].Message)
	}
	report := stopped(t, 5*time.Second, executor.Config{Handlers: handle(heedless("a"))}, "a fix ~10s")
	require.Equal(t, "cancelled: a=failed/runCancelled@0-10", outcome(report))
}

func TestARunningStepMarkedAlwaysIsNotStoppedByCancel(t *testing.T) {
	lines := []string{"a note ~10s +always", "b fix ~1h", "c note ~1s <- a +always"}
	report := stopped(t, 5*time.Second, executor.Config{Handlers: handle(expected)}, lines...)
	require.Equal(t, "cancelled: a=succeeded@0-10 b=failed/runCancelled@0-5 c=succeeded@10-11", outcome(report))

	c := executor.Config{Handlers: handle(expected), RunTimeout: 5 * time.Second}
	want := "failed: a=succeeded@0-10 b=failed/runTimeout@0-5 c=succeeded@10-11"
	got, report := run(t, c, lines...)
	require.Equal(t, want, got)
	require.Equal(t, "the run's time is up", root(report, "b").Message)
	sim, err := newExecutor(t, c).Simulate(plan(t, lines...), executor.SimulateOptions{})
	require.NoError(t, err)
	require.Equal(t, want, outcome(sim.Report))
	require.Equal(t, "the run's time is up", root(sim.Report, "b").Message)
	require.EqualError(t, sim.Err(), "run simulation failed: the run's time is up")
}

func TestAnInterruptStopsStepsMarkedAlwaysToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		report, err := newExecutor(t, executor.Config{Handlers: handle(expected)}).Run(ctx, plan(t, "a note ~10s +always"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "interrupted: a=unknown/interrupted@0-5", outcome(report))
	})
}

func TestAContextThatHasEndedStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		var calls atomic.Int32
		rec := &recorder{}
		ex := newExecutor(t, executor.Config{Observers: []executor.Observer{rec}, Handlers: handle(func(context.Context, *actions.Request) (*actions.Result, error) {
			calls.Add(1)
			return nil, nil
		})})
		for range 100 {
			report, err := ex.Run(ctx, plan(t, "a look", "b fix +gate", "c note +always"), executor.RunOptions{})
			require.NoError(t, err)
			require.Equal(t, "interrupted: a=cancelled/interrupted b=cancelled/interrupted c=cancelled/interrupted", outcome(report))
		}
		require.Zero(t, calls.Load())
		require.Equal(t, []string{
			"runStarted running", "stepFinished a cancelled interrupted", "stepFinished b cancelled interrupted",
			"stepFinished c cancelled interrupted", "runFinished interrupted",
		}, rec.lines()[:5])
	})
}

func TestNothingStartsOnceAHandlerHasEndedTheCallersContext(t *testing.T) {
	for range 200 {
		ctx, stop := context.WithCancel(t.Context())
		ex := newExecutor(t, executor.Config{Handlers: handle(func(_ context.Context, req *actions.Request) (*actions.Result, error) {
			stop()
			return nil, nil
		})})
		report, err := ex.Run(ctx, plan(t, "a look", "b look <- a", "c look <- b"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, executor.RunInterrupted, report.Status())
		require.Zero(t, report.Step(1).Attempts)
	}
}

func TestAStepWhoseTimeWasUpBeforeTheRunWasCancelledSaysSo(t *testing.T) {
	slow := func(ctx context.Context, _ *actions.Request) (*actions.Result, error) {
		<-ctx.Done()
		time.Sleep(10 * time.Second) // winds down
		return nil, ctx.Err()
	}
	report := stopped(t, 35*time.Second, executor.Config{Handlers: handle(slow)}, "a fix !30s", "b fix <- a")
	require.Equal(t, "cancelled: a=failed/timeout@0-40 b=cancelled/runCancelled", outcome(report))
}

func TestTheRunOfAnotherCallerIsWaitedForWithOnesOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		p := plan(t, "a look ~1h")
		r, err := ex.Start(t.Context(), p, executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		began := time.Now()
		_, err = ex.Run(ctx, p, executor.RunOptions{ID: "x"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		<-r.Done()
		require.Equal(t, executor.RunSucceeded, r.Snapshot().Status(), "the other's context is not the run's")
		report, err := r.Wait(ctx)
		require.NoError(t, err, "what has ended needs no waiting")
		require.Equal(t, executor.RunSucceeded, report.Status())
	})
}

func TestAnEarlyRejectionEndsARunWhosePlanStillWaits(t *testing.T) {
	policy := open()
	policy.MaxSteps = 1
	approver := approval.ApproverFunc(func(_ context.Context, req *approval.Request) (*approval.Decision, error) {
		if req.Step == nil {
			return &approval.Decision{Verdict: approval.Pending}, nil
		}
		return &approval.Decision{Verdict: approval.Rejected, By: "alice"}, nil
	})
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: policy, Approver: approver, EarlyApproval: true})
		report, err := ex.Run(t.Context(), plan(t, "a look ~1s", "b fix ~1s +gate <- a", "c note +always"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "rejected: a=cancelled/runFailed<b b=rejected/rejected c=cancelled/runFailed<b", outcome(report))
		require.Zero(t, report.Makespan())
		require.Equal(t, "b", root(report, "c").Step)
	})
}

func TestWhatIsAskedEarlyIsWithdrawnWhenTheRunFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(failing("bad")), EarlyApproval: true})
		r, err := ex.Start(t.Context(), plan(t, "bad fix ~1s", "slow look ~1m", "read look +gate <- slow", "tidy note ~1s +gate +always <- slow"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		synctest.Wait()
		asked := r.Snapshot().Waiting()
		require.Len(t, asked, 2)
		time.Sleep(2 * time.Second)
		require.Len(t, r.Snapshot().Waiting(), 1, "only what still can run")
		yes := func(i int) error {
			return ex.Decide(t.Context(), "x", asked[i].Step.ID(), approval.Decision{Verdict: approval.Approved, By: "bob", Digest: asked[i].Digest})
		}
		require.ErrorIs(t, yes(0), approval.ErrNotAsked)
		require.NoError(t, yes(1))
		<-r.Done()
		require.Equal(t, "failed: bad=failed/handlerError@0-1 slow=succeeded@0-60 read=cancelled/runFailed<bad tidy=succeeded@60-61", outcome(r.Snapshot()))
		require.ErrorIs(t, yes(0), approval.ErrNotAsked)
		require.ErrorIs(t, yes(1), approval.ErrDecided)
	})
}
