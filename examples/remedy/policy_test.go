package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePolicyOfTheExamplesDoesWhatItsCasesSay(t *testing.T) {
	out := ok(t, "policy", "test", plans+"policy.cases.yaml")
	require.Equal(t, 9, strings.Count(out, "ok    "+plans+"policy.cases.yaml: "), out)
	require.Equal(t, 9, strings.Count(out, "\n"), out)

	var all []caseOutput
	require.NoError(t, json.Unmarshal([]byte(ok(t, "policy", "test", plans+"policy.cases.yaml", "-o", "json")), &all))
	require.Len(t, all, 9)
	require.Equal(t, caseOutput{File: plans + "policy.cases.yaml", Case: "eight replicas take two of the sre group", OK: true, Differences: []difference{}}, all[0])
}

// cases writes a file of cases about the policy and the plans of the examples.
func cases(t *testing.T, content string) string {
	t.Helper()
	here, err := filepath.Abs(plans)
	require.NoError(t, err)
	return file(t, "cases.yaml", strings.ReplaceAll(content, "PLANS", here))
}

func TestACaseThatFailsSaysWhatDiffered(t *testing.T) {
	path := cases(t, `policy: PLANS/policy.yaml
cases:
  - name: all of it
    plan: PLANS/cascading-failure.json
    confidence: 0.85
    expect:
      planGate: approval
      steps:
        rec-004: {gate: none, risk: high, reason: because, rules: [nights], quorum: 3, approvers: [ann], timeout: 5m}
        rec-001: {gate: approval, quorum: 1, approvers: [anybody], timeout: 15m, rules: []}
  - name: refused for another reason
    plan: PLANS/cascading-failure.json
    confidence: 0.7
    expect: {refused: too many nodes}
  - name: refused, and should not be
    plan: PLANS/cascading-failure.json
    confidence: 0.7
    expect: {planGate: none}
  - name: not refused, and should be
    plan: PLANS/oomkill.json
    expect: {refused: freeze}
  - name: no plan
    plan: {recommendations: [{id: a, action: bogus}]}
    expect: {planGate: none}
  - name: refused by its problems
    plan: {recommendations: [{id: a, action: bogus}]}
    expect: {refused: unknown-action}
  - name: as expected
    plan: PLANS/oomkill.json
    expect: {planGate: none}
`)
	r := remedy(t.Context(), nil, "policy", "test", path)
	require.Equal(t, exitFailed, r.code)
	require.Empty(t, r.stderr)
	want := `FAIL  FILE: all of it
      planGate: expected approval, got none
      rec-001: gate: expected approval, got none
      rec-001: quorum: expected 1, got 0
      rec-001: approvers: expected anybody, got -
      rec-001: timeout: expected 15m, got -
      rec-004: gate: expected none, got approval
      rec-004: risk: expected high, got low
      rec-004: reason: expected because, got rule large scale-ups: it takes 2 of ann, bob, carol,
        group sre; after 5m also dora, emil, group leads
      rec-004: rules: expected nights, got large scale-ups
      rec-004: quorum: expected 3, got 2
      rec-004: approvers: expected ann, got ann, bob, carol, group sre
      rec-004: timeout: expected 5m, got 10m
FAIL  FILE: refused for another reason
      refused: expected too many nodes, got approval: the policy forbids it: rule unsure and
        sweeping: investigate further, or split the plan
FAIL  FILE: refused, and should not be
      refused: expected -, got approval: the policy forbids it: rule unsure and sweeping:
        investigate further, or split the plan
FAIL  FILE: not refused, and should be
      refused: expected freeze, got -
FAIL  FILE: no plan
      refused: expected -, got line 1: unknown-action: `
	out := strings.ReplaceAll(r.stdout, path, "FILE")
	require.True(t, strings.HasPrefix(out, want), out)
	require.True(t, strings.HasSuffix(out, "\nok    FILE: refused by its problems\nok    FILE: as expected\n"), out)

	r = remedy(t.Context(), nil, "policy", "test", path, "-o", "json")
	require.Equal(t, exitFailed, r.code)
	var all []caseOutput
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &all))
	require.Len(t, all, 7)
	require.Contains(t, all[0].Differences, difference{Step: "rec-004", Field: "quorum", Expected: "3", Got: "2"})
	require.Equal(t, []difference{{Field: "refused", Expected: "freeze"}}, all[3].Differences)
}

func TestAFileOfCasesThatCannotBeTriedIsNamedWithItsLine(t *testing.T) {
	const head = "policy: PLANS/policy.yaml\ncases:\n"
	const oom = "  - name: x\n    plan: PLANS/oomkill.json\n"
	for content, want := range map[string]string{
		"":                                    "policy is required",
		"policy: PLANS/policy.yaml\n":         "there are no cases",
		"cases: []":                           "policy is required",
		"polcy: x":                            `line 1: unknown field "polcy"`,
		head + oom + "    expcet: {}\n":       `line 5: unknown field "expcet"`,
		head + oom + "    expect: {stps: 1}":  `line 5: unknown field "stps"`,
		head + oom:                            "line 3: cases[0]: expect is required",
		head + "  - plan: x":                  "line 3: cases[0]: name is required",
		head + "  - name: x":                  "line 3: cases[0]: plan is required",
		head + oom + "    confidence: 2\n":    "line 3: cases[0]: confidence is 2; it is a number from 0 to 1",
		head + oom + "    confidence: high\n": "line 5: ",
		head + oom + "    at: noon\n":         "line 5: ",
		head + oom + "    expect: {planGate: aproval}\n":                    `line 3: cases[0]: planGate is "aproval"; it is none or approval`,
		head + oom + "    expect: {steps: {rec-001: {gate: yes}}}\n":        `line 3: cases[0]: steps.rec-001.gate is "yes"`,
		head + oom + "    expect: {steps: {rec-001: {}}}\n":                 "line 3: cases[0]: steps.rec-001 expects nothing",
		head + oom + "    expect: {steps: {rec-001: {risk: huge}}}\n":       "huge",
		head + oom + "    expect: {steps: {rec-001: {timeout: soon}}}\n":    "line 5: ",
		head + oom + "    expect: {steps: {rec-099: {gate: none}}}\n":       `line 3: case "x": the plan has no step "rec-099"`,
		head + oom + "    expect: {refused: x, planGate: none}\n":           "a plan that is refused has no gates to expect",
		head + "  - {name: x, plan: missing.json, expect: {refused: x}}\n":  "cannot read",
		"policy: missing.yaml\ncases:\n" + oom + "    expect: {refused: x}": "cannot read",
	} {
		path := cases(t, content)
		r := remedy(t.Context(), nil, "policy", "test", path)
		require.Equal(t, exitUsage, r.code, content)
		require.Empty(t, r.stdout, content)
		require.True(t, strings.HasPrefix(r.stderr, "remedy policy test: "+path+": "), r.stderr)
		require.Contains(t, r.stderr, want, content)
	}
	// The policy's own faults are shown where they are, and other files are tried all the same.
	bad := cases(t, "policy: bad.yaml\ncases:\n"+oom+"    expect: {planGate: none}\n")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(bad), "bad.yaml"), []byte("rules:\n- name: x\n  require: true\n  when: |\n    step.mutating &&\n    step.acton == 'x'\n"), 0o600))
	r := remedy(t.Context(), nil, "policy", "test", bad, plans+"policy.cases.yaml")
	require.Equal(t, exitUsage, r.code)
	require.Contains(t, r.stderr, "bad.yaml: approval: policy: line 6: rules[0].when: character 5: undefined field 'acton' (did you mean action?)")
	require.Equal(t, 9, strings.Count(r.stdout, "ok  "))
}

func TestPlanNamesTheRuleBehindAGateAndWhoDecides(t *testing.T) {
	policy := file(t, "policy.yaml", `
table: [{confidence: 0.5, ask: critical}]
approvers: {people: [carol]}
rules:
  - {name: scale, when: step.action == "scale_deployment", quorum: 2, approvers: {people: [ann, bob]}, timeout: 5m}
  - {name: sweeping, when: plan.mutating > 3, plan: true, require: true}
`)
	args := []string{"plan", plans + "cascading-failure.json", "--policy", policy, "--confidence", "0.85"}
	_, gates, found := strings.Cut(ok(t, args...), "\nGates\n")
	require.True(t, found)
	gates, _, _ = strings.Cut(gates, "\n\n")
	require.Equal(t, `  the whole plan: rule sweeping
  the whole plan: the policy takes 1 of carol
  step 4 (rec-004 scale_deployment): rule scale: it takes 2 of ann, bob
  step 4 (rec-004 scale_deployment): the policy takes 1 of carol; no answer within 5m is a no`, gates)

	var plan planOutput
	require.NoError(t, json.Unmarshal([]byte(ok(t, append(args, "-o", "json")...)), &plan))
	require.Equal(t, []string{"rule scale: it takes 2 of ann, bob"}, plan.Steps[3].GateReasons)
}

func TestARunUnderRulesIsShownAndGoesOn(t *testing.T) {
	policy := file(t, "policy.yaml", "table: [{confidence: 0.5, ask: never}]\nrules: [{name: pods, when: step.action == \"restart_pod\", require: true}]")
	dir := t.TempDir()
	r := remedy(t.Context(), nil, "run", plans+"oomkill.json", "--policy", policy, "--handlers", "simulated", "--time-scale", "0.0001", "--id", "r", "--journal", dir)
	require.Equal(t, exitParked, r.code, "%s%s", r.stdout, r.stderr)
	require.Contains(t, journalled(t, dir, "show", "r").stdout, "step 4 (rec-004 restart_pod) waits for approval: rule pods")
	require.Equal(t, exitOK, journalled(t, dir, "approve", "r", "rec-004", "--by", "ann").code)
	on := journalled(t, dir, "resume", "r", "--handlers", "simulated", "--time-scale", "0.0001")
	require.Equal(t, exitOK, on.code, "%s%s", on.stdout, on.stderr)
}
