package dag_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

var newArchive = flag.Bool("new-archive", false, "write testdata/archive-1.json; only before format 1 is released")

// requireRestored restores a plan and compares everything that a run of it, or a drawing, depends on.
func requireRestored(t require.TestingT, p *dag.Plan, reg *actions.Registry) {
	data, err := p.Archive()
	require.NoError(t, err)
	require.NoError(t, p.Matches(data))
	back, err := dag.Restore(data, reg)
	require.NoError(t, err, string(data))
	require.Equal(t, p.Digest(), back.Digest())
	require.Equal(t, p.Writers(), back.Writers())
	require.Equal(t, p.DataEdges(), back.DataEdges())
	require.Equal(t, p.Ranks(), back.Ranks())
	require.Equal(t, p.Groups(), back.Groups())
	require.Equal(t, p.ApprovalRequired(), back.ApprovalRequired())
	require.Equal(t, p.Estimate(), back.Estimate())
	require.Equal(t, p.Warnings(), back.Warnings())
	rate, rated := p.SuccessRate()
	rate2, rated2 := back.SuccessRate()
	require.Equal(t, []any{rate, rated}, []any{rate2, rated2})
	for i := range p.Len() {
		require.Equal(t, p.StepDigest(i), back.StepDigest(i))
		require.Equal(t, p.Step(i).Task(), back.Step(i).Task())
		require.Equal(t, facts(p.Step(i)), facts(back.Step(i)))
	}
	for _, c := range []approval.Confidence{{}, {Given: true, Value: 0.95}, {Given: true, Value: 0.7}} {
		gates, err := approval.IncidentTable().Gates(p, c, time.Now())
		gates2, err2 := approval.IncidentTable().Gates(back, c, time.Now())
		require.Equal(t, err, err2)
		require.Equal(t, gates, gates2)
	}
	again, err := back.Archive()
	require.NoError(t, err)
	require.Equal(t, string(data), string(again))
}

func facts(s *dag.Step) []any {
	c, ok := s.Confidence()
	return []any{
		s.Risk(), s.RiskReasons(), s.RequiresApproval(), c, ok, s.Gate(), s.Timeout(), s.Duration(), s.Always(), s.ContinueOnFailure(), s.Name(),
		s.Label(), s.Note(), s.Rationale(), s.Artifact(), s.Target(), s.Dependencies(), s.Action(), s.Mutating(), s.Reversible(),
	}
}

func TestArchive_of_every_example_is_restored(t *testing.T) {
	reg := actions.Canonical()
	for _, tt := range incidents {
		for _, laid := range []bool{false, true} {
			p := incident(t, tt.name, laid)
			requireRestored(t, p, reg)
			requireRestored(t, load(t, string(p.Manifest("m", "", "", nil).YAML())), reg)
		}
	}
	for _, pattern := range []string{plansDir + "/patterns/*.json", plansDir + "/*.workflowexecution.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			requireRestored(t, load(t, string(read(t, file))), reg)
		}
	}
}

func TestArchive_keeps_what_only_the_reader_or_the_caller_knew(t *testing.T) {
	const text = `{"recommendations": [
	  {"id": "a", "action": "collect_diagnostics", "parameters": {"ns": "shop", "limit": 5}, "colour": "red", "confidence": 0.5},
	  {"id": "b", "action": "scale_deployment", "targetResource": {"kind": "Deployment", "name": "web"}, "parameters": {"replicas": 3},
	   "dependencies": ["a", "a"], "timeout": "20m", "description": "<b>\u2028é", "name": "Scale <it>"},
	  {"id": "c", "action": "restart_network", "parameters": {"component": "coredns", "namespace": "dns"}},
	  {"id": "d", "action": "scale_deployment", "parameters": {"deployment": "web", "replicas": 4}, "requiresApproval": false},
	  {"id": "e", "action": "notify_only", "parameters": {"message": "m", "n": [1, 1e3, 0.1, 1e300, 9007199254740993, null, {"x": []}]}}
	], "estimatedDuration": "4-5 minutes", "historicalSuccessRate": 0.5}`
	overlay := &schema.Overlay{Steps: map[string]schema.StepOverlay{
		"a": {Name: "Look", Label: "look", Note: "twice", Always: true, Timeout: time.Hour, Duration: 90 * time.Minute},
		"d": {ContinueOnFailure: true, Duration: time.Nanosecond},
	}}
	p := load(t, text, dag.WithOverlay(overlay), dag.Protect("dns", "bank"), dag.AllowComponents("coredns"), dag.Namespace("mall"))
	require.Equal(t, []string{"a timeout-too-short", "a unknown-field", "a unknown-parameter", "b invalid-value", "d write-conflict"}, sortedCodes(p), "each found by another part")
	require.Equal(t, []string{"high: the document asks for a time-out of 20m, longer than the registry's 5m"}, p.Step(1).RiskReasons())
	requireRestored(t, p, actions.Canonical())

	var w schema.WorkflowExecution
	w.Spec.ExecutionStrategy.ApprovalRequired = true
	p, err := dag.Build(&schema.Document{Workflow: &w, Recommendations: []schema.Recommendation{
		{ID: "1", Action: "collect_diagnostics", Parameters: map[string]any{"namespace": "shop"}},
		{ID: "2", Action: "notify_only", Dependencies: []string{"1"}, Parameters: map[string]any{"attachments": []string{"diagnostics_step-1"}, "n": uint64(1<<64 - 1)}},
	}}, actions.Canonical())
	require.NoError(t, err)
	require.Len(t, p.Warnings(), 1, "it wishes for no dry run")
	require.Equal(t, "diagnostics_step-1", p.Step(0).Artifact())
	require.Len(t, p.DataEdges(), 1)
	requireRestored(t, p, actions.Canonical())
}

func sortedCodes(p *dag.Plan) []string { return slices.Sorted(slices.Values(codes(p.Warnings()))) }

func TestArchive_of_any_plan_is_restored(t *testing.T) {
	reg := actions.Canonical()
	rapid.Check(t, func(t *rapid.T) {
		doc := drawPlan(t, 10)
		overlay := &schema.Overlay{Steps: map[string]schema.StepOverlay{}, Actions: map[string]schema.ActionOverlay{}}
		text := rapid.StringMatching(`[ -~é]{0,9}`)
		span := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.IntRange(0, 1e10).Draw(t, "span")) })
		kinds := map[string]string{}
		for i := range doc.Recommendations {
			rec := &doc.Recommendations[i]
			rec.Description, rec.Rationale, rec.Name = text.Draw(t, "description"), text.Draw(t, "rationale"), text.Draw(t, "name")
			if rapid.Bool().Draw(t, "confident") {
				rec.Confidence = new(rapid.Float64Range(0, 1).Draw(t, "confidence"))
			}
			if rec.Action == "collect_diagnostics" {
				kinds[rec.ID] = rec.Parameters["type"].(string)
			}
			for _, on := range rec.Dependencies {
				if kind, ok := kinds[on]; ok && rec.Action == "notify_only" {
					rec.Parameters["attachments"] = []any{kind + "_" + on, "https://example.com"}
				}
			}
			if rapid.Bool().Draw(t, "laid") {
				overlay.Steps[rec.ID] = schema.StepOverlay{
					Name: text.Draw(t, "title"), Label: text.Draw(t, "label"), Note: text.Draw(t, "note"), Timeout: span.Draw(t, "timeout"),
					Duration: span.Draw(t, "duration"), ContinueOnFailure: rapid.Bool().Draw(t, "continues"), Always: rapid.Bool().Draw(t, "always"),
				}
			}
		}
		overlay.Actions["notify_only"] = schema.ActionOverlay{Timeout: span.Draw(t, "timeout"), Duration: span.Draw(t, "duration")}
		if rapid.Bool().Draw(t, "manifest") {
			doc.Workflow = &schema.WorkflowExecution{}
			doc.Workflow.Spec.ExecutionStrategy.ApprovalRequired = rapid.Bool().Draw(t, "approval")
		}
		p, err := dag.Build(doc, reg, dag.Namespace("shop"), dag.WithOverlay(overlay))
		require.NoError(t, err)
		requireRestored(t, p, reg)
	})
}

func archived(t *testing.T, p *dag.Plan) []byte {
	t.Helper()
	data, err := p.Archive()
	require.NoError(t, err)
	return data
}

const compared = `{"recommendations": [
  {"id": "a", "action": "scale_deployment", "parameters": {"namespace": "shop", "deployment": "web", "replicas": 3}},
  {"id": "b", "action": "patch_config_map", "parameters": {"namespace": "shop", "configMap": "c", "patch": {"LEVEL": "debug", "SIZE": "1"}}},
  {"id": "c", "action": "notify_only", "dependencies": ["a"], "parameters": {"message": "done"}}]}`

func TestMatches_has_a_line_for_each_part_that_differs(t *testing.T) {
	data := archived(t, load(t, compared))
	long := strings.Repeat("x", 200)
	for _, tt := range []struct{ old, new, want string }{
		{`"replicas": 3`, `"replicas": 5`, "step a: parameter replicas is 5, was 3"},
		{`"replicas": 3`, `"replicas": 3, "force": true`, "step a: parameter force is true, was not given\nstep a: risk is high, was low"},
		{`"message": "done"`, `"channel": "ops"`, "step c: parameter channel is \"ops\", was not given\nstep c: parameter message is not given, was \"done\""},
		{`"web"`, `"api"`, `step a: parameter deployment is "api", was "web"`},
		{`"debug", "SIZE": "1"`, `"info", "TIME": "1"`, "step b: parameter patch.LEVEL is \"info\", was \"debug\"\nstep b: parameter patch.SIZE is not set, was \"1\"\nstep b: parameter patch.TIME is \"1\", was not set"},
		{`["a"]`, `["a", "b"]`, `step c: dependencies is ["a","b"], was ["a"]`},
		{`, "dependencies": ["a"]`, ``, `step c: dependencies is [], was ["a"]`},
		{`"id": "a",`, `"id": "a", "risk": "high",`, "step a: risk is high, was low"},
		{`"id": "a",`, `"id": "a", "requiresApproval": true,`, "step a: requiresApproval is true, was false"},
		{`"id": "a",`, `"id": "a", "timeout": "90s",`, "step a: time-out is 1m30s, was 5m"},
		{`"id": "b"`, `"id": "bb"`, "step bb was not there\nstep b is not there any more"},
		{`"action": "notify_only", "dependencies": ["a"], "parameters": {"message": "done"}`, `"action": "cordon_node", "dependencies": ["a"], "parameters": {"node": "n"}`,
			"step c: action is cordon_node, was notify_only\nstep c: parameter message is not given, was \"done\"\nstep c: parameter node is \"n\", was not given\nstep c: risk is medium, was none"},
		{`"done"`, `"` + long + `"`, `step c: parameter message is "` + long[:64] + `"…, was "done"`},
		{`"message": "done"`, `"message": "done", "more": ["` + long + `\u00ad"]`, `step c: parameter more is ["` + long[:70] + `…, was not given`},
		{`"message": "done"`, `"message": "done", "odd name": 3.5`, `step c: parameter "odd name" is 3.5, was not given`},
		{`"message": "done"`, `"message": 3`, ""}, // invalid
	} {
		require.Contains(t, compared, tt.old)
		p, err := dag.Load([]byte(strings.Replace(compared, tt.old, tt.new, 1)), actions.Canonical())
		if tt.want == "" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.EqualError(t, p.Matches(data), tt.want)
	}

	require.EqualError(t, load(t, strings.Replace(compared, "[", `[{"id": "z", "action": "notify_only"}, `, 1)).Matches(data), "step z was not there")
	laid := load(t, compared, dag.WithOverlay(&schema.Overlay{Steps: map[string]schema.StepOverlay{"a": {Always: true}, "b": {ContinueOnFailure: true}}}))
	require.EqualError(t, laid.Matches(data), "step a: always is true, was false\nstep b: continueOnFailure is true, was false")
	lists := func(last string) *dag.Plan {
		return load(t, strings.Replace(compared, `"message": "done"`, `"more": ["`+long+last+`"]`, 1))
	}
	require.EqualError(t, lists("1").Matches(archived(t, lists("2"))), "step c: parameter more differs")

	steps := []string{`{"id": "a", "action": "notify_only"}`, `{"id": "b", "action": "notify_only"}`}
	ab := load(t, fmt.Sprintf("[%s, %s]", steps[0], steps[1]))
	require.EqualError(t, load(t, fmt.Sprintf("[%s, %s]", steps[1], steps[0])).Matches(archived(t, ab)), "the steps stand in another order")
	doc := func(asks bool) *dag.Plan {
		w := ab.Manifest("m", "", "", nil)
		w.Spec.ExecutionStrategy.ApprovalRequired = asks
		return load(t, string(w.YAML()))
	}
	require.EqualError(t, doc(true).Matches(archived(t, doc(false))), "the plan: approvalRequired is true, was false")
}

func TestMatches_does_not_mind_prose(t *testing.T) {
	p := load(t, strings.Replace(compared, `"id": "a",`, `"id": "a", "description": "d", "rationale": "r", "name": "n", "confidence": 0.3,`, 1),
		dag.WithOverlay(&schema.Overlay{Steps: map[string]schema.StepOverlay{"a": {Name: "n", Label: "l", Note: "n", Duration: time.Second}}}))
	require.NoError(t, p.Matches(archived(t, load(t, compared))))
}

// own is a registry of one action; change makes it mean something else.
func own(t *testing.T, change func(*actions.Spec)) *actions.Registry {
	t.Helper()
	spec := actions.Spec{Name: "own", Does: "does", Undo: "undoes", Parameters: []actions.Parameter{
		{Name: "node", Type: actions.Name, Kind: "Node", Description: "A node."},
		{Name: "n", Type: actions.Integer, Description: "A number.", Max: new(int64(5)), Floors: []actions.Floor{{Value: 4, Risk: schema.RiskCritical, Reason: "much"}}},
		{Name: "token", Type: actions.String, Description: "A token.", Secret: true},
		{Name: "pin", Type: actions.String, Description: "A pin.", Secret: true},
	}}
	if change != nil {
		change(&spec)
	}
	reg := &actions.Registry{}
	require.NoError(t, reg.Add(spec))
	require.NoError(t, reg.Add(actions.Spec{Name: "tell", Does: "tells", Effect: actions.External, Notice: true, AnyParameters: true, Artifact: "note"}))
	return reg
}

func ownPlan(t *testing.T, reg *actions.Registry, parameters string) *dag.Plan {
	t.Helper()
	p, err := dag.Load([]byte(`[{"id": "a", "action": "own", "parameters": {`+parameters+`}}]`), reg)
	require.NoError(t, err)
	return p
}

func TestMatches_compares_what_the_specs_in_use_mean(t *testing.T) {
	data := archived(t, ownPlan(t, own(t, nil), `"n": 3`))
	for name, tt := range map[string]struct {
		change func(*actions.Spec)
		want   string
	}{
		"prose":       {func(s *actions.Spec) { s.Does, s.Undo, s.Parameters[1].Description = "x", "y", "z" }, ""},
		"a bound":     {func(s *actions.Spec) { s.Parameters[1].Max = new(int64(10)) }, "action own: parameter n: max is 10, was 5"},
		"no bound":    {func(s *actions.Spec) { s.Parameters[1].Max = nil }, "action own: parameter n: max is not set, was 5"},
		"a new bound": {func(s *actions.Spec) { s.Parameters[1].Min = new(int64(-1)) }, "action own: parameter n: min is -1, was not set"},
		"a floor":     {func(s *actions.Spec) { s.Parameters[1].Floors[0].Value = 5 }, `action own: parameter n: floors is [{"risk":"critical","value":5}], was [{"risk":"critical","value":4}]`},
		"a parameter": {func(s *actions.Spec) {
			s.Parameters = append(s.Parameters, actions.Parameter{Name: "m", Type: actions.Any})
		}, "action own: parameter m was not there"},
		"one less":       {func(s *actions.Spec) { s.Parameters = s.Parameters[:3] }, "action own: parameter pin is not there any more"},
		"idempotent":     {func(s *actions.Spec) { s.Idempotent = true }, "action own: idempotent is true, was not set"},
		"several":        {func(s *actions.Spec) { s.Undo, s.Role = "", actions.Restarts }, "action own: reversible is not set, was true\naction own: role is \"restart\", was \"fix\""},
		"time and floor": {func(s *actions.Spec) { s.Timeout, s.RiskFloor = time.Minute, schema.RiskCritical }, "step a: risk is critical, was high\nstep a: time-out is 1m, was 5m\naction own: riskFloor is \"critical\", was \"high\"\naction own: timeout is \"1m0s\", was \"5m0s\""},
	} {
		reg := own(t, tt.change)
		err := ownPlan(t, reg, `"n": 3`).Matches(data)
		back, restoreErr := dag.Restore(data, reg)
		if tt.want == "" {
			require.NoError(t, err, name)
			require.NoError(t, restoreErr, name)
			continue
		}
		require.EqualError(t, err, tt.want, name)
		require.ErrorContains(t, restoreErr, "action own: ", name)
		require.Nil(t, back)
	}

	tells, err := dag.Load([]byte(`[{"id": "a", "action": "tell"}]`), own(t, func(s *actions.Spec) { s.Timeout = time.Minute }))
	require.NoError(t, err)
	before, err := dag.Load([]byte(`[{"id": "a", "action": "tell"}]`), own(t, nil))
	require.NoError(t, err)
	require.NoError(t, tells.Matches(archived(t, before)), "no step uses the action that changed")
}

func TestArchive_never_holds_a_secret(t *testing.T) {
	reg := own(t, nil)
	with := func(parameters string) *dag.Plan { return ownPlan(t, reg, parameters) }
	p := with(`"n": 3, "token": "hunter2"`)
	data := archived(t, p)
	require.NotContains(t, string(data), "hunter2")
	require.NoError(t, p.Matches(data))
	_, err := dag.Restore(data, reg)
	require.EqualError(t, err, "dag: step a has the secret parameter token, whose value is never archived: use a program that has the plan itself")

	both := archived(t, with(`"token": "hunter2", "pin": "1234"`))
	open := own(t, func(s *actions.Spec) { s.Parameters[2].Secret = false })
	for _, tt := range []struct {
		p    *dag.Plan
		data []byte
		want string
	}{
		{with(`"n": 3, "token": "hunter3"`), data, "step a: the secret parameter token differs"},
		{with(`"n": 4, "token": "hunter3"`), data, "step a: parameter n is 4, was 3\nstep a: risk is critical, was high"},
		{with(`"n": 3`), data, "step a: the secret parameter token is not given any more"},
		{with(`"n": 3, "token": "hunter2", "pin": "1234"`), data, "step a: the secret parameter pin was not given"},
		{with(`"token": "hunter3", "pin": "1234"`), both, "step a: one of the secret parameters pin, token differs"},
		{ownPlan(t, open, `"n": 3, "token": "hunter3"`), data, "step a: the secret parameter token differs\naction own: parameter token: secret is not set, was true"},
		{with(`"n": 3, "token": "hunter3"`), archived(t, ownPlan(t, open, `"n": 3, "token": "hunter2"`)), "step a: the secret parameter token differs\naction own: parameter token: secret is true, was not set"},
		{with(`"n": 4, "token": "hunter2"`), archived(t, ownPlan(t, open, `"n": 3, "token": "hunter2"`)), "step a: parameter n is 4, was 3\nstep a: risk is critical, was high\naction own: parameter token: secret is true, was not set"},
	} {
		require.EqualError(t, tt.p.Matches(tt.data), tt.want)
	}
}

func TestArchive_that_was_changed_is_refused(t *testing.T) {
	reg := actions.Canonical()
	text := strings.Replace(compared, `"message": "done"`, `"message": "done", "n": [1]`, 1)
	p := load(t, text, dag.WithOverlay(&schema.Overlay{Steps: map[string]schema.StepOverlay{"a": {Label: "LABEL", Note: "NOTE"}}}))
	data := string(archived(t, p))
	for _, tt := range []struct{ old, new, want string }{
		{`"format":1`, `"format":2,"steps":"other"`, "dag: the archive has format 2 and this program reads formats up to 1: use the program that wrote it, or a later one"},
		{`"format":1,`, ``, "it has no format"},
		{`{"format`, `{{"format`, "cannot be read"},
		{`"steps":[`, `"steps":[5,`, "cannot be read"},
		{`"format":1`, `"format":true`, "cannot be read"},
		{`"replicas":3`, `"replicas":-3`, "dag: the archive holds no plan: error: invalid-parameter: replicas is -3"},
		{`"replicas":3`, `"replicas":4`, "dag: the plan cannot be restored as it was: step a: it does something else: its digest is sha256:"},
		{`"action":"scale_deployment"`, `"action":"scale_deploymint"`, "unknown-action"},
		{`"id":"a"`, `"id":"a b"`, "invalid-value"},
		{`"id":"b"`, `"id":"a"`, "duplicate-id"},
		{`"dependencies":["a"]`, `"dependencies":["c"]`, "self-dependency"},
		{`"risk":"low"`, `"risk":"awful"`, "cannot be read"},
		{`"risk":"low"`, `"risk":"high"`, "does something else"},
		{`"timeoutNanoseconds":300000000000`, `"timeoutNanoseconds":-1`, "is negative"},
		{`"digest":"` + p.Digest(), `"digest":"sha256:\u001b`, `the digest is ` + p.Digest() + `, was "sha256:\x1b"`},
		{`LABEL`, `\u001b[2J`, "dag: the archive is refused: a text of step a holds U+001B, a control character that is not allowed there"},
		{`"note":"NOTE"`, `"riskReasons":["x\u202e"]`, "a text of step a holds U+202E"},
		{`"specs":`, `"warnings":[{"code":"timeout-too-short","message":"\u0007"}],"specs":`, "a text of a warning holds U+0007"},
		{`"specs":{"notify_only"`, `"specs":{"other"`, "action notify_only: the archive does not say what it meant"},
		{`"effect":"mutates"`, `"effect":{"\u202e":5}`, `action patch_config_map: effect is "mutates", was {"` + "\ufffd" + `":5}`},
		{`"parameters":{"configMap":"c"`, `"parameters":[],"p":{"configMap":"c"`, "parameters of step b: there is no object"},
		{`"parameters":{"configMap":"c"`, `"p":{"configMap":"c"`, "parameters of step b: EOF"},
		{`"n":[1]`, `"n":` + strings.Repeat("[", 300) + strings.Repeat("]", 300), "parameters of step c: a value is nested more than 256 deep"},
		{`"n":[1]`, `"n":{"n":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, "nested more than 256 deep"},
		{`"n":[1]`, `"n":[1e999]`, "step c: it does something else"},
		{`"id":"a"`, `"id":"a","secrets":["\u001b"]`, `step a has the secret parameter "\x1b"`},
		{`"approvalRequired"`, ``, ""}, // not there
		{`"specs":`, `"approvalRequired":true,"specs":`, "the plan: approvalRequired is false, was true"},
		{`"specs":`, `"protect":["shop"],"specs":`, "namespace shop is protected"},
		{`"specs":`, `"protect":["A B"],"specs":`, "is not an RFC 1123 label"},
		{`"specs":`, `"historicalSuccessRate":7,"specs":`, "is not between 0 and 1"},
	} {
		if tt.want == "" {
			require.NotContains(t, data, tt.old)
			continue
		}
		require.Contains(t, data, tt.old)
		back, err := dag.Restore([]byte(strings.Replace(data, tt.old, tt.new, 1)), reg)
		require.ErrorContains(t, err, tt.want, tt.new)
		require.NotContains(t, err.Error(), "\x1b")
		require.Nil(t, back)
	}
	_, err := dag.Restore(make([]byte, 64<<20+1), reg)
	require.EqualError(t, err, "dag: the archive has more than 67108864 bytes")
	require.Error(t, p.Matches([]byte("{}")))
	broken := strings.Replace(strings.Replace(data, `"parameters":{"configMap":"c"`, `"parameters":null,"p":{"configMap":"c"`, 1), p.StepDigest(1), "", 1)
	require.EqualError(t, p.Matches([]byte(broken)), "step b: its parameters in the archive cannot be read: there is no object")

	back, err := dag.Restore([]byte(strings.Replace(data, `"specs":`, `"warnings":[{"code":"timeout-too-short","severity":"error","message":"m"}],"specs":`, 1)), reg)
	require.NoError(t, err)
	require.Equal(t, schema.SeverityWarning, back.Warnings()[0].Severity)
}

func TestArchive_hides_no_warning_that_building_finds(t *testing.T) {
	p := load(t, `[{"id": "a", "action": "cordon_node", "parameters": {"node": "n"}}, {"id": "b", "action": "cordon_node", "parameters": {"node": "n"}}]`)
	require.Len(t, p.Warnings(), 1)
	data := string(archived(t, p))
	from := strings.Index(data, `"warnings":`)
	to := strings.Index(data, `"specs":`)
	back, err := dag.Restore([]byte(data[:from]+data[to:]), actions.Canonical())
	require.NoError(t, err)
	require.Equal(t, codes(p.Warnings()), codes(back.Warnings()))
}

func TestArchive_refuses_what_could_not_be_restored(t *testing.T) {
	doc := &schema.Document{Recommendations: []schema.Recommendation{{ID: "a", Action: "notify_only", Parameters: map[string]any{"message": strings.Repeat("x", 64<<20)}}}}
	p, err := dag.Build(doc, actions.Canonical())
	require.NoError(t, err)
	_, err = p.Archive()
	require.ErrorContains(t, err, "dag: the plan cannot be archived: it would take ")
}

// formerRegistry is what the archive in testdata was made with. It must stay as it is.
func formerRegistry(t *testing.T) *actions.Registry {
	t.Helper()
	reg := &actions.Registry{}
	for _, s := range []actions.Spec{
		{Name: "look", Does: "looks", Effect: actions.Reads, Role: actions.Diagnoses, RiskFloor: schema.RiskNone, Idempotent: true, Artifact: "report",
			Parameters: []actions.Parameter{
				{Name: "deployment", Type: actions.Name, Kind: "Deployment", Description: "d"},
				{Name: "namespace", Type: actions.Namespace, Required: true, Description: "d"},
				{Name: "path", Type: actions.String, Description: "d"},
			}, GateParameters: []string{"path"}},
		{Name: "mend", Does: "mends", Undo: "undoes", Rolls: true, RiskFloor: schema.RiskLow, Timeout: 10 * time.Minute,
			Parameters: []actions.Parameter{
				{Name: "deployment", Type: actions.Name, Kind: "Deployment", Required: true, Description: "d"},
				{Name: "namespace", Type: actions.Namespace, Required: true, Description: "d"},
				{Name: "memory", Type: actions.Quantity, Words: []string{"twice"}, Description: "d"},
				{Name: "replicas", Type: actions.Integer, Min: new(int64(0)), Max: new(int64(9)), Default: 3, Description: "d",
					Floors: []actions.Floor{{Value: 0, Risk: schema.RiskHigh, Reason: "nothing is left"}}},
				{Name: "labels", Type: actions.StringMap, Description: "d"},
				{Name: "token", Type: actions.String, Secret: true, Description: "d"},
			}, Rules: []actions.Rule{{AnyOf: []string{"memory", "replicas"}}}},
		{Name: "tell", Does: "tells", Effect: actions.External, Role: actions.Records, Notice: true, AnyParameters: true, RiskFloor: schema.RiskNone},
	} {
		require.NoError(t, reg.Add(s))
	}
	return reg
}

// TestArchive_of_format_1_stays_readable fails when a journal of an earlier version could not be resumed any more.
func TestArchive_of_format_1_stays_readable(t *testing.T) {
	const document = `{"recommendations": [
	  {"id": "rec-1", "action": "look", "confidence": 0.75, "parameters": {"namespace": "shop", "deployment": "web", "path": "<a&b>", "odd": 1}},
	  {"id": "rec-2", "action": "mend", "dependencies": ["rec-1"], "timeout": "20m", "requiresApproval": true, "description": "mend \"it\" é", "rationale": "because",
	   "parameters": {"deployment": "web", "memory": 2.5, "replicas": 0, "labels": {"a": "b"}}},
	  {"id": "rec-3", "action": "mend", "dependencies": ["rec-1"], "risk": "critical", "name": "Again", "parameters": {"deployment": "web", "memory": "twice"}},
	  {"id": "rec-4", "action": "tell", "dependencies": ["rec-3", "rec-2"], "parameters": {"attachments": ["report_rec-1"], "any": [1, 2.5, 1e21, null, {"x": true}]}}
	], "estimatedDuration": "4-5 minutes", "historicalSuccessRate": 0.9}`
	overlay := &schema.Overlay{Steps: map[string]schema.StepOverlay{
		"rec-1": {Label: "LOOK", Note: "first", Duration: 30 * time.Second, ContinueOnFailure: true}, "rec-4": {Name: "Tell", Timeout: time.Minute, Always: true},
	}}
	reg := formerRegistry(t)
	p, err := dag.Load([]byte(document), reg, dag.WithOverlay(overlay), dag.Protect("bank"), dag.AllowComponents("coredns"))
	require.NoError(t, err)
	file := filepath.Join("testdata", "archive-1.json")
	if *newArchive {
		require.NoError(t, os.WriteFile(file, append(archived(t, p), '\n'), 0o644))
	}
	golden, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, p.Matches(golden))
	back, err := dag.Restore(golden, reg)
	require.NoError(t, err)
	require.Equal(t, p.Digest(), back.Digest())
	require.Equal(t, p.Warnings(), back.Warnings())
	for i := range p.Len() {
		require.Equal(t, p.Step(i).Task(), back.Step(i).Task())
		require.Equal(t, facts(p.Step(i)), facts(back.Step(i)))
	}
}

// FuzzRestore holds that no archive makes Restore panic, and that what is restored once is restored again.
func FuzzRestore(f *testing.F) {
	for _, tt := range incidents {
		data, err := incident(f, tt.name, true).Archive()
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte(`{"format":1}`))
	reg := actions.Canonical()
	p := incident(f, "oomkill", true)
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = p.Matches(data)
		back, err := dag.Restore(data, reg)
		if err == nil {
			requireRestored(t, back, reg)
		}
	})
}
