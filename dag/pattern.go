package dag

import "github.com/remedykit/remedy/actions"

// Pattern names a common shape of remediation. Patterns are recognised by the roles of the actions and by what depends
// on what. A fix here is a mutating step whose role is to fix or to restart; evidence is what diagnoses, backs up,
// correlates or verifies without depending on a fix.
type Pattern string

// The patterns. Where a plan follows several, the later one is named: it says more.
const (
	// DiagnosticFixVerify gathers evidence, fixes, verifies: a verifying step depends on a fix, which depends on evidence.
	DiagnosticFixVerify Pattern = "diagnostic-fix-verify"
	// ParallelDiagnosticsFix gathers evidence from several sources at once before a fix: two or more pieces of evidence of
	// one group meet in a fix that depends on no other fix, or in a step before it.
	ParallelDiagnosticsFix Pattern = "parallel-diagnostics-sequential-fix"
	// FixCascadeRestart fixes the root cause, then restarts what depends on it, at once: two or more restarts of one
	// group, of different objects, depend on the same first fix.
	FixCascadeRestart Pattern = "fix-root-cause-cascade-restart"
	// CorrelateFixSilence finds the cause behind many alerts, fixes it, silences them: a silencing step depends on a fix,
	// which depends on a correlation.
	CorrelateFixSilence Pattern = "correlate-fix-silence"
)

// What a step has behind it, itself included.
const (
	sawEvidence uint8 = 1 << iota
	sawParallelEvidence
	sawCorrelation
	sawFix
	sawFixOfEvidence
	sawFixOfCorrelation
	isEvidence // the step itself; not passed on
)

// recognise names the pattern of a plan, looking at each dependency once.
func recognise(steps []Step, g *Graph) Pattern {
	var (
		seen     = make([]uint8, len(steps))
		firstFix = make([]int32, len(steps)) // the fix that stands first in the order among those behind; -1: none
		group    = make([]int32, len(steps)) // group[l] is 1 plus the last step with evidence of level l before it
		cascades = map[[2]int32]*Step{}      // by group and first fix: a restart

		verified, parallel, cascade, silenced bool
	)
	for _, i := range g.order {
		s := &steps[i]
		behind, first := uint8(0), int32(-1)
		for _, p := range g.Predecessors(int(i)) {
			behind |= seen[p] &^ isEvidence
			if f := firstFix[p]; f >= 0 && (first < 0 || g.place[f] < g.place[first]) {
				first = f
			}
			if seen[p]&isEvidence != 0 {
				if group[g.level[p]] == i+1 {
					behind |= sawParallelEvidence
				}
				group[g.level[p]] = i + 1
			}
		}
		own := behind
		switch role := s.spec.Role; role {
		case actions.Diagnoses, actions.BacksUp, actions.Verifies, actions.Correlates:
			if behind&sawFix == 0 {
				own |= sawEvidence | isEvidence
			}
			if role == actions.Correlates {
				own |= sawCorrelation
			}
			verified = verified || role == actions.Verifies && behind&sawFixOfEvidence != 0
		case actions.Silences:
			silenced = silenced || behind&sawFixOfCorrelation != 0
		case actions.Fixes, actions.Restarts:
			if !s.Mutating() {
				break
			}
			own |= sawFix
			if behind&sawEvidence != 0 {
				own |= sawFixOfEvidence
			}
			if behind&sawCorrelation != 0 {
				own |= sawFixOfCorrelation
			}
			parallel = parallel || behind&(sawFix|sawParallelEvidence) == sawParallelEvidence
			if first < 0 {
				first = i
			} else if role == actions.Restarts {
				key := [2]int32{g.level[i], first}
				if other := cascades[key]; other == nil {
					cascades[key] = s
				} else if other.task.Target != s.task.Target {
					cascade = true
				}
			}
		}
		seen[i], firstFix[i] = own, first
	}
	switch {
	case silenced:
		return CorrelateFixSilence
	case cascade:
		return FixCascadeRestart
	case parallel:
		return ParallelDiagnosticsFix
	case verified:
		return DiagnosticFixVerify
	}
	return ""
}
