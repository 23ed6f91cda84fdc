// Package simulated carries actions out without doing anything: its handlers wait as long as a step is expected to
// take, and record what they would have done; undoing marks the record. It serves rehearsals, demonstrations and tests.
package simulated

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remedykit/remedy/actions"
)

// Options change how a Simulator works. The zero Options waits as long as each step is expected to take, and lets every
// step succeed.
type Options struct {
	// Scale multiplies the time that steps take: 0.01 makes a minute last 0.6 s. Defaults to 1; less than 0 waits for
	// nothing.
	Scale float64
	// Fail is asked when a step has waited its time. A non-nil error fails the step, which then had no effect. Defaults
	// to no failures. It is called from several goroutines at once.
	Fail func(req *actions.Request) error
	// FailUndo is asked likewise when a step's effect is to be taken back. Defaults to no failures.
	FailUndo func(req *actions.Request) error
}

// A Simulator makes handlers and keeps what they did. It is safe for concurrent use.
type Simulator struct {
	scale    float64
	fail     func(req *actions.Request) error
	failUndo func(req *actions.Request) error

	mu      sync.Mutex
	effects []Effect // in the order in which they ended
}

// New makes a Simulator.
func New(o Options) *Simulator {
	if o.Scale == 0 {
		o.Scale = 1
	}
	return &Simulator{scale: o.Scale, fail: o.Fail, failUndo: o.FailUndo}
}

// An Effect is what a handler would have done. A step that failed or was stopped had none.
type Effect struct {
	Run, Step, Action string
	Attempt           int
	Begun, Ended      time.Time
	// Undone is when it was taken back; zero when it was not.
	Undone time.Time
}

// Handlers returns a handler for every action of a registry. They begin just before their effect, can dry-run, can be
// asked whether their effect happened, and undo it where the Spec says that it can be undone.
func (s *Simulator) Handlers(reg *actions.Registry) actions.Handlers {
	all := make(actions.Handlers, len(reg.Specs()))
	for _, spec := range reg.Specs() {
		if all[spec.Name] = (handler{s}); spec.Reversible() {
			all[spec.Name] = reversible{handler{s}}
		}
	}
	return all
}

// Effects returns the effects so far, in the order in which they ended.
func (s *Simulator) Effects() []Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.effects)
}

type handler struct{ s *Simulator }

// reversible is a handler of an action that can be undone.
type reversible struct{ handler }

var (
	_ actions.DryRunner   = handler{}
	_ actions.Prober      = handler{}
	_ actions.Beginner    = handler{}
	_ actions.Compensator = reversible{}
)

// BeginsItself is true: a step that fails or is stopped while it waits has not begun.
func (h handler) BeginsItself() bool { return true }

// Execute waits, and begins at the end; a step that takes exactly its time-out begins a little before. A context that
// ends stops it at once and without effect.
func (h handler) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	begun, d := time.Now(), h.s.scaled(req.Expected)
	// Without an Undo the executor would take it that there is nothing to undo, also where nobody can.
	undo := &actions.Undo{Summary: "undo the simulated " + req.Action}
	deadline, ok := ctx.Deadline()
	left := deadline.Sub(begun)
	tight := ok && d > 0 && left > d-late && left < d+late // it could not begin any more when its time has passed
	if tight {
		if err := wait(ctx, max(0, left-2*late)); err != nil {
			return nil, fmt.Errorf("simulated %s: %w", req.Action, err)
		}
		if err := req.Begin(ctx, undo); err != nil {
			return nil, err
		}
		d -= time.Since(begun)
	}
	if err := wait(ctx, d); err != nil {
		return nil, fmt.Errorf("simulated %s: %w", req.Action, err)
	}
	if h.s.fail != nil {
		if err := h.s.fail(req); err != nil {
			return nil, err
		}
	}
	if !tight {
		if err := req.Begin(ctx, undo); err != nil {
			return nil, err
		}
	}
	effect := Effect{Run: req.Run, Step: req.Step, Action: req.Action, Attempt: req.Attempt, Begun: begun, Ended: time.Now()}
	h.s.mu.Lock()
	h.s.effects = append(h.s.effects, effect)
	h.s.mu.Unlock()
	return &actions.Result{Message: "simulated " + req.Action}, nil
}

// DryRun says what would be simulated, and after which earlier steps on the same object. Nothing has verified it.
func (h handler) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("simulated %s: %w", req.Action, context.Cause(ctx))
	}
	change := "simulated " + req.Action
	if req.Target.Name == "" {
		return &actions.Preview{Change: []string{change}}, nil
	}
	change += " of " + req.Target.String()
	var steps []string
	if object, ok := req.World().Object(req.Target); ok {
		if steps, ok = object[touchedBy].([]string); ok {
			change += ", after " + strings.Join(steps, ", ")
		}
	}
	req.World().Predict(req.Target, map[string]any{touchedBy: append(slices.Clone(steps), req.Step)})
	return &actions.Preview{Change: []string{change}}, nil
}

// touchedBy is the field of a predicted object that lists the steps which would have touched it.
const touchedBy = "simulated"

// Compensate waits as long as the step did, and marks its effect as undone. That another process's effect is undone is
// taken for granted.
func (h reversible) Compensate(ctx context.Context, req *actions.Request, _ *actions.Undo) error {
	if err := wait(ctx, h.s.scaled(req.Expected)); err != nil {
		return fmt.Errorf("simulated undo of %s: %w", req.Action, err)
	}
	if h.s.failUndo != nil {
		if err := h.s.failUndo(req); err != nil {
			return err
		}
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	for i := range h.s.effects {
		if e := &h.s.effects[i]; e.Run == req.Run && e.Step == req.Step && e.Undone.IsZero() {
			e.Undone = time.Now()
		}
	}
	return nil
}

// Probe knows what this Simulator did. Whatever another process began ended with it, so it did not happen.
func (h handler) Probe(_ context.Context, req *actions.Request) (actions.Outcome, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if slices.ContainsFunc(h.s.effects, func(e Effect) bool { return e.Run == req.Run && e.Step == req.Step }) {
		return actions.OutcomeHappened, nil
	}
	return actions.OutcomeDidNotHappen, nil
}

func (s *Simulator) scaled(d time.Duration) time.Duration {
	switch scaled := float64(d) * s.scale; {
	case !(scaled > 0):
		return 0
	case scaled >= math.MaxInt64:
		return math.MaxInt64
	default:
		return time.Duration(scaled)
	}
}

// late is how much later than its step a handler may begin. A step that takes exactly its time-out makes it, although
// its context then ends that much before the handler is through.
const late = 100 * time.Millisecond

// wait returns early, with the cause, when the context ends.
func wait(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d == 0 {
		return nil
	}
	begun := time.Now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(begun) > d-late {
			return nil
		}
		return context.Cause(ctx)
	}
}
