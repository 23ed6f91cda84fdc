package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/schema"
)

func repairLine(r schema.Repair) string {
	return fmt.Sprintf("%d:%d: repaired: %s: %s @ %s", r.Line, r.Column, r.Kind, r.Message, r.Pointer)
}

func TestThePlansNeedExactlyTheseRepairs(t *testing.T) {
	for _, name := range append(planFiles, "oomkill.workflowexecution.yaml") {
		doc, err := schema.Parse(readPlan(t, name))
		require.NoError(t, err)
		require.Empty(t, doc.Problems)
		var got []string
		for _, r := range doc.Repairs {
			got = append(got, fmt.Sprintf("%d:%d %s %s", r.Line, r.Column, r.Kind, r.Pointer))
		}
		var want []string
		if name == "alert-storm.json" {
			want = []string{
				"8:71 placeholder /recommendations/0/parameters/alerts/3",
				"38:34 comment /recommendations/2",
				"45:52 placeholder /recommendations/3/parameters/alerts/2",
			}
			require.Equal(t, []any{"ServiceADown", "ServiceBSlow", "ServiceCTimeout"}, doc.Recommendations[0].Parameters["alerts"])
		}
		require.Equal(t, want, got, name)
	}
}

func TestRepairsAreListedWithKindAndPlace(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"hash comment", "# the plan\n[{\"id\": \"a\", # first\n\"action\": \"x\"}]", []string{"1:1 comment ", "2:1 alias ", "2:14 comment /0"}},
		{"slash comments", "[{\"id\": // first\n\"a\", \"action\": /* sure */ \"x\"}] // end\n/* really */", []string{"1:1 alias ", "1:9 comment /0", "2:16 comment /0", "2:33 comment ", "3:1 comment "}},
		{"trailing commas", `[{"id": "a", "action": "x",},]`, []string{"1:1 alias ", "1:27 trailing-comma /0", "1:29 trailing-comma "}},
		{"code fence", "```json\n[{\"id\": \"a\", \"action\": \"x\"}]\n```\n", []string{"1:1 code-fence ", "2:1 alias "}},
		{"code fence behind a byte order mark", "\ufeff```json\n[{\"id\": \"a\", \"action\": \"x\"}]\n```\n", []string{"1:1 code-fence ", "2:1 alias "}},
		{"code fence on one line", "```json [{\"id\": \"a\", \"action\": \"x\"}]```", []string{"1:1 code-fence ", "1:9 alias "}},
		{"code fence left open", "```\n# mine\n[{\"id\": \"a\", \"action\": \"x\"}]", []string{"1:1 code-fence ", "2:1 comment ", "3:1 alias "}},
		{"second fence has it", "Run:\n```bash\nkubectl get pods\n```\nThen:\n```json\n[{\"id\": \"a\", \"action\": \"x\"}]\n```\nGood luck!",
			[]string{"1:1 surrounding-text ", "6:1 code-fence ", "7:1 alias ", "9:1 surrounding-text "}},
		{"prose with brackets", "Here is {the plan} [1] for {\"you\"}: [{\"id\": \"a\", \"action\": \"x\"}] That was {it}.",
			[]string{"1:1 surrounding-text ", "1:37 alias ", "1:66 surrounding-text "}},
		{"another object in front", "Input {\"alert\": \"OOM\"} gives {\"recommendations\": [{\"id\": \"a\", \"action\": \"x\"}]}", []string{"1:1 surrounding-text "}},
		{"placeholders in parameters", `{"recommendations": [{"id": "a", "action": "x", "parameters": {"l": ["...", 1, ["..."]], "o": {"l": ["..."]}}}]}`,
			[]string{"1:70 placeholder /recommendations/0/parameters/l/0", "1:81 placeholder /recommendations/0/parameters/l/2/0",
				"1:102 placeholder /recommendations/0/parameters/o/l/0"}},
		{"byte order mark", "\ufeff{\"recommendations\": [{\"id\": \"a\", \"action\": \"x\"}]}", nil},
		{"three dots elsewhere", `{"recommendations": [{"id": "a", "action": "x", "description": "...", "parameters": {"a": "..."}}]}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc, err := schema.Parse([]byte(tc.text))
			require.NoError(t, err)
			var got []string
			for _, r := range doc.Repairs {
				require.NotEmpty(t, r.Message)
				got = append(got, fmt.Sprintf("%d:%d %s %s", r.Line, r.Column, r.Kind, r.Pointer))
			}
			require.Equal(t, tc.want, got)
			require.Len(t, doc.Recommendations, 1)
			require.Equal(t, "a", doc.Recommendations[0].ID)

			strict, err := schema.Parse([]byte(tc.text), schema.Strict())
			require.Equal(t, len(tc.want) > 0, err != nil)
			require.Empty(t, strict.Repairs)
			require.Len(t, strict.Problems, len(tc.want))
		})
	}
}

// What stands inside something broken is never taken for the document.
func TestNoPartOfABrokenDocumentIsTakenForThePlan(t *testing.T) {
	const plan = `[{"id": "a", "action": "drain_node"}]`
	for _, text := range []string{
		`{recommendations: ` + plan,
		`{'recommendations': ` + plan + `}`,
		`{"recommendations": [{"id": 'b', "parameters": {"steps": ` + plan + `}}]}`,
		`{"a": {"steps": ` + plan,
		`{the plan: {"steps": ` + plan + `}`,
		`[{"id": "b", "parameters": {"rules": ` + plan + `}},`,
		`{"recommendations": ` + plan + `}}`,
		`{"recommendations": ` + plan + `}, {"id": "b"}`,
		plan + "\n" + plan,
		plan + "\n{\"id\": \"b",
		"```json\n{\"recommendations\": [{\"id\": \"b\"\n```\nAgain:\n```json\n" + plan + "\n```",
		"{\"recommendations\": [{\"id\": \"b\",\nSorry, again:\n```json\n" + plan + "\n```",
		`{"recommendations": [{"id": 'b'}]} or rather {"recommendations": ` + plan + `}`,
		strings.Repeat("{x} ", 200) + plan,
		plan + strings.Repeat(" {x}", 200),
	} {
		_, err := schema.Parse([]byte(text))
		require.Error(t, err, text)
	}
}

func TestEverySynonymIsReadAndListed(t *testing.T) {
	const rest = `"id": "a", "action": "x"`
	yes, half := true, 0.5
	for _, tc := range []struct {
		spelling, value string
		canonical       string
		want            schema.Recommendation
	}{
		{"stepNumber", "7", "id", schema.Recommendation{ID: "7", Action: "x"}},
		{"step_number", "7", "id", schema.Recommendation{ID: "7", Action: "x"}},
		{"ID", `"b"`, "id", schema.Recommendation{ID: "b", Action: "x"}},
		{"actionType", `"y"`, "action", schema.Recommendation{ID: "a", Action: "y"}},
		{"action_type", `"y"`, "action", schema.Recommendation{ID: "a", Action: "y"}},
		{"action-type", `"y"`, "action", schema.Recommendation{ID: "a", Action: "y"}},
		{"deps", `["b"]`, "dependencies", schema.Recommendation{ID: "a", Action: "x", Dependencies: []string{"b"}}},
		{"dependsOn", `["b"]`, "dependencies", schema.Recommendation{ID: "a", Action: "x", Dependencies: []string{"b"}}},
		{"depends_on", `["b"]`, "dependencies", schema.Recommendation{ID: "a", Action: "x", Dependencies: []string{"b"}}},
		{"params", `{"n": 1}`, "parameters", schema.Recommendation{ID: "a", Action: "x", Parameters: map[string]any{"n": int64(1)}}},
		{"why", `"w"`, "rationale", schema.Recommendation{ID: "a", Action: "x", Rationale: "w"}},
		{"explanation", `"w"`, "rationale", schema.Recommendation{ID: "a", Action: "x", Rationale: "w"}},
		{"reasoning", `"w"`, "rationale", schema.Recommendation{ID: "a", Action: "x", Rationale: "w"}},
		{"riskLevel", `"High"`, "risk", schema.Recommendation{ID: "a", Action: "x", Risk: schema.RiskHigh}},
		{"risk_level", `"none"`, "risk", schema.Recommendation{ID: "a", Action: "x", Risk: schema.RiskNone}},
		{"prob", "0.5", "confidence", schema.Recommendation{ID: "a", Action: "x", Confidence: &half}},
		{"probability", "0.5", "confidence", schema.Recommendation{ID: "a", Action: "x", Confidence: &half}},
		{"effectivenessProbability", "5e-1", "confidence", schema.Recommendation{ID: "a", Action: "x", Confidence: &half}},
		{"requires_approval", "true", "requiresApproval", schema.Recommendation{ID: "a", Action: "x", RequiresApproval: &yes}},
		{"requires-approval", "true", "requiresApproval", schema.Recommendation{ID: "a", Action: "x", RequiresApproval: &yes}},
		{"REQUIRESAPPROVAL", "true", "requiresApproval", schema.Recommendation{ID: "a", Action: "x", RequiresApproval: &yes}},
		{"approvalRequired", "true", "requiresApproval", schema.Recommendation{ID: "a", Action: "x", RequiresApproval: &yes}},
		{"needsApproval", "true", "requiresApproval", schema.Recommendation{ID: "a", Action: "x", RequiresApproval: &yes}},
		{"target", `{"kind": "Pod", "namespace": "n", "name": "p"}`, "targetResource",
			schema.Recommendation{ID: "a", Action: "x", Target: &schema.Target{Kind: "Pod", Namespace: "n", Name: "p"}}},
		{"target_resource", `{"kind": "Node", "name": "p"}`, "targetResource", schema.Recommendation{ID: "a", Action: "x", Target: &schema.Target{Kind: "Node", Name: "p"}}},
		{"Name", `"t"`, "name", schema.Recommendation{ID: "a", Action: "x", Name: "t"}},
		{"Description", `"t"`, "description", schema.Recommendation{ID: "a", Action: "x", Description: "t"}},
		{"time_out", `"2 minutes"`, "timeout", schema.Recommendation{ID: "a", Action: "x", Timeout: 2 * 60e9}},
	} {
		t.Run(tc.spelling, func(t *testing.T) {
			var fields []string
			for _, f := range strings.Split(rest, ", ") {
				if !strings.HasPrefix(f, `"`+tc.canonical+`"`) {
					fields = append(fields, f)
				}
			}
			fields = append(fields, fmt.Sprintf("%q: %s", tc.spelling, tc.value))
			text := []byte(`{"recommendations": [{` + strings.Join(fields, ", ") + `}]}`)
			doc, err := schema.Parse(text)
			require.NoError(t, err)
			require.Empty(t, doc.Problems)
			if diff := cmp.Diff([]schema.Recommendation{tc.want}, doc.Recommendations, equalDocuments...); diff != "" {
				t.Error(diff)
			}
			require.Equal(t, 1, len(doc.Repairs))
			require.Equal(t, schema.RepairAlias, doc.Repairs[0].Kind)
			require.Equal(t, "/recommendations/0/"+tc.spelling, doc.Repairs[0].Pointer)
			require.Contains(t, doc.Repairs[0].Message, fmt.Sprintf("%q was read as %q", tc.spelling, tc.canonical))
			_, err = schema.Parse(text, schema.Strict())
			require.ErrorContains(t, err, "repair-refused")
		})
	}
	for text, pointer := range map[string]string{
		`{"steps": [{` + rest + `}]}`:                                         "/steps",
		`{"Recommendations": [{` + rest + `}]}`:                               "/Recommendations",
		`[{` + rest + `}]`:                                                    "",
		`{"recommendations": [{` + rest + `}], "estimated_duration": "5m"}`:   "/estimated_duration",
		`{"recommendations": [{` + rest + `}], "historicalsuccessrate": 0.5}`: "/historicalsuccessrate",
	} {
		doc, err := schema.Parse([]byte(text))
		require.NoError(t, err)
		require.Len(t, doc.Recommendations, 1)
		require.Len(t, doc.Repairs, 1)
		require.Equal(t, pointer, doc.Repairs[0].Pointer)
	}
}

func TestStepNumbersAreIdsAndDependencies(t *testing.T) {
	doc, err := schema.Parse([]byte(`[{"dependencies": [], "stepNumber": 1, "action": "x"}, {"dependencies": [1, "1"], "stepNumber": 2.0, "action": "x"}]`))
	require.NoError(t, err)
	require.Equal(t, "2", doc.Recommendations[1].ID)
	require.Equal(t, []string{"1", "1"}, doc.Recommendations[1].Dependencies)
}

func TestNullIsAnAbsentField(t *testing.T) {
	doc, err := schema.Parse([]byte(`{"recommendations": [{"id": "a", "action": "x", "description": null, "confidence": null, "parameters": null,
		"dependencies": null, "rationale": null, "risk": null, "requiresApproval": null, "targetResource": null, "name": null, "timeout": null}],
		"estimatedDuration": null, "historicalSuccessRate": null}`))
	require.NoError(t, err)
	require.Empty(t, doc.Problems)
	if diff := cmp.Diff([]schema.Recommendation{{ID: "a", Action: "x"}}, doc.Recommendations, equalDocuments...); diff != "" {
		t.Error(diff)
	}
}

// White space, comments, trailing commas and the order of names are no part of what a document says.
func TestLayoutDoesNotChangeTheDocument(t *testing.T) {
	for _, name := range planFiles {
		want, err := schema.Parse(readPlan(t, name))
		require.NoError(t, err)
		plain := *want
		plain.Repairs = nil
		canonical, err := json.Marshal(&plain)
		require.NoError(t, err)
		rapid.Check(t, func(t *rapid.T) {
			var v any
			d := json.NewDecoder(bytes.NewReader(canonical))
			d.UseNumber()
			require.NoError(t, d.Decode(&v))
			var b strings.Builder
			scramble(t, &b, v)
			doc, err := schema.Parse([]byte(b.String()))
			require.NoError(t, err, b.String())
			got := *doc
			got.Repairs = nil
			if diff := cmp.Diff(plain, got, equalDocuments...); diff != "" {
				t.Fatalf("%s\n%s", b.String(), diff)
			}
		})
	}
}

func scramble(t *rapid.T, b *strings.Builder, v any) {
	gap := func() {
		b.WriteString(rapid.SampledFrom([]string{"", "", "", " ", "\n\t", "\r\n", "/* , } */", "// \"x\": 1\n", "# ]\n"}).Draw(t, "gap"))
	}
	comma := func() {
		if rapid.IntRange(0, 9).Draw(t, "comma") == 0 {
			b.WriteString(",")
			gap()
		}
	}
	gap()
	switch v := v.(type) {
	case map[string]any:
		b.WriteString("{")
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		for i, name := range rapid.Permutation(sorted(names)).Draw(t, "order") {
			if i > 0 {
				b.WriteString(",")
			}
			gap()
			fmt.Fprintf(b, "%q", name)
			gap()
			b.WriteString(":")
			scramble(t, b, v[name])
		}
		if len(v) > 0 {
			comma()
		}
		gap()
		b.WriteString("}")
	case []any:
		b.WriteString("[")
		for i, item := range v {
			if i > 0 {
				b.WriteString(",")
			}
			scramble(t, b, item)
		}
		if len(v) > 0 {
			comma()
		}
		gap()
		b.WriteString("]")
	default:
		data, err := json.Marshal(v)
		require.NoError(t, err)
		b.Write(data)
	}
	gap()
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
