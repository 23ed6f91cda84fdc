package dag

// Pattern names a common shape of remediation.
type Pattern string

// The patterns. Where a plan follows several, the later one is named: it says more.
const (
	// DiagnosticFixVerify gathers evidence, fixes, verifies.
	DiagnosticFixVerify Pattern = "diagnostic-fix-verify"
	// ParallelDiagnosticsFix gathers evidence from several sources at once before one fix.
	ParallelDiagnosticsFix Pattern = "parallel-diagnostics-sequential-fix"
	// FixCascadeRestart fixes the root cause, then restarts what depends on it, at once.
	FixCascadeRestart Pattern = "fix-root-cause-cascade-restart"
	// CorrelateFixSilence finds the cause behind many alerts, fixes it, silences them.
	CorrelateFixSilence Pattern = "correlate-fix-silence"
)
