package executor

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// A Run is one run of a plan. It is safe for concurrent use.
//
// Workers take the machine from one step to the next themselves; the supervisor, one goroutine per run, does what is
// not a step: it asks gates, tells observers, and watches the clocks.
type Run struct {
	// Set before the run starts, then only read.
	id       string
	options  RunOptions
	executor *Executor
	config   *Config
	*program
	handlers  []*bound   // of program.actions
	rehearsed *Rehearsal // of the whole plan; nil unless people are asked early
	careful   bool       // an effect has to ask before it is sent
	rechecks  bool       // the policy has to be asked again before each step
	ctx       context.Context
	startedAt time.Time
	base      time.Time     // from which the clock of this process counts; startedAt but for a resumed run
	wake      chan struct{} // holds one token; ends the supervisor's wait
	done      chan struct{} // closed when the run has finished and final is set
	final     *Report       // set before done is closed

	group errgroup.Group // joins workers and askers

	asked sync.Mutex // held while StillWanted is called

	inbox  atomic.Pointer[worker] // attempts that have ended and that nobody has taken yet, the last first
	outbox *outbox                // nil without observers

	mu           sync.Mutex // guards what follows; let go of with unlock
	m            *machine
	outcomes     []outcome // by step index; nil until there is one
	slab         []attempt // attempts not used yet
	busy         *worker   // those that have an attempt
	idle         *worker
	helping      bool            // a worker is on its way to a ready step
	ledger       *ledger         // nil without a journal; set before the run starts
	broken       error           // why the journal cannot be written any more
	undos        []*actions.Undo // by step index; nil until there is one
	undoErrs     []error         // of handlers, by step index; nil until there is one
	resumed      bool            // a former process began the run
	stale        bool            // StillWanted is to be asked
	probing      int             // calls of a Prober that have not ended
	unguard      context.CancelFunc
	asks         map[int32]*ask
	openAsks     []*ask
	rest         []time.Duration         // by step index: the longest path from it to an end; nil until somebody is asked
	findings     map[int32]*finding      // of steps that are about to be asked about
	void         map[int32]voided        // of steps that are asked about anew
	regated      map[int32]approval.Gate // gates that ask for something else than when the run began
	live         int                     // workers that have not been abandoned
	asking       int                     // calls of the approver that have not ended
	leaked       bool                    // a goroutine was abandoned
	awake        bool                    // the supervisor will look before it waits
	timerAt      time.Duration           // when the supervisor wakes by itself
	nextKill     time.Duration           // no running attempt has an earlier killAt
	nextClose    time.Duration           // no open ask expires earlier
	giveUp       time.Duration           // when calls of the approver that outlive the run are abandoned
	why          halts
	startTelling bool          // to be done by unlock
	parked       chan struct{} // closed while the run is parked
	isParked     bool          // only while the machine is idle
	toldPark     bool          // observers know that the run is parked, or are about to
	toldEnd      bool          // observers know that the run has finished, or are about to
}

// halts say for people what stopped a run.
type halts struct {
	cancelled   string // in the words of who did
	interrupted error  // why the context ended
	guard       string // which was breached
}

// message is empty for what is no halt.
func (h *halts) message(reason Reason) string {
	switch reason {
	case ReasonRunCancelled:
		return h.cancelled
	case ReasonRunTimeout:
		return "the run's time is up"
	case ReasonGuard:
		return h.guard
	case ReasonObsolete:
		return "the run is not wanted any more"
	case ReasonInterrupted:
		if h.interrupted == nil {
			return ""
		}
		return text(h.interrupted)
	}
	return ""
}

// An outcome is what a handler or approver left of a step.
type outcome struct {
	result *actions.Result
	err    error
}

// never is later than all times. Durations that users choose count as forever at most, so that sums do not overflow.
const (
	never   = time.Duration(math.MaxInt64)
	forever = never / 8
)

func (e *Executor) newRun(ctx context.Context, p *program, o RunOptions) (*Run, error) {
	handlers, err := e.handlersFor(p)
	if err != nil {
		return nil, err
	}
	r := &Run{
		id: o.ID, options: o, executor: e, config: &e.config, program: p, handlers: handlers, ctx: ctx,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		m: newMachine(p, e.config.rules(), len(e.config.Observers) > 0), unguard: func() {},
		asks: map[int32]*ask{}, nextKill: never, nextClose: never, giveUp: never, parked: make(chan struct{}), awake: true,
	}
	if len(e.config.Observers) > 0 {
		r.outbox = &outbox{news: make([]news, 0, outboxRoom), room: make([]news, 0, outboxRoom)}
	}
	r.stale = e.config.StillWanted != nil
	r.rechecks = e.config.Policy.Timed() || e.config.Policy.Bounds()
	r.careful = r.rechecks || r.stale || e.config.Journal != nil || e.config.Limits != nil
	if e.config.Journal != nil {
		r.ledger = newLedger(e.config.Journal, o.ID)
	}
	return r, nil
}

func (r *Run) start() {
	r.mu.Lock()
	kind := EventRunStarted
	if r.resumed {
		kind = EventRunResumed
	} else if r.ledger == nil {
		r.startedAt = time.Now()
		r.base = r.startedAt
	}
	r.tellLocked(remarks{kind: kind, status: string(RunRunning)}, r.m.now)
	for i := range r.m.steps {
		if r.probing > 0 && r.m.steps[i].status == Running {
			r.group.Go(func() error {
				r.probe(int32(i))
				return nil
			})
		}
	}
	if r.config.Approver != nil {
		for _, a := range r.openAsks {
			if !r.decidedLocked(a) {
				r.asking++
				r.group.Go(func() error {
					r.announce(a)
					return nil
				})
			}
		}
	}
	if len(r.config.Guards) > 0 {
		var ctx context.Context
		ctx, r.unguard = context.WithCancel(r.ctx)
		for i := range r.config.Guards {
			r.group.Go(func() error {
				r.guard(ctx, &r.config.Guards[i])
				return nil
			})
		}
	}
	helper := r.helperLocked()
	r.unlock()
	r.spawn(helper)
}

// rules are what the Config says about how a run goes.
func (c *Config) rules() rules {
	return rules{
		limit: c.MaxParallel, runTimeout: c.RunTimeout, early: c.EarlyApproval, onFailure: c.OnFailure, onReject: c.OnReject,
		strategy: c.Rollback, rollbackTimeout: c.RollbackTimeout, retries: c.Retries,
	}
}

// ID is the run's id.
func (r *Run) ID() string { return r.id }

// Plan is the plan that is run.
func (r *Run) Plan() *dag.Plan { return r.plan }

// Gates are the gates of the plan in this run.
func (r *Run) Gates() *approval.Gates { return r.gates }

// Done is closed when the run has finished and everything about it has been told.
func (r *Run) Done() <-chan struct{} { return r.done }

// Wait waits until the run has finished or is parked, or ctx ends, which does not touch the run. A parked run's Report
// has the status RunParked and says in Waiting what it waits for.
func (r *Run) Wait(ctx context.Context) (*Report, error) {
	for {
		select {
		case <-r.done:
			return r.final, r.broken
		default:
		}
		r.mu.Lock()
		if r.isParked {
			report := r.reportLocked(true)
			r.unlock()
			return report, nil
		}
		parked := r.parked
		r.unlock()
		select {
		case <-r.done:
		case <-parked: // and perhaps not any more
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// now is the time since the start of the run; it reads only the monotonic clock.
func (r *Run) now() time.Duration { return time.Since(r.base) }

// cancel is Executor.Cancel for one run.
func (r *Run) cancel(reason string) error {
	r.mu.Lock()
	if r.m.finished() || r.m.ended != "" {
		r.unlock()
		return fmt.Errorf("%w: %s", ErrFinished, r.id)
	}
	now := r.now()
	if r.m.halted == ReasonNone {
		r.why.cancelled = reason
		r.haltLocked(ReasonRunCancelled, now)
	}
	helper := r.helperLocked()
	r.pokeLocked()
	r.unlock()
	r.spawn(helper)
	return nil
}

// noteLocked keeps what a handler or approver left of a step.
func (r *Run) noteLocked(i int32, o outcome) {
	if r.outcomes == nil {
		r.outcomes = make([]outcome, r.plan.Len())
	}
	r.outcomes[i] = o
}

// overLocked ends the run early when its context has ended or its time is up. Nothing starts without having asked.
func (r *Run) overLocked(now time.Duration) {
	if r.m.finished() {
		return
	}
	if r.m.halted != ReasonInterrupted && r.ctx.Err() != nil {
		r.why.interrupted = context.Cause(r.ctx)
		r.haltLocked(ReasonInterrupted, now)
	}
	if now < r.m.deadline() {
		return
	}
	if r.m.rollback == nil {
		r.haltLocked(ReasonRunTimeout, now)
		return
	}
	r.applyLocked(fact{kind: factRollbackOver, at: now})
	r.stopLocked(ReasonRollbackTimeout, now)
}

// haltLocked ends the run early.
func (r *Run) haltLocked(reason Reason, now time.Duration) {
	r.applyLocked(fact{kind: factHalted, at: now, reason: reason})
	r.stopLocked(reason, now)
}

// pokeLocked makes the supervisor look, if there is something for it to see. Everybody who has told the machine
// something calls it.
func (r *Run) pokeLocked() {
	m := r.m
	if r.isParked && !m.idle() {
		r.unparkLocked()
	}
	if r.awake {
		return
	}
	if m.finished() || m.idle() || len(m.asks) > 0 || m.closing || r.alarmLocked() < r.timerAt {
		r.awake = true
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// alarmLocked is when a clock next runs out.
func (r *Run) alarmLocked() time.Duration {
	return min(r.nextKill, r.nextClose, r.giveUp, r.m.deadline(), r.m.dueAt())
}
