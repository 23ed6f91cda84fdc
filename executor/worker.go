package executor

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/remedykit/remedy/actions"
)

// A worker is a goroutine that carries out one attempt after another. An abandoned worker belongs to nobody.
type worker struct {
	loop func() error // what the goroutine does; set once

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
	for {
		head := r.inbox.Load()
		w.inbox = head
		if r.inbox.CompareAndSwap(head, w) {
			break
		}
	}
	// From here on w may belong to somebody else.
	if !r.mu.TryLock() {
		return nil
	}
	chain, next := r.takeLocked(w)
	r.pokeLocked()
	r.unlock()
	r.spawn(chain)
	return next
}

// takeLocked takes the ends that are in the inbox, and starts what they allow. When self is among them it gets the
// first attempt; other attempts go to a chain of workers for spawn.
func (r *Run) takeLocked(self *worker) (chain *worker, next *attempt) {
	var ends *worker // in the order in which they came
	for w := r.inbox.Swap(nil); w != nil; {
		after := w.inbox
		w.inbox, ends, w = ends, w, after
	}
	var mine *worker
	now := time.Duration(0)
	for w := ends; w != nil; {
		after := w.inbox
		w.inbox = nil
		if !w.abandoned {
			now = max(now, w.endedAt)
			status, reason := w.judge()
			if w.end.result != nil || w.end.err != nil {
				r.noteLocked(w.attempt.step, w.end)
			}
			r.m.apply(fact{kind: factEnded, step: w.attempt.step, at: w.endedAt, status: status, reason: reason})
			if w == self {
				mine = w
			} else {
				r.releaseLocked(w)
			}
		}
		w = after
	}
	chain = r.dispatchLocked(now, mine)
	if mine != nil {
		next = mine.attempt
	}
	return chain, next
}

// unlock lets go of mu, and takes what ended while it was held.
func (r *Run) unlock() {
	r.mu.Unlock()
	for r.inbox.Load() != nil && r.mu.TryLock() {
		chain, _ := r.takeLocked(nil)
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
	case w.stopped != ReasonNone && !w.attempt.begun.Load():
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
	w := r.idle
	if w == nil {
		w = &worker{}
		w.loop = func() error {
			r.work(w)
			return nil
		}
	} else {
		r.idle = w.next
	}
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
			w.attempt.cancel(context.Canceled)
		}
	}
}

// join makes one chain of two.
func join(a, b *worker) *worker {
	if a == nil {
		return b
	}
	last := a
	for last.spawned != nil {
		last = last.spawned
	}
	last.spawned = b
	return a
}
