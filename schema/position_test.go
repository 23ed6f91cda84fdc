package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/schema"
)

func TestPositionsCountLinesAndCharactersFromOne(t *testing.T) {
	doc, err := schema.Parse([]byte("{\n" +
		"  \"steps\": [\n" +
		"    {\"id\": \"a\", \"why\": \"größer ⚠️ 𝄞\", \"action\": \"x\",\n" +
		"     \"params\": {\"a/b\": [1, \"...\", {\"~c\": true}], \"\": 0}}\n" +
		"  ]\n}"))
	require.NoError(t, err)
	for _, tc := range []struct {
		pointer      string
		line, column int
	}{
		{"", 1, 1},
		{"/steps", 2, 12},
		{"/steps/0", 3, 5},
		{"/steps/0/why", 3, 24},
		{"/steps/0/action", 3, 49},
		{"/steps/0/params/a~1b", 4, 24},
		{"/steps/0/params/a~1b/0", 4, 25},
		{"/steps/0/params/a~1b/2/~0c", 4, 42},
		{"/steps/0/params/", 4, 54},
		// What does not exist is at the nearest value around it.
		{"/steps/0/params/a~1b/3", 4, 24},
		{"/steps/0/params/a~1b/x", 4, 24},
		{"/steps/0/dependencies", 3, 5},
		{"/steps/7/id", 2, 12},
		{"/recommendations/0", 1, 1},
		{"no pointer", 1, 1},
	} {
		line, column := doc.Position(tc.pointer)
		require.Equal(t, [2]int{tc.line, tc.column}, [2]int{line, column}, tc.pointer)
	}
}

func TestPositionsAreRightFarIntoLongLines(t *testing.T) {
	var b strings.Builder
	b.WriteString("\ufeff[")
	for i := range 200 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"s%d","action":"x","description":"äöü→𝄞"}`, i)
	}
	b.WriteString("]")
	text := b.String()
	doc, err := schema.Parse([]byte(text))
	require.NoError(t, err)
	characters := []rune(strings.TrimPrefix(text, "\ufeff"))
	for _, i := range []int{0, 1, 50, 199} {
		line, column := doc.Position(fmt.Sprintf("/%d/id", i))
		require.Equal(t, 1, line)
		want := fmt.Sprintf(`"s%d"`, i)
		require.Equal(t, want, string(characters[column-1:column-1+len(want)]))
	}
}

func TestPointersKeepTheDocumentsSpelling(t *testing.T) {
	for _, tc := range []struct{ name, text, id, parameter, item, missing, noField string }{
		{"canonical", `{"recommendations": [{"id": "a", "action": "x", "parameters": {"n": ["...", 1, 2]}}]}`,
			"/recommendations/0/id", "/recommendations/0/parameters/n", "/recommendations/0/parameters/n/2", "/recommendations/0/parameters", "/recommendations/0"},
		{"synonyms", `{"steps": [{"stepNumber": 1, "action_type": "x", "params": {"n": [1, "...", 2]}}]}`,
			"/steps/0/stepNumber", "/steps/0/params/n", "/steps/0/params/n/2", "/steps/0/params", "/steps/0"},
		{"bare list", `[{"id": "a", "action": "x", "Parameters": {"n": [1, 2]}}]`,
			"/0/id", "/0/Parameters/n", "/0/Parameters/n/1", "/0/Parameters", "/0"},
		{"manifest", `{"apiVersion": "workflowexecution.kubernaut.ai/v1alpha1", "kind": "WorkflowExecution", "spec": {"workflowDefinition": {"steps": [
			{"stepNumber": 1, "action": "x", "parameters": {"n": [1, 2]}}]}}}`,
			"/spec/workflowDefinition/steps/0/stepNumber", "/spec/workflowDefinition/steps/0/parameters/n",
			"/spec/workflowDefinition/steps/0/parameters/n/1", "/spec/workflowDefinition/steps/0/parameters", "/spec/workflowDefinition/steps/0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc, err := schema.Parse([]byte(tc.text))
			require.NoError(t, err)
			require.Equal(t, tc.id, doc.Pointer(0, "id"))
			require.Equal(t, tc.parameter, doc.Pointer(0, "parameters", "n"))
			require.Equal(t, tc.item, doc.Pointer(0, "parameters", "n", "1"))
			require.Equal(t, tc.missing, doc.Pointer(0, "parameters", "namespace"))
			require.Equal(t, tc.noField, doc.Pointer(0, "risk"))
			require.Equal(t, tc.noField, doc.Pointer(0, ""))
			require.Empty(t, doc.Pointer(1, "id"))
			require.Equal(t, doc.Pointer(0, "parameters", "n"), doc.Pointer(0, "parameters", "n", "x"))
		})
	}
}

// What could not be read as a dependency has no place in the list.
func TestPointersOfDependenciesCountWhatWasRead(t *testing.T) {
	doc, err := schema.Parse([]byte(`[{"id": "a", "action": "x", "dependencies": ["...", 0.5, "b", null, 7, {}, "c"]}]`))
	require.Error(t, err)
	for k, want := range []string{"b", "7", "c"} {
		require.Equal(t, want, doc.Recommendations[0].Dependencies[k])
		require.Equal(t, fmt.Sprintf("/0/dependencies/%d", 2*k+2), doc.Pointer(0, "dependencies", fmt.Sprint(k)))
	}
}

func TestDocumentsBuiltByHandHavePointersButNoPlaces(t *testing.T) {
	doc := &schema.Document{Recommendations: []schema.Recommendation{{ID: "a", Parameters: map[string]any{"z": 1, "a/b": 2}}}}
	require.Equal(t, "/recommendations/0/parameters/a~1b", doc.Pointer(0, "parameters", "a/b"))
	require.Equal(t, "/recommendations/0", doc.Pointer(0, ""))
	require.Equal(t, []string{"a/b", "z"}, doc.Recommendations[0].ParameterNames())
	line, column := doc.Position("/recommendations/0")
	require.Zero(t, line+column)
	doc.Report(schema.Problem{Code: schema.CodeUnknownAction, Message: "no such action"})
	require.ErrorContains(t, doc.Err(), "error: unknown-action: no such action")
}

func TestParameterNamesKeepTheOrderOfTheDocument(t *testing.T) {
	doc, err := schema.Parse([]byte(`[{"id": "a", "action": "x", "parameters": {"z": 1, "a": {"y": 1, "b": 2}, "M": 3}},
		{"id": "b", "action": "x", "parameters": {"k": 1, "c": 2}}]`))
	require.NoError(t, err)
	require.Equal(t, []string{"z", "a", "M"}, doc.Recommendations[0].ParameterNames())
	require.Equal(t, []string{"k", "c"}, doc.Recommendations[1].ParameterNames())
	doc.Recommendations[1].Parameters["b"] = 3
	require.Equal(t, []string{"b", "c", "k"}, doc.Recommendations[1].ParameterNames())
}

func TestLaterStagesReportInTheOrderOfTheDocument(t *testing.T) {
	text := []byte("{\"recommendations\": [\n {\"id\": \"a\", \"action\": \"x\"},\n {\"id\": \"b\", \"action\": \"y\", \"extra\": 1}]}")
	doc, err := schema.Parse(text)
	require.NoError(t, err)
	require.Len(t, doc.Problems, 1)
	doc.Report(schema.Problem{Code: schema.CodeUnknownAction, Message: "second", Pointer: "/recommendations/1/action", Step: "b", Suggestion: "z"})
	doc.Report(schema.Problem{Code: schema.CodeUnknownAction, Message: "first", Pointer: "/recommendations/0/action", Step: "a"})
	doc.Repaired(schema.Repair{Kind: schema.RepairNamespace, Message: "a namespace was filled in", Pointer: "/recommendations/1"})
	doc.Repaired(schema.Repair{Kind: schema.RepairAlias, Message: "x was read as z", Pointer: "/recommendations/0/action"})
	require.EqualError(t, doc.Err(), "2:24: error: unknown-action: first\n3:24: error: unknown-action: second (did you mean z?)")
	require.Equal(t, "3:29: warning: unknown-field: a step has no field \"extra\"; it is ignored", doc.Problems[2].String())
	require.Equal(t, []schema.RepairKind{schema.RepairAlias, schema.RepairNamespace}, []schema.RepairKind{doc.Repairs[0].Kind, doc.Repairs[1].Kind})

	for range 5000 {
		doc.Report(schema.Problem{Code: schema.CodeWriteConflict, Severity: schema.SeverityWarning, Message: "of many", Pointer: "/recommendations/0"})
	}
	doc.Report(schema.Problem{Code: schema.CodeUnknownAction, Message: "late", Step: "no id\n", Pointer: "/recommendations/1/action"})
	require.ErrorContains(t, doc.Err(), "late")
	require.Len(t, doc.Problems, 1004)
	require.Equal(t, schema.CodeLimitExceeded, doc.Problems[999].Code)
	require.Equal(t, schema.SeverityWarning, doc.Problems[999].Severity)
	require.Equal(t, schema.Problem{Code: schema.CodeUnknownAction, Severity: schema.SeverityError, Message: "late",
		Pointer: "/recommendations/1/action", Line: 3, Column: 24}, doc.Problems[1002])

	strict, err := schema.Parse(text, schema.Strict())
	require.NoError(t, err)
	strict.Repaired(schema.Repair{Kind: schema.RepairNamespace, Message: "a namespace was filled in", Pointer: "/recommendations/1"})
	require.Empty(t, strict.Repairs)
	require.ErrorContains(t, strict.Err(), "repair-refused: a namespace was filled in, which strict reading refuses")
	require.Equal(t, "b", strict.Problems[0].Step)
}
