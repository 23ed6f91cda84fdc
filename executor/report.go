package executor

import (
	"iter"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
)

// A Report says how a run stands or how it ended. It is immutable and safe to share.
type Report struct {
	run    string
	digest string
	status RunStatus
	// …
}

// Run is the run's id.
func (r *Report) Run() string { return r.run }

// Digest is the plan's.
func (r *Report) Digest() string { return r.digest }

// Status is the run's.
func (r *Report) Status() RunStatus { return r.status }

// StartedAt is when the run started.
func (r *Report) StartedAt() time.Time { return time.Time{} }

// Makespan is how long the run took, or has taken so far.
func (r *Report) Makespan() time.Duration { return 0 }

// Waiting are the requests that wait for an answer, in plan order, the plan's own first.
func (r *Report) Waiting() []*approval.Request { return nil }

// Len is the number of steps.
func (r *Report) Len() int { return 0 }

// Step returns the record of step i, from 0.
func (r *Report) Step(i int) StepReport { return StepReport{} }

// Steps yields the records of all steps in plan order.
func (r *Report) Steps() iter.Seq[StepReport] { return nil }

// Why explains a step that did not succeed: the chain of causes from the step down to the event that began it. It is
// nil for a step that succeeded or has not ended, and for an unknown id.
func (r *Report) Why(step string) []Cause { return nil }

// Err is nil when the run succeeded, with or without warnings, or has not ended; otherwise an error that names the
// steps that caused it.
func (r *Report) Err() error { return nil }

// A StepReport is the record of one step.
type StepReport struct {
	ID     string
	Number int
	Status Status
	Reason Reason
	// Cause is the id of the step that caused a step not to run; "" when none did.
	Cause string
	// Attempts is 0 for a step that never started.
	Attempts int
	// StartedAt and EndedAt are zero where they did not happen.
	StartedAt, EndedAt time.Time
	// Result is the handler's; nil when it returned none.
	Result *actions.Result
	// Err is the handler's or the approver's error, a [*PanicError] after a panic.
	Err error
	// Gate tells how the step's gate went; nil for a step without one, or whose gate was never asked.
	Gate *GateReport
}

// A GateReport tells how a gate went.
type GateReport struct {
	AskedAt time.Time
	// ReadyAt is when all else was ready for the step; zero when it never was.
	ReadyAt time.Time
	// DecidedAt is zero while the gate waits.
	DecidedAt time.Time
	Verdict   approval.Verdict
	By        string
	Reason    string
}

// A Cause is one link in the explanation of a step.
type Cause struct {
	// Step is the id of the step, "" when the cause is an event of the run.
	Step   string
	Status Status
	Reason Reason
	// Message is for people.
	Message string
}
