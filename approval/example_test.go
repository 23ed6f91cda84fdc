package approval_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// Who is asked depends on how sure the analysis is.
func ExamplePolicy_Gates() {
	data, err := os.ReadFile("../examples/plans/oomkill.json")
	if err != nil {
		log.Fatal(err)
	}
	plan, err := dag.Load(data, actions.Canonical())
	if err != nil {
		log.Fatal(err)
	}
	gates, err := approval.IncidentTable().Gates(plan, approval.Confidence{Value: 0.725, Given: true}, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	for i, gate := range gates.Steps {
		if gate.Required {
			fmt.Printf("step %d, %s: %s\n", i+1, plan.Step(i).Action(), strings.Join(gate.Reasons, "; "))
		}
	}
	// Output:
	// step 4, restart_pod: risk medium at confidence 0.725 (from 0.60 medium risk asks); the plan asks for approval
}

// A policy in YAML. A mistake in it is named with its line.
func ExampleParsePolicy() {
	policy, err := approval.ParsePolicy([]byte(`
table:
  - {confidence: 0.95, ask: critical}
  - {confidence: 0.70, ask: low}
risks: {drain_node: critical}
timeout: 30m
`))
	fmt.Println(policy.Risks["drain_node"], policy.Timeout, err)

	_, err = approval.ParsePolicy([]byte("table:\n  - {confidence: 95, ask: critical}\n"))
	fmt.Println(err)
	// Output:
	// critical 30m0s <nil>
	// approval: policy: line 2: table[0].confidence: 95 is not between 0 and 1
}

// An approver of one's own is a function: here one that lets the night shift approve what is not high risk, and leaves the
// rest to people who answer later, through the executor's Decide.
func ExampleApproverFunc() {
	night := approval.ApproverFunc(func(_ context.Context, req *approval.Request) (*approval.Decision, error) {
		if req.Gate.Risk >= schema.RiskHigh {
			return &approval.Decision{Verdict: approval.Pending}, nil
		}
		return &approval.Decision{Verdict: approval.Approved, By: "night-shift", Reason: "below high risk"}, nil
	})
	for _, risk := range []schema.Risk{schema.RiskMedium, schema.RiskCritical} {
		d, err := night.Approve(context.Background(), &approval.Request{Gate: approval.Gate{Required: true, Risk: risk}})
		fmt.Println(risk, d.Verdict, err)
	}
	// Output:
	// medium approved <nil>
	// critical pending <nil>
}
