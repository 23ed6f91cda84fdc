package executor_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/schema"
)

// examplePlan scales a deployment and then checks its health.
func examplePlan(registry *actions.Registry) *dag.Plan {
	plan, err := dag.Build(&schema.Document{Recommendations: []schema.Recommendation{
		{ID: "scale", Action: "scale_deployment", Parameters: map[string]any{"namespace": "shop", "deployment": "web", "replicas": 8}},
		{ID: "verify", Action: "health_check", Parameters: map[string]any{"deployment": "web", "endpoint": "/health"}, Dependencies: []string{"scale"}},
	}}, registry)
	if err != nil {
		panic(err)
	}
	return plan
}

// A report explains every step that did not succeed, down to the event that began it.
func ExampleReport_Why() {
	registry := actions.Canonical()
	handlers := simulated.New(simulated.Options{Scale: -1, Fail: func(req *actions.Request) error {
		if req.Step == "scale" {
			return errors.New("quota exceeded")
		}
		return nil
	}}).Handlers(registry)
	ex, err := executor.New(executor.Config{Handlers: handlers, Approver: approval.Auto()})
	if err != nil {
		panic(err)
	}
	report, err := ex.Run(context.Background(), examplePlan(registry), executor.RunOptions{ID: "incident-42"})
	if err != nil {
		panic(err)
	}
	for _, cause := range report.Why("verify") {
		fmt.Println(cause.Step, cause.Status, cause.Reason, "-", cause.Message)
	}
	fmt.Println(report.Err())
	// Output:
	// verify blocked dependencyNotSucceeded - scale did not succeed
	// scale failed handlerError - quota exceeded
	// run incident-42 failed: step 1 (scale) failed: quota exceeded
}

// Without an Approver a gate waits for Decide, and the run is parked while nothing else runs. A controller calls Start
// and never blocks.
func ExampleExecutor_Decide() {
	registry := actions.Canonical()
	ex, err := executor.New(executor.Config{Handlers: simulated.New(simulated.Options{Scale: -1}).Handlers(registry)})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	run, err := ex.Start(ctx, examplePlan(registry), executor.RunOptions{ID: "incident-42", Author: "model"})
	if err != nil {
		panic(err)
	}
	report, _ := run.Wait(ctx)
	waiting := report.Waiting()[0]
	fmt.Println(report.Status(), waiting.Step.ID())

	yes := approval.Decision{Verdict: approval.Approved, By: "alice", Digest: waiting.Digest}
	if err := ex.Decide(ctx, "incident-42", "scale", yes); err != nil {
		panic(err)
	}
	<-run.Done()
	fmt.Println(run.Snapshot().Status(), errors.Is(ex.Decide(ctx, "incident-42", "scale", yes), approval.ErrDecided))
	// Output:
	// parked scale
	// succeeded true
}

// A simulation takes no time: it says when each step would start and end.
func ExampleExecutor_Simulate() {
	registry := actions.Canonical()
	ex, err := executor.New(executor.Config{Handlers: simulated.New(simulated.Options{}).Handlers(registry), Policy: approval.IncidentTable()})
	if err != nil {
		panic(err)
	}
	sim, err := ex.Simulate(examplePlan(registry), executor.SimulateOptions{ApprovalAfter: time.Minute})
	if err != nil {
		panic(err)
	}
	for step := range sim.Steps() {
		fmt.Println(step.ID, step.StartedAt.Sub(sim.StartedAt()), step.EndedAt.Sub(sim.StartedAt()))
	}
	// Output:
	// scale 0s 1m15s
	// verify 1m15s 1m45s
}
