// Package remedy is the tour of a library that turns a recommendations document, JSON that a model wrote after it
// investigated a Kubernetes incident, into a validated plan and runs it: independent steps in parallel, a person asked
// where risk asks for one, every step's end explained.
//
// The packages, from the wire to the run; each imports only those before it:
//
//   - [github.com/remedykit/remedy/schema] reads the document. It repairs only what cannot change meaning, and reports
//     everything that is wrong in one pass, with code, pointer, line and column.
//   - [github.com/remedykit/remedy/actions] holds the registry of 38 action types as data, and the contract of the
//     handlers that carry them out. [github.com/remedykit/remedy/actions/simulated] has handlers that only wait;
//     [github.com/remedykit/remedy/actions/actionstest] holds your own handlers to the contract.
//   - [github.com/remedykit/remedy/dag] makes a plan of a document: a graph of steps, checked, ordered and analysed.
//     [github.com/remedykit/remedy/dag/render] draws it.
//   - [github.com/remedykit/remedy/approval] decides which steps wait for a person, and asks.
//     [github.com/remedykit/remedy/approval/terminal] asks at a terminal.
//   - [github.com/remedykit/remedy/executor] runs the plan, or simulates it on virtual time.
//
// # From a document to a run
//
//	plan, err := dag.Load(data, actions.Canonical())
//	ex, err := executor.New(executor.Config{Handlers: handlers, Policy: approval.IncidentTable(), Approver: approver})
//	report, err := ex.Run(ctx, plan, executor.RunOptions{Confidence: approval.Confidence{Value: 0.85, Given: true}})
//	for step := range report.Steps() {
//		fmt.Println(step.ID, step.Status, report.Why(step.ID))
//	}
//
// # What a document can and cannot do
//
// A document's text is data: nothing in it is run, rendered or followed. It can raise the risk of a step and ask for
// approval; it can never lower what registry and policy ask for. How sure the analysis is comes from the caller, not
// from the document.
package remedy
