package executor_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

// run runs a plan in virtual time and renders what came out.
func run(t *testing.T, c executor.Config, lines ...string) (string, *executor.Report) {
	t.Helper()
	var report *executor.Report
	synctest.Test(t, func(t *testing.T) {
		var err error
		report, err = newExecutor(t, c).Run(t.Context(), plan(t, lines...), executor.RunOptions{})
		require.NoError(t, err)
	})
	return outcome(report), report
}

func TestAStepStartsWhenItsOwnDependenciesAreDone(t *testing.T) {
	got, report := run(t, executor.Config{Handlers: handle(expected)},
		"a look ~10s", "b look ~20s", "c look ~5s <- a", "d look ~1s <- b c")
	require.Equal(t, "succeeded: a=succeeded@0-10 b=succeeded@0-20 c=succeeded@10-15 d=succeeded@20-21", got)
	require.Equal(t, 21*time.Second, report.Makespan())
	require.NoError(t, report.Err())
}

func TestTheLongestRemainingPathGoesFirstUnderALimit(t *testing.T) {
	got, _ := run(t, executor.Config{Handlers: handle(expected), MaxParallel: 1},
		"short look ~1s", "long look ~1s", "tail look ~30s <- long")
	require.Equal(t, "succeeded: short=succeeded@31-32 long=succeeded@0-1 tail=succeeded@1-31", got)
}

func TestAFailureStopsMutatingStepsAndLetsReadersAndRunningOnesFinish(t *testing.T) {
	got, report := run(t, executor.Config{Handlers: handle(failing("bad"))},
		"bad fix ~10s", "after fix <- bad", "slow fix ~30s", "later fix <- slow",
		"read look ~1s <- slow", "tell note ~1s <- bad", "cleanup note ~2s <- bad later +always")
	require.Equal(t, "failed: bad=failed/handlerError@0-10 after=blocked/dependencyNotSucceeded<bad slow=succeeded@0-30 "+
		"later=cancelled/runFailed<bad read=succeeded@30-31 tell=blocked/dependencyNotSucceeded<bad cleanup=succeeded@30-32", got)
	require.ErrorContains(t, report.Err(), "step 1 (bad) failed: bad is broken")
	require.Equal(t, []executor.Cause{
		{Step: "later", Status: executor.Cancelled, Reason: executor.ReasonRunFailed, Message: "bad did not succeed"},
		{Step: "bad", Status: executor.Failed, Reason: executor.ReasonHandlerError, Message: "bad is broken"},
	}, report.Why("later"))
	require.Nil(t, report.Why("slow"))
	require.Nil(t, report.Why("nobody"))
}

func TestAStepMarkedAlwaysWaitsForAllThatItFollows(t *testing.T) {
	got, _ := run(t, executor.Config{Handlers: handle(failing("bad"))},
		"bad fix ~1s", "drain fix ~10s", "move fix <- bad drain", "uncordon note ~1s <- move +always")
	require.Equal(t, "failed: bad=failed/handlerError@0-1 drain=succeeded@0-10 move=blocked/dependencyNotSucceeded<bad uncordon=succeeded@10-11", got)
}

func TestAFailedNoticeLeavesWarnings(t *testing.T) {
	got, report := run(t, executor.Config{Handlers: handle(failing("tell"))}, "mend fix ~1s", "tell note ~1s <- mend")
	require.Equal(t, "succeededWithWarnings: mend=succeeded@0-1 tell=failed/handlerError@1-2", got)
	require.NoError(t, report.Err())
}

func TestAFailedDiagnosisFailsTheRunWhenSomethingMutatingHangsOnIt(t *testing.T) {
	got, report := run(t, executor.Config{Handlers: handle(failing("diagnose"))},
		"diagnose look ~1s", "think look <- diagnose", "mend fix <- think", "other fix ~5s", "then fix <- other")
	require.Equal(t, "failed: diagnose=failed/handlerError@0-1 think=blocked/dependencyNotSucceeded<diagnose "+
		"mend=blocked/dependencyNotSucceeded<think other=succeeded@0-5 then=cancelled/runFailed<diagnose", got)
	require.Len(t, report.Why("mend"), 3)
	require.Equal(t, "diagnose", report.Why("mend")[2].Step)
}

func TestAFailedVerificationFailsTheRun(t *testing.T) {
	got, _ := run(t, executor.Config{Handlers: handle(failing("verify"))}, "mend fix ~1s", "verify check ~1s <- mend")
	require.Equal(t, "failed: mend=succeeded@0-1 verify=failed/handlerError@1-2", got)
}

func TestContinueOnFailureLetsDependentsGoOn(t *testing.T) {
	got, _ := run(t, executor.Config{Handlers: handle(failing("diagnose"))}, "diagnose look ~1s +continue", "mend fix ~1s <- diagnose")
	require.Equal(t, "succeededWithWarnings: diagnose=failed/handlerError@0-1 mend=succeeded@1-2", got)
}

func TestAStepThatTakesLongerThanItsTimeoutFails(t *testing.T) {
	got, _ := run(t, executor.Config{Handlers: handle(expected)}, "slow fix ~31s !30s")
	require.Equal(t, "failed: slow=failed/timeout@0-30", got)
}

func TestAHandlerThatIgnoresItsContextIsAbandonedAfterTheGrace(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	deaf := func(context.Context, *actions.Request) (*actions.Result, error) {
		<-release
		return nil, nil
	}
	ex := newExecutor(t, executor.Config{Handlers: handle(deaf), Grace: 10 * time.Millisecond})
	report, err := ex.Run(t.Context(), plan(t, "deaf fix !10ms", "next fix <- deaf"), executor.RunOptions{})
	require.NoError(t, err)
	require.Equal(t, executor.RunFailed, report.Status())
	require.Equal(t, executor.Unknown, report.Step(0).Status)
	require.Equal(t, executor.ReasonAbandoned, report.Step(0).Reason)
	require.ErrorContains(t, report.Step(0).Err, "abandoned")
	require.Equal(t, executor.Blocked, report.Step(1).Status)
}

func TestAPanicFailsItsStepAndKeepsTheStack(t *testing.T) {
	boom := func(context.Context, *actions.Request) (*actions.Result, error) { panic("boom") }
	got, report := run(t, executor.Config{Handlers: handle(boom)}, "a fix")
	require.Equal(t, "failed: a=failed/panic@0-0", got)
	var p *executor.PanicError
	require.ErrorAs(t, report.Err(), &p)
	require.Equal(t, "boom", p.Value)
	require.Contains(t, string(p.Stack), "run_test.go")
}

func TestAHandlerThatEndsItsGoroutineFailsItsStep(t *testing.T) {
	exit := func(ctx context.Context, req *actions.Request) (*actions.Result, error) {
		if req.Step == "b" {
			runtime.Goexit()
		}
		return expected(ctx, req)
	}
	got, report := run(t, executor.Config{Handlers: handle(exit), MaxParallel: 1}, "a look ~1s", "b look ~1s <- a", "c look ~3s", "d look ~1s")
	require.Equal(t, "succeededWithWarnings: a=succeeded@3-4 b=failed/panic@4-4 c=succeeded@0-3 d=succeeded@4-5", got)
	require.ErrorContains(t, report.Step(1).Err, "Goexit")
}

func TestWritersOfOneObjectNeverRunTogether(t *testing.T) {
	got, _ := run(t, executor.Config{Handlers: handle(expected), MaxParallel: -1},
		"a fix(web) ~10s", "b fix(web) ~5s", "c fix(db) ~1s", "d fix(web) ~100s")
	require.Equal(t, "succeeded: a=succeeded@0-10 b=succeeded@10-15 c=succeeded@0-1 d=succeeded@15-115", got)
}

func TestAWriterThatWaitsForAPersonHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Approver: after(time.Minute, approval.Approved)})
		report, err := ex.Run(t.Context(), plan(t, "a fix(web) ~10s +gate", "b fix(web) ~5s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "succeeded: a=succeeded@60-70 b=succeeded@0-5", outcome(report))
	})
}

func TestTheRunClockStandsWhileOnlyPeopleAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Approver: after(10*time.Minute, approval.Approved), RunTimeout: 25 * time.Second})
		report, err := ex.Run(t.Context(), plan(t, "a look ~10s", "b fix ~10s +gate <- a", "c look ~10s <- b", "d note ~1s <- c +always"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "failed: a=succeeded@0-10 b=succeeded@610-620 c=failed/runTimeout@620-625 d=succeeded@625-626", outcome(report))
		require.ErrorContains(t, report.Err(), "time is up")
	})
}

func TestAnInterruptedRunEndsWithinTheGraceAndUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 15*time.Second)
		defer stop()
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		report, err := ex.Run(ctx, plan(t, "a fix ~10s", "b fix ~30s", "c fix <- a b", "d note <- c +always"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "interrupted: a=succeeded@0-10 b=unknown/interrupted@0-15 c=cancelled/interrupted d=cancelled/interrupted", outcome(report))
		why := report.Why("c")
		require.Equal(t, executor.ReasonInterrupted, why[len(why)-1].Reason)
		require.Error(t, report.Err())
	})
}

func TestCancelStopsWhatRunsAndStillRunsStepsMarkedAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		r, err := ex.Start(t.Context(), plan(t, "a fix ~1h", "b fix <- a", "c note ~2s <- b +always"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.NoError(t, ex.Cancel(t.Context(), "x", "wrong cluster"))
		report, err := r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, "cancelled: a=failed/runCancelled@0-5 b=cancelled/runCancelled c=succeeded@5-7", outcome(report))
		require.ErrorContains(t, report.Err(), "wrong cluster")
		why := report.Why("b")
		require.Equal(t, "wrong cluster", why[len(why)-1].Message)
		require.ErrorIs(t, ex.Cancel(t.Context(), "x", "again"), executor.ErrFinished)
		require.ErrorIs(t, ex.Cancel(t.Context(), "y", "nothing"), executor.ErrUnknownRun)
	})
}

func TestAHandlerThatHasNotBegunIsCancelledNotFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		ex := newExecutor(t, executor.Config{Handlers: actions.Handlers{"fix": beginner{}}})
		report, err := ex.Run(ctx, plan(t, "a fix ~10s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "interrupted: a=cancelled/interrupted@0-1", outcome(report))
	})
}

// beginner waits before it begins, so that it can be stopped without effect.
type beginner struct{}

func (beginner) BeginsItself() bool { return true }

func (beginner) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if _, err := expected(ctx, req); err != nil {
		return nil, err
	}
	if err := req.Begin(ctx, nil); err != nil {
		return nil, err
	}
	return nil, req.Begin(ctx, nil)
}

func TestBeginningTwiceIsAnError(t *testing.T) {
	_, report := run(t, executor.Config{Handlers: actions.Handlers{"fix": beginner{}}}, "a fix ~1s")
	require.ErrorContains(t, report.Step(0).Err, "twice")
}

func TestStartingAnIDAgainReturnsTheSameRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		p := plan(t, "a fix ~1s")
		first, err := ex.Start(t.Context(), p, executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		again, err := ex.Start(t.Context(), p, executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		require.Same(t, first, again)
		<-first.Done()
		again, err = ex.Start(t.Context(), p, executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		require.Same(t, first, again)
		_, err = ex.Start(t.Context(), plan(t, "b fix"), executor.RunOptions{ID: "x"})
		require.ErrorContains(t, err, "another plan")
		require.Same(t, first, ex.Lookup("x"))
	})
}

func TestWhatCannotBeRunIsRefusedBeforeItStarts(t *testing.T) {
	p := plan(t, "a fix", "b look")
	ex := newExecutor(t, executor.Config{Handlers: actions.Handlers{"look": actions.HandlerFunc(expected)}})
	_, err := ex.Run(t.Context(), p, executor.RunOptions{})
	require.ErrorContains(t, err, "no handler for fix")
	_, err = ex.Run(t.Context(), plan(t, "b look"), executor.RunOptions{ID: "no spaces"})
	require.ErrorContains(t, err, "run id")
	_, err = ex.Run(t.Context(), nil, executor.RunOptions{})
	require.ErrorContains(t, err, "no steps")
	ex = newExecutor(t, executor.Config{Handlers: handle(expected), Policy: approval.IncidentTable()})
	_, err = ex.Run(t.Context(), p, executor.RunOptions{Confidence: approval.Confidence{Value: 0.3, Given: true}})
	require.ErrorIs(t, err, approval.ErrLowConfidence)
	for _, c := range []executor.Config{
		{}, {Handlers: actions.Handlers{"x": nil}}, {Handlers: handle(expected), MaxParallel: -2}, {Handlers: handle(expected), Grace: -1},
	} {
		_, err := executor.New(c)
		require.Error(t, err)
	}
}

func TestARunThatHasEndedAnswersAtOnce(t *testing.T) {
	got, report := run(t, executor.Config{Handlers: handle(expected)}, "a look ~1s")
	require.Equal(t, "succeeded: a=succeeded@0-1", got)
	require.True(t, report.Status().Final())
	require.Empty(t, report.Waiting())
}

func TestWaitEndsWithItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		r, err := ex.Start(t.Context(), plan(t, "a look ~1m"), executor.RunOptions{})
		require.NoError(t, err)
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err = r.Wait(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		snap := r.Snapshot()
		require.Equal(t, executor.RunRunning, snap.Status())
		require.Equal(t, executor.Running, snap.Step(0).Status)
		<-r.Done()
	})
}

func TestTheErrorOfAHandlerCanBeFound(t *testing.T) {
	sentinel := errors.New("quota")
	_, report := run(t, executor.Config{Handlers: handle(func(context.Context, *actions.Request) (*actions.Result, error) {
		return nil, actions.Permanent(sentinel)
	})}, "a fix")
	require.ErrorIs(t, report.Err(), sentinel)
}
