package executor

import (
	"context"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remedykit/remedy/actions"
)

// An attempt is one try of one step: the request, and the context that the handler sees. A context.WithTimeout would
// cost more than the whole of what surrounds a step, and most handlers only hand it on; so the timer is armed, and the
// channel made, when somebody first waits.
type attempt struct {
	run   *Run
	req   actions.Request
	start time.Duration // since the start of the run
	step  int32

	undoing bool  // it takes the effect back; set before it starts
	more    *care // nil for an attempt that needs none

	begun atomic.Bool  // the effect may have been sent
	phase atomic.Int32 // of the context
	mu    sync.Mutex   // guards watch
	watch *watch       // set while open, before phase becomes watched
}

// care is what only some attempts need: those that begin themselves, ask before their effect, or take it back. It belongs to
// the attempt's goroutine until the attempt has ended.
type care struct {
	doubtful bool          // nobody knows whether there is one
	admitted bool          // by the Limits
	undo     *actions.Undo // what Begin was given, or what is to be undone
	withheld error         // why the effect was not sent
	locked   func()        // lets go of the lock on the target; nil when there is none
}

// care returns what the attempt needs beyond the usual.
func (a *attempt) care() *care {
	if a.more == nil {
		a.more = &care{}
	}
	return a.more
}

// The phases of an attempt's context. Nobody waits while it is open; from cancelled on it has ended.
const (
	open int32 = iota
	watched
	cancelled
	timedOut
)

// A watch is what a context needs once somebody waits for its end.
type watch struct {
	done  chan struct{}
	timer *time.Timer
	hooks []*func() // called once when the context ends
}

// bound is a handler made ready to run: what it can do beyond Execute is looked up once.
type bound struct {
	actions.ActionHandler
	begins      bool
	compensator actions.Compensator // nil when it is none, as below
	prober      actions.Prober
	dryRunner   actions.DryRunner
	footprinter actions.Footprinter
}

func bind(h actions.ActionHandler) *bound {
	b := &bound{ActionHandler: h}
	if beginner, ok := actions.As[actions.Beginner](h); ok {
		b.begins = beginner.BeginsItself()
	}
	b.compensator, _ = actions.As[actions.Compensator](h)
	b.prober, _ = actions.As[actions.Prober](h)
	b.dryRunner, _ = actions.As[actions.DryRunner](h)
	b.footprinter, _ = actions.As[actions.Footprinter](h)
	return b
}

// execute calls the handler. A panic becomes an error; a Goexit cannot be held, and is found by the worker.
func (a *attempt) execute() (res *actions.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			res, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if a.undoing {
		return nil, a.compensate()
	}
	if a.run.careful || a.run.info[a.step].traits&(writes|gated) != 0 {
		if err := a.prepare(); err != nil {
			return nil, err
		}
	}
	return a.handler().Execute(a, &a.req)
}

func (a *attempt) handler() *bound { return a.run.handlers[a.run.info[a.step].action] }

// mayHaveBegun tells whether the effect may have been sent: handlers that do not call Begin have begun from the start.
func (a *attempt) mayHaveBegun() bool {
	return a.begun.Load() || !a.handler().begins && (a.more == nil || a.more.withheld == nil)
}

// deadline is when the attempt's time is up; the undo of a step has as much time.
func (a *attempt) deadline() time.Duration { return a.start + a.run.info[a.step].timeout }

// Deadline is the start of the step plus its time-out.
func (a *attempt) Deadline() (time.Time, bool) { return a.run.base.Add(a.deadline()), true }

// watchLocked arms the timer. It returns nil when the context has ended.
func (a *attempt) watchLocked() *watch {
	if a.watch == nil && a.phase.Load() == open {
		w := &watch{done: make(chan struct{})}
		a.watch = w
		if a.phase.CompareAndSwap(open, watched) {
			w.timer = time.AfterFunc(a.deadline()-a.run.now(), func() { a.end(timedOut) })
		} else {
			close(w.done)
		}
	}
	if a.phase.Load() >= cancelled {
		return nil
	}
	return a.watch
}

// closed is what Done returns for a context that ended before anybody waited.
var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done arms the timer.
func (a *attempt) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watchLocked(); a.watch != nil {
		return a.watch.done
	}
	return closed
}

// Err sees the deadline also when no timer is armed.
func (a *attempt) Err() error {
	if a.phase.Load() < cancelled {
		if a.run.now() <= a.deadline() {
			return nil
		}
		a.end(timedOut)
	}
	if a.phase.Load() == timedOut {
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// Value hands on the values of the context that the run was started with.
func (a *attempt) Value(key any) any { return a.run.ctx.Value(key) }

// AfterFunc lets package context watch this context without a goroutine.
func (a *attempt) AfterFunc(f func()) (stop func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.watchLocked()
	if w == nil {
		go f()
		return func() bool { return false }
	}
	hook := &f
	w.hooks = append(w.hooks, hook)
	return func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		i := slices.Index(w.hooks, hook)
		if i < 0 {
			return false
		}
		w.hooks = slices.Delete(w.hooks, i, i+1)
		return true
	}
}

// finish ends the context of an attempt that has ended.
func (a *attempt) finish() {
	if !a.phase.CompareAndSwap(open, cancelled) {
		a.end(cancelled)
	}
}

// end ends the context, as cancelled or timedOut; only the first end counts.
func (a *attempt) end(how int32) {
	a.mu.Lock()
	before := a.phase.Load()
	if before >= cancelled {
		a.mu.Unlock()
		return
	}
	if before == open && a.phase.CompareAndSwap(open, how) {
		a.mu.Unlock()
		return
	}
	var hooks []*func()
	if a.phase.CompareAndSwap(watched, how) {
		w := a.watch
		close(w.done)
		w.timer.Stop()
		hooks, w.hooks = w.hooks, nil
	}
	a.mu.Unlock()
	for _, f := range hooks {
		go (*f)()
	}
}
