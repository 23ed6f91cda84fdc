package executor_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

var everyRecord = flag.Bool("every-record", false, "cut the journals of random plans at every record, in both ways")

// drawLines makes a plan of 2 to 9 steps, and says which of them fails, "" for none.
func drawLines(r *rand.Rand) (lines []string, fails string) {
	n := 2 + r.IntN(8)
	for i := range n {
		action := []string{"look", "check", "note", fmt.Sprintf("fix(t%d)", r.IntN(6)), fmt.Sprintf("fix(u%d)", i)}[r.IntN(5)]
		line := fmt.Sprintf("s%d %s <-", i, action)
		for d := range i {
			if r.IntN(3) == 0 {
				line += fmt.Sprintf(" s%d", d)
			}
		}
		line += fmt.Sprintf(" ~%ds", 1+r.IntN(20))
		if r.IntN(5) == 0 {
			line += " +gate"
		}
		if r.IntN(12) == 0 {
			line += " +always"
		}
		lines = append(lines, line)
	}
	if r.IntN(2) == 0 {
		fails = fmt.Sprintf("s%d", r.IntN(n))
	}
	return lines, fails
}

// effectsAt are the effects that a process had certainly had when it wrote the last of some records, and those that it
// may have had.
func effectsAt(records []journal.Record) (sure, maybe []string) {
	begun := map[string]bool{}
	for _, r := range records {
		switch r.Kind {
		case "effectBegun":
			begun[r.Step] = true
		case "stepEnded":
			if begun[r.Step] {
				sure = append(sure, r.Step)
				delete(begun, r.Step)
			}
		case "undoStarted":
			begun["undo "+r.Step] = true
		case "undoEnded":
			sure = append(sure, "undo "+r.Step)
			delete(begun, "undo "+r.Step)
		}
	}
	for step := range begun {
		maybe = append(maybe, step)
	}
	slices.Sort(maybe)
	return sure, maybe
}

func prefix(t *testing.T, records []journal.Record) *journal.Memory {
	j := journal.NewMemory()
	for _, r := range records {
		require.NoError(t, j.Append(t.Context(), r))
	}
	return j
}

// goOn resumes a run from records and checks what a person would: nothing is sent twice, and the end is whole.
func goOn(t *testing.T, p *dag.Plan, records []journal.Record, before []string, fail func(*actions.Request) error, status executor.RunStatus) {
	t.Helper()
	h := &hands{fail: fail, effects: slices.Clone(before)}
	ex := newExecutor(t, executor.Config{Handlers: handlers(h), Journal: prefix(t, records), Approver: approval.Auto()})
	report, err := ex.Run(t.Context(), p, executor.RunOptions{ID: "r"})
	at := fmt.Sprintf("cut after record %d (%s %s)", len(records), records[len(records)-1].Kind, records[len(records)-1].Step)
	require.NoError(t, err, at)
	failed := func(s executor.RunStatus) bool { return s == executor.RunRolledBack || s == executor.RunFailed }
	// Whether a failed run had anything to undo depends on what ran when the process died.
	if !failed(status) || !failed(report.Status()) {
		require.Equal(t, status, report.Status(), "%s: %s", at, outcome(report))
	}
	count := map[string]int{}
	for _, e := range h.all() {
		count[e]++
	}
	for s := range report.Steps() {
		step := p.Step(s.Number - 1)
		if step.Mutating() {
			require.LessOrEqual(t, count[s.ID], 1, "%s: %s was sent again", at, s.ID)
		}
		switch {
		case s.Status == executor.RolledBack:
			require.GreaterOrEqual(t, count["undo "+s.ID], 1, "%s: %s was not undone", at, s.ID)
		case s.Status == executor.Succeeded && (step.Mutating() || !slices.Contains(before, s.ID)):
			require.GreaterOrEqual(t, count[s.ID], 1, "%s: %s did not happen", at, s.ID)
		}
		if failed(status) && step.Reversible() && count[s.ID] > 0 {
			require.Equal(t, executor.RolledBack, s.Status, "%s: %s was left", at, s.ID)
		}
		if s.Status != executor.Succeeded {
			chain := report.Why(s.ID)
			require.NotEmpty(t, chain, "%s: %s", at, s.ID)
		}
	}
}

// TestARunGoesOnWhereverItsJournalIsCut cuts the journals of random plans, once with and once without the effects that
// may have happened, and resumes each. With -every-record it cuts at every record.
func TestARunGoesOnWhereverItsJournalIsCut(t *testing.T) {
	cuts := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		lines, fails := drawLines(r)
		fail := on(errBroken, fails)
		p := plan(t, lines...)
		var records []journal.Record
		var status executor.RunStatus
		synctest.Test(t, func(t *testing.T) {
			j := journal.NewMemory()
			ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{fail: fail}), Journal: j, Approver: approval.Auto()})
			report, err := ex.Run(t.Context(), p, executor.RunOptions{ID: "r"})
			require.NoError(t, err)
			status = report.Status()
			records, err = j.Read(t.Context(), "r")
			require.NoError(t, err)
			require.NoError(t, journal.Verify(records))
		})
		for k := 1; k <= len(records); k++ {
			if !*everyRecord && (k+int(seed))%2 == 0 {
				continue
			}
			sure, maybe := effectsAt(records[:k])
			synctest.Test(t, func(t *testing.T) { goOn(t, p, records[:k], sure, fail, status) })
			cuts++
			if len(maybe) > 0 {
				synctest.Test(t, func(t *testing.T) { goOn(t, p, records[:k], append(sure, maybe...), fail, status) })
				cuts++
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d: fails %q: %q", seed, fails, lines)
		}
	}
	t.Logf("%d cuts", cuts)
}
