package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oomkill is a command line that runs the plan in a journal.
func oomkill(journal string, more ...string) []string {
	return append([]string{"run", plans + "oomkill.json", "--overlay", plans + "oomkill.overlay.yaml", "--confidence", "0.725",
		"--handlers", "simulated", "--time-scale", "0.0001", "--journal", journal, "--id", "r"}, more...)
}

func journalled(t *testing.T, journal, command string, args ...string) result {
	t.Helper()
	return remedy(t.Context(), strings.NewReader(""), append([]string{command, "--journal", journal}, args...)...)
}

func statusOf(t *testing.T, journal string) string {
	t.Helper()
	var runs []map[string]any
	require.NoError(t, json.Unmarshal([]byte(journalled(t, journal, "runs", "-o", "json").stdout), &runs))
	require.Len(t, runs, 1)
	require.ElementsMatch(t, []string{"run", "status", "plan", "startedAt", "endedAt"}, keys(runs[0]))
	return runs[0]["status"].(string)
}

func keys(m map[string]any) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

func TestAParkedRunIsApprovedAndGoesOnElsewhere(t *testing.T) {
	dir := t.TempDir()
	require.Equal(t, "[]\n", journalled(t, dir, "runs", "-o", "json").stdout)
	r := remedy(t.Context(), strings.NewReader(""), oomkill(dir)...)
	require.Equal(t, exitParked, r.code, r.stderr)
	require.Contains(t, r.stdout, "remedy approve r rec-004 --by NAME")
	require.Equal(t, "parked", statusOf(t, dir))
	require.Contains(t, journalled(t, dir, "show", "r").stdout, "step 4 (rec-004 restart_pod) waits for approval")

	require.Equal(t, exitUsage, journalled(t, dir, "approve", "r", "rec-004").code, "somebody has to say so")
	require.Equal(t, exitUsage, journalled(t, dir, "reject", "r", "rec-004", "--by", "ann").code, "without a reason")
	require.Equal(t, exitFailed, journalled(t, dir, "approve", "r", "rec-004", "--by", "model").code, "its author")
	require.Equal(t, exitFailed, journalled(t, dir, "approve", "r", "rec-005", "--by", "ann").code, "not asked")
	require.Equal(t, exitUsage, journalled(t, dir, "approve", "r", "rec-044", "--by", "ann").code, "no such step")
	a := journalled(t, dir, "approve", "r", "rec-004", "--by", "ann", "--comment", "go")
	require.Equal(t, exitOK, a.code, a.stderr)
	require.Contains(t, journalled(t, dir, "reject", "r", "rec-004", "--by", "bob", "--reason", "no").stderr, "by ann")

	resumed := journalled(t, dir, "resume", "r", "--handlers", "simulated", "--time-scale", "0.0001", "-o", "json")
	require.Equal(t, exitOK, resumed.code, resumed.stderr)
	require.NotContains(t, resumed.stdout, `"step":"rec-001","status":"running"`, "only new events are printed")
	require.Equal(t, "succeeded", lastReport(t, resumed.stdout)["status"])
	again := journalled(t, dir, "resume", "r", "--handlers", "simulated", "-o", "json")
	require.Equal(t, exitOK, again.code, again.stderr)
	require.Equal(t, 1, strings.Count(again.stdout, "\n"), "a finished run has no new events")
	require.Equal(t, lastReport(t, resumed.stdout), lastReport(t, again.stdout))
	require.Equal(t, "succeeded", statusOf(t, dir))

	back := journalled(t, dir, "rollback", "r", "--handlers", "simulated", "--time-scale", "0.0001")
	require.Equal(t, exitFailed, back.code, back.stderr)
	require.Contains(t, back.stdout, "step 3 (rec-003 increase_resources) was undone")
	require.Equal(t, "rolledBack", statusOf(t, dir))
	require.Contains(t, journalled(t, dir, "verify", "r").stdout, "the chain is whole")
}

func TestAJournalThatWasChangedIsFound(t *testing.T) {
	dir := t.TempDir()
	require.Equal(t, exitOK, remedy(t.Context(), nil, oomkill(dir, "--approve", "auto")...).code)
	name := filepath.Join(dir, "r", "000001.jsonl")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, []byte(strings.Replace(string(data), `"by":"`, `"by":"x`, 1)), 0o600))
	v := journalled(t, dir, "verify", "r")
	require.Equal(t, exitFailed, v.code)
	require.Regexp(t, `record \d+ of run r was changed`, v.stdout)
	require.Equal(t, exitUsage, journalled(t, dir, "resume", "r", "--handlers", "simulated").code)
	unknown := journalled(t, dir, "show", "q")
	require.Equal(t, exitUsage, unknown.code)
	require.Contains(t, unknown.stderr, "no such run: q; the last are r")
}

func TestAForeignOrHalfReadableJournalIsSaid(t *testing.T) {
	dir := t.TempDir()
	require.Equal(t, exitParked, remedy(t.Context(), nil, oomkill(dir)...).code)
	name := filepath.Join(dir, "r", "000001.jsonl")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	foreign := filepath.Join(dir, "copy", "000001.jsonl")
	require.NoError(t, os.Mkdir(filepath.Dir(foreign), 0o700))
	require.NoError(t, os.WriteFile(foreign, data, 0o600))
	v := journalled(t, dir, "verify", "copy")
	require.Equal(t, exitFailed, v.code)
	require.Contains(t, v.stdout, `it belongs to run "r"`)
	require.Equal(t, exitUsage, journalled(t, dir, "resume", "copy", "--handlers", "simulated").code)
	require.NoError(t, os.RemoveAll(filepath.Dir(foreign)))

	lines := strings.SplitAfter(string(data), "\n")
	lines[5] = "what is this\n"
	require.NoError(t, os.WriteFile(name, []byte(strings.Join(lines, "")), 0o600))
	require.Equal(t, "unreadable", statusOf(t, dir))
	require.Contains(t, journalled(t, dir, "runs").stderr, "record 6 of run r was changed")

	missing := filepath.Join(dir, "none")
	none := journalled(t, missing, "runs")
	require.Equal(t, exitUsage, none.code)
	require.Contains(t, none.stderr, missing)
	require.NoDirExists(t, missing)
	require.Equal(t, exitUsage, remedy(t.Context(), nil, oomkill(dir, "--dry-run", "--id", "../x")...).code)
}

func TestAFailedRunIsRolledBackAndWhySaysSo(t *testing.T) {
	dir := t.TempDir()
	overlay := filepath.Join(t.TempDir(), "overlay.yaml")
	require.NoError(t, os.WriteFile(overlay, []byte("steps: {rec-004: {timeout: 1s, duration: 2m}}\n"), 0o600))
	args := []string{"run", plans + "oomkill.json", "--overlay", overlay, "--confidence", "0.95", "--handlers", "simulated", "--approve", "auto",
		"--time-scale", "0.01", "--journal", dir, "--id", "r", "--rollback"}
	r := remedy(t.Context(), nil, append(args, "manual")...)
	require.Equal(t, exitFailed, r.code, r.stderr)
	require.Contains(t, r.stdout, "1 step can be undone: remedy rollback r")
	require.Contains(t, journalled(t, dir, "show", "r").stdout, "a rollback would undo rec-003")
	why := journalled(t, dir, "why", "r", "rec-006")
	require.Equal(t, exitOK, why.code)
	require.Contains(t, why.stdout, "step 6 (rec-006 update_hpa) blocked")
	require.Contains(t, why.stdout, "because step 4 (rec-004 restart_pod) failed: timeout")
	back := journalled(t, dir, "rollback", "r", "--handlers", "simulated", "--time-scale", "0.0001", "-o", "json")
	require.Equal(t, "rolledBack", lastReport(t, back.stdout)["status"])
	require.Equal(t, []any{map[string]any{"id": "rec-003", "status": "rolledBack", "reason": "undone"}}, lastReport(t, back.stdout)["rollback"])
}

func TestAKilledRunGoesOn(t *testing.T) {
	dir := t.TempDir()
	args := oomkill(dir, "--approve", "auto")
	for i := range args {
		if args[i] == "0.0001" {
			args[i] = "0.02"
		}
	}
	cmd := program(t, args...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "(rec-003 increase_resources) started") {
	}
	held := journalled(t, dir, "resume", "r", "--handlers", "simulated")
	require.Equal(t, exitUsage, held.code)
	require.Contains(t, held.stderr, "another process is running this run: process ")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Equal(t, "interrupted", statusOf(t, dir))
	r := journalled(t, dir, "resume", "r", "--handlers", "simulated", "--approve", "auto", "--time-scale", "0.0001")
	require.Equal(t, exitOK, r.code, r.stderr)
	require.NotContains(t, r.stdout, "rec-001 collect_diagnostics) started")
	require.Contains(t, r.stdout, "run r succeeded")
}

func TestADryRunSaysWhatWouldBeDoneAndDoesNothing(t *testing.T) {
	dir := t.TempDir()
	r := remedy(t.Context(), nil, oomkill(dir, "--dry-run")...)
	require.Equal(t, exitOK, r.code, r.stderr)
	require.Contains(t, r.stdout, "simulated restart_pod of Deployment production/payment-service, after rec-001, rec-002, rec-003")
	require.Equal(t, "[]\n", journalled(t, dir, "runs", "-o", "json").stdout)
}

func TestASimulationFailsAndRejectsWhatItIsTold(t *testing.T) {
	simulate := func(args ...string) (int, map[string]any) {
		r := remedy(t.Context(), nil, append([]string{"simulate", "-o", "json"}, args...)...)
		var out map[string]any
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &out), r.stderr)
		return r.code, out
	}
	oom := []string{plans + "oomkill.json", "--overlay", plans + "oomkill.overlay.yaml", "--confidence", "0.725"}
	code, out := simulate(append(oom, "--fail", "rec-007")...)
	require.Equal(t, []any{exitOK, "succeededWithWarnings", []any{}}, []any{code, out["status"], out["rollback"]})
	code, out = simulate(plans+"cascading-failure.json", "--confidence", "0.85", "--fail", "rec-009")
	require.Equal(t, []any{exitOK, "succeededWithWarnings", []any{}}, []any{code, out["status"], out["rollback"]})
	code, out = simulate(append(oom, "--fail", "rec-005")...)
	require.Equal(t, []any{exitFailed, "rolledBack", []any{"rec-006", "rec-003"}}, []any{code, out["status"], out["rollback"]})
	code, out = simulate(append(oom, "--fail", "rec-003:2")...)
	require.Equal(t, []any{exitOK, "succeeded"}, []any{code, out["status"]})
	require.EqualValues(t, 3, out["steps"].([]any)[2].(map[string]any)["attempts"])
	code, out = simulate(append(oom, "--reject", "rec-004")...)
	require.Equal(t, []any{exitFailed, "rejected", []any{}}, []any{code, out["status"], out["rollback"]})
	require.Equal(t, exitUsage, remedy(t.Context(), nil, append([]string{"simulate", "--fail", "rec-077"}, oom...)...).code)
	require.Equal(t, exitUsage, remedy(t.Context(), nil, append([]string{"simulate", "--fail", "rec-007:x"}, oom...)...).code)
}

func TestWhatWaitsIsListedWithWhoseYesIsNeeded(t *testing.T) {
	dir := t.TempDir()
	require.Equal(t, "nothing waits for a decision\n", journalled(t, dir, "approvals").stdout)
	require.Equal(t, "[]\n", journalled(t, dir, "approvals", "-o", "json").stdout)
	policy := file(t, "policy.yaml", "table: [{confidence: 0.6, ask: medium}]\nquorum: 2\napprovers: {people: [ann, bob, carol]}\ntimeout: 1h\n")
	r := remedy(t.Context(), strings.NewReader(""), append(oomkill(dir), "--policy", policy)...)
	require.Equal(t, exitParked, r.code, r.stderr)
	text := journalled(t, dir, "approvals").stdout
	require.Contains(t, text, "rec-004")
	require.Contains(t, text, "2 of ann, bob, carol")
	require.Contains(t, journalled(t, dir, "approve", "r", "rec-004", "--by", "dave").stderr, "it takes 2 of ann, bob, carol")
	first := journalled(t, dir, "approve", "r", "rec-004", "--by", "ann")
	require.Equal(t, exitOK, first.code, first.stderr)
	require.Equal(t, "rec-004 of run r has the yes of ann; still needed: 1 of ann, bob, carol\n", first.stdout)
	require.Equal(t, exitFailed, journalled(t, dir, "approve", "r", "rec-004", "--by", "Ann").code, "nobody counts twice")
	var all []map[string]any
	require.NoError(t, json.Unmarshal([]byte(journalled(t, dir, "approvals", "-o", "json").stdout), &all))
	require.Len(t, all, 1)
	require.Equal(t, []any{"ann"}, all[0]["votes"])
	require.Equal(t, "1 of ann, bob, carol", all[0]["needs"])
	second := journalled(t, dir, "approve", "r", "rec-004", "--by", "bob")
	require.Contains(t, second.stdout, "rec-004 of run r is approved by bob")
	require.Equal(t, "[]\n", journalled(t, dir, "approvals", "-o", "json").stdout)
}
