package remedy_test

import (
	"context"
	"fmt"
	"os"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
)

// A document becomes a plan, the plan a run. The handlers here are simulated; the one gate is answered by a function,
// as a bot would.
func Example() {
	data, err := os.ReadFile("examples/plans/oomkill.json")
	if err != nil {
		panic(err)
	}
	registry := actions.Canonical()
	plan, err := dag.Load(data, registry)
	if err != nil {
		panic(err) // every problem of the document, with line and column
	}
	ex, err := executor.New(executor.Config{
		Handlers: simulated.New(simulated.Options{Scale: -1}).Handlers(registry),
		Policy:   approval.IncidentTable(),
		Approver: approval.ApproverFunc(func(_ context.Context, req *approval.Request) (*approval.Decision, error) {
			fmt.Println("asked about", req.Step.ID(), "because", req.Gate.Reasons[0])
			return &approval.Decision{Verdict: approval.Approved, By: "alice"}, nil
		}),
	})
	if err != nil {
		panic(err)
	}
	report, err := ex.Run(context.Background(), plan, executor.RunOptions{
		Author: "model", Confidence: approval.Confidence{Value: 0.725, Given: true},
	})
	if err != nil {
		panic(err)
	}
	for step := range report.Steps() {
		fmt.Println(step.Number, step.ID, step.Status)
	}
	fmt.Println(report.Status())
	// Output:
	// asked about rec-004 because risk medium at confidence 0.725 (from 0.60 medium risk asks)
	// 1 rec-001 succeeded
	// 2 rec-002 succeeded
	// 3 rec-003 succeeded
	// 4 rec-004 succeeded
	// 5 rec-005 succeeded
	// 6 rec-006 succeeded
	// 7 rec-007 succeeded
	// succeeded
}
