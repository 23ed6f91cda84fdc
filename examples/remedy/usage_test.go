package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWrongUsageExitsWithTwoAndOneLine(t *testing.T) {
	plan := plans + "oomkill.json"
	dir := t.TempDir()
	for _, test := range []struct {
		args string
		want string
	}{
		{"bogus", `unknown command "bogus"; see "remedy --help"`},
		{"valdiate x", "did you mean validate?"},
		{"help bogus", `unknown command "bogus"`},
		{"--bogus", "unknown flag: --bogus"},
		{"plan --bogus " + plan, `unknown flag: --bogus; see "remedy plan --help"`},
		{"validate", "give at least one FILE"},
		{"validate - -", "standard input can be read only once"},
		{"plan", `give one FILE ("-" for standard input), not 0`},
		{"graph a b", "not 2"},
		{"plan -o yaml " + plan, "the outputs are text and json"},
		{"plan -o", "flag needs an argument"},
		{"plan missing.json", "cannot read missing.json: no such file or directory"},
		{"plan " + dir, "is a directory, not a file"},
		{"plan --confidence 1.1 " + plan, "a confidence is a number from 0 to 1"},
		{"plan --confidence -0.1 " + plan, "a confidence is a number from 0 to 1"},
		{"plan --confidence NaN " + plan, "a confidence is a number from 0 to 1"},
		{"plan --confidence high " + plan, "a confidence is a number from 0 to 1"},
		{"validate --max-steps 0 " + plan, "are at least 1"},
		{"validate --max-bytes -1 " + plan, "are at least 1"},
		{"validate --namespace No_Label " + plan, "No_Label"},
		{"plan --overlay missing.yaml " + plan, "cannot read missing.yaml"},
		{"plan --overlay " + dir + " " + plan, "is a directory"},
		{"plan --overlay " + file(t, "o.yaml", "steps: {rec-099: {name: x}}") + " " + plan, "rec-099"},
		{"plan --overlay " + file(t, "o.yaml", "actions: {bogus: {timeout: 1m}}") + " " + plan, "bogus"},
		{"plan --overlay " + file(t, "o.yaml", "steps:\n  rec-001: {nmae: x}") + " " + plan, "2:13"},
		{"plan --overlay " + file(t, "o.yaml", strings.Repeat("#", maxSettings+1)) + " " + plan, "is longer than"},
		{"plan --policy missing.yaml " + plan, "cannot read missing.yaml"},
		{"plan --policy " + file(t, "p.yaml", "tabel: []") + " " + plan, "tabel"},
		{"graph --format png " + plan, "the formats are box, tree, mermaid, dot and svg"},
		{"simulate --ask never " + plan, "it is ready or early"},
		{"simulate --approval-after -1s " + plan, "not negative"},
		{"simulate --approval-after soon " + plan, "invalid duration"},
		{"simulate --max-parallel -1 " + plan, "at least 0"},
		{"workflow " + plan, "--name is required"},
		{"workflow --name No_Name " + plan, "not the name of a Kubernetes object"},
		{"workflow --name x --request No_Name " + plan, "not the name of a Kubernetes object"},
		{"actions a b", "not 2"},
		{"policy bogus", `unknown command "policy bogus"; see "remedy policy --help"`},
		{"policy tset x", "did you mean test?"},
		{"policy test", "give at least one FILE"},
		{"plan --policy " + file(t, "p.yaml", "rules: [{name: x, require: true, when: step.acton == 'x'}]") + " " + plan, "character 5: undefined field 'acton' (did you mean action?)"},
		{"actions restart_pid", "did you mean restart_pod"},
		{"run " + plan, "--handlers is required; available are simulated and kube"},
		{"run --handlers cloud " + plan, "--handlers cloud: available are simulated and kube"},
		{"run --handlers simulated --approve phone " + plan, "it is terminal, auto or deny"},
		{"run --handlers simulated --approve web,web " + plan, "it is terminal, auto or deny"},
		{"run --handlers simulated --approve web,auto " + plan, "it is terminal, auto or deny"},
		{"run --handlers simulated --approve terminal -", "where the plan comes from"},
		{"run --handlers simulated --ask never " + plan, "it is ready or early"},
		{"run --handlers simulated --time-scale 0 " + plan, "above 0"},
		{"run --handlers simulated --time-scale -1 " + plan, "above 0"},
		{"run --handlers simulated --time-scale NaN " + plan, "above 0"},
		{"run --handlers simulated --time-scale Inf " + plan, "above 0"},
		{"run --handlers simulated --id a/b " + plan, "a/b"},
	} {
		r := remedy(t.Context(), strings.NewReader(""), strings.Fields(test.args)...)
		require.Equal(t, exitUsage, r.code, "%s\n%s", test.args, r.stdout)
		require.Empty(t, r.stdout, test.args)
		require.Contains(t, r.stderr, test.want, test.args)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), "%s\n%s", test.args, r.stderr)
		require.True(t, strings.HasPrefix(r.stderr, "remedy"), r.stderr)
	}
}

// Whatever is handed over as a plan, the answer is a position, a code and exit 1.
func TestBadPlansAreRefusedWithAPosition(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"empty":     {"", ":1:1: error: invalid-json: "},
		"blank":     {" \n\t ", ":1:1: error: invalid-json: "},
		"binary":    {"\x7fELF\x02\x01\x01\x00\x00", ": error: invalid-json: "},
		"not utf-8": {"{\"recommendations\":[\xff]}", ": error: invalid-json: "},
		"truncated": {`{"recommendations":[{"id":"a"`, ": error: truncated: "},
		"deep":      {strings.Repeat("[", 100_000), ": error: limit-exceeded: "},
		"steps":     {`{"recommendations":[` + strings.Repeat("{},", 300_000) + `{}]}`, ": error: limit-exceeded: "},
		"control":   {"{\"recommendations\":[{\"id\":\"a\\u001b[2J\",\"action\":\"health_check\"}]}", ": error: forbidden-character: "},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "plan.json", test.content)
			r := remedy(t.Context(), nil, "validate", path)
			require.Equal(t, exitFailed, r.code)
			require.Empty(t, r.stderr)
			require.Contains(t, r.stdout, test.want)
			require.Regexp(t, `^\S+plan.json:\d+:\d+: `, r.stdout)
			requirePrintable(t, r.stdout)

			r = remedy(t.Context(), nil, "plan", path)
			require.Equal(t, exitFailed, r.code)
			require.Empty(t, r.stdout)
			require.Contains(t, r.stderr, test.want)
			require.Contains(t, r.stderr, "plan.json is not a valid plan")
		})
	}
}

// An endless is a file without an end that counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestReadingStopsAtTheLimit(t *testing.T) {
	var input endless
	r := remedy(t.Context(), &input, "validate", "-", "--max-bytes", "5000")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stdout, "-:1:1: error: limit-exceeded: ")
	require.Equal(t, 5001, input.read)
}

func TestAHundredMegabytesAreNotLoaded(t *testing.T) {
	path := file(t, "big.json", "")
	require.NoError(t, os.Truncate(path, 100_000_000))
	r := remedy(t.Context(), nil, "validate", path)
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stdout, "big.json:1:1: error: limit-exceeded: ")
}

func TestAMillionSteps(t *testing.T) {
	path := file(t, "million.json", `{"recommendations":[`+strings.Repeat("{},", 1_000_000)+`{}]}`)
	r := remedy(t.Context(), nil, "validate", path, "--max-bytes", "100000000")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stdout, "limit-exceeded: the document has more than the 256 steps allowed")
}

func TestLimitsCanBeRaisedAndLowered(t *testing.T) {
	plan := plans + "oomkill.json"
	require.Contains(t, remedy(t.Context(), nil, "validate", plan, "--max-steps", "6").stdout, "limit-exceeded")
	require.Contains(t, remedy(t.Context(), nil, "validate", plan, "--max-bytes", "100").stdout, "limit-exceeded")
	ok(t, "validate", plan, "--max-steps", "7")
}

func TestOneUnreadableFileDoesNotHideTheOthers(t *testing.T) {
	broken := file(t, "broken.json", "{}")
	good := plans + "database-deadlock.json"
	r := remedy(t.Context(), nil, "validate", "missing.json", broken, good)
	require.Equal(t, exitUsage, r.code)
	require.Equal(t, "remedy validate: cannot read missing.json: no such file or directory\n", r.stderr)
	require.Contains(t, r.stdout, broken+":1:1: error: missing-field: ")
	require.True(t, strings.HasSuffix(r.stdout, good+": valid, 6 steps\n"))

	r = remedy(t.Context(), nil, "validate", "missing.json", broken, good, "-o", "json")
	require.Equal(t, exitUsage, r.code)
	var all []validation
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &all))
	require.Len(t, all, 2)
	require.Equal(t, []any{broken, false, good, true}, []any{all[0].File, all[0].Valid, all[1].File, all[1].Valid})
}

func TestStrictRefusesRepairs(t *testing.T) {
	r := remedy(t.Context(), nil, "validate", plans+"alert-storm.json", "--strict")
	require.Equal(t, exitFailed, r.code)
	require.Equal(t, 3, strings.Count(r.stdout, ": error: "), r.stdout)
	require.Equal(t, exitFailed, remedy(t.Context(), nil, "run", "--handlers", "simulated", plans+"alert-storm.json", "--strict").code)
}

func TestANamespaceOfTheCallerIsNoRepair(t *testing.T) {
	out := ok(t, "validate", plans+"cascading-failure.json", "--namespace", "production", "--strict")
	require.Equal(t, plans+"cascading-failure.json: valid, 9 steps\n", out)
}

func TestConfidencePlaysNoPartInValidation(t *testing.T) {
	ok(t, "validate", plans+"database-deadlock.json", "--confidence", "0.1")
}

func TestLowConfidenceIsRefusedUnlessTheCallerSaysOtherwise(t *testing.T) {
	for _, command := range []string{"plan", "graph", "simulate", "workflow --name x", "run --handlers simulated"} {
		args := append(strings.Fields(command), plans+"oomkill.json", "--confidence", "0.5")
		r := remedy(t.Context(), nil, args...)
		require.Equal(t, exitFailed, r.code, command)
		require.Empty(t, r.stdout, command)
		require.Contains(t, r.stderr, "confidence is too low: it is 0.50")
		require.Contains(t, r.stderr, "(--allow-low-confidence)")
	}
	var plan planOutput
	require.NoError(t, json.Unmarshal([]byte(ok(t, "plan", plans+"oomkill.json", "--confidence", "0.5", "--allow-low-confidence", "-o", "json")), &plan))
	for _, s := range plan.Steps {
		require.Equal(t, gateWord(s.Mutating), s.Gate, s.ID)
	}
}

func TestAPolicyGatesAndProtects(t *testing.T) {
	policy := file(t, "policy.yaml", "risks: {scale_deployment: critical}\ntable: [{confidence: 0.5, ask: critical}]\nmaxSteps: 3\n")
	var plan planOutput
	require.NoError(t, json.Unmarshal([]byte(ok(t, "plan", plans+"cascading-failure.json", "--policy", policy, "--confidence", "0.55", "-o", "json")), &plan))
	require.Equal(t, "approval", plan.PlanGate)
	for _, s := range plan.Steps {
		require.Equal(t, gateWord(s.Action == "scale_deployment"), s.Gate, s.ID)
	}
	text := ok(t, "plan", plans+"cascading-failure.json", "--policy", policy, "--confidence", "0.55")
	require.Contains(t, text, "\n  the whole plan: ")

	protect := file(t, "policy.yaml", "protectedNamespaces: [production]\n")
	r := remedy(t.Context(), nil, "validate", plans+"oomkill.json", "--policy", protect)
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stdout, "error: invalid-parameter: ")

	dns := file(t, "dns.json", `{"recommendations":[{"id":"a","action":"restart_network","parameters":{"component":"coredns","namespace":"kube-system"}}]}`)
	require.Equal(t, exitFailed, remedy(t.Context(), nil, "validate", dns).code)
	ok(t, "validate", dns, "--policy", file(t, "policy.yaml", "components: [coredns]\n"))
}

func TestNamesOfFilesCannotSpeakToTheTerminal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x\x1b[2J\u202e.json")
	require.NoError(t, os.WriteFile(path, []byte("{}"), 0o600))
	for _, command := range []string{"validate", "plan"} {
		r := remedy(t.Context(), nil, command, path)
		requirePrintable(t, r.stdout+r.stderr)
		require.Contains(t, r.stdout+r.stderr, "x\ufffd[2J\ufffd.json")
	}
	requirePrintable(t, remedy(t.Context(), nil, "validate", "no\x1bsuch").stderr)
	requirePrintable(t, remedy(t.Context(), nil, "bo\x1bgus").stderr)
	requirePrintable(t, remedy(t.Context(), nil, "plan", "--bo\x1bgus").stderr)
}

func requirePrintable(t *testing.T, s string) {
	t.Helper()
	require.Equal(t, printableLines(s), s)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAFullDiskIsNoticed(t *testing.T) {
	for _, args := range [][]string{{"plan"}, {"plan", "-o", "json"}, {"graph"}, {"simulate"}, {"workflow", "--name", "x"}, {"validate"}} {
		var stderr strings.Builder
		code := run(t.Context(), append(args, plans+"oomkill.json"), nil, full{}, &stderr)
		require.Equal(t, exitUsage, code, args)
		require.Contains(t, stderr.String(), "no space left on device", args)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("device not ready") }

func TestAnInputThatCannotBeRead(t *testing.T) {
	r := remedy(t.Context(), broken{}, "plan", "-")
	require.Equal(t, exitUsage, r.code)
	require.Equal(t, "remedy plan: cannot read standard input: device not ready\n", r.stderr)
}

func TestInterruptedWhileItWaitsForInput(t *testing.T) {
	in, w := io.Pipe()
	defer w.Close()
	for _, command := range []string{"plan", "validate"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		r := remedy(ctx, in, command, "-")
		cancel()
		require.Equal(t, exitInterrupted, r.code)
		require.Equal(t, "remedy "+command+": interrupted\n", r.stderr)
	}
}
