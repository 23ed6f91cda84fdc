package executor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

// after answers every request after a while, in the name of alice.
func after(d time.Duration, v approval.Verdict) approval.Approver {
	return approval.ApproverFunc(func(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
		select {
		case <-time.After(d):
			return &approval.Decision{Verdict: v, By: "alice", Reason: "seen", Digest: req.Digest}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

func gatedRun(t *testing.T, a approval.Approver, early bool, lines ...string) (string, *executor.Report, []string) {
	t.Helper()
	var report *executor.Report
	rec := &recorder{}
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Approver: a, EarlyApproval: early, Observers: []executor.Observer{rec}})
		var err error
		report, err = ex.Run(t.Context(), plan(t, lines...), executor.RunOptions{Author: "model"})
		require.NoError(t, err)
	})
	return outcome(report), report, rec.lines()
}

func TestAGateWaitsForItsDecisionAndOtherBranchesGoOn(t *testing.T) {
	got, report, events := gatedRun(t, after(time.Minute, approval.Approved), false, "a look ~10s", "b fix ~5s +gate <- a", "c look ~1s <- a")
	require.Equal(t, "succeeded: a=succeeded@0-10 b=succeeded@70-75 c=succeeded@10-11", got)
	require.Equal(t, time.Minute, report.Step(1).Gate.Wait())
	require.Equal(t, "alice", report.Step(1).Gate.By)
	require.Equal(t, []string{
		"runStarted running", "stepStarted a running", "stepFinished a succeeded completed", "stepStarted c running",
		"approvalRequested b waitingApproval", "stepFinished c succeeded completed", "approvalDecided b approved alice",
		"stepStarted b running", "stepFinished b succeeded completed", "runFinished succeeded",
	}, events)
}

func TestAnEarlyGateIsAskedWhenTheRunStarts(t *testing.T) {
	got, report, _ := gatedRun(t, after(7*time.Second, approval.Approved), true, "a look ~10s", "b fix ~5s +gate <- a")
	require.Equal(t, "succeeded: a=succeeded@0-10 b=succeeded@10-15", got)
	require.Zero(t, report.Step(1).Gate.Wait())
}

func TestARejectionStopsTheRun(t *testing.T) {
	got, report, _ := gatedRun(t, after(time.Minute, approval.Rejected), false, "a fix ~1s +gate", "b fix <- a", "c fix ~90s", "d fix <- c", "e look ~1s <- c")
	require.Equal(t, "rejected: a=rejected/rejected b=blocked/dependencyNotSucceeded<a c=succeeded@0-90 d=cancelled/runFailed<a e=succeeded@90-91", got)
	require.ErrorContains(t, report.Err(), "rejected by alice: seen")
	why := report.Why("b")
	require.Equal(t, "rejected by alice: seen", why[len(why)-1].Message)
}

func TestSilenceIsNo(t *testing.T) {
	got, report, _ := gatedRun(t, after(time.Hour, approval.Approved), false, "a fix +gate")
	require.Equal(t, "rejected: a=rejected/approvalTimeout", got)
	require.Equal(t, 15*time.Minute, report.Makespan())
}

func TestWhatIsNoAnswerDenies(t *testing.T) {
	for name, a := range map[string]approval.ApproverFunc{
		"error": func(context.Context, *approval.Request) (*approval.Decision, error) {
			return &approval.Decision{Verdict: approval.Approved, By: "alice"}, errors.New("slack is down")
		},
		"nil": func(context.Context, *approval.Request) (*approval.Decision, error) { return nil, nil },
		"zero": func(context.Context, *approval.Request) (*approval.Decision, error) {
			return &approval.Decision{By: "alice"}, nil
		},
		"panic": func(context.Context, *approval.Request) (*approval.Decision, error) { panic("no") },
		"nobody": func(context.Context, *approval.Request) (*approval.Decision, error) {
			return &approval.Decision{Verdict: approval.Approved}, nil
		},
		"author": func(context.Context, *approval.Request) (*approval.Decision, error) {
			return &approval.Decision{Verdict: approval.Approved, By: "model"}, nil
		},
		"digest": func(context.Context, *approval.Request) (*approval.Decision, error) {
			return &approval.Decision{Verdict: approval.Approved, By: "alice", Digest: "sha256:other"}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, report, _ := gatedRun(t, a, false, "a fix +gate")
			require.Equal(t, "rejected: a=rejected/approvalError", got)
			require.NotEmpty(t, report.Why("a")[0].Message)
		})
	}
}

func TestAPlanGateHoldsEverything(t *testing.T) {
	policy := open()
	policy.MaxSteps = 1
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: policy, Approver: after(time.Minute, approval.Approved)})
		report, err := ex.Run(t.Context(), plan(t, "a look ~1s", "b fix ~1s +gate <- a"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "succeeded: a=succeeded@60-61 b=succeeded@121-122", outcome(report))
		require.Equal(t, time.Minute, report.PlanGate().Wait())
	})
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: policy, Approver: approval.Deny()})
		report, err := ex.Run(t.Context(), plan(t, "a look ~1s", "b fix <- a", "c note +always"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "rejected: a=cancelled/planRejected b=cancelled/planRejected c=cancelled/planRejected", outcome(report))
		require.ErrorContains(t, report.Err(), "the plan was not approved: rejected by deny")
		why := report.Why("a")
		require.Contains(t, why[len(why)-1].Message, "rejected by deny")
	})
}

func TestAPendingDecisionParksTheRunAndDecideWakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{}
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{rec}})
		r, err := ex.Start(t.Context(), plan(t, "a fix ~1s +gate", "b look ~10s", "c fix ~1s +gate <- b"), executor.RunOptions{ID: "x", Author: "model"})
		require.NoError(t, err)
		report, err := r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunParked, report.Status())
		require.Equal(t, 10*time.Second, report.Makespan())
		require.Len(t, report.Waiting(), 2)
		require.Contains(t, rec.lines(), "runParked parked")

		req := report.Waiting()[0]
		require.Equal(t, "a", req.Step.ID())
		decide := func(step string, d approval.Decision) error { return ex.Decide(t.Context(), "x", step, d) }
		yes := approval.Decision{Verdict: approval.Approved, By: "bob", Digest: req.Digest}
		require.ErrorIs(t, decide("b", yes), approval.ErrNotAsked)
		require.ErrorIs(t, decide("nobody", yes), approval.ErrNotAsked)
		require.ErrorIs(t, decide("c", yes), approval.ErrDigest)
		require.ErrorIs(t, decide("a", approval.Decision{Verdict: approval.Approved, By: "bob"}), approval.ErrDigest)
		require.ErrorIs(t, decide("a", approval.Decision{Verdict: approval.Approved, By: "model", Digest: req.Digest}), approval.ErrNotApprover)
		require.ErrorIs(t, decide("a", approval.Decision{Verdict: approval.Approved, Digest: req.Digest}), approval.ErrNotApprover)
		require.Error(t, decide("a", approval.Decision{Verdict: approval.Pending, By: "bob", Digest: req.Digest}))
		require.ErrorIs(t, ex.Decide(t.Context(), "y", "a", yes), executor.ErrUnknownRun)
		require.NoError(t, decide("a", yes))
		require.ErrorIs(t, decide("a", yes), approval.ErrDecided)

		report, err = r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunParked, report.Status(), "c still waits")
		require.NoError(t, decide("c", approval.Decision{Verdict: approval.Approved, By: "carol", Digest: report.Waiting()[0].Digest}))
		<-r.Done()
		report, err = r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, "succeeded: a=succeeded@10-11 b=succeeded@0-10 c=succeeded@11-12", outcome(report))
	})
}

func TestADecisionAfterTheTimeoutIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		r, err := ex.Start(t.Context(), plan(t, "a fix +gate"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		report, err := r.Wait(t.Context())
		require.NoError(t, err)
		req := report.Waiting()[0]
		<-r.Done()
		err = ex.Decide(t.Context(), "x", "a", approval.Decision{Verdict: approval.Approved, By: "bob", Digest: req.Digest})
		require.ErrorIs(t, err, approval.ErrExpired)
		require.Equal(t, executor.RunRejected, r.Snapshot().Status())
	})
}

func TestAPendingAnswerOfAnApproverIsDecidedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan *approval.Request, 1)
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Approver: approval.ApproverFunc(
			func(_ context.Context, req *approval.Request) (*approval.Decision, error) {
				asked <- req
				return &approval.Decision{Verdict: approval.Pending}, nil
			})})
		r, err := ex.Start(t.Context(), plan(t, "a fix ~1s +gate"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		req := <-asked
		time.Sleep(14 * time.Minute)
		require.NoError(t, ex.Decide(t.Context(), "x", "a", approval.Decision{Verdict: approval.Rejected, By: "bob", Digest: req.Digest}))
		<-r.Done()
		require.Equal(t, "rejected: a=rejected/rejected", outcome(r.Snapshot()))
		require.Equal(t, 14*time.Minute, r.Snapshot().Makespan())
	})
}

func TestARequestThatNobodyNeedsIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withdrawn := make(chan time.Time, 1)
		ex := newExecutor(t, executor.Config{Handlers: handle(failing("bad")), Approver: approval.ApproverFunc(
			func(ctx context.Context, _ *approval.Request) (*approval.Decision, error) {
				<-ctx.Done()
				withdrawn <- time.Now()
				return nil, ctx.Err()
			})})
		start := time.Now()
		report, err := ex.Run(t.Context(), plan(t, "a fix +gate", "bad fix ~10s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "failed: a=cancelled/runFailed<bad bad=failed/handlerError@0-10", outcome(report))
		require.Equal(t, 10*time.Second, (<-withdrawn).Sub(start))
	})
}

func TestARequestIsWithdrawnAtOnceAlsoWhenTheRunGoesOn(t *testing.T) {
	for _, early := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var withdrawn time.Time
			ex := newExecutor(t, executor.Config{Handlers: handle(failing("bad")), EarlyApproval: early, Approver: approval.ApproverFunc(
				func(ctx context.Context, _ *approval.Request) (*approval.Decision, error) {
					<-ctx.Done()
					withdrawn = time.Now()
					return nil, ctx.Err()
				})})
			start := time.Now()
			report, err := ex.Run(t.Context(), plan(t, "a fix +gate", "bad fix ~10s", "slow look ~5m"), executor.RunOptions{})
			require.NoError(t, err)
			require.Equal(t, "failed: a=cancelled/runFailed<bad bad=failed/handlerError@0-10 slow=succeeded@0-300", outcome(report))
			require.Equal(t, 10*time.Second, withdrawn.Sub(start))
		})
	}
}

func TestAnInterruptedGateIsNotADenial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Approver: after(time.Hour, approval.Approved)})
		report, err := ex.Run(ctx, plan(t, "a fix +gate"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "interrupted: a=cancelled/interrupted", outcome(report))
	})
}

func TestADeafApproverDoesNotKeepTheRun(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	ex := newExecutor(t, executor.Config{Handlers: handle(failing("bad")), Grace: 10 * time.Millisecond, Approver: approval.ApproverFunc(
		func(context.Context, *approval.Request) (*approval.Decision, error) {
			<-release
			return nil, nil
		})})
	report, err := ex.Run(t.Context(), plan(t, "a fix +gate", "bad fix ~1ms"), executor.RunOptions{})
	require.NoError(t, err)
	require.Equal(t, executor.RunFailed, report.Status())
}

func TestAPlanThatIsNotApprovedSaysWhy(t *testing.T) {
	policy := open()
	policy.MaxSteps = 1
	for _, tt := range []struct {
		approver approval.Approver
		root     executor.Cause
		err      string
	}{
		{after(time.Minute, approval.Rejected),
			executor.Cause{Status: executor.Rejected, Reason: executor.ReasonRejected, Message: "rejected by alice: seen"},
			"run x rejected: the plan was not approved: rejected by alice: seen"},
		{after(time.Hour, approval.Approved),
			executor.Cause{Status: executor.Rejected, Reason: executor.ReasonApprovalTimeout, Message: "nobody answered in time"},
			"run x rejected: the plan was not approved: nobody answered in time"},
		{approval.ApproverFunc(func(context.Context, *approval.Request) (*approval.Decision, error) {
			return nil, errors.New("slack is down")
		}),
			executor.Cause{Status: executor.Rejected, Reason: executor.ReasonApprovalError, Message: "the approver failed: slack is down"},
			"run x rejected: the plan was not approved: the approver failed: slack is down"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: policy, Approver: tt.approver})
			report, err := ex.Run(t.Context(), plan(t, "a look", "b fix <- a", "c note +always"), executor.RunOptions{ID: "x"})
			require.NoError(t, err)
			for _, step := range []string{"a", "b", "c"} {
				why := report.Why(step)
				require.Equal(t, []executor.Cause{{Step: step, Status: executor.Cancelled, Reason: executor.ReasonPlanRejected}, tt.root}, why)
			}
			require.EqualError(t, report.Err(), tt.err)
		})
	}
}

func TestTheAuthorCannotHideBehindAnotherSpelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		r, err := ex.Start(t.Context(), plan(t, "a fix +gate"), executor.RunOptions{ID: "x", Author: "model@example.com"})
		require.NoError(t, err)
		report, err := r.Wait(t.Context())
		require.NoError(t, err)
		for _, by := range []string{"Model@Example.com", " model@example.com", " ", "\t"} {
			err := ex.Decide(t.Context(), "x", "a", approval.Decision{Verdict: approval.Approved, By: by, Digest: report.Waiting()[0].Digest})
			require.ErrorIs(t, err, approval.ErrNotApprover, "%q", by)
		}
		require.NoError(t, ex.Cancel(t.Context(), "x", "over"))
		<-r.Done()
	})
}

func TestADecisionForAnotherPlanOrStepIsVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		digests := map[string]string{}
		for id, lines := range map[string][]string{"x": {"a fix +gate", "b fix +gate"}, "y": {"a fix +gate", "b fix +gate", "c look"}} {
			r, err := ex.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: id})
			require.NoError(t, err)
			report, err := r.Wait(t.Context())
			require.NoError(t, err)
			for _, req := range report.Waiting() {
				digests[req.Key] = req.Digest
			}
		}
		require.Len(t, digests, 4)
		mine := digests["x/a"]
		delete(digests, "x/a")
		for key, digest := range digests {
			err := ex.Decide(t.Context(), "x", "a", approval.Decision{Verdict: approval.Approved, By: "bob", Digest: digest})
			require.ErrorIs(t, err, approval.ErrDigest, key)
		}
		require.NoError(t, ex.Decide(t.Context(), "x", "a", approval.Decision{Verdict: approval.Approved, By: "bob", Digest: mine}))
		require.NoError(t, ex.Cancel(t.Context(), "x", ""))
		require.NoError(t, ex.Cancel(t.Context(), "y", ""))
	})
}

func TestASimulatedAnswerAtTheLastMomentIsTooLateAsInARun(t *testing.T) {
	p := plan(t, "a fix ~1s +gate")
	got, _, _ := gatedRun(t, after(15*time.Minute, approval.Approved), false, "a fix ~1s +gate")
	sim, err := newExecutor(t, executor.Config{Handlers: handle(expected)}).Simulate(p, executor.SimulateOptions{ApprovalAfter: 15 * time.Minute})
	require.NoError(t, err)
	require.Equal(t, "rejected: a=rejected/approvalTimeout", got)
	require.Equal(t, got, outcome(sim.Report))
}

func TestTheWaitForAGateThatWasWithdrawnCounts(t *testing.T) {
	ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
	sim, err := ex.Simulate(plan(t, "a fix ~1m +gate", "bad fix ~31s !30s"), executor.SimulateOptions{ApprovalAfter: 10 * time.Minute})
	require.NoError(t, err)
	require.Equal(t, "failed: a=cancelled/runFailed<bad bad=failed/timeout@0-30", outcome(sim.Report))
	require.Equal(t, 30*time.Second, sim.ApprovalWait)
}
