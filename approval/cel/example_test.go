package cel_test

import (
	"fmt"
	"os"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/cel"
	"github.com/remedykit/remedy/dag"
)

func ExampleParsePolicy() {
	policy, err := cel.ParsePolicy([]byte(`
table:
  - {confidence: 0.80, ask: high}
rules:
  - name: large scale-ups
    when: has(step.parameters.replicas) && step.parameters.replicas > 5
    quorum: 2
    approvers: {people: [ann, bob, carol]}
    timeout: 10m
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	document, err := os.ReadFile("../../examples/plans/cascading-failure.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := dag.Load(document, actions.Canonical())
	if err != nil {
		fmt.Println(err)
		return
	}
	gates, err := policy.Gates(plan, approval.Confidence{Value: 0.85, Given: true}, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, gate := range gates.Steps {
		if gate.Required {
			fmt.Printf("%s waits %s: %s\n", plan.Step(i).ID(), gate.Terms.Wait(), gate.Reasons)
		}
	}

	_, err = cel.ParsePolicy([]byte(`
rules:
  - name: large scale-ups
    when: step.parameter.replicas > 5
    require: true
`))
	fmt.Println(err)
	// Output:
	// rec-004 waits 10m0s: [rule large scale-ups: it takes 2 of ann, bob, carol]
	// approval: policy: line 4: rules[0].when: character 5: undefined field 'parameter' (did you mean parameters?)
}
