package executor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/remedykit/remedy/approval"
)

// supervise does what is not a step, until the run has finished. A caller that lends its own goroutine gets it back
// when the run is parked; another one goes on then.
func (r *Run) supervise(lent bool) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	interrupt := r.ctx.Done()
	for {
		t := r.turn()
		r.spawn(t.helper)
		for _, a := range t.asks {
			begun := make(chan struct{}) // so that requests of one moment go out in plan order
			r.group.Go(func() error {
				close(begun)
				r.announce(a)
				return nil
			})
			<-begun
		}
		if t.flush {
			_ = r.flush() // which ends the run when it fails
			continue
		}
		if t.finished {
			break
		}
		if t.parked && lent {
			go r.supervise(false)
			return
		}
		timer.Reset(t.alarm)
		select {
		case <-r.wake:
		case <-timer.C:
		case <-interrupt:
			interrupt = nil
		}
	}
	r.unguard()
	if !r.leaked {
		_ = r.group.Wait() // workers return no errors
		r.executor.pool.put(r.idle)
		r.idle, r.slab = nil, nil
	}
	r.mu.Lock()
	r.final = r.reportLocked(false)
	r.unlock()
	if r.ledger != nil {
		if err := r.config.Journal.Release(r.id); err != nil && r.broken == nil {
			r.broken = fmt.Errorf("journal of run %s: %w", r.id, err)
		}
	}
	if l := r.config.Limits; l != nil && r.final.status != RunInterrupted {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), DefaultGrace)
		_ = l.Finished(ctx, r.id) // at worst a run's worth of what it touched is kept
		cancel()
	}
	r.executor.retire(r.id)
	close(r.done)
}

// A turn is what the supervisor has to do outside the lock.
type turn struct {
	helper   *worker
	asks     []*ask
	alarm    time.Duration // from now
	flush    bool
	parked   bool
	finished bool
}

// turn looks at everything that is not a step.
func (r *Run) turn() turn {
	r.mu.Lock()
	defer r.unlock()
	now := r.emptyLocked(r.now())
	r.overLocked(now)
	r.killLocked(now)
	r.closeLocked(now)
	for {
		i, ok := r.m.nextDue(now)
		if !ok {
			break
		}
		r.applyLocked(fact{kind: factDue, step: i, at: now})
	}

	var t turn
	t.helper = r.helperLocked()
	t.asks = r.askLocked(now)
	r.publishLocked()
	over := r.m.finished() && r.live == 0 && r.probing == 0
	if over || r.m.ended != "" {
		r.unguard()
	}
	if over && r.asking > 0 {
		if r.giveUp == never {
			r.giveUp = now + r.config.Grace
		} else if now >= r.giveUp {
			r.asking, r.leaked, r.giveUp = 0, true, never
		}
	}
	over = over && r.asking == 0
	settled := r.ledger == nil || r.ledger.settled()
	r.parkLocked(r.m.idle() && r.asking == 0 && settled, now)
	if over && !r.toldEnd {
		r.toldEnd = true
		if status := r.m.status(); r.ledger != nil && status != RunInterrupted && r.broken == nil {
			r.ledger.add(entry{kind: recordFinished, time: r.startedAt.Add(now), data: &detail{At: now, Status: string(status)}})
			settled = false
		}
		e := remarks{kind: EventRunFinished, status: string(r.m.status())}
		if r.m.cut == ReasonInterrupted {
			e.err = r.why.interrupted
		} else {
			e.message = r.why.message(r.m.cut)
		}
		r.tellLocked(e, now)
	}
	t.flush = !settled && (over || r.m.idle())
	t.finished, t.parked = over && !t.flush && r.quietLocked(), r.isParked
	r.awake = false
	r.timerAt = r.alarmLocked()
	t.alarm = r.timerAt - now
	return t
}

// killLocked abandons the handlers that went on for the whole grace.
func (r *Run) killLocked(now time.Duration) {
	if now < r.nextKill {
		return
	}
	r.nextKill = never
	for w := r.busy; w != nil; {
		next := w.next
		if now >= w.killAt {
			r.leaked, w.abandoned = true, true
			r.unlinkLocked(w)
			w.attempt.end(timedOut)
			step := w.attempt.step
			r.noteLocked(step, outcome{err: fmt.Errorf("the handler went on for %v after its context had ended, and was abandoned", r.config.Grace)})
			if w.attempt.undoing {
				r.applyLocked(fact{kind: factUndoEnded, step: step, at: now, status: RollbackFailed, reason: ReasonAbandoned})
			} else {
				r.applyLocked(fact{kind: factEnded, step: step, at: now, status: Unknown, reason: ReasonAbandoned, effect: mark(w.attempt.mayHaveBegunYet(), false)})
			}
		} else {
			r.nextKill = min(r.nextKill, w.killAt)
		}
		w = next
	}
}

// closeLocked closes the requests whose time is up or that are no longer needed.
func (r *Run) closeLocked(now time.Duration) {
	if now < r.nextClose && !r.m.closing {
		return
	}
	r.m.closing = false
	r.nextClose = never
	r.openAsks = slices.DeleteFunc(r.openAsks, func(a *ask) bool {
		if !r.decidedLocked(a) && now >= a.expiry {
			a.reason = "nobody answered in time"
			r.applyWithLocked(fact{kind: factRejected, step: a.step, at: now, reason: ReasonApprovalTimeout}, &detail{Message: a.reason})
		}
		if r.decidedLocked(a) {
			a.cancel()
			return true
		}
		r.nextClose = min(r.nextClose, a.expiry)
		return false
	})
}

// decidedLocked tells whether a request needs no answer any more.
func (r *Run) decidedLocked(a *ask) bool {
	if r.m.gate[a.step].decided || r.m.finished() {
		return true
	}
	return a.step != planGate && r.m.steps[a.step].status.Final()
}

// askLocked makes the requests that go out now, and returns those that an Approver is to announce.
func (r *Run) askLocked(now time.Duration) (announce []*ask) {
	for {
		i, ok := r.m.nextAsk()
		if !ok {
			return announce
		}
		wait := min(r.config.Policy.Wait(), forever)
		a := r.openLocked(i, now, now+wait)
		r.applyWithLocked(fact{kind: factAsked, step: i, at: now}, &detail{Digest: a.req.Digest, Expires: &a.req.ExpiresAt})
		if r.config.Approver != nil {
			r.asking++
			announce = append(announce, a)
		}
	}
}

// openLocked makes a request that was asked at one time and expires at another.
func (r *Run) openLocked(i int32, asked, expiry time.Duration) *ask {
	a := &ask{step: i, expiry: expiry}
	a.req = &approval.Request{
		Key: r.id, Run: r.id, Author: r.options.Author, Plan: r.plan, Gate: r.gates.Plan, Gates: r.gates,
		Confidence: -1, Digest: r.plan.Digest(), AskedAt: r.startedAt.Add(asked), ExpiresAt: r.startedAt.Add(expiry),
	}
	if r.options.Confidence.Given {
		a.req.Confidence = r.options.Confidence.Value
	}
	if i != planGate {
		a.req.Step = r.plan.Step(int(i))
		a.req.Key = r.id + "/" + a.req.Step.ID()
		a.req.Gate = r.gates.Steps[i]
		a.req.Digest = stepDigest(r.plan, int(i))
		if r.m.steps[i].flags&doubted != 0 {
			a.req.Key += "/unknown"
			a.req.Digest = doubtDigest(a.req.Digest, r.m.steps[i].tries)
			a.req.Gate.Required = true
			a.req.Gate.Reasons = []string{doubtReason}
		}
	}
	a.ctx, a.cancel = context.WithDeadline(r.ctx, a.req.ExpiresAt)
	r.asks[i] = a
	r.openAsks = append(r.openAsks, a)
	r.nextClose = min(r.nextClose, expiry)
	return a
}

// forgetAskLocked withdraws the question about a step, whose answer is no answer to another one.
func (r *Run) forgetAskLocked(i int32) {
	if a := r.asks[i]; a != nil {
		a.cancel()
		delete(r.asks, i)
		r.openAsks = slices.DeleteFunc(r.openAsks, func(o *ask) bool { return o == a })
	}
}

// doubtReason is why a person is asked about a step whose outcome nobody knows.
const doubtReason = "the process died while this step ran, and nobody knows whether it took effect: approve to run it again, reject to leave it as it is"

// announce puts a request before the Approver and takes what it answers.
func (r *Run) announce(a *ask) {
	var d *approval.Decision
	var err error
	returned := false
	defer func() {
		if !returned {
			err = &PanicError{Value: recover(), Stack: debug.Stack()}
		}
		if err != nil {
			err = fmt.Errorf("the approver failed: %w", err)
		}
		r.answered(a, d, err)
	}()
	if err = r.flush(); err == nil { // a question that nobody remembers must not be asked
		d, err = r.config.Approver.Approve(a.ctx, a.req)
	}
	returned = true
}

func (r *Run) answered(a *ask, d *approval.Decision, err error) {
	r.mu.Lock()
	now := r.now()
	if r.asking > 0 {
		r.asking--
	}
	if err == nil && d != nil && d.Verdict == approval.Pending || r.decidedLocked(a) || r.ctx.Err() != nil || now >= a.expiry {
		// Decide answers, somebody else has, nobody needs an answer, or it comes too late: the supervisor knows.
	} else if err = r.admit(a, d, err); err != nil {
		a.reason = err.Error()
		if a.step != planGate {
			r.noteLocked(a.step, outcome{err: err})
		}
		r.applyWithLocked(fact{kind: factRejected, step: a.step, at: now, reason: ReasonApprovalError}, &detail{Message: a.reason})
	} else {
		r.decideLocked(a, *d, now)
	}
	helper := r.helperLocked()
	r.pokeLocked()
	r.unlock()
	r.spawn(helper)
}

// admit refuses an answer of an Approver that is none.
func (r *Run) admit(a *ask, d *approval.Decision, err error) error {
	switch {
	case err != nil:
		return err
	case d == nil || d.Verdict != approval.Approved && d.Verdict != approval.Rejected:
		return errors.New("the approver gave no answer")
	case d.Digest != "" && d.Digest != a.req.Digest:
		return approval.ErrDigest
	}
	return identityErr(r.options.Author, d.By)
}

func (r *Run) decideLocked(a *ask, d approval.Decision, now time.Duration) {
	a.by, a.reason = d.By, d.Reason
	f := fact{kind: factApproved, step: a.step, at: now}
	if d.Verdict != approval.Approved {
		f.kind, f.reason = factRejected, ReasonRejected
	}
	r.stale = r.config.StillWanted != nil
	r.applyWithLocked(f, &detail{By: d.By, Message: d.Reason, Digest: a.req.Digest})
}

// decide is Executor.Decide for one run.
func (r *Run) decide(step string, d approval.Decision) error {
	i := planGate
	if step != "" {
		index, ok := r.plan.Index(step)
		if !ok {
			return fmt.Errorf("%w: the plan has no step %q", approval.ErrNotAsked, step)
		}
		i = int32(index)
	}
	if d.Verdict != approval.Approved && d.Verdict != approval.Rejected {
		return fmt.Errorf("the verdict is %s: a decision approves or rejects", d.Verdict)
	}
	r.mu.Lock()
	now := r.now()
	a := r.asks[i]
	var err error
	switch {
	case a == nil:
		err = approval.ErrNotAsked
	case r.m.gate[i].reason == ReasonApprovalTimeout:
		err = approval.ErrExpired
	case r.m.gate[i].decided && a.by == "":
		err = fmt.Errorf("%w: rejected, because %s", approval.ErrDecided, a.reason)
	case r.m.gate[i].decided:
		err = fmt.Errorf("%w: %s by %s", approval.ErrDecided, r.m.gate[i].verdict, a.by)
	case r.decidedLocked(a) || r.ctx.Err() != nil:
		err = fmt.Errorf("%w: the question was withdrawn", approval.ErrNotAsked)
	case now >= a.expiry:
		err = approval.ErrExpired
	case d.Digest != a.req.Digest:
		err = approval.ErrDigest
	default:
		err = identityErr(r.options.Author, d.By)
	}
	var helper *worker
	if err == nil {
		r.decideLocked(a, d, now)
		helper = r.helperLocked()
		r.pokeLocked()
	}
	r.unlock()
	r.spawn(helper)
	if err == nil {
		err = r.flush()
	}
	return err
}

// parkLocked keeps parked in step with idle. Observers are told before waiters are let go.
func (r *Run) parkLocked(idle bool, now time.Duration) {
	switch {
	case !idle:
		r.unparkLocked()
	case !r.toldPark && r.m.recording:
		r.toldPark = true
		r.tellLocked(remarks{kind: EventRunParked, status: string(RunParked)}, now)
		r.quietLocked()
	case !r.isParked && r.quietLocked():
		r.isParked = true
		close(r.parked)
	}
}

func (r *Run) unparkLocked() {
	r.toldPark = false
	if r.isParked {
		r.isParked, r.parked = false, make(chan struct{})
	}
}
