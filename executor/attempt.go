package executor

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remedykit/remedy/actions"
)

// An attempt is one try of one step: the request, and the context that the handler sees. A context.WithTimeout would
// cost more than the whole of what surrounds a step, and most handlers only hand it on; so the timer is armed, and the
// channel made, when somebody first waits.
type attempt struct {
	run     *Run
	step    int32
	handler *bound
	req     actions.Request
	start   time.Duration // since the start of the run
	timeout time.Duration // > 0

	begun atomic.Bool // the effect may have been sent

	// Guarded by run.mu.
	abandoned  bool
	stopped    Reason        // why the run told it to end
	killAt     time.Duration // when it is abandoned
	prev, next *attempt      // the attempts that run
	spawned    *attempt      // the next of those to be given a goroutine

	over atomic.Bool // err is set; written under mu, so that Err can do without mu while it is false

	mu    sync.Mutex // guards what follows
	err   error
	done  chan struct{} // nil until somebody asks
	timer *time.Timer   // nil until somebody waits
	hooks []*func()     // called once when the context ends
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
	if !a.handler.begins {
		if err := a.req.Begin(a, nil); err != nil {
			return nil, err
		}
	}
	return a.handler.Execute(a, &a.req)
}

// Begin notes that the effect may be sent from now on.
func (a *attempt) Begin(ctx context.Context, _ *actions.Request, _ *actions.Undo) error {
	if err := a.Err(); err != nil {
		return err
	}
	if ctx != context.Context(a) {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if a.begun.Swap(true) {
		return errors.New("begin was called twice in one attempt")
	}
	return nil
}

func (a *attempt) deadline() time.Duration { return a.start + a.timeout }

// Deadline is the start of the step plus its time-out.
func (a *attempt) Deadline() (time.Time, bool) { return a.run.startedAt.Add(a.deadline()), true }

// Done arms the timer.
func (a *attempt) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done == nil {
		a.done = make(chan struct{})
		if a.err != nil {
			close(a.done)
		} else {
			a.armLocked()
		}
	}
	return a.done
}

func (a *attempt) armLocked() {
	if a.timer == nil {
		a.timer = time.AfterFunc(a.deadline()-a.run.now(), func() { a.cancel(context.DeadlineExceeded) })
	}
}

// Err sees the deadline also when no timer is armed.
func (a *attempt) Err() error {
	if !a.over.Load() {
		if a.run.now() < a.deadline() {
			return nil
		}
		a.cancel(context.DeadlineExceeded)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Value hands on the values of the context that the run was started with.
func (a *attempt) Value(key any) any { return a.run.ctx.Value(key) }

// AfterFunc lets package context watch this context without a goroutine.
func (a *attempt) AfterFunc(f func()) (stop func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		go f()
		return func() bool { return false }
	}
	a.armLocked()
	hook := &f
	a.hooks = append(a.hooks, hook)
	return func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		for i, h := range a.hooks {
			if h == hook {
				a.hooks[i] = a.hooks[len(a.hooks)-1]
				a.hooks = a.hooks[:len(a.hooks)-1]
				return true
			}
		}
		return false
	}
}

// cancel ends the context; only the first cause counts.
func (a *attempt) cancel(cause error) {
	a.mu.Lock()
	if a.err != nil {
		a.mu.Unlock()
		return
	}
	a.err = cause
	a.over.Store(true)
	if a.done != nil {
		close(a.done)
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	hooks := a.hooks
	a.hooks = nil
	a.mu.Unlock()
	for _, f := range hooks {
		go (*f)()
	}
}
