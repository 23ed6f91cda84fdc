package dag_test

import (
	"errors"
	"fmt"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// A document becomes a plan, or an error that lists all that is wrong with it.
func ExampleLoad() {
	const document = `{"recommendations": [
	  {"id": "look", "action": "collect_diagnostics", "parameters": {"namespace": "shop", "deployment": "web"}},
	  {"id": "save", "action": "backup_data", "parameters": {"namespace": "shop", "deployment": "web"}},
	  {"id": "grow", "action": "increase_resources", "parameters": {"deployment": "web", "memory": "3Gi"},
	   "dependencies": ["look", "save"]}
	]}`
	plan, err := dag.Load([]byte(document), actions.Canonical())
	if problems, ok := errors.AsType[*schema.Error](err); ok {
		for _, p := range problems.Problems {
			fmt.Println(p)
		}
		return
	}
	fmt.Println(plan.Strategy(), plan.Pattern())
	for i, group := range plan.Groups() {
		for _, k := range group {
			fmt.Println(i+1, plan.Step(k).Action(), plan.Step(k).Risk(), plan.Step(k).Target())
		}
	}
	// Output:
	// sequential-with-parallel parallel-diagnostics-sequential-fix
	// 1 collect_diagnostics none Deployment shop/web
	// 1 backup_data low Deployment shop/web
	// 2 increase_resources low Deployment shop/web
}
