package executor_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

var recordFormat = flag.String("record-format", "", "write the journals of testdata/released anew, into this folder of it; released ones stay as they are")

// released are runs whose journals lie in a folder of testdata/released for each format that was ever written.
var released = []struct {
	run   string
	lines []string
	fails string
	kind  string // of the last record, and the step that it is about
	step  string
}{
	{"unknown", []string{"a fix(x) ~1s", "b fix(y) <- a ~1s", "c note <- b ~1s"}, "", "effectBegun", "b"},
	{"gate", []string{"a fix(x) ~1s +gate", "b fix(y) <- a ~1s +gate", "c note <- b ~1s"}, "", "approvalAsked", "b"},
	{"rollback", []string{"a fix(x) ~1s", "b fix(y) <- a ~1s", "c fix(z) <- b ~1s"}, "c", "undoEnded", "b"},
}

// record plays the released runs up to their last records.
func record(t *testing.T, dir string) {
	for _, r := range released {
		var records []journal.Record
		synctest.Test(t, func(t *testing.T) {
			j := journal.NewMemory()
			ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{fail: on(errBroken, r.fails)}), Journal: j})
			run, err := ex.Start(t.Context(), plan(t, r.lines...), executor.RunOptions{ID: r.run})
			require.NoError(t, err)
			time.Sleep(10 * time.Second)
			if r.run == "gate" {
				decide(t, ex, run, approval.Approved)
				time.Sleep(10 * time.Second)
			}
			records, err = j.Read(t.Context(), r.run)
			require.NoError(t, err)
			ex.Kill("recorded")
			<-run.Done()
		})
		last := slices.IndexFunc(records, func(x journal.Record) bool { return x.Kind == r.kind && x.Step == r.step })
		require.GreaterOrEqual(t, last, 0, r.run)
		j, err := journal.Open(dir, journal.Options{})
		require.NoError(t, err)
		require.NoError(t, j.Append(t.Context(), records[:last+1]...))
		require.NoError(t, j.Close())
	}
}

// decide answers all that a run waits for.
func decide(t *testing.T, ex *executor.Executor, r *executor.Run, v approval.Verdict) {
	for _, req := range r.Snapshot().Waiting() {
		require.NoError(t, ex.Decide(t.Context(), r.ID(), req.Step.ID(), approval.Decision{Verdict: v, By: "alice", Digest: req.Digest}))
	}
}

func TestJournalsOfEveryReleasedFormatAreResumed(t *testing.T) {
	if *recordFormat != "" {
		record(t, filepath.Join("testdata", "released", *recordFormat))
	}
	formats, err := filepath.Glob(filepath.Join("testdata", "released", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, formats)
	for _, format := range formats {
		dir := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.CopyFS(dir, os.DirFS(format)))
		j, err := journal.Open(dir, journal.Options{})
		require.NoError(t, err)
		defer j.Close()
		resume := func(n int, before []string, want string, effects ...string) {
			t.Helper()
			r := released[n]
			records, err := j.Read(t.Context(), r.run)
			require.NoError(t, err)
			require.NoError(t, journal.Verify(records))
			synctest.Test(t, func(t *testing.T) {
				h := &hands{fail: on(errBroken, r.fails), effects: before}
				ex := newExecutor(t, executor.Config{Handlers: handlers(h), Journal: prefix(t, records)})
				run, err := ex.Start(t.Context(), plan(t, r.lines...), executor.RunOptions{ID: r.run})
				require.NoError(t, err)
				time.Sleep(10 * time.Second)
				decide(t, ex, run, approval.Approved)
				<-run.Done()
				require.Equal(t, want, statuses(run.Snapshot()))
				require.Equal(t, effects, h.all())
			})
		}
		resume(0, []string{"a", "b"}, "succeeded a=succeeded b=succeeded c=succeeded", "a", "b", "c")
		resume(0, []string{"a"}, "succeeded a=succeeded b=succeeded c=succeeded", "a", "b", "c")
		resume(1, []string{"a"}, "succeeded a=succeeded b=succeeded c=succeeded", "a", "b", "c")
		resume(2, []string{"a", "b", "undo b"}, "rolledBack a=rolledBack b=rolledBack c=failed", "a", "b", "undo b", "undo a")
	}
}

func statuses(r *executor.Report) string {
	out := string(r.Status())
	for s := range r.Steps() {
		out += " " + s.ID + "=" + s.Status.String()
	}
	return out
}
