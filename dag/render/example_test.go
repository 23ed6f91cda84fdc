package render_test

import (
	"fmt"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
)

func ExampleBox() {
	plan, err := dag.Load([]byte(`{"recommendations": [
		{"id": "look", "action": "collect_diagnostics", "parameters": {"namespace": "shop", "deployment": "cart"}},
		{"id": "fix", "action": "rollback_deployment", "parameters": {"namespace": "shop", "deployment": "cart"},
		 "dependencies": ["look"], "requiresApproval": true}
	]}`), actions.Canonical())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(render.Box(plan, render.View{}))
	// Output:
	// ┌────────────────────────────────────────────────┐
	// │ Step 1: collect_diagnostics                    │
	// └─────────────────┬──────────────────────────────┘
	//                   ↓
	// ┌────────────────────────────────────────────────┐
	// │ Step 2: rollback_deployment (APPROVAL GATE) ⚠️ │
	// │   Dependencies: [1]                            │
	// │   Risk: Medium                                 │
	// └────────────────────────────────────────────────┘
	//
	// Total Steps: 2
}
