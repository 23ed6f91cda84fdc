package executor_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/executor"
)

// halves had one of its effects when it crashed.
type halves struct{ undoing }

func (h halves) Probe(context.Context, *actions.Request) (actions.Outcome, error) {
	return actions.OutcomeUnfinished, nil
}

func TestWhatHappenedPartlyIsFinishedOrTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := []string{"a fix(x) ~10s"}
		records := cutAt(t, executor.Config{Handlers: handlers(undoing{noProbe{&hands{}}})}, lines, "effectBegun", "a", nil)

		h := &hands{}
		ex := newExecutor(t, executor.Config{Handlers: handlers(halves{undoing{noProbe{h}}}), Journal: prefix(t, records)})
		report, err := ex.Run(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r", Author: "model"})
		require.NoError(t, err)
		require.Equal(t, executor.RunSucceeded, report.Status(), outcome(report))
		require.Equal(t, []string{"a"}, h.all(), "another attempt adds the rest")

		h = &hands{fail: on(errBroken, "a")} // before it sends anything
		ex = newExecutor(t, executor.Config{Handlers: handlers(halves{undoing{noProbe{h}}}), Journal: prefix(t, records)})
		report, err = ex.Run(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r", Author: "model"})
		require.NoError(t, err)
		require.Equal(t, executor.RunRolledBack, report.Status(), outcome(report))
		require.Equal(t, []string{"undo a"}, h.all())

		h = &hands{}
		ex = newExecutor(t, executor.Config{Handlers: handlers(halves{undoing{noProbe{h}}}), Journal: prefix(t, records)})
		run, err := ex.Rollback(t.Context(), plan(t, lines...), "r")
		require.NoError(t, err)
		<-run.Done()
		require.Equal(t, executor.RunRolledBack, run.Snapshot().Status(), outcome(run.Snapshot()))
		require.Equal(t, []string{"undo a"}, h.all(), "a rollback takes back what there is")
	})
}
