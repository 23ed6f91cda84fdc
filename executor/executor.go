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
	"sync/atomic"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/executor/limits"
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
	// Observers are told what happens; with a Journal, when it is durable.
	Observers []Observer
	// Journal keeps what happens, so that a run can go on after its process died. Nil: nothing is kept.
	Journal journal.Journal
	// OnFailure says what becomes of the rest of a run that fails. Defaults to StopMutating.
	OnFailure FailurePolicy
	// OnReject says what becomes of a run when a person says no. Defaults to RejectStop.
	OnReject RejectPolicy
	// Rollback says who undoes what a failed or cancelled run did. Defaults to RollbackAutomatic.
	Rollback RollbackStrategy
	// RollbackTimeout bounds a rollback, which a cancelled context does not end. Defaults to 30m.
	RollbackTimeout time.Duration
	// Retries is how many attempts follow one that failed with a transient error before it took effect. 0 is the default
	// of 3, -1 is none. They wait 1s, 2s, 4s and so on, at most 30s, less a random half; a time that the error names is waited
	// out.
	Retries int
	// DryRunFirst has Start ask every handler what it would do, and refuse the run when one would fail. What no handler
	// can say in advance waits for a person.
	DryRunFirst bool
	// Locker keeps two runs from changing the same object at once. Defaults to one of the Executor's own.
	Locker Locker
	// Limits bound what all runs do together; nil: nothing does.
	Limits *limits.Limits
	// Guards are sampled while a run goes on.
	Guards []Guard
	// StillWanted is asked before the first effect of a run, after every wait for a person, and when a run is resumed. On
	// false the run ends as RunObsolete and nothing is undone; on an error the step is not sent. Nil: always wanted.
	StillWanted func(ctx context.Context, run *Run) (bool, error)
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
	// Author of the plan, and Model that wrote its document: neither can approve it.
	Author, Model string
	// Incident is what the plan is to mend; it is shown to those who are asked.
	Incident *approval.Incident
	// Confidence of the analysis.
	Confidence approval.Confidence
}

// An Executor runs plans. It is safe for concurrent use.
type Executor struct {
	config   Config
	handlers map[string]*bound
	pool     pool
	ids      locks // of runs that are being started or decided
	killed   atomic.Pointer[string]

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
	case c.RunTimeout < 0 || c.Grace < 0 || c.RollbackTimeout < 0:
		return nil, errors.New("executor: Config.RunTimeout, Config.RollbackTimeout and Config.Grace cannot be negative")
	case c.Retries < -1 || c.Retries > maxRetries:
		return nil, fmt.Errorf("executor: Config.Retries is %d: use up to %d, 0 for the default of %d, or -1 for none", c.Retries, maxRetries, DefaultRetries)
	case c.OnFailure > CancelRunning || c.OnReject > RejectSkipBranch || c.Rollback > RollbackNone:
		return nil, errors.New("executor: Config.OnFailure, OnReject or Rollback is none of its constants")
	case c.Approver != nil && isNil(c.Approver):
		return nil, fmt.Errorf("executor: Config.Approver is a nil %T: leave it out to have gates wait for Decide", c.Approver)
	}
	if err := c.Policy.Validate(); err != nil {
		return nil, fmt.Errorf("executor: Config.Policy: %w", err)
	}
	for i, g := range c.Guards {
		if g.Probe == nil || g.Interval < 0 || g.Threshold < 0 {
			return nil, fmt.Errorf("executor: Config.Guards[%d] needs a Probe, and no negative Interval or Threshold", i)
		}
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
	if c.RollbackTimeout == 0 {
		c.RollbackTimeout = DefaultRollbackTimeout
	}
	switch {
	case c.Retries == 0:
		c.Retries = DefaultRetries
	case c.Retries < 0:
		c.Retries = 0
	}
	if c.Locker == nil {
		c.Locker = NewLocker()
	}
	c.Grace, c.RunTimeout, c.RollbackTimeout = min(c.Grace, forever), min(c.RunTimeout, forever), min(c.RollbackTimeout, forever)
	c.Observers = slices.Clone(c.Observers)
	c.Guards = slices.Clone(c.Guards)
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

// Start starts a run, or goes on with one that the journal has, and returns at once; it never waits for a step, a person or
// an observer, but for the disk of a journal and, with DryRunFirst, for the dry run. The run goes on until it
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
	} else if err := checkID(o.ID); err != nil {
		return nil, false, err
	}
	if r, err = e.known(o.ID, plan, nil); r != nil || err != nil {
		return r, false, err
	}
	if e.config.Journal != nil {
		unlock, err := e.ids.Lock(ctx, o.ID)
		if err != nil {
			return nil, false, err
		}
		defer unlock()
		if r, err = e.known(o.ID, plan, nil); r != nil || err != nil {
			return r, false, err
		}
		records, err := e.config.Journal.Read(ctx, o.ID)
		if err == nil {
			return e.adopt(ctx, plan, o, records)
		}
		if !errors.Is(err, journal.ErrUnknownRun) {
			return nil, false, fmt.Errorf("executor: %w", err)
		}
	}
	if reason := e.killed.Load(); reason != nil {
		return nil, false, fmt.Errorf("%w: %s", ErrKilled, *reason)
	}
	p, err := e.prepare(plan, o.Confidence)
	if err != nil {
		return nil, false, err
	}
	var found, refused *Rehearsal
	if e.config.DryRunFirst || e.config.EarlyApproval && p.gated() {
		if p, found, err = e.rehearseFirst(ctx, p, o); err != nil {
			return nil, false, err
		}
		if e.config.DryRunFirst && found.Err() != nil {
			refused = found
		}
	}
	started, err := e.newRun(ctx, p, o)
	if err != nil {
		return nil, false, err
	}
	if e.config.EarlyApproval {
		started.rehearsed = found
	}
	if err := started.open(refused); err != nil {
		return nil, false, err
	}
	if r, err = e.known(o.ID, plan, started); r != started {
		return r, false, err // somebody else was faster
	}
	return r, true, nil
}

// adopt goes on with a run that the journal has.
func (e *Executor) adopt(ctx context.Context, plan *dag.Plan, o RunOptions, records []journal.Record) (*Run, bool, error) {
	r, err := e.resume(ctx, plan, o, records, false)
	if err != nil {
		return nil, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs[o.ID] = r
	select {
	case <-r.done:
		e.retireLocked(o.ID)
		return r, false, nil
	default:
	}
	r.start()
	return r, true, nil
}

// open writes the first record of a run, and what its dry run refused.
func (r *Run) open(refused *Rehearsal) error {
	r.startedAt = time.Now()
	r.base = r.startedAt
	if r.ledger != nil {
		b, err := r.beginning()
		if err != nil {
			return fmt.Errorf("executor: run %s: %w", r.id, err)
		}
		r.ledger.add(entry{kind: recordBegun, time: r.startedAt, data: b})
	}
	if refused != nil {
		r.refuse(refused)
	}
	if r.ledger == nil {
		return nil
	}
	if err := r.ledger.flush(); err != nil {
		return fmt.Errorf("executor: run %s: %w", r.id, err)
	}
	return nil
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

// Decide answers a gate, from whatever channel: it wakes a parked run, and of a run that only the journal has it is
// remembered until the run is resumed. When it returns nil the decision is durable, if there is a journal. step is empty for the gate of the plan as a
// whole. The decision must carry the digest of the request that it answers.
//
// Errors are [ErrUnknownRun], [approval.ErrNotAsked] (or not any more), [approval.ErrDecided], [approval.ErrExpired], [approval.ErrDigest] and
// [approval.ErrNotApprover], wrapped.
func (e *Executor) Decide(ctx context.Context, run, step string, d approval.Decision) error {
	var err error
	if r := e.Lookup(run); r != nil {
		err = r.decide(ctx, step, d)
	} else if err = e.decideParked(ctx, run, step, d); errors.Is(err, ErrUnknownRun) {
		return err
	}
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
	e.retireLocked(run)
}

func (e *Executor) retireLocked(run string) {
	e.finished = append(e.finished, run)
	if len(e.finished) > keep {
		delete(e.runs, e.finished[0])
		e.finished = e.finished[1:]
	}
}

// Kill is the kill switch of this Executor: it cancels every run, as Cancel does, and refuses to start others from then
// on. It cannot be taken back. For all processes that share a store there is [limits.Limits.Kill].
func (e *Executor) Kill(reason string) {
	e.killed.CompareAndSwap(nil, &reason)
	e.mu.Lock()
	live := slices.Collect(maps.Values(e.runs))
	e.mu.Unlock()
	for _, r := range live {
		_ = r.cancel(reason) // those that have finished need not be told
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

func checkID(id string) error {
	if !validID(id) {
		return fmt.Errorf("executor: run id %q: use letters, digits, dot, underscore and hyphen, at most 63", id)
	}
	return nil
}

// newID makes an id that sorts by time.
func newID() string {
	return "run-" + time.Now().UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:10])
}

// stepDigest is what a decision about a step is bound to: the plan, and the step with its target.
func stepDigest(plan *dag.Plan, i int) string {
	sum := sha256.Sum256([]byte(plan.Digest() + "\n" + plan.StepDigest(i)))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// doubtDigest is what a decision is bound to about a step whose attempt has an unknown outcome: who let the step run once
// has not said that it may run again.
func doubtDigest(step string, attempt uint8) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\nunknown outcome of attempt %d", step, attempt))
	return "sha256:" + hex.EncodeToString(sum[:])
}
