package executor

import (
	"context"
	"errors"
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

	begun atomic.Bool   // the effect may have been sent
	phase atomic.Uint32 // of the context: open, watched or over
	mu    sync.Mutex    // guards watch and err
	watch *watch        // set in open, before phase becomes watched
	err   error         // set before phase becomes over; nil means context.Canceled
}

// The phases of an attempt's context. Nobody waits while it is open.
const (
	open uint32 = iota
	watched
	over
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
	begins bool
}

func bind(h actions.ActionHandler) *bound {
	b := &bound{ActionHandler: h}
	if beginner, ok := actions.As[actions.Beginner](h); ok {
		b.begins = beginner.BeginsItself()
	}
	return b
}

// execute calls the handler. A panic becomes an error; a Goexit cannot be held, and is found by the worker.
func (a *attempt) execute() (res *actions.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			res, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	handler := a.run.handlers[a.run.handler[a.step]]
	if !handler.begins {
		a.begun.Store(true)
	}
	return handler.Execute(a, &a.req)
}

// Begin notes that the effect may be sent from now on.
func (a *attempt) Begin(ctx context.Context, _ *actions.Request, _ *actions.Undo) error {
	if err := a.Err(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if a.begun.Swap(true) {
		return errors.New("begin was called twice in one attempt, or by a handler that does not say BeginsItself")
	}
	return nil
}

func (a *attempt) deadline() time.Duration { return a.start + a.run.timeouts[a.step] }

// Deadline is the start of the step plus its time-out.
func (a *attempt) Deadline() (time.Time, bool) { return a.run.startedAt.Add(a.deadline()), true }

// watchLocked arms the timer. It returns nil when the context has ended.
func (a *attempt) watchLocked() *watch {
	if a.watch == nil && a.phase.Load() == open {
		w := &watch{done: make(chan struct{})}
		a.watch = w
		if a.phase.CompareAndSwap(open, watched) {
			w.timer = time.AfterFunc(a.deadline()-a.run.now(), func() { a.cancel(context.DeadlineExceeded) })
		} else {
			close(w.done)
		}
	}
	if a.phase.Load() == over {
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
	if a.phase.Load() != over {
		if a.run.now() <= a.deadline() {
			return nil
		}
		a.cancel(context.DeadlineExceeded)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		return context.Canceled
	}
	return a.err
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
	if !a.phase.CompareAndSwap(open, over) {
		a.cancel(context.Canceled)
	}
}

// cancel ends the context; only the first cause counts.
func (a *attempt) cancel(cause error) {
	a.mu.Lock()
	if a.phase.Load() == over {
		a.mu.Unlock()
		return
	}
	a.err = cause
	var hooks []*func()
	if a.phase.Swap(over) == watched {
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
