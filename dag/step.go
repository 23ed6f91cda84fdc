package dag

import (
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// A Step is one step of a plan. It is immutable, and the slices that it returns must not be changed.
type Step struct {
	task  actions.Task
	index int
	group int
	deps  []int
	spec  *actions.Spec

	name, label, note string
	rationale         string

	spellings  map[string]string // the document's, by canonical name, where they differ
	written    []string          // the document's parameter names in its order
	artifact   string
	references []reference

	risk       schema.Risk
	reasons    []string
	confidence float64
	confident  bool
	approval   bool
	gate       bool
	continues  bool
	always     bool
	timeout    time.Duration
}

// Index is the position in the document from 0.
func (s *Step) Index() int { return s.index }

// Number is the position in the document from 1, as people see it.
func (s *Step) Number() int { return s.task.Number }

// Task is what the step asks of a handler. It must not be changed.
func (s *Step) Task() *actions.Task { return &s.task }

// ID is the document's id.
func (s *Step) ID() string { return s.task.Step }

// Action is the canonical action type.
func (s *Step) Action() string { return s.spec.Name }

// Spec is the action's entry in the registry. It must not be changed.
func (s *Step) Spec() *actions.Spec { return s.spec }

// Name is the title for people: the overlay's, the document's, else the Spec's.
func (s *Step) Name() string { return s.name }

// Label is what drawings call the step: the overlay's label, else the action.
func (s *Step) Label() string { return s.label }

// Note stands in parentheses in drawings; "" for none.
func (s *Step) Note() string { return s.note }

// Description is the model's text; show it as text only.
func (s *Step) Description() string { return s.task.Description }

// Rationale is the model's text; show it as text only.
func (s *Step) Rationale() string { return s.rationale }

// Parameters are the canonical parameters.
func (s *Step) Parameters() actions.Parameters { return s.task.Parameters }

// Dependencies returns the indexes of the steps that must have succeeded first, ascending.
func (s *Step) Dependencies() []int { return s.deps }

// Target is the object that the step is about, as its parameters say; the zero Target when they name none.
func (s *Step) Target() schema.Target { return s.task.Target }

// Artifact is the name of the artifact that the step leaves, "" for none.
func (s *Step) Artifact() string { return s.artifact }

// Risk is the effective risk: the highest of the registry's floor, the floors that parameters and time-out reach, and
// the document's.
func (s *Step) Risk() schema.Risk { return s.risk }

// RiskReasons says what raised the risk above the registry's floor, one line each.
func (s *Step) RiskReasons() []string { return s.reasons }

// Confidence is the model's own in this step; ok is false when it gives none.
func (s *Step) Confidence() (c float64, ok bool) { return s.confidence, s.confident }

// RequiresApproval tells whether the document asks for approval. Its false removes nothing and is the same as silence.
func (s *Step) RequiresApproval() bool { return s.approval }

// Timeout bounds the step: the overlay's for the step, the overlay's for the action, the document's, else the Spec's.
func (s *Step) Timeout() time.Duration { return s.timeout }

// Duration is what the step is expected to take: the overlay's word, else the Spec's estimate, at most the time-out.
func (s *Step) Duration() time.Duration { return s.task.Expected }

// Mutating tells whether the step changes something.
func (s *Step) Mutating() bool { return s.spec.Mutating() }

// Reversible tells whether a rollback can undo the step.
func (s *Step) Reversible() bool { return s.spec.Reversible() }

// Gate tells whether a failure of the step fails the run: mutating steps and verification gates.
func (s *Step) Gate() bool { return s.gate }

// ContinueOnFailure tells that dependents go on when the step fails.
func (s *Step) ContinueOnFailure() bool { return s.continues }

// Always tells that the step runs although the run has failed.
func (s *Step) Always() bool { return s.always }

// writes tells whether the step changes the object that it names.
func (s *Step) writes() bool { return s.spec != nil && s.Mutating() && s.task.Target.Name != "" }
