package executor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// park runs a plan until it waits at b, in a process that ends then.
func park(t *testing.T, j journal.Journal) (lines []string, digest string) {
	lines = []string{"a fix(x) ~5s", "b fix(y) <- a ~5s +gate", "c fix(z) <- b ~5s"}
	ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{}), Journal: j})
	ctx, cancel := context.WithCancel(t.Context())
	run, err := ex.Start(ctx, plan(t, lines...), executor.RunOptions{ID: "r", Author: "model"})
	require.NoError(t, err)
	report, err := run.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, executor.RunParked, report.Status())
	cancel()
	<-run.Done()
	return lines, report.Waiting()[0].Digest
}

func TestADecisionAboutAParkedRunIsRememberedUntilItIsResumed(t *testing.T) {
	for verdict, want := range map[approval.Verdict]string{
		approval.Approved: "succeeded: a=succeeded@0-5 b=succeeded@60-65 c=succeeded@65-70",
		approval.Rejected: "rejected: a=succeeded@0-5 b=rejected/rejected c=blocked/dependencyNotSucceeded<b",
	} {
		synctest.Test(t, func(t *testing.T) {
			j := journal.NewMemory()
			lines, digest := park(t, j)
			h, err := executor.Replay(t.Context(), j, "r", registry(t))
			require.NoError(t, err)
			require.Equal(t, executor.RunParked, h.Report.Status())
			require.Equal(t, digest, h.Report.Waiting()[0].Digest)
			time.Sleep(55 * time.Second)
			elsewhere := newExecutor(t, executor.Config{Handlers: handlers(&hands{}), Journal: j})
			decide := func(run, step string, d approval.Decision) error { return elsewhere.Decide(t.Context(), run, step, d) }
			d := approval.Decision{Verdict: verdict, By: "ann", Digest: digest}
			require.ErrorIs(t, decide("q", "b", d), executor.ErrUnknownRun)
			require.ErrorIs(t, decide("r", "c", d), approval.ErrNotAsked)
			require.ErrorIs(t, decide("r", "b", approval.Decision{Verdict: verdict, By: "Model ", Digest: digest}), approval.ErrNotApprover)
			require.ErrorIs(t, decide("r", "b", approval.Decision{Verdict: verdict, Digest: digest}), approval.ErrNotApprover)
			require.ErrorIs(t, decide("r", "b", approval.Decision{Verdict: verdict, By: "ann", Digest: "sha256:0"}), approval.ErrDigest)
			require.Error(t, decide("r", "b", approval.Decision{By: "ann", Digest: digest}))
			require.NoError(t, decide("r", "b", d))
			require.ErrorIs(t, decide("r", "b", d), approval.ErrDecided)
			report, err := elsewhere.Run(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r"})
			require.NoError(t, err)
			require.Equal(t, want, outcome(report))
			require.Equal(t, "ann", report.Step(1).Gate.By)
			require.ErrorIs(t, newExecutor(t, executor.Config{Handlers: handlers(&hands{}), Journal: j}).Decide(t.Context(), "r", "b", d), executor.ErrFinished)
		})
	}
}

func TestAParkedRunThatNobodyAnswersInTimeIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journal.NewMemory()
		lines, digest := park(t, j)
		time.Sleep(time.Hour)
		ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{}), Journal: j})
		require.ErrorIs(t, ex.Decide(t.Context(), "r", "b", approval.Decision{Verdict: approval.Approved, By: "ann", Digest: digest}), approval.ErrExpired)
		report, err := ex.Run(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, executor.RunRejected, report.Status())
		require.Equal(t, executor.ReasonApprovalTimeout, report.Step(1).Reason)
	})
}

func TestAnotherPlanIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journal.NewMemory()
		park(t, j)
		ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{}), Journal: j})
		_, err := ex.Start(t.Context(), plan(t, "a fix(x) ~5s", "b fix(other) <- a ~5s +gate", "c fix(z) <- b ~5s"), executor.RunOptions{ID: "r"})
		require.ErrorContains(t, err, `step b: parameter thing is "other", was "y"`)
	})
}

func TestARollbackOfAParkedRunCancelsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, h := journal.NewMemory(), &hands{}
		lines, _ := park(t, j)
		ex := newExecutor(t, executor.Config{Handlers: handlers(h), Journal: j})
		_, err := ex.Rollback(t.Context(), plan(t, lines...), "q")
		require.ErrorIs(t, err, executor.ErrUnknownRun)
		run, err := ex.Rollback(t.Context(), plan(t, lines...), "r")
		require.NoError(t, err)
		report, err := run.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunRolledBack, report.Status())
		require.Equal(t, []string{"undo a"}, h.all())
		_, err = newExecutor(t, executor.Config{Handlers: handlers(h)}).Rollback(t.Context(), plan(t, lines...), "r")
		require.ErrorContains(t, err, "Config.Journal is nil")
	})
}

func TestTheReportOfAFailedRunHoldsItsRollbackPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{fail: on(errBroken, "c")}), Rollback: executor.RollbackManual})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~1s", "b fix(y) <- a ~1s", "c fix(z) <- b ~1s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, executor.RunFailed, report.Status())
		require.Equal(t, []executor.Compensation{
			{Step: "b", Action: "fix", Target: "Thing y", Summary: "put b back"}, {Step: "a", Action: "fix", Target: "Thing x", Summary: "put a back"},
		}, report.RollbackPlan())
	})
}

func TestADryRunAsksEveryHandlerAndChangesNothing(t *testing.T) {
	ex := newExecutor(t, executor.Config{Handlers: handlers(rehearsed{&hands{}})})
	r, err := ex.DryRun(t.Context(), plan(t, "a fix(x) ~1s", "b fix(bad) <- a ~1s", "c look ~1s"), executor.RunOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, r.Err(), errBroken)
	require.ErrorContains(t, r.Err(), "step 2 (b) would fail")
	var verdicts []string
	for s := range r.Steps() {
		verdicts = append(verdicts, s.ID+" "+s.Verdict.String())
	}
	require.Equal(t, []string{"a verified", "b simulated", "c verified"}, verdicts)
	_, err = ex.DryRun(t.Context(), nil, executor.RunOptions{})
	require.Error(t, err)
	plain := newExecutor(t, executor.Config{Handlers: handlers(actions.HandlerFunc(expected))})
	r, err = plain.DryRun(t.Context(), plan(t, "a fix(x)"), executor.RunOptions{})
	require.NoError(t, err)
	require.NoError(t, r.Err())
	for s := range r.Steps() {
		require.Equal(t, actions.Unverifiable, s.Verdict)
	}
}

func TestASimulationFailsRejectsAndRollsBackAsARunWould(t *testing.T) {
	ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{}), RollbackTimeout: 12 * time.Second})
	p := plan(t, "a fix(x) ~10s", "b fix(y) <- a ~5s +gate", "c fix(z) <- b ~5s", "d note <- c ~1s")
	for _, test := range []struct {
		o    executor.SimulateOptions
		want string
	}{
		{executor.SimulateOptions{Fail: map[string]int{"c": -1}}, "rollbackFailed: a=rollbackFailed/rollbackTimeout<c@0-10 b=rolledBack/undone<c@10-15 c=failed/handlerError@15-20 d=blocked/dependencyNotSucceeded<c"},
		{executor.SimulateOptions{Fail: map[string]int{"b": -1}}, "rolledBack: a=rolledBack/undone<b@0-10 b=failed/handlerError@10-15 c=blocked/dependencyNotSucceeded<b d=blocked/dependencyNotSucceeded<c"},
		{executor.SimulateOptions{Fail: map[string]int{"a": 2}}, "succeeded: a=succeeded@0-33 b=succeeded@33-38 c=succeeded@38-43 d=succeeded@43-44"},
		{executor.SimulateOptions{Fail: map[string]int{"d": -1}}, "succeededWithWarnings: a=succeeded@0-10 b=succeeded@10-15 c=succeeded@15-20 d=failed/handlerError@20-21"},
		{executor.SimulateOptions{Reject: []string{"b"}}, "rejected: a=succeeded@0-10 b=rejected/rejected c=blocked/dependencyNotSucceeded<b d=blocked/dependencyNotSucceeded<c"},
	} {
		sim, err := ex.Simulate(p, test.o)
		require.NoError(t, err)
		require.Equal(t, test.want, outcome(sim.Report))
	}
	_, err := ex.Simulate(p, executor.SimulateOptions{Fail: map[string]int{"q": 1}})
	require.ErrorContains(t, err, `names step "q"`)
	_, err = ex.Simulate(p, executor.SimulateOptions{Reject: []string{"q"}})
	require.ErrorContains(t, err, `names step "q"`)
}
