package executor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// Config configures an Executor. Only Handlers is required. What it points to must not be changed once New has it.
type Config struct {
	// Handlers carry out the steps. A plan with an action that has no handler is refused before it starts.
	Handlers actions.Handlers
	// Policy decides which steps wait for a person. Nil asks for every mutating step.
	Policy *approval.Policy
	// Approver puts gates before people. Nil: they wait for Decide.
	Approver approval.Approver
	// EarlyApproval asks for every gate when the run starts, so that people decide while work runs. By default a gate
	// is asked when its step becomes ready.
	EarlyApproval bool
	// Observers are told what happens.
	Observers []Observer
	// MaxParallel bounds the steps of one run that run at the same time. 0 is the default of 5, -1 is no limit.
	MaxParallel int
	// RunTimeout bounds a run. Defaults to none. Its clock stops while nothing runs and a gate waits.
	RunTimeout time.Duration
	// Grace is how long a handler may go on after its context has ended before it is abandoned. Defaults to 20s.
	Grace time.Duration
}

// The defaults of Config.
const (
	DefaultMaxParallel = 5
	DefaultGrace       = 20 * time.Second
)

// RunOptions are what the caller says about one run. The zero value is fine.
type RunOptions struct {
	// ID of the run: letters, digits, dot, underscore and hyphen, at most 63. Defaults to a new one. Starting an ID
	// again returns the run that has it.
	ID string
	// Author of the plan, who cannot approve it.
	Author string
	// Confidence of the analysis.
	Confidence approval.Confidence
}

// An Executor runs plans. It is safe for concurrent use.
type Executor struct {
	config   Config
	handlers map[string]*bound
	pool     pool

	mu         sync.Mutex
	runs       map[string]*Run
	finished   []string // ids of finished runs that are still in runs, the oldest first
	program    *program // the last that was prepared, and for which confidence
	programFor approval.Confidence
}

// keep is how many finished runs an Executor remembers, so that starting one again does not run it again.
const keep = 1024

// New returns an Executor. It refuses a Config that contradicts itself.
func New(c Config) (*Executor, error) {
	switch {
	case len(c.Handlers) == 0:
		return nil, errors.New("executor: Config.Handlers is empty: nothing could be run")
	case c.MaxParallel < -1:
		return nil, fmt.Errorf("executor: Config.MaxParallel is %d: use a number of steps, 0 for the default of %d, or -1 for no limit", c.MaxParallel, DefaultMaxParallel)
	case c.RunTimeout < 0 || c.Grace < 0:
		return nil, errors.New("executor: Config.RunTimeout and Config.Grace cannot be negative")
	case c.Approver != nil && isNil(c.Approver):
		return nil, fmt.Errorf("executor: Config.Approver is a nil %T: leave it out to have gates wait for Decide", c.Approver)
	}
	if err := c.Policy.Validate(); err != nil {
		return nil, fmt.Errorf("executor: Config.Policy: %w", err)
	}
	for i, o := range c.Observers {
		if isNil(o) {
			return nil, fmt.Errorf("executor: Config.Observers[%d] is nil: leave it out", i)
		}
	}
	if c.MaxParallel == 0 {
		c.MaxParallel = DefaultMaxParallel
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	c.Grace, c.RunTimeout = min(c.Grace, forever), min(c.RunTimeout, forever)
	c.Observers = slices.Clone(c.Observers)
	e := &Executor{config: c, handlers: make(map[string]*bound, len(c.Handlers)), runs: map[string]*Run{}}
	for _, action := range slices.Sorted(maps.Keys(c.Handlers)) {
		h := c.Handlers[action]
		if isNil(h) {
			return nil, fmt.Errorf("executor: the handler of %s is nil: leave the action out", action)
		}
		e.handlers[action] = bind(h)
	}
	return e, nil
}

// isNil tells whether there is nothing behind an interface: a call would panic, and the panic be taken for an answer.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Func, reflect.Pointer:
		return r.IsNil()
	}
	return false
}

// Start starts a run and returns at once; it never waits for a step, a person or an observer. The run goes on until it
// has finished or ctx ends, which interrupts it.
//
// The error is for a run that could not be started: no handler for an action, a refused confidence, an ID that another
// plan has.
func (e *Executor) Start(ctx context.Context, plan *dag.Plan, o RunOptions) (*Run, error) {
	r, fresh, err := e.begin(ctx, plan, o)
	if fresh {
		go r.supervise(false)
	}
	return r, err
}

// begin starts a run whose supervisor the caller must start when it is fresh.
func (e *Executor) begin(ctx context.Context, plan *dag.Plan, o RunOptions) (r *Run, fresh bool, err error) {
	if plan == nil || plan.Len() == 0 {
		return nil, false, errors.New("executor: the plan has no steps")
	}
	if o.ID == "" {
		o.ID = newID()
	} else if !validID(o.ID) {
		return nil, false, fmt.Errorf("executor: run id %q: use letters, digits, dot, underscore and hyphen, at most 63", o.ID)
	}
	if r, err = e.known(o.ID, plan, nil); r != nil || err != nil {
		return r, false, err
	}
	p, err := e.prepare(plan, o.Confidence)
	if err != nil {
		return nil, false, err
	}
	started, err := e.newRun(ctx, p, o)
	if err != nil {
		return nil, false, err
	}
	if r, err = e.known(o.ID, plan, started); r != started {
		return r, false, err // somebody else was faster
	}
	return r, true, nil
}

// known returns the run that has an id, nil when there is none; then the candidate, if there is one, gets the id and
// is started.
func (e *Executor) known(id string, plan *dag.Plan, candidate *Run) (*Run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runs[id]; r != nil {
		if r.plan.Digest() != plan.Digest() {
			return nil, fmt.Errorf("executor: run %s is a run of another plan (%s): use another ID", id, r.plan.Digest())
		}
		return r, nil
	}
	if candidate != nil {
		e.runs[id] = candidate
		candidate.start()
	}
	return candidate, nil
}

// Run is Start and Wait. It returns when the run has finished or is parked; a run that is parked goes on when its gate
// is decided. When ctx ends the run is interrupted, and Run returns when nothing of it runs any more. A run that
// somebody else has started goes on when ctx ends, and Run returns the context's error.
func (e *Executor) Run(ctx context.Context, plan *dag.Plan, o RunOptions) (*Report, error) {
	r, fresh, err := e.begin(ctx, plan, o)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return r.Wait(ctx)
	}
	r.supervise(true) // on this goroutine, which has nothing else to do
	return r.Wait(context.WithoutCancel(ctx))
}

// Cancel cancels a run: nothing new starts but steps marked always, and what else runs is told so and gets the grace. It
// returns at once. A cancel that comes too late to keep any step from succeeding does not change how the run ends;
// cancelling it twice does nothing. Errors are [ErrUnknownRun] and, for a run that has finished, [ErrFinished], wrapped.
func (e *Executor) Cancel(_ context.Context, run, reason string) error {
	r := e.Lookup(run)
	if r == nil {
		return fmt.Errorf("%w: %s", ErrUnknownRun, run)
	}
	return r.cancel(reason)
}

// Decide answers a gate, from whatever channel: it wakes a parked run. step is empty for the gate of the plan as a
// whole. The decision must carry the digest of the request that it answers.
//
// Errors are [ErrUnknownRun], [ErrNotAsked] (or not any more), [ErrDecided], [ErrExpired], [ErrDigest] and
// [ErrNotApprover], wrapped.
func (e *Executor) Decide(_ context.Context, run, step string, d approval.Decision) error {
	r := e.Lookup(run)
	if r == nil {
		return fmt.Errorf("%w: %s", ErrUnknownRun, run)
	}
	err := r.decide(step, d)
	switch {
	case err == nil:
		return nil
	case step == "":
		return fmt.Errorf("run %s, the plan as a whole: %w", run, err)
	}
	return fmt.Errorf("run %s, step %q: %w", run, step, err)
}

// Lookup returns a run that is live, or one of the last 1,024 that have finished; nil when there is none.
func (e *Executor) Lookup(run string) *Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[run]
}

// retire remembers that a run has finished, and forgets the oldest.
func (e *Executor) retire(run string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finished = append(e.finished, run)
	if len(e.finished) > keep {
		delete(e.runs, e.finished[0])
		e.finished = e.finished[1:]
	}
}

// handlersFor returns the handlers that a program needs, in the order of its actions.
func (e *Executor) handlersFor(p *program) ([]*bound, error) {
	handlers := make([]*bound, len(p.actions))
	var missing []string
	for i, action := range p.actions {
		if handlers[i] = e.handlers[action]; handlers[i] == nil {
			missing = append(missing, action)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("executor: no handler for %s: add one to Config.Handlers", strings.Join(missing, ", "))
	}
	return handlers, nil
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

func validID(id string) bool { return idPattern.MatchString(id) }

// newID makes an id that sorts by time.
func newID() string {
	return "run-" + time.Now().UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:10])
}

// stepDigest is what a decision about a step is bound to: the plan, and the step with its target.
func stepDigest(plan *dag.Plan, i int) string {
	sum := sha256.Sum256([]byte(plan.Digest() + "\n" + plan.StepDigest(i)))
	return "sha256:" + hex.EncodeToString(sum[:])
}
