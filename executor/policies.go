package executor

// FailurePolicy says what becomes of a run when a step fails whose failure fails the run.
type FailurePolicy uint8

// The policies. In all of them steps marked always still run.
const (
	// StopMutating starts no new mutating step; what runs may finish, and reading steps still run.
	StopMutating FailurePolicy = iota
	// IndependentBranches lets everything run that does not depend on the failed step.
	IndependentBranches
	// CancelRunning starts nothing new, and tells what runs to end.
	CancelRunning
)

// RejectPolicy says what becomes of a run when a person says no to a step, or nobody answers.
type RejectPolicy uint8

// The policies.
const (
	// RejectStop ends the run; what was done stays.
	RejectStop RejectPolicy = iota
	// RejectRollback ends the run and rolls it back as if it had failed.
	RejectRollback
	// RejectSkipBranch skips the step and all that depends on it; the rest of the run goes on.
	RejectSkipBranch
)

// RollbackStrategy says who undoes what a run did that failed or was cancelled.
type RollbackStrategy uint8

// The strategies.
const (
	// RollbackAutomatic undoes it at once.
	RollbackAutomatic RollbackStrategy = iota
	// RollbackManual leaves it to a person: [Report.RollbackPlan] says what would be undone, [Executor.Rollback] does it.
	RollbackManual
	// RollbackNone leaves everything as it is.
	RollbackNone
)
