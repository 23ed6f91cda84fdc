package dag

import (
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// A Step is one step of a plan. It is immutable.
type Step struct {
	index  int
	rec    schema.Recommendation
	spec   *actions.Spec
	params actions.Parameters
	target schema.Target
	// …
}

// Index is the position in the document from 0.
func (s *Step) Index() int { return s.index }

// Number is the position in the document from 1, as people see it.
func (s *Step) Number() int { return s.index + 1 }

// ID is the document's id.
func (s *Step) ID() string { return s.rec.ID }

// Action is the canonical action type.
func (s *Step) Action() string { return s.spec.Name }

// Spec is the action's entry in the registry. It must not be changed.
func (s *Step) Spec() *actions.Spec { return s.spec }

// Name is the title for people: the overlay's, the document's, else the Spec's.
func (s *Step) Name() string { return "" }

// Label is what drawings call the step: the overlay's label, else the action.
func (s *Step) Label() string { return "" }

// Note stands in parentheses in drawings; "" for none.
func (s *Step) Note() string { return "" }

// Description is the model's text; show it as text only.
func (s *Step) Description() string { return s.rec.Description }

// Rationale is the model's text; show it as text only.
func (s *Step) Rationale() string { return s.rec.Rationale }

// Parameters are the canonical parameters.
func (s *Step) Parameters() actions.Parameters { return s.params }

// Dependencies returns the indexes of the steps that must have succeeded first, ascending.
func (s *Step) Dependencies() []int { return nil }

// Target is the object that the step is about, as its parameters say; the zero Target when they name none.
func (s *Step) Target() schema.Target { return s.target }

// Artifact is the name of the artifact that the step leaves, "" for none.
func (s *Step) Artifact() string { return "" }

// Risk is the effective risk: the highest of the registry's floor, the floors that parameters reach, and the document's.
func (s *Step) Risk() schema.Risk { return schema.RiskUnset }

// RiskReasons says what raised the risk above the registry's floor, one line each.
func (s *Step) RiskReasons() []string { return nil }

// Confidence is the model's own in this step; ok is false when it gives none.
func (s *Step) Confidence() (c float64, ok bool) { return 0, false }

// RequiresApproval tells whether the document asks for approval. Its false removes nothing and is the same as silence.
func (s *Step) RequiresApproval() bool { return false }

// Timeout bounds the step.
func (s *Step) Timeout() time.Duration { return 0 }

// Duration is what the step is expected to take: the overlay's word, else the Spec's estimate.
func (s *Step) Duration() time.Duration { return 0 }

// Mutating tells whether the step changes something.
func (s *Step) Mutating() bool { return s.spec.Mutating() }

// Reversible tells whether a rollback can undo the step.
func (s *Step) Reversible() bool { return s.spec.Reversible() }

// Gate tells whether a failure of the step fails the run: mutating steps and verification gates.
func (s *Step) Gate() bool { return false }

// ContinueOnFailure tells that dependents go on when the step fails.
func (s *Step) ContinueOnFailure() bool { return false }

// Always tells that the step runs although the run has failed.
func (s *Step) Always() bool { return false }
