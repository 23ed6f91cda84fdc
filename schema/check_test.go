package schema_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/schema"
)

// Every text of a document built by hand can reach a terminal or an approver, as one that was read can.
func TestCheckFindsForbiddenCharactersWhereverTheyAre(t *testing.T) {
	const bad = "a\x1b[2Jb"
	type step = schema.Recommendation
	for pointer, r := range map[string]step{
		"/recommendations/0/action":                   {Action: bad},
		"/recommendations/0/description":              {Description: bad},
		"/recommendations/0/rationale":                {Rationale: "\xff"},
		"/recommendations/0/name":                     {Name: "two\nlines"},
		"/recommendations/0/dependencies/1":           {Dependencies: []string{"b", "\u202e"}},
		"/recommendations/0/targetResource/kind":      {Target: &schema.Target{Kind: bad}},
		"/recommendations/0/targetResource/namespace": {Target: &schema.Target{Namespace: bad}},
		"/recommendations/0/targetResource/name":      {Target: &schema.Target{Name: bad}},
		"/recommendations/0/parameters/" + bad:        {Parameters: map[string]any{bad: 1}},
		"/recommendations/0/parameters/p":             {Parameters: map[string]any{"p": "\u2066", "reason": "two\nlines"}},
		"/recommendations/0/parameters/reason":        {Parameters: map[string]any{"reason": bad}},
		"/recommendations/0/parameters/l/1":           {Parameters: map[string]any{"l": []string{"", bad}}},
		"/recommendations/0/parameters/l/0/1/x":       {Parameters: map[string]any{"l": []any{[]any{1, map[string]any{"x": bad}}}}},
		"/recommendations/0/parameters/m/k":           {Parameters: map[string]any{"m": map[string]string{"k": bad}}},
		"/recommendations/0/parameters/m/" + bad:      {Parameters: map[string]any{"m": map[string]string{bad: ""}}},
		"/recommendations/0/parameters/o/" + bad:      {Parameters: map[string]any{"o": map[string]any{bad: nil}}},
	} {
		r.ID = "s"
		if r.Action == "" {
			r.Action = "x"
		}
		doc := &schema.Document{Recommendations: []step{r}}
		doc.Check()
		require.Len(t, doc.Problems, 1, "%q", pointer)
		require.Equal(t, schema.CodeForbiddenCharacter, doc.Problems[0].Code)
		require.Equal(t, pointer, doc.Problems[0].Pointer)
		require.Equal(t, "s", doc.Problems[0].Step)
		require.NotContains(t, doc.Problems[0].String(), "\x1b")
	}
	doc := &schema.Document{Recommendations: []step{{ID: "s", Action: "x"}}, EstimatedDuration: schema.Estimate{Text: bad}, HistoricalSuccessRate: new(1.5)}
	doc.Check()
	require.Len(t, doc.Problems, 2)
	require.Equal(t, "/estimatedDuration", doc.Problems[0].Pointer)
	require.Equal(t, "/historicalSuccessRate", doc.Problems[1].Pointer)
}

func TestCheckRefusesValuesThatNoDocumentHas(t *testing.T) {
	type word string
	for _, v := range []any{word("x"), math.NaN(), math.Inf(1), float32(math.Inf(-1)), json.Number("1e"), json.Number("\x1b"), struct{}{}, make(chan int), []int{1}} {
		doc := &schema.Document{Recommendations: []schema.Recommendation{{ID: "s", Action: "x", Parameters: map[string]any{"p": []any{v}}}}}
		doc.Check()
		require.Len(t, doc.Problems, 1, "%T", v)
		require.Equal(t, "/recommendations/0/parameters/p/0", doc.Problems[0].Pointer)
		require.Contains(t, doc.Problems[0].Message, "a parameter must be a string, bool, number, list or object")
	}
	fine := []any{1, int8(1), uint64(1), 0.5, float32(2), json.Number("1e3"), true, nil, "x"}
	doc := &schema.Document{Recommendations: []schema.Recommendation{{ID: "s", Action: "x", Description: "two\nlines", Parameters: map[string]any{"p": fine}}}}
	doc.Check()
	require.Empty(t, doc.Problems)
}

func TestCheckLooksOnlyAtWhatWasNotRead(t *testing.T) {
	doc, err := schema.Parse([]byte(`{"recommendations": [{"id": "a", "action": "x", "description": "d\u0007"}]}`))
	require.Error(t, err)
	doc.Check()
	require.Len(t, doc.Problems, 1)
	doc.Recommendations = append(doc.Recommendations, schema.Recommendation{ID: "a", Action: "y\t"})
	doc.Check()
	require.Error(t, doc.Err())
	var codes []schema.Code
	for _, p := range doc.Problems {
		codes = append(codes, p.Code)
	}
	require.Equal(t, []schema.Code{schema.CodeDuplicateID, schema.CodeForbiddenCharacter, schema.CodeForbiddenCharacter}, codes)
}
