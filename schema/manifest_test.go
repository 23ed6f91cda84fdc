package schema_test

import (
	"encoding/json"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/schema"
)

// oomkill is the manifest of examples/plans, as a plan would build it.
func oomkill() *schema.WorkflowExecution {
	w := &schema.WorkflowExecution{APIVersion: schema.WorkflowAPIVersion, Kind: schema.WorkflowKind}
	w.Metadata.Name, w.Metadata.Namespace = "aianalysis-oomkill-12345-workflow", "production"
	w.Spec.RemediationRequestRef.Name = "remediation-oomkill-12345"
	w.Spec.ExecutionStrategy.DryRunFirst = true
	w.Spec.ExecutionStrategy.RollbackStrategy = "automatic"
	w.Status.Phase = "planning"
	payment := func(more ...schema.Parameter) []schema.Parameter {
		return append([]schema.Parameter{{Name: "deployment", Value: "payment-service"}, {Name: "namespace", Value: "production"}}, more...)
	}
	w.Spec.WorkflowDefinition.Steps = []schema.WorkflowStep{
		{StepNumber: 1, Name: "Collect Heap Dump", Action: "collect_diagnostics", Timeout: "2m",
			Parameters: append([]schema.Parameter{{Name: "type", Value: "heap_dump"}}, payment()...)},
		{StepNumber: 2, Name: "Backup Transaction Logs", Action: "backup_data", Timeout: "1m",
			Parameters: payment(schema.Parameter{Name: "paths", Value: []any{"/var/log/payments"}})},
		{StepNumber: 3, Name: "Increase Memory Limit", Action: "increase_resources", Timeout: "30s", Dependencies: []int{1, 2},
			Parameters: payment(schema.Parameter{Name: "memory", Value: "3Gi"})},
		{StepNumber: 4, Name: "Rolling Restart", Action: "restart_pod", Timeout: "5m", Dependencies: []int{3}, RequiresApproval: true,
			Parameters: payment(schema.Parameter{Name: "strategy", Value: "rolling"})},
		{StepNumber: 5, Name: "Enable Memory Profiling", Action: "enable_debug_mode", Timeout: "30s", Dependencies: []int{4},
			Parameters: payment(schema.Parameter{Name: "debug_flags", Value: []string{"--memory-profile=true"}})},
		{StepNumber: 6, Name: "Cap Max Replicas", Action: "update_hpa", Timeout: "30s", Dependencies: []int{4},
			Parameters: []schema.Parameter{{Name: "hpa", Value: "payment-service-hpa"}, {Name: "namespace", Value: "production"}, {Name: "maxReplicas", Value: int64(8)}}},
		{StepNumber: 7, Name: "File Bug Report", Action: "notify_only", Timeout: "1m", Dependencies: []int{5, 6},
			Parameters: []schema.Parameter{{Name: "type", Value: "jira"}, {Name: "project", Value: "PAYMENT"}, {Name: "priority", Value: "high"},
				{Name: "attachments", Value: []any{"heap_dump_step-1"}}}},
	}
	return w
}

func TestTheManifestIsWrittenAsPeopleWriteIt(t *testing.T) {
	want := string(readPlan(t, "oomkill.workflowexecution.yaml"))
	want = regexp.MustCompile(`(?m)^ *#.*\n`).ReplaceAllString(want, "")
	want = regexp.MustCompile(`(?m) +#.*$`).ReplaceAllString(want, "")
	if diff := cmp.Diff(want, string(oomkill().YAML())); diff != "" {
		t.Error(diff)
	}
}

func TestTheManifestReadsBackAsItWasWritten(t *testing.T) {
	w := oomkill()
	doc, err := schema.Parse(w.YAML(), schema.Strict())
	require.NoError(t, err)
	require.Empty(t, doc.Problems)
	fromFile, err := schema.Parse(readPlan(t, "oomkill.workflowexecution.yaml"))
	require.NoError(t, err)
	if diff := cmp.Diff(fromFile, doc, equalDocuments...); diff != "" {
		t.Error(diff)
	}
	require.Equal(t, []string{"type", "project", "priority", "attachments"}, doc.Recommendations[6].ParameterNames())
	require.Equal(t, int64(8), doc.Recommendations[5].Parameters["maxReplicas"])
	require.Equal(t, 5*time.Minute, doc.Recommendations[3].Timeout)
	require.True(t, *doc.Recommendations[3].RequiresApproval)
	require.Nil(t, doc.Recommendations[4].RequiresApproval)
	steps := w.Spec.WorkflowDefinition.Steps
	w.Spec.WorkflowDefinition.Steps = nil
	require.Equal(t, w, doc.Workflow)
	w.Spec.WorkflowDefinition.Steps = steps

	line, column := fromFile.Position("/spec/workflowDefinition/steps/3/requiresApproval")
	lines := strings.Split(string(readPlan(t, "oomkill.workflowexecution.yaml")), "\n")
	require.True(t, strings.HasPrefix(lines[line-1][column-1:], "true  # "))
}

func TestAManifestInJSONReadsLikeOneInYAML(t *testing.T) {
	doc, err := schema.Parse([]byte(`{"apiVersion": "workflowexecution.kubernaut.ai/v1alpha1", "kind": "WorkflowExecution",
		"metadata": {"name": "m", "labels": {"a": "b"}},
		"spec": {"workflowDefinition": {"steps": [{"stepNumber": 1, "action": "x", "timeout": "1m"}]}, "executionStrategy": {"rollbackStrategy": "automatic", "approvalRequired": true}},
		"status": {"phase": "running", "conditions": []}}`), schema.Strict())
	require.NoError(t, err)
	require.Empty(t, doc.Problems)
	require.Equal(t, "1", doc.Recommendations[0].ID)
	require.Equal(t, "m", doc.Workflow.Metadata.Name)
	require.Equal(t, "running", doc.Workflow.Status.Phase)
	require.True(t, doc.Workflow.Spec.ExecutionStrategy.ApprovalRequired)
	require.True(t, doc.Workflow.Spec.ExecutionStrategy.DryRunFirst, "what is not said keeps the dry run")
	require.Equal(t, "automatic", doc.Workflow.Spec.ExecutionStrategy.RollbackStrategy)

	doc, err = schema.Parse([]byte(`{"kind": "note", "recommendations": [{"id": "a", "action": "x"}]}`))
	require.NoError(t, err)
	require.Nil(t, doc.Workflow, "a list of recommendations is no manifest")
}

// Whatever a parameter holds, it comes back as that value and nowhere else.
func TestNoValueBreaksOutOfTheManifest(t *testing.T) {
	var value func(depth int) *rapid.Generator[any]
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"yes", "null", "~", "1", "0x1F", "a: b", "- x", "\"", "\\", "a\nkind: Pod", "#", "*a", "&a", "<<", "{", "?", "'", "2001-01-01", "é", " x ", "..."})).
		Filter(func(s string) bool { return clean(s) && s != "..." })
	value = func(depth int) *rapid.Generator[any] {
		return rapid.Custom(func(t *rapid.T) any {
			switch n := rapid.IntRange(0, 7).Draw(t, "kind"); {
			case n == 0:
				return rapid.Bool().Draw(t, "bool")
			case n == 1:
				return rapid.Int64().Draw(t, "int")
			case n == 2:
				f := rapid.Float64().Draw(t, "float")
				if f == math.Trunc(f) && math.Abs(f) < 1<<63 {
					return int64(f)
				}
				return f
			case n == 3:
				return nil
			case n == 4 && depth > 0:
				return rapid.SliceOfN(value(depth-1), 0, 3).Draw(t, "list")
			case n == 5 && depth > 0:
				names := rapid.SliceOfNDistinct(text, 0, 3, strings.ToLower).Draw(t, "names")
				m := map[string]any{}
				for _, name := range names {
					m[name] = value(depth-1).Draw(t, "value")
				}
				return m
			}
			return text.Draw(t, "text")
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		w := oomkill()
		name, v := text.Draw(t, "name"), value(3).Draw(t, "value")
		w.Metadata.Name = text.Draw(t, "metadata")
		w.Spec.WorkflowDefinition.Steps = w.Spec.WorkflowDefinition.Steps[:1]
		w.Spec.WorkflowDefinition.Steps[0].Parameters = []schema.Parameter{{Name: name, Value: v}}
		doc, err := schema.Parse(w.YAML())
		require.NoError(t, err, "%s", w.YAML())
		require.Len(t, doc.Recommendations, 1)
		require.Equal(t, w.Metadata.Name, doc.Workflow.Metadata.Name)
		if diff := cmp.Diff(map[string]any{name: v}, doc.Recommendations[0].Parameters); diff != "" {
			t.Fatalf("%s\n%s", w.YAML(), diff)
		}
	})
}

// clean tells texts that a document may hold.
func clean(s string) bool {
	data, err := json.Marshal([]map[string]any{{"id": "a", "action": "x", "parameters": map[string]any{"v": s}}})
	if err != nil {
		return false
	}
	doc, err := schema.Parse(data)
	return err == nil && (s == "..." || doc.Recommendations[0].Parameters["v"] == s) && !strings.Contains(s, "\ufffd")
}

func TestTheManifestWritesWhatGoHolds(t *testing.T) {
	w := &schema.WorkflowExecution{APIVersion: "v 1", Kind: "no"}
	w.Metadata.Name = "12"
	require.Equal(t, "apiVersion: \"v 1\"\nkind: \"no\"\nmetadata:\n  name: \"12\"\nspec:\n  workflowDefinition:\n    steps: []\n"+
		"  executionStrategy:\n    approvalRequired: false\n    dryRunFirst: false\n", string(w.YAML()))
	w.Spec.WorkflowDefinition.Steps = []schema.WorkflowStep{{StepNumber: 1, Name: "a\u202e\x01\U000e0001\tb"}, {StepNumber: 2, Parameters: []schema.Parameter{
		{Name: "on", Value: json.Number("1.50")},
		{Name: "bad", Value: json.Number("x")},
		{Name: "u", Value: uint8(7)},
		{Name: "f", Value: float32(0.5)},
		{Name: "nan", Value: math.NaN()},
		{Name: "d", Value: time.Minute},
		{Name: "e", Value: map[string]any{}},
		{Name: "nested", Value: map[string]any{"b": []any{map[string]any{"y": 1, "x": nil}}, "a": map[string]any{"k k": true}}},
	}}}
	require.Contains(t, string(w.YAML()), "name: \"a\\u202E\\x01\\U000E0001\\tb\"\n        action: \"\"\n        parameters: {}\n        dependencies: []\n\n")
	require.Contains(t, string(w.YAML()), `
          "on": 1.50
          bad: "x"
          u: 7
          f: 0.5
          nan: "NaN"
          d: 60000000000
          e: {}
          nested:
            a:
              "k k": true
            b: [{x: null, "y": 1}]
`)
}

func TestYAMLThatIsNotAManifest(t *testing.T) {
	for text, want := range map[string]string{
		"---\n# a comment with {braces}\nkind: WorkflowExecution\n": "the manifest has no \"apiVersion\"",
		"kind: [WorkflowExecution":                                  "invalid YAML: ",
		"kind: \"WorkflowExecution\n":                               "invalid YAML: ",
		"kind: WorkflowExecution\n---\n]":                           "invalid YAML: ",
		"apiVersion:\nkind:\n":                                      "the manifest has no \"kind\"",
		"kind: 5\n":                                                 "kind must be a string, not a number",
		"Here is:\nkind: x: y\n":                                    "invalid YAML: ",
	} {
		doc, err := schema.Parse([]byte(text))
		require.ErrorContains(t, err, want, text)
		require.Positive(t, doc.Problems[0].Line)
	}
}

func TestInvalidYAMLIsReportedInItsLine(t *testing.T) {
	for text, line := range map[string]int{
		"kind: {\n":                      2,
		"kind: x\nspec: [a\nb: c\n":      2,
		"kind: x\nspec:\n  - a\n b: c\n": 4,
		"kind: x\n\tspec: y\n":           2,
		"kind: x\nspec: \"y\n":           2,
		"kind: x\nspec: y: z\n":          2,
		"kind: \"x\n":                    2,
		"kind: x\nspec: a\x01b\n":        2,
		"kind: x\nspec: {a: b\n":         2,
	} {
		doc, err := schema.Parse([]byte(text))
		require.ErrorContains(t, err, "invalid YAML: ", text)
		require.Equal(t, line, doc.Problems[0].Line, "%q: %v", text, err)
	}
}

func TestTheOverlaysOfThePlans(t *testing.T) {
	names, err := os.ReadDir("../examples/plans")
	require.NoError(t, err)
	n := 0
	for _, e := range names {
		if !strings.HasSuffix(e.Name(), ".overlay.yaml") {
			continue
		}
		n++
		overlay, err := schema.ParseOverlay(readPlan(t, e.Name()))
		require.NoError(t, err, e.Name())
		doc, err := schema.Parse(readPlan(t, strings.Replace(e.Name(), ".overlay.yaml", ".json", 1)))
		require.NoError(t, err)
		require.Len(t, overlay.Steps, len(doc.Recommendations))
		for _, r := range doc.Recommendations {
			require.Positive(t, overlay.Steps[r.ID].Duration, "%s %s", e.Name(), r.ID)
		}
	}
	require.Equal(t, 4, n)
}

func TestAnOverlayIsReadInFull(t *testing.T) {
	got, err := schema.ParseOverlay([]byte(`# people's words
steps:
  rec-001: {name: One, label: first, note: "careful: slow", timeout: 1m30s, duration: 7d, onFailure: continue, always: true}
  rec-002:
actions:
  health_check: {timeout: 2m, duration: 10s}
`))
	require.NoError(t, err)
	require.Equal(t, &schema.Overlay{
		Steps: map[string]schema.StepOverlay{"rec-001": {Name: "One", Label: "first", Note: "careful: slow", Timeout: 90 * time.Second,
			Duration: 7 * 24 * time.Hour, ContinueOnFailure: true, Always: true}},
		Actions: map[string]schema.ActionOverlay{"health_check": {Timeout: 2 * time.Minute, Duration: 10 * time.Second}},
	}, got)
	for _, empty := range []string{"", "# nothing\n", "{}\n", "steps:\n", "null\n"} {
		got, err := schema.ParseOverlay([]byte(empty))
		require.NoError(t, err, empty)
		require.Empty(t, got.Steps)
		require.Empty(t, got.Actions)
	}
}

func TestAnOverlaysFaultsNameTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"steps:\n  a: {label: x, labels: y}\n":             `2:17: error: unknown-field: a step of the overlay has no field "labels" (did you mean label?)`,
		"steps:\n  a: {Name: x}\n":                         `2:7: error: unknown-field: a step of the overlay has no field "Name" (did you mean name?)`,
		"step: {}\n":                                       `1:1: error: unknown-field: the overlay has no field "step" (did you mean steps?)`,
		"steps: [a]\n":                                     `1:8: error: invalid-value: steps must be an object, not a list`,
		"steps: {a: 5m}\n":                                 `1:12: error: invalid-value: a step of the overlay must be an object, not a string`,
		"steps:\n  a: {duration: soon}\n":                  `2:17: error: invalid-value: duration "soon" must be a duration above zero, such as 90s or 5m`,
		"steps:\n  a: {timeout: 30}\n":                     `2:16: error: invalid-value: timeout must be a string, not a number`,
		"steps:\n  a: {timeout: -5m}\n":                    `2:16: error: invalid-value: timeout "-5m" must be a duration above zero, such as 90s or 5m`,
		"steps:\n  a: {timeout: 0s}\n":                     `2:16: error: invalid-value: timeout "0s" must be a duration above zero, such as 90s or 5m`,
		"steps:\n  a: {onFailure: stop}\n":                 `2:18: error: invalid-value: onFailure "stop" is not known; it can only be continue`,
		"steps:\n  a: {always: yes}\n":                     `2:15: error: invalid-value: always must be true or false, not a string`,
		"steps:\n  a: {note: \"x\\u202e\"}\n":              `2:13: error: forbidden-character: "note" holds U+202E, an invisible or reordering character that is not allowed there`,
		"steps:\n  a: &x {name: y}\n  b: *x\n":             `2:6: error: invalid-value: anchors and aliases of YAML are not allowed; write the value out` + "\n" + `3:6: error: invalid-value: anchors and aliases of YAML are not allowed; write the value out`,
		"steps:\n  a: {}\n  a: {}\n":                       `3:3: error: duplicate-key: the name "a" stands twice in this object; keep one`,
		"actions:\n  x: {name: y}\n":                       `2:7: error: unknown-field: an action of the overlay has no field "name"`,
		"steps: {\n":                                       `2:1: error: invalid-json: invalid YAML: did not find expected node content`,
		strings.Repeat("#", schema.DefaultMaxBytes) + "\n": `1:1: error: limit-exceeded: the input has more than the 1048576 bytes allowed`,
	} {
		got, err := schema.ParseOverlay([]byte(text))
		require.Nil(t, got)
		if len(text) > 100 {
			text = text[:100]
		}
		require.EqualError(t, err, want, text)
	}
}

// A document may not weaken its run. It is told so, be it read or built by hand.
func TestWishesForLessSafetyAreNamedAndNotFollowed(t *testing.T) {
	for strategy, want := range map[string][]string{
		"dryRunFirst: true, rollbackStrategy: automatic": nil,
		"dryRunFirst: false, rollbackStrategy: none": {
			"7:36: warning: invalid-value: dryRunFirst: false is not followed: whether a run begins with a dry run is the caller's word, not the document's",
			"7:61: warning: invalid-value: rollbackStrategy: none is not followed: how a failed run is rolled back is the caller's word, not the document's",
		},
		"rollbackStrategy: manual": {
			"7:41: warning: invalid-value: rollbackStrategy: manual is not followed: how a failed run is rolled back is the caller's word, not the document's",
		},
		"rollbackStrategy: never": {`7:41: error: invalid-value: rollbackStrategy "never" is none of automatic, manual, none`},
		`rollbackStrategy: ""`:    {`7:41: error: invalid-value: rollbackStrategy "" is none of automatic, manual, none`},
		"rollbackStrategy: 1":     {"7:41: error: invalid-value: rollbackStrategy must be a string, not a number"},
	} {
		doc, _ := schema.Parse([]byte("apiVersion: " + schema.WorkflowAPIVersion + "\nkind: WorkflowExecution\nspec:\n  workflowDefinition:\n" +
			"    steps:\n    - {stepNumber: 1, action: x}\n  executionStrategy: {" + strategy + "}\n"))
		require.Equal(t, want, lines(doc.Problems), strategy)
		if doc.Workflow == nil || strings.Contains(strategy, `"`) || strings.HasSuffix(strategy, "1") {
			continue
		}
		byHand := &schema.Document{Recommendations: []schema.Recommendation{{ID: "1", Action: "x"}}, Workflow: doc.Workflow}
		byHand.Check()
		for i := range want {
			_, want[i], _ = strings.Cut(want[i], ": ")
		}
		require.Equal(t, want, lines(byHand.Problems), strategy)
	}
}

func lines(problems []schema.Problem) (out []string) {
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}
