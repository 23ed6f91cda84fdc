package executor

// Status is the state of a step.
type Status uint8

// The states of a step. All from Succeeded on are final.
const (
	Pending Status = iota
	WaitingApproval
	Running
	Succeeded
	Failed
	Rejected
	Blocked
	Cancelled
	Skipped
	RolledBack
	RollbackFailed
	Unknown
)

// String returns the published name, such as "waitingApproval".
func (s Status) String() string {
	switch s {
	case Pending:
		return "pending"
	case WaitingApproval:
		return "waitingApproval"
	case Running:
		return "running"
	case Succeeded:
		return "succeeded"
	case Failed:
		return "failed"
	case Rejected:
		return "rejected"
	case Blocked:
		return "blocked"
	case Cancelled:
		return "cancelled"
	case Skipped:
		return "skipped"
	case RolledBack:
		return "rolledBack"
	case RollbackFailed:
		return "rollbackFailed"
	}
	return "unknown"
}

// MarshalText writes the published name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Final tells whether a step in this state has ended.
func (s Status) Final() bool { return s >= Succeeded }

// Reason is the published code of why a step is in its state.
type Reason uint8

// The reasons. ReasonNone goes with steps that have not ended. From ReasonRunCancelled on they are halts of the run.
const (
	ReasonNone Reason = iota
	// ReasonCompleted: the handler succeeded.
	ReasonCompleted
	// ReasonHandlerError: the handler returned an error.
	ReasonHandlerError
	// ReasonTimeout: the handler ended with an error after the step's time-out had passed.
	ReasonTimeout
	// ReasonPanic: the handler panicked or ended its goroutine.
	ReasonPanic
	// ReasonAbandoned: the handler went on for the whole grace after its context had ended.
	ReasonAbandoned
	// ReasonRejected: a person said no.
	ReasonRejected
	// ReasonApprovalTimeout: nobody answered in time.
	ReasonApprovalTimeout
	// ReasonApprovalError: the approver failed, panicked, or gave no valid answer.
	ReasonApprovalError
	// ReasonDependency: a dependency did not succeed.
	ReasonDependency
	// ReasonRunFailed: the run failed before the step could start.
	ReasonRunFailed
	// ReasonPlanRejected: the plan as a whole was not approved.
	ReasonPlanRejected
	// ReasonBranchSkipped: a step that this one depends on was rejected, and the rest of the run goes on.
	ReasonBranchSkipped
	// ReasonProbed: the process died while the step ran, and its handler says that the effect happened.
	ReasonProbed
	// ReasonUnresolved: the process died while the step ran, and nobody could say whether the effect happened.
	ReasonUnresolved
	// ReasonLimit: a cooldown, an open breaker, a budget or the kill switch kept the effect from being sent.
	ReasonLimit
	// ReasonForbidden: a rule, a freeze or a cap of the policy kept the effect from being sent.
	ReasonForbidden
	// ReasonDryRun: the dry run says that the step would fail.
	ReasonDryRun
	// ReasonUndone: the effect was taken back.
	ReasonUndone
	// ReasonUndoError: the handler could not take the effect back.
	ReasonUndoError
	// ReasonDrift: somebody else has changed what the step wrote, so it was not taken back.
	ReasonDrift
	// ReasonRollbackTimeout: the rollback's clock ran out.
	ReasonRollbackTimeout
	// ReasonRunCancelled: somebody cancelled the run.
	ReasonRunCancelled
	// ReasonRunTimeout: the run's clock ran out.
	ReasonRunTimeout
	// ReasonGuard: a guard of the run was breached.
	ReasonGuard
	// ReasonObsolete: the run is not wanted any more.
	ReasonObsolete
	// ReasonInterrupted: the context of the run ended.
	ReasonInterrupted
)

// String returns the published code, "" for ReasonNone.
func (r Reason) String() string {
	switch r {
	case ReasonCompleted:
		return "completed"
	case ReasonHandlerError:
		return "handlerError"
	case ReasonTimeout:
		return "timeout"
	case ReasonPanic:
		return "panic"
	case ReasonAbandoned:
		return "abandoned"
	case ReasonRejected:
		return "rejected"
	case ReasonApprovalTimeout:
		return "approvalTimeout"
	case ReasonApprovalError:
		return "approvalError"
	case ReasonDependency:
		return "dependencyNotSucceeded"
	case ReasonRunFailed:
		return "runFailed"
	case ReasonPlanRejected:
		return "planRejected"
	case ReasonRunCancelled:
		return "runCancelled"
	case ReasonRunTimeout:
		return "runTimeout"
	case ReasonBranchSkipped:
		return "branchSkipped"
	case ReasonProbed:
		return "probed"
	case ReasonUnresolved:
		return "unresolved"
	case ReasonLimit:
		return "limit"
	case ReasonForbidden:
		return "forbidden"
	case ReasonDryRun:
		return "dryRunFailed"
	case ReasonUndone:
		return "undone"
	case ReasonUndoError:
		return "undoError"
	case ReasonDrift:
		return "drift"
	case ReasonRollbackTimeout:
		return "rollbackTimeout"
	case ReasonGuard:
		return "guardBreached"
	case ReasonObsolete:
		return "obsolete"
	case ReasonInterrupted:
		return "interrupted"
	}
	return ""
}

// MarshalText writes the published code.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// statusOf is the inverse of String; "" is Pending.
func statusOf(name string) (Status, bool) {
	for s := Pending; s <= Unknown; s++ {
		if s.String() == name {
			return s, true
		}
	}
	return Pending, name == ""
}

// reasonOf is the inverse of String.
func reasonOf(code string) (Reason, bool) {
	for r := ReasonNone; r <= ReasonInterrupted; r++ {
		if r.String() == code {
			return r, true
		}
	}
	return ReasonNone, false
}

// RunStatus is the state of a run.
type RunStatus string

// The states of a run. RunParked means that nothing runs and a gate waits for [Executor.Decide].
const (
	RunRunning               RunStatus = "running"
	RunParked                RunStatus = "parked"
	RunSucceeded             RunStatus = "succeeded"
	RunSucceededWithWarnings RunStatus = "succeededWithWarnings"
	RunFailed                RunStatus = "failed"
	RunRejected              RunStatus = "rejected"
	RunCancelled             RunStatus = "cancelled"
	RunInterrupted           RunStatus = "interrupted"
	RunObsolete              RunStatus = "obsolete"
	RunRolledBack            RunStatus = "rolledBack"
	RunRollbackFailed        RunStatus = "rollbackFailed"
)

// Final tells whether a run in this state has ended.
func (s RunStatus) Final() bool { return s != RunRunning && s != RunParked }
