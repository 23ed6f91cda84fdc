package executor

import (
	"context"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// Config configures an Executor. Only Handlers is required.
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
	// ID of the run. Defaults to a new one. Starting an ID again returns the run that has it.
	ID string
	// Author of the plan, who cannot approve it.
	Author string
	// Confidence of the analysis.
	Confidence approval.Confidence
}

// An Executor runs plans. It is safe for concurrent use.
type Executor struct{}

// New returns an Executor. It refuses a Config that contradicts itself.
func New(c Config) (*Executor, error) { return nil, nil }

// Start starts a run and returns at once; it never waits for a step, a person or an observer. The run goes on until it
// has finished or ctx ends, which interrupts it.
//
// The error is for a run that could not be started: no handler for an action, a refused confidence, an ID that another
// plan has.
func (e *Executor) Start(ctx context.Context, plan *dag.Plan, o RunOptions) (*Run, error) {
	return nil, nil
}

// Run is Start and Wait. It returns when the run has finished or is parked; a run that is parked goes on when its gate
// is decided.
func (e *Executor) Run(ctx context.Context, plan *dag.Plan, o RunOptions) (*Report, error) {
	return nil, nil
}

// Cancel cancels a run: nothing new starts but steps marked always, and what runs is told so. It returns at once.
func (e *Executor) Cancel(ctx context.Context, run, reason string) error { return nil }

// Decide answers a gate, from whatever channel: it wakes a parked run. step is empty for the gate of the plan as a
// whole. The decision must carry the digest of the request that it answers.
//
// Errors are [ErrUnknownRun], [ErrNotAsked], [ErrDecided], [ErrExpired], [ErrDigest] and [ErrNotApprover], wrapped.
func (e *Executor) Decide(ctx context.Context, run, step string, d approval.Decision) error {
	return nil
}

// Lookup returns a run that is live, or that finished lately; nil when there is none.
func (e *Executor) Lookup(run string) *Run { return nil }

// A Run is one run of a plan. It is safe for concurrent use.
type Run struct{}

// ID is the run's id.
func (r *Run) ID() string { return "" }

// Plan is the plan that is run.
func (r *Run) Plan() *dag.Plan { return nil }

// Gates are the gates of the plan in this run.
func (r *Run) Gates() *approval.Gates { return nil }

// Snapshot says how the run stands now. It never blocks.
func (r *Run) Snapshot() *Report { return nil }

// Done is closed when the run has finished and everything about it has been told.
func (r *Run) Done() <-chan struct{} { return nil }

// Wait waits until the run has finished or is parked, or ctx ends, which does not touch the run. A parked run's Report
// has the status RunParked and says in Waiting what it waits for.
func (r *Run) Wait(ctx context.Context) (*Report, error) { return nil, nil }
