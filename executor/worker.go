package executor

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/remedykit/remedy/actions"
)

// A worker is a goroutine that carries out one attempt after another. An abandoned worker belongs to nobody.
type worker struct {
	loop func() error // what the goroutine does; set once
	run  *Run         // that it works for; set before loop is started

	// Set by the goroutine before it puts the worker in Run.inbox, read by who takes it from there.
	end     outcome
	endedAt time.Duration
	said    said
	inbox   *worker // the one put there before

	// Guarded by run.mu.
	attempt    *attempt      // nil while it has none
	killAt     time.Duration // when it is abandoned
	prev, next *worker       // in Run.busy; next also links Run.idle
	stopped    Reason        // why the run told the attempt to end
	abandoned  bool
}

// help is what a new goroutine does: it takes the first step that is ready, has another one help if there are more, and
// works. So steps start one goroutine after another within a microsecond or so each, and when steps take less than that
// the goroutines that are there already do the work of those that need not be started.
func (r *Run) help(w *worker) {
	r.mu.Lock()
	r.helping = false
	a := r.claimLocked(r.now(), w)
	helper := r.helperLocked()
	r.pokeLocked()
	r.unlock()
	r.spawn(helper)
	if a != nil {
		r.work(w, a)
	}
}

// work carries out the worker's attempt, and goes on with steps that are ready when it ends.
func (r *Run) work(w *worker, a *attempt) {
	defer func() {
		if a == nil {
			return
		}
		// The handler ended this goroutine: another one takes over.
		gone, err := a, &PanicError{Stack: debug.Stack()}
		r.group.Go(func() error {
			if next := r.ended(w, gone, nil, err); next != nil {
				r.work(w, next)
			}
			return nil
		})
	}()
	for a != nil {
		res, err := a.execute()
		a = r.ended(w, a, res, err)
	}
}

// ended takes the end of an attempt and returns the worker's next one, nil when there is none. It never waits: when the
// lock is taken, whoever has it takes the end too.
func (r *Run) ended(w *worker, a *attempt, res *actions.Result, err error) *attempt {
	w.endedAt, w.end = r.now(), outcome{r.secrets.result(res), err}
	w.said = a.settle(err)
	a.finish()
	if r.ledger != nil {
		r.mu.Lock() // for the disk it waits longer anyhow
	}
	if r.ledger != nil || r.mu.TryLock() {
		if w.abandoned {
			r.unlock()
			return nil
		}
		r.endLocked(w)
		next := r.claimLocked(r.emptyLocked(w.endedAt), w)
		helper := r.helperLocked()
		r.pokeLocked()
		r.unlock()
		r.spawn(helper)
		if r.ledger != nil && (next == nil || next.handler().begins) {
			_ = r.flush() // which ends the run when it fails
		}
		return next
	}
	for {
		head := r.inbox.Load()
		w.inbox = head
		if r.inbox.CompareAndSwap(head, w) {
			break
		}
	}
	// From here on w belongs to who has the lock. Who had it may have let go of it before the end was in the inbox.
	if r.mu.TryLock() {
		r.unlock()
	}
	return nil
}

// endLocked tells the machine how a worker's attempt ended.
func (r *Run) endLocked(w *worker) {
	a := w.attempt
	if a.undoing {
		r.endUndoLocked(w)
		return
	}
	if v := w.said.stale; v != nil && a.care().withheld != nil {
		r.voidLocked(a.step, v, w.endedAt)
		return
	}
	status, reason := w.judge()
	w.end.err = r.secrets.err(w.end.err)
	if w.end.result != nil || w.end.err != nil {
		r.noteLocked(a.step, w.end)
	}
	f := fact{kind: factEnded, step: a.step, at: w.endedAt, status: status, reason: reason, effect: a.effectMark()}
	if status == Failed && w.said.transient {
		if wait, ok := r.m.backoff(a.step, f.effect != notBegun, w.said.after); ok {
			f.kind, f.until = factRetry, w.endedAt+r.jitter(wait, w.said.after)
		}
	}
	if r.ledger == nil {
		r.applyLocked(f)
		return
	}
	r.applyWithLocked(f, &detail{Result: w.end.result, err: w.end.err})
}

// emptyLocked takes the ends that are in the inbox, and returns the latest of their times and now.
func (r *Run) emptyLocked(now time.Duration) time.Duration {
	if r.inbox.Load() == nil {
		return now
	}
	var ends *worker // in the order in which they came
	for w := r.inbox.Swap(nil); w != nil; {
		before := w.inbox
		w.inbox, ends, w = ends, w, before
	}
	for w := ends; w != nil; {
		after := w.inbox
		w.inbox = nil
		if !w.abandoned {
			now = max(now, w.endedAt)
			r.endLocked(w)
			r.releaseLocked(w)
		}
		w = after
	}
	return now
}

// unlock lets go of mu, and takes what ended while it was held.
func (r *Run) unlock() {
	r.letGoOf()
	for r.inbox.Load() != nil && r.mu.TryLock() {
		r.emptyLocked(0)
		helper := r.helperLocked()
		r.pokeLocked()
		r.letGoOf()
		r.spawn(helper)
	}
}

// letGoOf lets go of mu, and has observers told what happened while it was held.
func (r *Run) letGoOf() {
	r.publishLocked()
	tell := r.startTelling
	r.startTelling = false
	r.mu.Unlock()
	if tell {
		r.tell()
	}
}

// judge says what the end of the worker's attempt means.
func (w *worker) judge() (Status, Reason) {
	err := w.end.err
	if err == nil {
		return Succeeded, ReasonCompleted
	}
	_, panicked := err.(*PanicError) // not one that it wraps: a handler may hand on what came of another run
	switch {
	case panicked:
		return Failed, ReasonPanic
	case w.said.refused && w.attempt.care().withheld != nil:
		return Blocked, ReasonLimit
	case w.said.forbidden && w.attempt.care().withheld != nil:
		return Blocked, ReasonForbidden
	case w.said.obsolete:
		return Cancelled, ReasonObsolete
	case w.stopped != ReasonNone && !w.attempt.mayHaveBegun():
		return Cancelled, w.stopped
	case w.stopped == ReasonInterrupted:
		return Unknown, ReasonInterrupted
	case w.stopped != ReasonNone:
		return Failed, w.stopped
	case w.endedAt >= w.attempt.deadline():
		return Failed, ReasonTimeout
	}
	return Failed, ReasonHandlerError
}

// claimLocked starts the step that goes first, and gives it to a worker, who becomes idle when there is none.
func (r *Run) claimLocked(now time.Duration, w *worker) *attempt {
	r.overLocked(now)
	i, ok := r.m.next()
	undoing := false
	if !ok && r.m.rollback != nil {
		i, ok = r.m.nextUndo()
		undoing = ok
	}
	if !ok {
		r.releaseLocked(w)
		return nil
	}
	kind := factStarted
	if undoing {
		kind = factUndoStarted
	}
	r.applyLocked(fact{kind: kind, step: i, at: now})
	if w.attempt == nil {
		if w.next = r.busy; w.next != nil {
			w.next.prev = w
		}
		r.busy = w
		r.live++
	}
	w.attempt, w.stopped = r.attemptLocked(i, undoing), ReasonNone
	if w.killAt = w.attempt.deadline() + r.config.Grace; w.killAt < r.nextKill {
		r.nextKill = w.killAt
	}
	return w.attempt
}

// helperLocked returns a worker for spawn when a step is ready and nobody is on the way to it.
func (r *Run) helperLocked() *worker {
	if r.helping {
		return nil
	}
	if _, ok := r.m.next(); !ok {
		if _, ok := r.m.nextUndo(); !ok {
			return nil
		}
	}
	r.helping = true
	if r.idle == nil {
		r.idle = r.executor.pool.take(max(1, r.m.open))
	}
	w := r.idle
	r.idle, w.next = w.next, nil
	w.run = r
	return w
}

// releaseLocked makes a worker idle.
func (r *Run) releaseLocked(w *worker) {
	if w.attempt != nil {
		r.unlinkLocked(w)
	}
	w.attempt, w.end, w.next = nil, outcome{}, r.idle
	r.idle = w
}

// unlinkLocked takes a worker from the busy ones.
func (r *Run) unlinkLocked(w *worker) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		r.busy = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	r.live--
}

// attemptLocked makes the attempt of a step. Attempts are made some at a time, but never used twice: a handler may
// keep its context.
func (r *Run) attemptLocked(i int32, undoing bool) *attempt {
	if len(r.slab) == 0 {
		r.slab = make([]attempt, max(1, min(64, r.m.open)))
	}
	a := &r.slab[0]
	r.slab = r.slab[1:]
	s := &r.m.steps[i]
	a.run, a.step, a.start = r, i, r.m.now
	a.req = actions.Request{Task: r.plan.Step(int(i)).Task(), Run: r.id, Attempt: int(s.tries), Conductor: a}
	if s.flags&unsure != 0 && r.undos != nil {
		a.req.Begun = r.undos[i]
	}
	if undoing {
		c := a.care()
		a.undoing, c.doubtful = true, r.m.rollback.steps[i].former == Unknown
		if r.undos != nil {
			c.undo = r.undos[i]
		}
	}
	return a
}

// spawn gives a helper its goroutine; nil is nobody.
func (r *Run) spawn(helper *worker) {
	if helper != nil {
		r.group.Go(helper.loop)
	}
}

// stopLocked tells what runs to end, and gives it the grace. Steps marked always are told only of an interrupt: others
// of them would still be started. A step whose time is up has been told already.
func (r *Run) stopLocked(reason Reason, now time.Duration) {
	for w := r.busy; w != nil; w = w.next {
		spared := reason != ReasonInterrupted && !w.attempt.undoing && r.info[w.attempt.step].traits&always != 0
		if spared || w.stopped != ReasonNone || now >= w.attempt.deadline() {
			continue
		}
		w.stopped = reason
		w.killAt = min(w.killAt, now+r.config.Grace)
		r.nextKill = min(r.nextKill, w.killAt)
		w.attempt.end(cancelled)
	}
}

// A pool keeps idle workers between runs. Handlers never see a worker, so unlike an attempt it can be used again.
type pool struct {
	mu   sync.Mutex // guards what follows
	idle *worker
	n    int // how many are idle
}

// keepIdle is how many idle workers an Executor keeps.
const keepIdle = 1024

// take returns a chain of at least one worker, and about as many as a run that asks again and again can use.
func (p *pool) take(open int) *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	var chain *worker
	for range min(open, 8) {
		w := p.idle
		if w == nil {
			w = &worker{}
			w.loop = func() error {
				w.run.help(w)
				return nil
			}
		} else {
			p.idle = w.next
			p.n--
		}
		w.next = chain
		chain = w
	}
	return chain
}

// put takes a chain of workers back.
func (p *pool) put(chain *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for chain != nil && p.n < keepIdle {
		w := chain
		chain = w.next
		w.run, w.next = nil, p.idle
		p.idle = w
		p.n++
	}
}
