// Package simulated carries actions out without doing anything: its handlers wait as long as a step is expected to
// take, and record what they would have done. It serves rehearsals, demonstrations and tests.
package simulated

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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
}

// A Simulator makes handlers and keeps what they did. It is safe for concurrent use.
type Simulator struct {
	scale float64
	fail  func(req *actions.Request) error

	mu      sync.Mutex
	effects []Effect // in the order in which they ended
}

// New makes a Simulator.
func New(o Options) *Simulator {
	if o.Scale == 0 {
		o.Scale = 1
	}
	return &Simulator{scale: o.Scale, fail: o.Fail}
}

// An Effect is what a handler would have done. A step that failed or was stopped had none.
type Effect struct {
	Run, Step, Action string
	Attempt           int
	Begun, Ended      time.Time
}

// Handlers returns a handler for every action of a registry. They can dry-run, and they can be asked whether their
// effect happened.
func (s *Simulator) Handlers(reg *actions.Registry) actions.Handlers {
	all := make(actions.Handlers, len(reg.Specs()))
	for _, spec := range reg.Specs() {
		all[spec.Name] = handler{s}
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

var (
	_ actions.DryRunner = handler{}
	_ actions.Prober    = handler{}
)

// Execute waits. A context that ends stops it at once and without effect.
func (h handler) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	begun := time.Now()
	if err := wait(ctx, h.s.scaled(req.Expected)); err != nil {
		return nil, fmt.Errorf("simulated %s: %w", req.Action, err)
	}
	if h.s.fail != nil {
		if err := h.s.fail(req); err != nil {
			return nil, err
		}
	}
	effect := Effect{Run: req.Run, Step: req.Step, Action: req.Action, Attempt: req.Attempt, Begun: begun, Ended: time.Now()}
	h.s.mu.Lock()
	h.s.effects = append(h.s.effects, effect)
	h.s.mu.Unlock()
	return &actions.Result{Message: "simulated " + req.Action}, nil
}

// DryRun says what would be simulated. Nothing has verified it.
func (h handler) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("simulated %s: %w", req.Action, context.Cause(ctx))
	}
	change := "simulated " + req.Action
	if req.Target.Name != "" {
		change += " of " + req.Target.String()
	}
	return &actions.Preview{Change: []string{change}}, nil
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
