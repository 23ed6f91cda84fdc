package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestCommandsOnTheFourIncidents(t *testing.T) {
	for _, i := range incidents {
		for name, args := range map[string][]string{
			"validate.txt":   i.with("validate"),
			"validate.json":  i.with("validate", "-o", "json"),
			"graph-box.txt":  i.with("graph"),
			"graph-tree.txt": append(i.with("graph"), "--format", "tree"),
			"plan.txt":       i.with("plan"),
			"plan.json":      i.with("plan", "-o", "json"),
			"simulate.txt":   i.with("simulate", "--approval-after", i.approvalAfter),
			"simulate.json":  i.with("simulate", "--approval-after", i.approvalAfter, "-o", "json"),
			"workflow.yaml":  i.with("workflow", "--name", i.name+"-workflow", "--request", "remediation-"+i.name),
		} {
			t.Run(i.name+"/"+name, func(t *testing.T) { golden(t, i.name+"/"+name, ok(t, args...)) })
		}
	}
}

func TestSeedDrawings(t *testing.T) {
	seed := map[string][]string{
		"testdata/seed-oomkill-box.txt":            incidents[0].with("graph"),
		"testdata/seed-cascading-failure-tree.txt": incidents[1].with("graph", "--format", "tree"),
	}
	for file, args := range seed {
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), ok(t, args...))
	}
}

func TestGraphFormatsForOtherTools(t *testing.T) {
	for format, begin := range map[string]string{"mermaid": "flowchart TD\n", "dot": "digraph", "svg": "<svg "} {
		picture := ok(t, incidents[0].with("graph", "--format", format)...)
		require.True(t, strings.HasPrefix(picture, begin), "%s: %.40q", format, picture)
		require.Contains(t, picture, "restart_pod")
		var out struct{ Format, Drawing string }
		require.NoError(t, json.Unmarshal([]byte(ok(t, incidents[0].with("graph", "--format", format, "-o", "json")...)), &out))
		require.Equal(t, format, out.Format)
		require.Equal(t, picture, out.Drawing)
	}
}

func TestGatesInDrawingsFollowTheConfidence(t *testing.T) {
	file := plans + "cascading-failure.json"
	require.NotContains(t, ok(t, "graph", file, "--confidence", "0.85"), "APPROVAL GATE")
	require.Contains(t, ok(t, "graph", file, "--confidence", "0.7"), "Step 3: rolling_restart_pods (APPROVAL GATE)")
	require.Contains(t, ok(t, "graph", file), "Step 3: rolling_restart_pods (APPROVAL GATE)", "without a confidence the middle row holds")
}

// The ends of the incidents' timelines, also when people are asked at the start of the run.
func TestSimulationsEndToTheSecond(t *testing.T) {
	type simulation struct {
		Status                                                                    string
		MakespanSeconds, WorkSeconds, ApprovalWaitSeconds, ParallelSavingsSeconds float64
	}
	type steps struct {
		Steps []struct{ ApprovalWaitSeconds float64 }
	}
	simulate := func(t *testing.T, i incident, flags ...string) (s simulation) {
		out := ok(t, i.with("simulate", append(flags, "--approval-after", i.approvalAfter, "-o", "json")...)...)
		require.NoError(t, json.Unmarshal([]byte(out), &s))
		var each steps
		require.NoError(t, json.Unmarshal([]byte(out), &each))
		var waits float64
		for _, step := range each.Steps {
			waits += step.ApprovalWaitSeconds
		}
		require.Equal(t, s.ApprovalWaitSeconds, waits, "an answer that came before its step was ready let nothing wait")
		return s
	}
	for _, i := range incidents {
		require.Equal(t, simulation{"succeeded", i.makespan, i.work, i.wait, i.save}, simulate(t, i), i.name)
		require.Equal(t, simulation{"succeeded", i.early, i.work, 0, i.save}, simulate(t, i, "--ask", "early"), i.name)
		require.GreaterOrEqual(t, simulate(t, i, "--max-parallel", "1").MakespanSeconds, i.work, i.name)
		require.Equal(t, i.makespan, simulate(t, i, "--max-parallel", "0").MakespanSeconds, i.name)
	}
}

func TestSimulationOfAnAnswerThatComesTooLate(t *testing.T) {
	r := remedy(t.Context(), nil, incidents[0].with("simulate", "--approval-after", "20m", "-o", "json")...)
	require.Equal(t, exitFailed, r.code)
	require.Empty(t, r.stderr)
	golden(t, "oomkill/simulate-late.json", r.stdout)
}

// A manifest is the same plan: what it says in other words does not count.
func TestEveryCommandReadsAManifest(t *testing.T) {
	for _, i := range incidents {
		manifest := file(t, "manifest.yaml", ok(t, i.with("workflow", "--name", "x")...))
		var back, plan planOutput
		require.NoError(t, json.Unmarshal([]byte(ok(t, "plan", manifest, "--confidence", i.confidence, "-o", "json")), &back))
		require.NoError(t, json.Unmarshal([]byte(ok(t, i.with("plan", "-o", "json")...)), &plan))
		require.Equal(t, plan.Groups, back.Groups)
		for k, s := range plan.Steps {
			b := back.Steps[k]
			require.Equal(t, []any{s.Action, s.Dependencies, s.TimeoutSeconds, s.Target}, []any{b.Action, b.Dependencies, b.TimeoutSeconds, b.Target})
			if s.Gate == "approval" {
				require.Equal(t, "approval", b.Gate)
			}
		}
		for _, command := range []string{"validate", "graph", "simulate"} {
			require.NotEmpty(t, ok(t, command, manifest))
		}
	}
}

func TestWorkflowAsJSONIsTheSameManifest(t *testing.T) {
	args := incidents[0].with("workflow", "--name", "x")
	json := file(t, "manifest.json", ok(t, append(args, "-o", "json")...))
	manifest := file(t, "manifest.yaml", ok(t, args...))
	require.JSONEq(t, ok(t, "plan", manifest, "-o", "json"), ok(t, "plan", json, "-o", "json"))
}

func TestWorkflowNamespace(t *testing.T) {
	require.Contains(t, ok(t, incidents[0].with("workflow", "--name", "x")...), "\n  namespace: production\n")
	require.Contains(t, ok(t, incidents[0].with("workflow", "--name", "x", "--namespace", "incidents")...), "\n  namespace: incidents\n")
}

func TestPatternsAreValidAndRecognised(t *testing.T) {
	files, err := filepath.Glob(plans + "patterns/*.json")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			require.Regexp(t, `^\S+: valid, \d steps\n$`, ok(t, "validate", file))
			require.Regexp(t, `^\S+: valid, \d steps\n$`, ok(t, "validate", file, "--strict"))
			var plan planOutput
			require.NoError(t, json.Unmarshal([]byte(ok(t, "plan", file, "-o", "json")), &plan))
			require.Equal(t, name, string(plan.Pattern))
			golden(t, "patterns/"+name+".box.txt", ok(t, "graph", file, "--confidence", "0.9"))
			golden(t, "patterns/"+name+".tree.txt", ok(t, "graph", file, "--confidence", "0.9", "--format", "tree"))
			golden(t, "patterns/"+name+".timeline.txt", ok(t, "simulate", file, "--confidence", "0.9", "--approval-after", "1m"))
			synctest.Test(t, func(t *testing.T) {
				ok(t, "run", file, "--confidence", "0.9", "--handlers", "simulated", "--approve", "auto")
			})
		})
	}
}

func TestActionsListsTheWholeRegistry(t *testing.T) {
	var specs []struct {
		Name, Category string
		TimeoutSeconds float64
		Parameters     []struct{ Name string }
	}
	require.NoError(t, json.Unmarshal([]byte(ok(t, "actions", "-o", "json")), &specs))
	require.Len(t, specs, 38)
	text := ok(t, "actions")
	at := 0
	for _, s := range specs {
		next := strings.Index(text[at:], "\n  "+s.Name+" ")
		require.GreaterOrEqual(t, next, 0, "%s is missing, or out of order", s.Name)
		at += next
		require.Contains(t, text, "\n"+s.Category+"\n")
		require.Positive(t, s.TimeoutSeconds)

		detail := ok(t, "actions", s.Name)
		require.True(t, strings.HasPrefix(detail, s.Name+"  "))
		for _, p := range s.Parameters {
			require.Contains(t, detail, "\n  "+p.Name+" ", s.Name)
		}
	}
}

func TestActionsExplainsOne(t *testing.T) {
	golden(t, "actions/restart_pod.txt", ok(t, "actions", "restart_pod"))
	golden(t, "actions/notify_only.txt", ok(t, "actions", "notify_only"))
	require.Equal(t, ok(t, "actions", "restart_pod"), ok(t, "actions", "RestartPods"), "an alias in other spelling")
	require.Contains(t, ok(t, "actions", "silence_alerts"), "1m to 24h", "durations are bounded in words")
	require.Contains(t, ok(t, "actions", "increase_resources"), "memoryRequest is not greater than memory")

	var spec struct{ Name, Undo string }
	require.NoError(t, json.Unmarshal([]byte(ok(t, "actions", "cordon_node", "-o", "json")), &spec))
	require.Equal(t, "cordon_node", spec.Name)
	require.NotEmpty(t, spec.Undo)
}

// The contract of the machine outputs: exactly these fields, and lists that are never null.
func TestMachineOutputsKeepTheirFields(t *testing.T) {
	all := ok(t, "validate", plans+"oomkill.json", plans+"alert-storm.json", "-o", "json")
	var validations []map[string]any
	require.NoError(t, json.Unmarshal([]byte(all), &validations))
	require.Len(t, validations, 2)
	for _, v := range validations {
		requireFields(t, v, "file", "valid", "steps", "problems", "repairs")
	}
	requireFields(t, validations[0]["problems"].([]any)[0], "code", "severity", "message", "step", "pointer", "line", "column", "suggestion")
	requireFields(t, validations[1]["repairs"].([]any)[0], "kind", "message", "pointer", "line", "column")
	require.Equal(t, []any{}, validations[1]["problems"])

	var plan map[string]any
	require.NoError(t, json.Unmarshal([]byte(ok(t, incidents[0].with("plan", "-o", "json")...)), &plan))
	requireFields(t, plan, "digest", "strategy", "pattern", "planGate", "groups", "parallelGroups", "totalSteps", "steps")
	step := plan["steps"].([]any)[0]
	requireFields(t, step, "number", "id", "action", "dependencies", "group", "risk", "gate", "gateReasons", "timeoutSeconds",
		"reversible", "mutating", "target")
	require.Equal(t, []any{}, step.(map[string]any)["dependencies"])
	require.Equal(t, []any{}, step.(map[string]any)["gateReasons"])

	var sim map[string]any
	require.NoError(t, json.Unmarshal([]byte(ok(t, incidents[0].with("simulate", "-o", "json")...)), &sim))
	requireFields(t, sim, "status", "makespanSeconds", "workSeconds", "approvalWaitSeconds", "criticalPath",
		"parallelSavingsSeconds", "steps", "rollback")
	requireFields(t, sim["steps"].([]any)[0], "id", "number", "status", "reason", "startSeconds", "endSeconds",
		"approvalWaitSeconds", "attempts")
	require.Equal(t, []any{}, sim["rollback"])
}

func requireFields(t *testing.T, object any, want ...string) {
	t.Helper()
	var got []string
	for name := range object.(map[string]any) {
		got = append(got, name)
	}
	require.ElementsMatch(t, want, got)
}

func TestOutputFlagStandsAnywhere(t *testing.T) {
	file := plans + "oomkill.json"
	want := ok(t, "plan", file, "-o", "json")
	for _, args := range [][]string{{"-o", "json", "plan", file}, {"plan", "-o", "json", file}, {"plan", "--output=json", file}} {
		require.Equal(t, want, ok(t, args...))
	}
}

func TestStandardInputIsAFile(t *testing.T) {
	data, err := os.ReadFile(plans + "oomkill.json")
	require.NoError(t, err)
	r := remedy(t.Context(), bytes.NewReader(data), "plan", "-", "-o", "json")
	require.Equal(t, exitOK, r.code)
	require.Equal(t, ok(t, "plan", plans+"oomkill.json", "-o", "json"), r.stdout)
}

func TestEveryHelpTextHasAnExample(t *testing.T) {
	for _, command := range []string{"validate", "graph", "plan", "simulate", "run", "workflow", "actions"} {
		help := ok(t, command, "--help")
		require.Contains(t, help, "Examples:\n  remedy "+command, command)
		require.Equal(t, help, ok(t, "help", command))
	}
	require.Contains(t, ok(t), "Examples:\n  remedy ", "no arguments at all: help")
}

func TestNothingIsColouredElsewhereThanOnATerminal(t *testing.T) {
	for _, args := range [][]string{incidents[0].with("plan"), incidents[0].with("validate"), {"actions"}, {"actions", "drain_node"}} {
		require.False(t, slices.Contains([]byte(ok(t, args...)), 0x1b), "%v", args)
	}
}

func TestAGraphShowsTheRiskThatThePolicySees(t *testing.T) {
	policy := file(t, "policy.yaml", "table: [{confidence: 0.6, ask: high}]\nrisks: {scale_deployment: high}")
	box := ok(t, "graph", plans+"cascading-failure.json", "--policy", policy, "--confidence", "0.85")
	require.Contains(t, box, "Step 4: scale_deployment (APPROVAL GATE)")
	require.Contains(t, box, "Risk: High")
}

func TestAManifestAsksWhereItsDocumentWouldAtAnyConfidence(t *testing.T) {
	plan := file(t, "plan.json", `{"recommendations":[{"id":"a","action":"increase_resources","risk":"medium",
		"parameters":{"namespace":"shop","deployment":"web","memory":"1Gi"}}]}`)
	manifest := file(t, "plan.yaml", ok(t, "workflow", plan, "--name", "x", "--confidence", "0.95"))
	for _, read := range []string{plan, manifest} {
		require.Contains(t, ok(t, "plan", read, "-o", "json"), `"gate": "approval"`)
	}
}
