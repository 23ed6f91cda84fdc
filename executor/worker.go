package executor

import (
	"errors"
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
	inbox   *worker // the one put there before

	// Guarded by run.mu.
	attempt    *attempt      // nil while it has none
	killAt     time.Duration // when it is abandoned
	prev, next *worker       // in Run.busy; next also links Run.idle
	spawned    *worker       // the next of those to be given a goroutine
	stopped    Reason        // why the run told the attempt to end
	abandoned  bool
}

// work carries out the worker's attempt, and goes on with steps that are ready when it ends.
func (r *Run) work(w *worker) {
	a := w.attempt
	defer func() {
		if a == nil {
			return
		}
		// The handler ended this goroutine: another one takes over.
		gone, err := a, &PanicError{Stack: debug.Stack()}
		r.group.Go(func() error {
			if r.ended(w, gone, nil, err) != nil {
				r.work(w)
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
	w.endedAt, w.end = r.now(), outcome{res, err}
	a.finish()
	if r.mu.TryLock() {
		var chain *worker
		var next *attempt
		if !w.abandoned {
			r.endLocked(w)
			chain = r.dispatchLocked(r.emptyLocked(w.endedAt), w)
			next = w.attempt
			r.pokeLocked()
		}
		r.unlock()
		r.spawn(chain)
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
	status, reason := w.judge()
	if w.end.result != nil || w.end.err != nil {
		r.noteLocked(w.attempt.step, w.end)
	}
	r.m.apply(fact{kind: factEnded, step: w.attempt.step, at: w.endedAt, status: status, reason: reason})
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
	r.mu.Unlock()
	for r.inbox.Load() != nil && r.mu.TryLock() {
		chain := r.dispatchLocked(r.emptyLocked(0), nil)
		r.pokeLocked()
		r.mu.Unlock()
		r.spawn(chain)
	}
}

// judge says what the end of the worker's attempt means.
func (w *worker) judge() (Status, Reason) {
	err := w.end.err
	if err == nil {
		return Succeeded, ReasonCompleted
	}
	_, panicked := errors.AsType[*PanicError](err)
	switch {
	case panicked:
		return Failed, ReasonPanic
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

// dispatchLocked starts every step that may start now. The first goes to self, a worker that has just ended an attempt
// (nil when there is none), and the others to workers that it returns as a chain for spawn.
func (r *Run) dispatchLocked(now time.Duration, self *worker) (chain *worker) {
	last := &chain
	for {
		i, ok := r.m.next()
		if !ok {
			break
		}
		r.m.apply(fact{kind: factStarted, step: i, at: now})
		w := self
		if w == nil {
			w = r.workerLocked()
			*last = w
			last = &w.spawned
		}
		self = nil
		w.attempt, w.stopped = r.attemptLocked(i, now), ReasonNone
		if w.killAt = w.attempt.deadline() + r.config.Grace; w.killAt < r.nextKill {
			r.nextKill = w.killAt
		}
	}
	if self != nil {
		r.releaseLocked(self)
	}
	return chain
}

// releaseLocked makes a worker idle.
func (r *Run) releaseLocked(w *worker) {
	r.unlinkLocked(w)
	w.attempt, w.end, w.next = nil, outcome{}, r.idle
	r.idle = w
}

// workerLocked returns a worker that is busy from now on.
func (r *Run) workerLocked() *worker {
	if r.idle == nil {
		r.idle = r.executor.pool.take(r.m.open)
	}
	w := r.idle
	r.idle = w.next
	w.run = r
	if w.next = r.busy; w.next != nil {
		w.next.prev = w
	}
	r.busy = w
	r.live++
	return w
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
func (r *Run) attemptLocked(i int32, now time.Duration) *attempt {
	if len(r.slab) == 0 {
		r.slab = make([]attempt, min(64, r.m.open))
	}
	a := &r.slab[0]
	r.slab = r.slab[1:]
	a.run, a.step, a.start = r, i, now
	a.req = actions.Request{Task: r.plan.Step(int(i)).Task(), Run: r.id, Attempt: 1, Conductor: a}
	return a
}

// spawn gives each worker of a chain a goroutine.
func (r *Run) spawn(chain *worker) {
	for chain != nil {
		w := chain
		chain, w.spawned = w.spawned, nil
		r.group.Go(w.loop)
	}
}

// stopLocked tells what runs to end, and gives it the grace.
func (r *Run) stopLocked(reason Reason, now time.Duration) {
	for w := r.busy; w != nil; w = w.next {
		if w.stopped == ReasonNone {
			w.stopped = reason
			w.killAt = min(w.killAt, now+r.config.Grace)
			r.nextKill = min(r.nextKill, w.killAt)
			w.attempt.end(cancelled)
		}
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
				w.run.work(w)
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
