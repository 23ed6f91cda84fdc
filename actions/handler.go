package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/remedykit/remedy/schema"
)

// An ActionHandler carries out one action type. One handler serves many steps at once; it must be safe for concurrent
// use and should end soon after its context does.
//
// A nil Result with a nil error is success. An error fails the step; wrap it with [Transient] or [Permanent] to say
// whether another attempt could help. A panic fails the step too.
type ActionHandler interface {
	Execute(ctx context.Context, req *Request) (*Result, error)
}

// HandlerFunc makes a function an ActionHandler.
type HandlerFunc func(ctx context.Context, req *Request) (*Result, error)

// Execute calls f.
func (f HandlerFunc) Execute(ctx context.Context, req *Request) (*Result, error) { return f(ctx, req) }

// Handlers are the handlers of a runner, by canonical action type.
type Handlers map[string]ActionHandler

// A Task is what a step asks for. It is the same for every run and attempt, and immutable.
type Task struct {
	// Step is the step's id, Number its position in the plan from 1.
	Step   string
	Number int
	// Action is the canonical action type.
	Action string
	// Description is the model's text: data, to be shown as text only.
	Description string
	Parameters  Parameters
	Target      schema.Target
	// Artifact is the name of the artifact that the step leaves; "" for none.
	Artifact string
	// Namespaces are those that the plan names, in order: where a target that names none is looked for.
	Namespaces []string
	// Expected is what the step is expected to take.
	Expected time.Duration
}

// A Request asks a handler to carry out one attempt of a task. Handlers must not change it, and must not keep it after
// they return.
type Request struct {
	*Task
	// Run is the run's id, Attempt counts from 1.
	Run     string
	Attempt int
	// Begun is what the attempt gave to Begin whose outcome a Prober is asked for; nil for everybody else.
	Begun *Undo
	// Conductor takes what the handler reports while it works. The executor sets it; nil in a handler's own tests.
	Conductor Conductor
}

// Key is the idempotency key of the step: it is the same for every attempt and after a restart.
func (r *Request) Key() string { return r.Run + "/" + r.Step }

// Begin is called by a handler just before it sends its effect, with what is needed to undo it (nil when nothing is).
// When it returns an error the handler must return without effect. It may be called once per attempt.
//
// Handlers that call it implement [Beginner]; for all others the executor calls it before Execute.
func (r *Request) Begin(ctx context.Context, undo *Undo) error {
	if r.Conductor == nil {
		return ctx.Err()
	}
	return r.Conductor.Begin(ctx, r, undo)
}

// A Conductor is the executor as a handler sees it.
type Conductor interface {
	Begin(ctx context.Context, req *Request, undo *Undo) error
}

// A Result is what a handler has to say about a step that succeeded.
type Result struct {
	// Message is one line for people.
	Message string `json:"message,omitempty"`
	// Outputs are facts for the report: strings, numbers, bools, lists and maps of these.
	Outputs map[string]any `json:"outputs,omitempty"`
	// Artifacts are files that the step left.
	Artifacts []Artifact `json:"artifacts,omitempty"`
}

// An Artifact is a file that a step left.
type Artifact struct {
	Name   string `json:"name"`
	URI    string `json:"uri"`
	SHA256 string `json:"sha256,omitempty"`
	Size   int64  `json:"size,omitempty"`
}

// Undo is what a Compensator needs to take an effect back: the state before it. It must not hold secrets.
type Undo struct {
	// Summary says in one line what undoing would do.
	Summary string `json:"summary"`
	// State is the handler's own; it must survive JSON.
	State map[string]any `json:"state,omitempty"`
}

// A Preview is what a step would do.
type Preview struct {
	// Verdict says how far it can be believed. Defaults to Simulated.
	Verdict PreviewVerdict `json:"verdict"`
	// Change describes the change, one line each.
	Change []string `json:"change,omitempty"`
	// Basis is what the object is now, as far as the change depends on it: values by field, such as its UID. What a person
	// approves holds only as long as it stays the same. It must not hold secrets.
	Basis map[string]string `json:"basis,omitempty"`
}

// A PreviewVerdict says how far a Preview can be believed.
type PreviewVerdict uint8

// The verdicts.
const (
	// Simulated: the handler worked it out by itself.
	Simulated PreviewVerdict = iota
	// Verified: the system that would carry the step out has checked it.
	Verified
	// Unverifiable: nobody can say without doing it. That is no failure, but a person is asked.
	Unverifiable
)

// String returns "simulated", "verified" or "unverifiable".
func (v PreviewVerdict) String() string {
	switch v {
	case Simulated:
		return "simulated"
	case Verified:
		return "verified"
	}
	return "unverifiable"
}

// MarshalText writes the name.
func (v PreviewVerdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a name.
func (v *PreviewVerdict) UnmarshalText(text []byte) error {
	for _, known := range []PreviewVerdict{Simulated, Verified, Unverifiable} {
		if known.String() == string(text) {
			*v = known
			return nil
		}
	}
	return fmt.Errorf("actions: %q is no verdict of a preview", text)
}

// Outcome answers whether an effect happened.
type Outcome uint8

// The outcomes. The zero Outcome says nothing.
const (
	OutcomeUnknown Outcome = iota
	OutcomeHappened
	OutcomeDidNotHappen
	// OutcomePartly: some of it happened. Another attempt adds the rest, and an undo takes back what there is.
	OutcomePartly
)

// A DryRunner can say what it would do without doing it.
type DryRunner interface {
	DryRun(ctx context.Context, req *Request) (*Preview, error)
}

// A Compensator can take its effect back. undo is what the handler gave to Begin; nil when the executor called Begin
// for it. It changes back only what still is as the effect left it, and answers [ErrDrift] for the rest; undoing what is
// undone already is success, for it may be called again after a crash.
type Compensator interface {
	Compensate(ctx context.Context, req *Request, undo *Undo) error
}

// A Prober can say whether its effect happened, when a process died between sending it and noting its outcome.
type Prober interface {
	Probe(ctx context.Context, req *Request) (Outcome, error)
}

// A Footprinter can say what it would touch, before it does.
type Footprinter interface {
	Footprint(ctx context.Context, req *Request) ([]Touch, error)
}

// A Touch is an object that a step would write or disturb.
type Touch struct {
	schema.Target
	// Replicas is how many replicas of a workload are disturbed at the same time, Of how many it has; both 0 when it has
	// none or nobody knows.
	Replicas, Of int
}

// A Beginner calls [Request.Begin] itself, just before it sends its effect.
type Beginner interface {
	BeginsItself() bool
}

// As finds a capability of a handler: T is one of the one-method interfaces. It looks through wrappers that have a
// method Unwrap() ActionHandler, outermost first.
func As[T any](h ActionHandler) (T, bool) {
	for h != nil {
		if t, ok := h.(T); ok {
			return t, true
		}
		u, ok := h.(interface{ Unwrap() ActionHandler })
		if !ok {
			break
		}
		h = u.Unwrap()
	}
	var zero T
	return zero, false
}
