package executor

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor/limits"
)

// errObsolete withholds the effects of a run that is not wanted any more.
var errObsolete = errors.New("the run is not wanted any more")

// prepare is called before a handler is: it waits for the object that the step writes, and begins for handlers that do
// not begin themselves.
func (a *attempt) prepare() error {
	if err := a.lock(); err != nil {
		a.care().withheld = err
		return err
	}
	if a.run.rechecks || a.run.info[a.step].traits&gated != 0 {
		if err := a.recheck(); err != nil {
			a.care().withheld = err
			return err
		}
	}
	if a.run.careful && !a.handler().begins {
		return a.Begin(a, &a.req, nil)
	}
	return nil
}

// lock waits until no other run writes the step's object.
func (a *attempt) lock() error {
	if a.run.info[a.step].traits&writes == 0 {
		return nil
	}
	unlock, err := a.run.config.Locker.Lock(a, a.req.Target.String())
	if err != nil {
		return actions.Transient(err)
	}
	a.care().locked = unlock
	return nil
}

// Begin lets the effect of the attempt be sent, or says why not. Its intent is durable when Begin returns nil.
func (a *attempt) Begin(ctx context.Context, _ *actions.Request, undo *actions.Undo) error {
	if err := a.Err(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if a.undoing || a.begun.Load() {
		return errors.New("begin was called twice in one attempt")
	}
	if a.run.careful {
		if err := a.admit(); err != nil {
			a.care().withheld = err
			return err
		}
	}
	if undo != nil {
		a.care().undo = undo
	}
	if a.run.ledger == nil && undo == nil {
		a.begun.Store(true)
		return nil
	}
	if err := a.intend(); err != nil {
		a.care().withheld = err
		return err
	}
	return nil
}

// intend keeps what is needed to undo the effect, and makes the intent durable.
func (a *attempt) intend() error {
	r := a.run
	undo, err := r.secrets.undo(a.care().undo)
	if err != nil && r.ledger != nil {
		return err
	}
	r.mu.Lock()
	if a.phase.Load() >= cancelled || r.m.steps[a.step].status != Running {
		r.unlock()
		return context.Canceled
	}
	if undo != nil {
		r.keepUndo(a.step, undo)
	}
	a.begun.Store(true)
	r.applyWithLocked(fact{kind: factBegun, step: a.step, at: r.now(), effect: a.effectMark()}, &detail{Undo: undo})
	r.unlock()
	if err := r.flush(); err != nil {
		a.begun.Store(false)
		return err
	}
	return nil
}

// keepUndo keeps what is needed to undo a step. What an attempt before this one kept, of which nobody knows whether it took
// effect, stays: the prior state of this one may be what that one wrote.
func (r *Run) keepUndo(i int32, undo *actions.Undo) {
	if r.undos == nil {
		r.undos = make([]*actions.Undo, r.plan.Len())
	}
	if r.undos[i] == nil || r.m.steps[i].flags&unsure == 0 {
		r.undos[i] = undo
	}
}

// effectMark is what is known of the effect when the attempt has begun or ended.
func (a *attempt) effectMark() effectMark {
	if a.handler().begins {
		switch {
		case !a.begun.Load():
			return notBegun
		case a.more == nil || a.more.undo == nil: // it said that there is nothing to undo
			return noTrace
		}
		return mayHappened
	}
	if a.more != nil && a.more.withheld != nil {
		return notBegun
	}
	return mayHappened
}

// mayHaveBegunYet is mayHaveBegun for an attempt that goes on.
func (a *attempt) mayHaveBegunYet() bool { return a.begun.Load() || !a.handler().begins }

// admit asks whether the run is still wanted, and the Limits.
func (a *attempt) admit() error {
	r := a.run
	if err := r.wanted(a); err != nil {
		return err
	}
	if r.config.Limits == nil || r.info[a.step].traits&mutating == 0 {
		return nil
	}
	effect := a.effect()
	if f := a.handler().footprinter; f != nil {
		touches, err := f.Footprint(a, &a.req)
		if err != nil {
			return err
		}
		effect.Touches = touches
	}
	if err := r.config.Limits.Admit(a, effect); err != nil {
		return err
	}
	a.care().admitted = true
	return nil
}

func (a *attempt) effect() limits.Effect {
	return limits.Effect{Run: a.run.id, Step: a.req.Step, Action: a.req.Action, Target: a.req.Target}
}

// wanted asks the caller whether the run is still wanted, where it was not asked since the last wait.
func (r *Run) wanted(ctx context.Context) error {
	if r.config.StillWanted == nil {
		return nil
	}
	r.asked.Lock() // one of several steps asks for all
	defer r.asked.Unlock()
	r.mu.Lock()
	stale, obsolete := r.stale, r.m.halted == ReasonObsolete
	r.unlock()
	switch {
	case obsolete:
		return errObsolete
	case !stale:
		return nil
	}
	yes, err := r.config.StillWanted(ctx, r)
	if err != nil {
		return actions.Transient(err)
	}
	r.mu.Lock()
	defer r.unlock()
	r.stale = false
	if yes {
		return nil
	}
	if r.m.halted == ReasonNone {
		r.applyLocked(fact{kind: factHalted, at: r.now(), reason: ReasonObsolete})
	}
	r.pokeLocked()
	return errObsolete
}

// giveBack lets go of what others wait for.
func (a *attempt) giveBack(c *care, ok bool) {
	defer func() { _ = recover() }() // a Locker or store that fails now must not fail a step that took effect
	if unlock := c.locked; unlock != nil {
		c.locked = nil
		defer unlock()
	}
	if c.admitted {
		c.admitted = false
		ctx, cancel := context.WithTimeout(context.WithoutCancel(a), DefaultGrace)
		defer cancel()
		_ = a.run.config.Limits.Ended(ctx, a.effect(), a.mayHaveBegun(), ok)
	}
}

// said is what an error says of itself. Errors are a handler's, so they are not asked under a lock.
type said struct {
	transient bool
	refused   bool        // by the Limits
	forbidden bool        // by the policy
	stale     *staleError // what was approved has changed
	obsolete  bool        // it is errObsolete
	drift     bool
	after     time.Duration
}

// settle gives back what the attempt held, and asks its error.
func (a *attempt) settle(err error) (s said) {
	if c := a.more; c != nil && (c.locked != nil || c.admitted) {
		a.giveBack(c, err == nil)
	}
	if err == nil {
		return said{}
	}
	defer func() {
		if recover() != nil {
			s = said{}
		}
	}()
	if e, ok := errors.AsType[*actions.HandlerError](err); ok {
		s.transient, s.after = e.Transient, min(max(e.RetryAfter, 0), forever)
	}
	_, s.refused = errors.AsType[*limits.Refusal](err)
	if e, ok := errors.AsType[*staleError](err); ok {
		s.stale = e
	}
	s.forbidden = errors.Is(err, approval.ErrForbidden)
	s.drift = errors.Is(err, actions.ErrDrift)
	s.obsolete = errors.Is(err, errObsolete)
	return s
}

// jitter takes up to half off a wait, so that many runs do not all come back at once; never what the other side asked
// for.
func (r *Run) jitter(wait, after time.Duration) time.Duration {
	return max(after, wait-rand.N(wait/2+1))
}

// compensate takes the effect of a step back.
func (a *attempt) compensate() error {
	if err := a.lock(); err != nil {
		return err
	}
	h := a.handler()
	if a.more.doubtful && h.prober != nil {
		a.req.Begun = a.more.undo
		if outcome, err := h.prober.Probe(a, &a.req); err == nil && outcome == actions.OutcomeDidNotHappen {
			return nil
		}
	}
	for try := 0; ; try++ {
		err := a.compensateOnce()
		if err == nil || !actions.IsTransient(err) || try >= a.run.config.Retries {
			return err
		}
		wait := min(firstBackoff<<min(try, 16), maxBackoff)
		if e, ok := errors.AsType[*actions.HandlerError](err); ok {
			wait = max(wait, e.RetryAfter)
		}
		timer := time.NewTimer(a.run.jitter(wait, 0))
		select {
		case <-timer.C:
		case <-a.Done():
			timer.Stop()
			return err
		}
	}
}

// compensateOnce makes an error of a panic, so that another attempt or the other undos can follow.
func (a *attempt) compensateOnce() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return a.handler().compensator.Compensate(a, &a.req, a.more.undo)
}

// endUndoLocked tells the machine how an undo ended.
func (r *Run) endUndoLocked(w *worker) {
	i, err := w.attempt.step, r.secrets.err(w.end.err)
	f := fact{kind: factUndoEnded, step: i, at: w.endedAt, status: RolledBack, reason: ReasonUndone}
	if err != nil {
		if r.undoErrs == nil {
			r.undoErrs = make([]error, r.plan.Len())
		}
		r.undoErrs[i] = err
		f.status, f.reason = RollbackFailed, ReasonUndoError
		switch {
		case w.said.drift:
			f.reason = ReasonDrift
		case w.stopped == ReasonInterrupted:
			f.status, f.reason = Pending, ReasonInterrupted
		case w.stopped != ReasonNone:
			f.reason = w.stopped
		case w.endedAt >= w.attempt.deadline():
			f.reason = ReasonTimeout
		}
	}
	r.applyWithLocked(f, &detail{err: err})
}
