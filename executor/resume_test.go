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
