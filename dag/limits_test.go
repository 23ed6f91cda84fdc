package dag_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

func problemsOf(t *testing.T, text string) []schema.Problem {
	t.Helper()
	_, err := dag.Load([]byte(text), actions.Canonical())
	var problems *schema.Error
	require.ErrorAs(t, err, &problems)
	return problems.Problems
}

func TestLoad_bounds_what_it_says_of_one_list(t *testing.T) {
	var missing, repeated, references strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&missing, `"a%d", `, i)
		repeated.WriteString(`"a", `)
		references.WriteString(`"heap_dump_a", "heap_dump_z", `)
	}
	for name, text := range map[string]string{
		"missing":    `[{"id": "b", "action": "notify_only", "dependencies": [` + missing.String() + `"x"]}]`,
		"repeated":   `[{"id": "a", "action": "notify_only"}, {"id": "b", "action": "notify_only", "dependencies": [` + repeated.String() + `"a"]}]`,
		"references": `[{"id": "a", "action": "collect_diagnostics", "parameters": {"type": "heap_dump", "pod": "x"}}, {"id": "b", "action": "notify_only", "parameters": {"attachments": [` + references.String() + `"a"]}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			doc, _ := schema.Parse([]byte(text))
			_, err := dag.Build(doc, actions.Canonical())
			require.Equal(t, name != "repeated", err != nil) // a repetition is a warning, however many there are
			require.LessOrEqual(t, len(doc.Problems), 65)
			require.GreaterOrEqual(t, len(doc.Problems), 32)
		})
	}
}

func TestLoad_bounds_what_it_says_of_one_document(t *testing.T) {
	var b strings.Builder
	for i := range 256 {
		fmt.Fprintf(&b, `{"id": "s%d", "action": "notify_only", "dependencies": ["%s-1", "%s-2", "%s-3", "%s-4", "%s-5", "%s-6"]},`,
			i, "x", "x", "x", "x", "x", "x")
	}
	problems := problemsOf(t, "["+strings.TrimSuffix(b.String(), ",")+"]")
	require.Len(t, problems, 1000)
	last := problems[len(problems)-1]
	require.Equal(t, schema.CodeLimitExceeded, last.Code)
	require.Contains(t, last.Message, "there are more")
}

func TestLoad_returns_what_the_reader_says_when_there_is_nothing_to_build(t *testing.T) {
	for _, text := range []string{"", "{", "no JSON", `{"recommendations": []}`, "\x00"} {
		problems := problemsOf(t, text)
		require.NotEmpty(t, problems)
		for _, p := range problems {
			require.Positive(t, p.Line)
			require.Positive(t, p.Column)
		}
	}
}

func TestLoad_suggests_no_id_once_it_has_compared_enough(t *testing.T) {
	doc := &schema.Document{}
	for i := range 3000 {
		doc.Recommendations = append(doc.Recommendations, schema.Recommendation{ID: fmt.Sprintf("step-%05d", i), Action: "notify_only",
			Dependencies: []string{fmt.Sprintf("step-%05dx", i+1)}})
	}
	_, err := dag.Build(doc, actions.Canonical())
	require.Error(t, err)
	require.Equal(t, "step-00001", doc.Problems[0].Suggestion)
	require.Empty(t, doc.Problems[900].Suggestion)
}
