package executor_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// upTo are the records up to the first of a kind about a step.
func upTo(t *testing.T, j journal.Journal, kind, step string) []journal.Record {
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	at := slices.IndexFunc(records, func(r journal.Record) bool { return r.Kind == kind && r.Step == step })
	require.GreaterOrEqual(t, at, 0, "%s of %s", kind, step)
	return records[:at+1]
}

func TestNobodyIsAskedToTryAgainInARunThatHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, j := plan(t, "a fix(x) ~1s", "b fix(y) ~5s"), journal.NewMemory()
		slow := func(req *actions.Request) error {
			if req.Step == "a" {
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		first := newExecutor(t, executor.Config{Handlers: handlers(noProbe{&hands{fail: on(errBroken, "b"), late: slow}}), Journal: j})
		_, err := first.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)

		h := &hands{}
		second := newExecutor(t, executor.Config{
			Handlers: actions.Handlers{"fix": undoing{noProbe{h}}}, Journal: prefix(t, upTo(t, j, "stepEnded", "b")),
		})
		report, err := second.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, executor.RunRolledBack, report.Status(), "what may have happened is undone: %s", outcome(report))
		require.Equal(t, []string{"undo a"}, h.all())
	})
}

// undoing is noProbe of something that can be undone.
type undoing struct{ noProbe }

func (u undoing) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	return u.h.Compensate(ctx, req, undo)
}

func TestAnEffectOfAFormerAttemptIsUndoneWhenTheLatestSentNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, j := plan(t, "a fix(x) ~10s"), journal.NewMemory()
		first := newExecutor(t, executor.Config{Handlers: handlers(noProbe{&hands{}}), Journal: failingJournal{j, 4, errDisk}})
		_, err := first.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.ErrorIs(t, err, errDisk)

		h := &hands{fail: on(errBroken, "a")}
		second := newExecutor(t, executor.Config{Handlers: actions.Handlers{"fix": undoing{noProbe{h}}}, Journal: j})
		run, err := second.Start(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		report, err := run.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunParked, report.Status())
		yes := approval.Decision{Verdict: approval.Approved, By: "ann", Digest: report.Waiting()[0].Digest}
		require.NoError(t, second.Decide(t.Context(), "r", "a", yes))
		<-run.Done()
		report, err = run.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunRolledBack, report.Status(), outcome(report))
		require.Equal(t, []string{"undo a"}, h.all())
	})
}

func TestAResumedRunKeepsThePoliciesThatItBeganWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, j := plan(t, "a fix(x) ~5s", "b fix(y) ~10s", "c fix(z) <- b ~1s"), journal.NewMemory()
		config := executor.Config{Handlers: handlers(&hands{fail: on(errBroken, "a")}), Journal: j}
		first := newExecutor(t, config)
		want, err := first.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)

		config.Journal = prefix(t, upTo(t, j, "stepStarted", "a"))
		config.OnFailure, config.Rollback = executor.IndependentBranches, executor.RollbackNone
		got, err := newExecutor(t, config).Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, want.Status(), got.Status())
		require.Equal(t, executor.Cancelled, got.Step(2).Status, outcome(got))

		h, err := executor.Replay(t.Context(), config.Journal, "r", registry(t))
		require.NoError(t, err)
		require.Equal(t, outcome(got), outcome(h.Report))
	})
}

func TestARollbackThatWasAskedForGoesOnWhereverItsJournalIsCut(t *testing.T) {
	for _, strategy := range []executor.RollbackStrategy{executor.RollbackAutomatic, executor.RollbackManual, executor.RollbackNone} {
		synctest.Test(t, func(t *testing.T) {
			p, j := plan(t, "a fix(x) ~1s", "b fix(y) <- a ~1s +gate"), journal.NewMemory()
			config := executor.Config{Handlers: handlers(&hands{}), Journal: j, Rollback: strategy, Policy: open()}
			ex := newExecutor(t, config)
			report, err := ex.Run(t.Context(), p, executor.RunOptions{ID: "r"})
			require.NoError(t, err)
			require.Equal(t, executor.RunParked, report.Status())

			other := newExecutor(t, config)
			run, err := other.Rollback(t.Context(), p, "r")
			require.NoError(t, err)
			<-run.Done()
			records, err := j.Read(t.Context(), "r")
			require.NoError(t, err)
			asked := len(upTo(t, j, "rollbackBegun", ""))
			for k := asked + 1; k <= len(records); k++ { // until the halt, the run only waits
				config.Journal = prefix(t, records[:k])
				_, err := executor.Replay(t.Context(), config.Journal, "r", registry(t))
				require.NoError(t, err)
				report, err := newExecutor(t, config).Run(t.Context(), p, executor.RunOptions{ID: "r"})
				require.NoError(t, err)
				require.Equal(t, executor.RunRolledBack, report.Status(), "strategy %v, %d records: %s", strategy, k, outcome(report))
			}
			require.NoError(t, ex.Cancel(t.Context(), "r", "the test is over"))
		})
	}
}

// cutAt plays a plan and returns the records up to the last of a kind about a step.
func cutAt(t *testing.T, c executor.Config, lines []string, kind, step string, then func(ex *executor.Executor, run *executor.Run)) []journal.Record {
	j := journal.NewMemory()
	c.Journal = j
	ex := newExecutor(t, c)
	run, err := ex.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r", Author: "model"})
	require.NoError(t, err)
	if then != nil {
		then(ex, run)
	}
	<-run.Done()
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	last := -1
	for i, x := range records {
		if x.Kind == kind && x.Step == step {
			last = i
		}
	}
	require.GreaterOrEqual(t, last, 0)
	return records[:last+1]
}

func TestAnOldApprovalIsNoAnswerToADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := []string{"a fix(x) ~10s +gate"}
		// It answers a key that it knows as before, and leaves others pending.
		known := approval.ApproverFunc(func(_ context.Context, req *approval.Request) (*approval.Decision, error) {
			if req.Key == "r/a" {
				return &approval.Decision{Verdict: approval.Approved, By: "ann"}, nil
			}
			return &approval.Decision{Verdict: approval.Pending}, nil
		})
		h := &hands{}
		records := cutAt(t, executor.Config{Handlers: handlers(undoing{noProbe{h}}), Approver: known}, lines, "effectBegun", "a", nil)
		require.Equal(t, []string{"a"}, h.all())
		ex := newExecutor(t, executor.Config{Handlers: handlers(undoing{noProbe{h}}), Approver: known, Journal: prefix(t, records)})
		run, err := ex.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r", Author: "model"})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		effects := h.all()
		_ = ex.Cancel(t.Context(), "r", "over")
		<-run.Done()
		require.Equal(t, []string{"a"}, effects, "the effect was sent again although nobody said yes to that")
	})
}

func TestADoubtIsAskedAlsoWhenTheFirstQuestionIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := []string{"a fix(x) ~10s +gate"}
		h := &hands{}
		records := cutAt(t, executor.Config{Handlers: handlers(undoing{noProbe{h}}), Approver: approval.Auto()}, lines, "effectBegun", "a", nil)
		time.Sleep(time.Hour)
		ex := newExecutor(t, executor.Config{Handlers: handlers(undoing{noProbe{h}}), Journal: prefix(t, records)})
		run, err := ex.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r", Author: "model"})
		require.NoError(t, err)
		synctest.Wait()
		got := outcome(run.Snapshot())
		_ = ex.Cancel(t.Context(), "r", "over")
		<-run.Done()
		require.Equal(t, "parked: a=waitingApproval@0", got)
	})
}

func TestASecondClickOnTheFirstQuestionRunsNothingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := []string{"a fix(x) ~10s +gate"}
		h := &hands{}
		var digest string
		records := cutAt(t, executor.Config{Handlers: handlers(undoing{noProbe{h}})}, lines, "effectBegun", "a", func(ex *executor.Executor, run *executor.Run) {
			report, err := run.Wait(t.Context())
			require.NoError(t, err)
			digest = report.Waiting()[0].Digest
			require.NoError(t, ex.Decide(t.Context(), "r", "a", approval.Decision{Verdict: approval.Approved, By: "ann", Digest: digest}))
		})
		ex := newExecutor(t, executor.Config{Handlers: handlers(undoing{noProbe{h}}), Journal: prefix(t, records)})
		run, err := ex.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r", Author: "model"})
		require.NoError(t, err)
		synctest.Wait()
		again := ex.Decide(t.Context(), "r", "a", approval.Decision{Verdict: approval.Approved, By: "ann", Digest: digest})
		time.Sleep(time.Minute)
		_ = ex.Cancel(t.Context(), "r", "over")
		<-run.Done()
		require.Error(t, again, "effects: %v", h.all())
	})
}

func TestAnApprovedDoubtThatNeverStartsStaysUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := []string{"a fix(x) ~10s !1h", "z look ~1h"}
		h := &hands{}
		records := cutAt(t, executor.Config{Handlers: handlers(noProbe{h})}, lines, "effectBegun", "a", nil)
		ex := newExecutor(t, executor.Config{Handlers: handlers(noProbe{h}), Journal: prefix(t, records), MaxParallel: 1})
		run, err := ex.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r", Author: "model"})
		require.NoError(t, err)
		time.Sleep(time.Second)
		req := run.Snapshot().Waiting()[0]
		require.NoError(t, ex.Decide(t.Context(), "r", "a", approval.Decision{Verdict: approval.Approved, By: "ann", Digest: req.Digest}))
		time.Sleep(time.Second)
		require.NoError(t, ex.Cancel(t.Context(), "r", "stop"))
		<-run.Done()
		require.Equal(t, executor.Unknown, run.Snapshot().Step(0).Status, outcome(run.Snapshot()))
	})
}

// A deleter keeps which object it deletes, and knows by that whether it did.
type deleter struct{ seen []*actions.Undo }

func (d *deleter) BeginsItself() bool { return true }

func (d *deleter) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	return nil, req.Begin(ctx, &actions.Undo{Summary: "nothing", State: map[string]any{"uid": "u1"}})
}

func (d *deleter) Probe(_ context.Context, req *actions.Request) (actions.Outcome, error) {
	d.seen = append(d.seen, req.Begun)
	return actions.OutcomeHappened, nil
}

func TestAProberSeesWhatItsAttemptHadBegun(t *testing.T) {
	p, j := plan(t, "a fix(x) ~1s"), journal.NewMemory()
	first := newExecutor(t, executor.Config{Handlers: actions.Handlers{"fix": &deleter{}}, Journal: j})
	_, err := first.Run(t.Context(), p, executor.RunOptions{ID: "r"})
	require.NoError(t, err)

	d := &deleter{}
	second := newExecutor(t, executor.Config{Handlers: actions.Handlers{"fix": d}, Journal: prefix(t, upTo(t, j, "effectBegun", "a"))})
	report, err := second.Run(t.Context(), p, executor.RunOptions{ID: "r"})
	require.NoError(t, err)
	require.Equal(t, executor.RunSucceeded, report.Status())
	require.Equal(t, []*actions.Undo{{Summary: "nothing", State: map[string]any{"uid": "u1"}}}, d.seen)
}

// A climber's effect takes a while to be done, and is sent once.
type climber struct {
	deleter
	sent    int
	resumed []*actions.Undo
	fails   bool
	undone  []*actions.Undo
}

func (c *climber) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if req.Begun != nil {
		c.resumed = append(c.resumed, req.Begun)
		if err := req.Begin(ctx, nil); err != nil {
			return nil, err
		}
		if c.fails {
			return nil, actions.Permanent(errBroken)
		}
		return nil, nil
	}
	c.sent++
	return nil, req.Begin(ctx, &actions.Undo{Summary: "down again", State: map[string]any{"from": "u1"}})
}

func (c *climber) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	_, err := c.deleter.Probe(ctx, req)
	return actions.OutcomeUnfinished, err
}

func (c *climber) Compensate(_ context.Context, _ *actions.Request, undo *actions.Undo) error {
	c.undone = append(c.undone, undo)
	return nil
}

func TestWhatIsNotDoneYetGoesOnAndIsUndoneAsItBegan(t *testing.T) {
	p, j := plan(t, "a fix(x) ~1s"), journal.NewMemory()
	first := newExecutor(t, executor.Config{Handlers: actions.Handlers{"fix": &climber{}}, Journal: j})
	_, err := first.Run(t.Context(), p, executor.RunOptions{ID: "r"})
	require.NoError(t, err)
	begun := []*actions.Undo{{Summary: "down again", State: map[string]any{"from": "u1"}}}
	for fails, status := range map[bool]executor.RunStatus{false: executor.RunSucceeded, true: executor.RunRolledBack} {
		c := &climber{fails: fails}
		cut := prefix(t, upTo(t, j, "effectBegun", "a"))
		second := newExecutor(t, executor.Config{Handlers: actions.Handlers{"fix": c}, Journal: cut})
		report, err := second.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, status, report.Status(), outcome(report))
		require.Zero(t, c.sent, "it goes on, and is not sent again")
		require.Equal(t, begun, c.seen)
		require.Equal(t, begun, c.resumed)
		if fails {
			require.Equal(t, begun, c.undone, "although the second attempt had nothing to undo")
		}

		// Killed once more while it goes on, it still knows how it began.
		records, err := cut.Read(t.Context(), "r")
		require.NoError(t, err)
		last := len(records) - 1
		for records[last].Kind != "effectBegun" {
			last--
		}
		third := &climber{fails: fails}
		again := newExecutor(t, executor.Config{Handlers: actions.Handlers{"fix": third}, Journal: prefix(t, records[:last+1])})
		_, err = again.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, begun, third.resumed)
	}
}
