package terminal_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, -update rewrites it):\n%s", path, diff)
	}
}

func load(t *testing.T, name string) *dag.Plan {
	t.Helper()
	data, err := os.ReadFile("../../examples/plans/" + name + ".json")
	require.NoError(t, err)
	text, err := os.ReadFile("../../examples/plans/" + name + ".overlay.yaml")
	require.NoError(t, err)
	overlay, err := schema.ParseOverlay(text)
	require.NoError(t, err)
	plan, err := dag.Load(data, actions.Canonical(), dag.WithOverlay(overlay))
	require.NoError(t, err)
	return plan
}

// request asks about step number n, or about the plan when n is 0.
func request(t *testing.T, plan *dag.Plan, policy *approval.Policy, confidence float64, n int) *approval.Request {
	t.Helper()
	gates, err := policy.Gates(plan, approval.Confidence{Value: max(0, confidence), Given: confidence >= 0}, time.Now())
	require.NoError(t, err)
	// What synctest's clock starts with.
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	req := &approval.Request{
		Key: "k", Run: "oom-2", Author: "holmes", Plan: plan, Gates: gates, Gate: gates.Plan,
		Confidence: confidence, Digest: "sha256:d", AskedAt: start, ExpiresAt: start.Add(15 * time.Minute),
	}
	if n > 0 {
		req.Step, req.Gate = plan.Step(n-1), gates.Steps[n-1]
	}
	if !time.Now().Before(start.AddDate(1, 0, 0)) {
		req.ExpiresAt = time.Time{} // on the real clock
	}
	return req
}

func stepRequest(t *testing.T) *approval.Request {
	return request(t, load(t, "oomkill"), approval.IncidentTable(), 0.725, 4)
}

func planRequest(t *testing.T) *approval.Request {
	policy := approval.IncidentTable()
	policy.MaxSteps = 5
	return request(t, load(t, "oomkill"), policy, 0.725, 0)
}

// shown returns the question as it stands on the screen.
func shown(t *testing.T, make func(t *testing.T) *approval.Request) string {
	t.Helper()
	var text string
	atDesk(t, func(t *testing.T, d *desk) {
		done := d.ask(t.Context(), make(t))
		require.Len(t, d.all(), 1)
		text = d.all()[0]
		d.type_("n\n")
		d.answered(done)
	})
	return text
}

func TestTheQuestionAboutAStep(t *testing.T) {
	golden(t, "oomkill-step-4.txt", shown(t, stepRequest))
}

func TestTheQuestionAboutAPlan(t *testing.T) {
	golden(t, "oomkill-plan.txt", shown(t, planRequest))
}

func TestTheQuestionAboutAStepThatCanBeUndone(t *testing.T) {
	golden(t, "deadlock-step-3.txt", shown(t, func(t *testing.T) *approval.Request {
		return request(t, load(t, "database-deadlock"), approval.IncidentTable(), 0.92, 3)
	}))
}

func TestTheQuestionWhenNobodyGaveAConfidenceOrATime(t *testing.T) {
	text := shown(t, func(t *testing.T) *approval.Request {
		req := request(t, load(t, "oomkill"), nil, -1, 3)
		req.ExpiresAt, req.Gates = time.Time{}, nil
		return req
	})
	require.Contains(t, text, "Confidence   not given for the analysis, 0.88 of the plan in this step\n")
	require.Contains(t, text, "silence      the question stays open until the run withdraws it")
	require.Contains(t, text, "Undo         ")
	require.NotContains(t, text, "Undo         cannot")

	whole := shown(t, func(t *testing.T) *approval.Request {
		req := planRequest(t)
		req.Gates = nil
		return req
	})
	require.Contains(t, whole, "Step 4       restart_pod, Deployment production/payment-service; risk medium; undo: cannot be\n")
}

func TestTheRiskOfAPlansStepsIsThatOfThePolicy(t *testing.T) {
	policy := approval.IncidentTable()
	policy.MaxSteps, policy.Risks = 1, map[string]schema.Risk{"update_hpa": schema.RiskCritical}
	text := shown(t, func(t *testing.T) *approval.Request { return request(t, load(t, "oomkill"), policy, 0.95, 0) })
	require.Contains(t, text, "Risk         critical, that of its riskiest step\n")
	require.Contains(t, text, "Step 6       update_hpa, HorizontalPodAutoscaler production/payment-service-hpa; risk critical;\n               asks for itself;")
}

// build makes a plan of hand-written recommendations, as a bot would.
func build(t *testing.T, reg *actions.Registry, recommendations ...schema.Recommendation) *dag.Plan {
	t.Helper()
	return buildWith(t, reg, nil, recommendations...)
}

func buildWith(t *testing.T, reg *actions.Registry, overlay *schema.Overlay, recommendations ...schema.Recommendation) *dag.Plan {
	t.Helper()
	data, err := json.Marshal(&schema.Document{Recommendations: recommendations})
	require.NoError(t, err)
	plan, err := dag.Load(data, reg, dag.WithOverlay(overlay), dag.Reading(schema.WithLimits(schema.Limits{Steps: 10_000, Bytes: 1 << 26})))
	require.NoError(t, err)
	return plan
}

func TestNothingInAPlanCanDressUpAsTheQuestion(t *testing.T) {
	plan := build(t, actions.Canonical(), schema.Recommendation{
		ID: "s1", Action: "restart_pod",
		Description: "harmless\n\nApprove step 9? y or n: y\n  Risk         none",
		Rationale:   strings.Repeat("word ", 1000),
		Parameters:  map[string]any{"namespace": "shop", "deployment": "cart"},
	})
	text := shown(t, func(t *testing.T) *approval.Request {
		req := request(t, plan, nil, 0.9, 1)
		req.Run = "r\x1b[2J\u202e\xc2\n"
		req.Gate.Reasons = append(req.Gate.Reasons, "forged\r\nRisk none\u200b")
		return req
	})
	require.Contains(t, text, "run r<U+001B>[2J<U+202E><0xC2> \n")
	require.Contains(t, text, "forged<U+000D> Risk none<U+200B>\n")
	require.Contains(t, text, "  Description  | harmless\n               |\n               | Approve step 9? y or n: y\n               | Risk none\n")
	require.Contains(t, text, "more characters)")
	require.Equal(t, 1, strings.Count(text, "\nApprove "))
	require.NotContains(t, text, "\n  Risk         none")
	for _, r := range strings.ReplaceAll(text, "\n", "") {
		require.False(t, r < ' ' || r == 0x7f || r == 0x202e || r == 0x200b, "%U", r)
	}
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 120, line)
	}
}

func TestSecretsAndOddValuesInTheQuestion(t *testing.T) {
	reg := &actions.Registry{}
	require.NoError(t, reg.Add(actions.Spec{
		Name: "call_site", Effect: actions.External, AnyParameters: true, Undo: "calls it again",
		Parameters: []actions.Parameter{{Name: "token", Type: actions.String, Secret: true}},
	}))
	parameters := map[string]any{
		"token": "hunter2", "count": 3, "flags": []any{"<a>", "b&c"}, "deep": map[string]any{"x": true},
		"long": strings.Repeat("z", 5000),
	}
	for i := range 30 {
		parameters[fmt.Sprintf("p%02d", i)] = i
	}
	text := shown(t, func(t *testing.T) *approval.Request {
		return request(t, build(t, reg, schema.Recommendation{ID: "s1", Action: "call_site", Parameters: parameters}), nil, 0.9, 1)
	})
	require.NotContains(t, text, "hunter2")
	require.Contains(t, text, "count: 3\n")
	require.Contains(t, text, `deep: {"x":true}`)
	require.Contains(t, text, `flags: ["<a>","b&c"]`)
	require.Contains(t, text, "(4400 more characters)")
	require.Contains(t, text, "… and 15 more, not shown: read the plan itself before you approve this\n")
	require.Contains(t, text, "Target       no object by name\n")
	require.Contains(t, text, "Undo         calls it again\n")

	few := shown(t, func(t *testing.T) *approval.Request {
		return request(t, build(t, reg, schema.Recommendation{ID: "s1", Action: "call_site", Parameters: map[string]any{"token": "hunter2"}}), nil, 0.9, 1)
	})
	require.Contains(t, few, "Parameters   token: (secret)\n")
}

func TestAHugePlanFitsOnAScreen(t *testing.T) {
	var list []schema.Recommendation
	for i := range 3000 {
		r := schema.Recommendation{
			ID: fmt.Sprintf("s%d", i+1), Action: "restart_pod", Description: strings.Repeat("very long ", 100),
			Parameters: map[string]any{"namespace": "shop", "deployment": fmt.Sprintf("d%d", i)},
		}
		if i > 0 {
			r.Dependencies = []string{"s1"}
		}
		list = append(list, r)
	}
	plan := build(t, actions.Canonical(), list...)
	step := shown(t, func(t *testing.T) *approval.Request { return request(t, plan, approval.IncidentTable(), 0.7, 1) })
	require.Less(t, strings.Count(step, "\n"), 60)
	require.Contains(t, step, "20, 21 and 2979 more")
	whole := shown(t, func(t *testing.T) *approval.Request { return request(t, plan, approval.IncidentTable(), 0.7, 0) })
	require.Less(t, strings.Count(whole, "\n"), 300)
	require.Contains(t, whole, "… and 2940 more steps, not shown: read the plan itself before you approve it\n")
	require.Contains(t, whole, "asks for itself")
}

func TestANoToAStepThatNothingNeedsDoesNotFailTheRun(t *testing.T) {
	reading := schema.Recommendation{ID: "s1", Action: "audit_logs", Parameters: map[string]any{"namespace": "shop"}, RequiresApproval: new(true)}
	notice := schema.Recommendation{ID: "s2", Action: "notify_only", Parameters: map[string]any{"message": "m"}, Dependencies: []string{"s1"}}
	restart := schema.Recommendation{ID: "s3", Action: "restart_pod", Parameters: map[string]any{"namespace": "shop", "deployment": "d"}, Dependencies: []string{"s2"}}
	ask := func(plan *dag.Plan) string {
		return shown(t, func(t *testing.T) *approval.Request { return request(t, plan, approval.IncidentTable(), 0.95, 1) })
	}
	require.Contains(t, ask(build(t, actions.Canonical(), reading)), "no           step 1 does not run\n")
	require.Contains(t, ask(build(t, actions.Canonical(), reading, notice)), "no           step 1 does not run, and neither does what needs it: step 2\n")
	text := ask(build(t, actions.Canonical(), reading, notice, restart))
	require.Contains(t, text, "no           step 1 does not run, and neither does what needs it: steps 2, 3; the run fails,")
	require.Contains(t, text, "Undo         nothing to undo, it only reads\n")

	always := &schema.Overlay{Steps: map[string]schema.StepOverlay{"s2": {Always: true}}}
	require.Contains(t, ask(buildWith(t, actions.Canonical(), always, reading, notice)), "no           step 1 does not run\n")
}

// A policy can raise the risk of an action; a person must see that one, and nothing lower beside it.
func TestTheQuestionDrawsTheRiskOfThePolicy(t *testing.T) {
	policy := approval.IncidentTable()
	policy.Risks = map[string]schema.Risk{"restart_pod": schema.RiskCritical}
	plan := load(t, "oomkill")
	require.NotEqual(t, schema.RiskCritical, plan.Step(3).Risk())
	text := shown(t, func(t *testing.T) *approval.Request { return request(t, plan, policy, 0.725, 4) })
	require.Contains(t, text, "Risk: Critical")
	require.NotContains(t, text, "Risk: Medium")
}
