package schema_test

import (
	"errors"
	"fmt"

	"github.com/remedykit/remedy/schema"
)

func ExampleParse() {
	doc, err := schema.Parse([]byte(`Here is the plan:
{
  "recommendations": [
    {"id": "rec-001", "action": "cordon_node", "parameters": {"node": "node-7"}, "risk": "medium"},
    {"id": "rec-002", "action": "drain_node", "parameters": {"node": "node-7"}, "deps": ["rec-001"]},  # the rest follows
  ],
  "estimatedDuration": "4-5 minutes"
}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range doc.Recommendations {
		fmt.Println(r.ID, r.Action, r.Parameters["node"], r.Dependencies)
	}
	fmt.Println("between", doc.EstimatedDuration.Min, "and", doc.EstimatedDuration.Max)
	for _, r := range doc.Repairs {
		fmt.Printf("line %d: %s: %s\n", r.Line, r.Kind, r.Message)
	}
	// Output:
	// rec-001 cordon_node node-7 []
	// rec-002 drain_node node-7 [rec-001]
	// between 4m0s and 5m0s
	// line 1: surrounding-text: the text before the document was dropped
	// line 5: alias: "deps" was read as "dependencies"
	// line 5: trailing-comma: the comma after the last item was dropped
	// line 5: comment: a comment was dropped
}

func ExampleError() {
	_, err := schema.Parse([]byte(`{
  "recommendations": [
    {"id": "rec 1", "action": "cordon_node", "risk": "hihg"},
    {"id": "rec-002", "dependencys": ["rec 1"]}
  ]
}`))
	if invalid, ok := errors.AsType[*schema.Error](err); ok {
		for _, p := range invalid.Problems {
			fmt.Println(p)
		}
	}
	// Output:
	// 3:12: error: invalid-value: the id "rec 1" must be 1 to 63 letters, digits, dots, underscores or hyphens
	// 3:54: error: invalid-value: risk "hihg" is none of none, low, medium, high, critical (did you mean high?)
	// 4:5: error: missing-field: the step has no "action"; every step needs one
	// 4:23: warning: unknown-field: a step has no field "dependencys"; it is ignored (did you mean dependencies?)
}

func ExampleStrict() {
	_, err := schema.Parse([]byte(`[{"id": "a", "action": "cordon_node"},]`), schema.Strict())
	fmt.Println(err)
	// Output:
	// 1:1: error: repair-refused: the list itself was read as "recommendations", which strict reading refuses
	// 1:38: error: invalid-json: a comma after the last item is no JSON
}
