package executor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

// nasty is an error whose nil pointer panics, and which asks its run how it stands.
type nasty struct{ run *executor.Run }

func (n *nasty) Error() string { return string(n.run.Snapshot().Status()) }

func (n *nasty) Unwrap() error { return errors.New(n.Error()) }

func TestAnErrorThatMisbehavesHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *executor.Run
		started, rec := make(chan struct{}), &recorder{}
		ex := newExecutor(t, executor.Config{Observers: []executor.Observer{rec}, Handlers: handle(func(_ context.Context, req *actions.Request) (*actions.Result, error) {
			<-started
			if req.Step == "a" {
				var none *nasty
				return nil, none
			}
			return nil, &nasty{r}
		})})
		var err error
		r, err = ex.Start(t.Context(), plan(t, "a look", "b look", "c fix <- a"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		close(started)
		<-r.Done()
		report := r.Snapshot()
		require.Equal(t, "failed: a=failed/handlerError@0-0 b=failed/handlerError@0-0 c=blocked/dependencyNotSucceeded<a", outcome(report))
		require.NotEmpty(t, report.Why("a")[0].Message)
		require.ErrorContains(t, report.Err(), "step 1 (a) failed")
		require.Len(t, rec.lines(), 7)
	})
}

func TestAPanicOfARunWithinARunIsAnErrorOfItsHandler(t *testing.T) {
	inner := newExecutor(t, executor.Config{Handlers: handle(func(context.Context, *actions.Request) (*actions.Result, error) { panic("inner") })})
	p := plan(t, "a fix")
	got, report := run(t, executor.Config{Handlers: handle(func(ctx context.Context, _ *actions.Request) (*actions.Result, error) {
		report, err := inner.Run(ctx, p, executor.RunOptions{})
		if err != nil {
			return nil, err
		}
		return nil, report.Err()
	})}, "a fix")
	require.Equal(t, "failed: a=failed/handlerError@0-0", got)
	require.ErrorContains(t, report.Err(), "panic: inner")
}

func TestAnObserverThatEndsItsGoroutineLosesOnlyItsOwnEvent(t *testing.T) {
	rec := &recorder{}
	exit := executor.ObserverFunc(func(executor.Event) { runtime.Goexit() })
	got, _ := run(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{rec, exit, rec}}, "a look ~1s")
	require.Equal(t, "succeeded: a=succeeded@0-1", got)
	require.Len(t, rec.events, 8)
	require.Equal(t, executor.EventRunFinished, rec.events[7].Kind)

	b := executor.Buffered(exit, 8)
	for range 5 {
		b.Observe(executor.Event{})
	}
	b.Close()
	require.Zero(t, b.Dropped())
}

func TestAnObserverThatBlocksHoldsUpNoClockAndNoQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		slow := executor.ObserverFunc(func(e executor.Event) {
			if e.Seq == 1 {
				time.Sleep(time.Hour)
			}
		})
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{slow}, Approver: after(time.Second, approval.Approved)})
		report, err := ex.Run(ctx, plan(t, "a fix ~1s +gate", "b fix ~2h"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "interrupted: a=succeeded@1-2 b=unknown/interrupted@0-60", outcome(report))
	})
	synctest.Test(t, func(t *testing.T) {
		slow := executor.ObserverFunc(func(executor.Event) { time.Sleep(time.Hour) })
		deaf := func(context.Context, *actions.Request) (*actions.Result, error) {
			time.Sleep(24 * time.Hour)
			return nil, nil
		}
		ex := newExecutor(t, executor.Config{Handlers: handle(deaf), Observers: []executor.Observer{slow}, RunTimeout: time.Minute})
		report, err := ex.Run(t.Context(), plan(t, "a fix ~1s !2m"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "failed: a=unknown/abandoned@0-80", outcome(report))
		time.Sleep(24 * time.Hour) // until the handler is gone
	})
	synctest.Test(t, func(t *testing.T) {
		slow := executor.ObserverFunc(func(executor.Event) { time.Sleep(time.Hour) })
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{slow}, RunTimeout: time.Minute})
		report, err := ex.Run(t.Context(), plan(t, "a fix ~1s"), executor.RunOptions{})
		require.NoError(t, err, "its time is up long before it has been told, and nobody spins until then")
		require.Equal(t, "succeeded: a=succeeded@0-1", outcome(report))
	})
}

func TestAnApproverThatEndsItsGoroutineDenies(t *testing.T) {
	got, report, _ := gatedRun(t, approval.ApproverFunc(func(context.Context, *approval.Request) (*approval.Decision, error) {
		runtime.Goexit()
		return nil, nil
	}), false, "a fix +gate")
	require.Equal(t, "rejected: a=rejected/approvalError", got)
	require.ErrorContains(t, report.Err(), "the approver failed: goroutine ended (runtime.Goexit)")
	var p *executor.PanicError
	require.ErrorAs(t, report.Err(), &p)

	got, report, _ = gatedRun(t, approval.ApproverFunc(func(context.Context, *approval.Request) (*approval.Decision, error) {
		panic("where it broke")
	}), false, "a fix +gate")
	require.Equal(t, "rejected: a=rejected/approvalError", got)
	require.ErrorAs(t, report.Err(), &p)
	require.Contains(t, string(p.Stack), "hostile_test.go")
}

func TestAnApproverMayDecideThroughTheDoorBeforeItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ex *executor.Executor
		ex = newExecutor(t, executor.Config{Handlers: handle(expected), Approver: approval.ApproverFunc(
			func(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
				d := approval.Decision{Verdict: approval.Approved, By: "bob", Digest: req.Digest}
				if err := ex.Decide(ctx, req.Run, req.Step.ID(), d); err != nil {
					return nil, err
				}
				d.Verdict = approval.Rejected
				return &d, nil // too late: one decision counts
			})})
		report, err := ex.Run(t.Context(), plan(t, "a fix ~1s +gate"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "succeeded: a=succeeded@0-1", outcome(report))
		require.Equal(t, "bob", report.Step(0).Gate.By)
	})
}

func TestAnObserverMayCallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ex *executor.Executor
		var statuses []executor.RunStatus
		back := executor.ObserverFunc(func(e executor.Event) {
			r := ex.Lookup(e.Run)
			statuses = append(statuses, r.Snapshot().Status())
			switch {
			case e.Kind == executor.EventApprovalRequested:
				req := r.Snapshot().Waiting()[0]
				require.NoError(t, ex.Decide(t.Context(), e.Run, e.Step, approval.Decision{Verdict: approval.Approved, By: "bot", Digest: req.Digest}))
			case e.Kind == executor.EventStepFinished && e.Step == "a":
				require.NoError(t, ex.Cancel(t.Context(), e.Run, "enough"))
			}
		})
		ex = newExecutor(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{back}})
		report, err := ex.Run(t.Context(), plan(t, "a fix ~1s +gate", "b fix ~9s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "cancelled: a=succeeded@0-1 b=failed/runCancelled@0-1", outcome(report))
		require.Len(t, statuses, 8)
	})
}

func TestAHandlerMayRunOtherPlansAndCancelItsOwnRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ex *executor.Executor
		inner := plan(t, "deep look ~2s")
		ex = newExecutor(t, executor.Config{MaxParallel: 1, Handlers: handle(func(ctx context.Context, req *actions.Request) (*actions.Result, error) {
			switch req.Step {
			case "outer":
				report, err := ex.Run(ctx, inner, executor.RunOptions{ID: "inner"})
				require.NoError(t, err)
				return nil, report.Err()
			case "last":
				require.NoError(t, ex.Cancel(ctx, req.Run, "by myself"))
				return nil, ctx.Err()
			}
			return expected(ctx, req)
		})})
		report, err := ex.Run(t.Context(), plan(t, "outer look", "last look <- outer", "never look <- last"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "cancelled: outer=succeeded@0-2 last=failed/runCancelled@2-2 never=cancelled/runCancelled", outcome(report))
	})
}

type gate struct{ open chan struct{} }

func (g *gate) Execute(context.Context, *actions.Request) (*actions.Result, error) {
	<-g.open
	return nil, nil
}

func (g *gate) Observe(executor.Event) { <-g.open }

func (g *gate) Approve(context.Context, *approval.Request) (*approval.Decision, error) {
	<-g.open
	return nil, nil
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	var nothing *gate
	for want, c := range map[string]executor.Config{
		"the handler of look is nil":            {Handlers: actions.Handlers{"look": nothing}},
		"the handler of note is nil":            {Handlers: actions.Handlers{"note": actions.HandlerFunc(nil)}},
		"Config.Observers[1] is nil":            {Handlers: handle(expected), Observers: []executor.Observer{&recorder{}, nil}},
		"Config.Observers[0] is nil":            {Handlers: handle(expected), Observers: []executor.Observer{executor.ObserverFunc(nil)}},
		"Config.Approver is a nil":              {Handlers: handle(expected), Approver: nothing},
		"confidence":                            {Handlers: handle(expected), Policy: &approval.Policy{Table: []approval.Row{{Confidence: 7}}}},
		"Config.MaxParallel is -2":              {Handlers: handle(expected), MaxParallel: -2},
		"cannot be negative":                    {Handlers: handle(expected), RunTimeout: -1},
		"Config.Handlers is empty: nothing cou": {},
	} {
		_, err := executor.New(c)
		require.ErrorContains(t, err, want)
	}
}

func TestClocksThatNeverRunOutDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ages = time.Duration(1<<63 - 1)
		policy := open()
		policy.Timeout = ages
		c := executor.Config{Handlers: handle(expected), Grace: ages, RunTimeout: ages, Policy: policy, Approver: after(time.Hour, approval.Approved)}
		p := plan(t, "a fix ~1s +gate", "b fix ~1s <- a", fmt.Sprintf("c look ~1s !%v <- b", ages))
		ex := newExecutor(t, c)
		report, err := ex.Run(t.Context(), p, executor.RunOptions{})
		require.NoError(t, err)
		want := "succeeded: a=succeeded@3600-3601 b=succeeded@3601-3602 c=succeeded@3602-3603"
		require.Equal(t, want, outcome(report))
		sim, err := ex.Simulate(p, executor.SimulateOptions{ApprovalAfter: time.Hour})
		require.NoError(t, err)
		require.Equal(t, want, outcome(sim.Report))
	})
}
