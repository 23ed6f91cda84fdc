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

// An ask is a gate that was put before people. Guarded by Run.mu, but for what never changes.
type ask struct {
	step   int32
	req    *approval.Request
	expiry time.Duration
	ctx    context.Context // of the Approver
	cancel context.CancelFunc
	tally  *approval.Tally
	told   time.Time     // until when escalations have been told
	shows  chan struct{} // closed when the last of its updates has been shown; nil before the first
	by     string
	reason string
	shown  approval.State // what an Updater was last told of its end
}

// closeLocked closes the requests whose time is up or that are no longer needed.
func (r *Run) closeLocked(now time.Duration) {
	if now < r.nextClose && !r.m.closing {
		return
	}
	r.m.closing = false
	r.nextClose = never
	r.escalateLocked(now)
	r.openAsks = slices.DeleteFunc(r.openAsks, func(a *ask) bool {
		if r.asks[a.step] != a {
			return true // it was withdrawn
		}
		if !r.decidedLocked(a) && now >= a.expiry {
			a.tally.Expire(r.startedAt.Add(now))
			a.reason = "nobody answered in time"
			r.applyWithLocked(fact{kind: factRejected, step: a.step, at: now, reason: ReasonApprovalTimeout}, &detail{Message: a.reason})
		}
		if r.decidedLocked(a) {
			a.cancel()
			if r.m.halted != ReasonInterrupted { // else the question stays, and so may its answer come
				a.tally.Withdraw(r.needlessLocked(a), r.startedAt.Add(now))
				r.updateLocked(a, now)
			}
			return true
		}
		r.nextClose = min(r.nextClose, a.expiry)
		if at, ok := a.tally.EscalatesAt(a.told); ok {
			r.nextClose = min(r.nextClose, at.Sub(r.startedAt))
		}
		return false
	})
}

// needlessLocked says for people why a request needs no answer any more.
func (r *Run) needlessLocked(a *ask) string {
	if a.step != planGate {
		if reason := r.m.steps[a.step].reason; reason != ReasonNone {
			return "the step cannot run any more: " + reason.String()
		}
	}
	return "the run has ended"
}

// escalateLocked tells others of requests that nobody has decided for a while.
func (r *Run) escalateLocked(now time.Duration) {
	for _, a := range r.openAsks {
		if at, ok := a.tally.EscalatesAt(a.told); ok && !r.startedAt.Add(now).Before(at) && !r.decidedLocked(a) {
			a.told = at
			r.applyLocked(fact{kind: factEscalated, step: a.step, at: now})
			r.updateLocked(a, now)
		}
	}
}

// decidedLocked tells whether a request needs no answer any more.
func (r *Run) decidedLocked(a *ask) bool {
	if r.asks[a.step] != a || r.m.gate[a.step].decided || r.m.finished() {
		return true
	}
	return a.step != planGate && r.m.steps[a.step].status.Final()
}

// askLocked makes the requests that go out now, and returns what announces them, or looks at what they are about first.
func (r *Run) askLocked(now time.Duration) (todo []func()) {
	for {
		i, ok := r.m.nextAsk()
		if !ok {
			return todo
		}
		f, known := r.findings[i]
		if !known && i != planGate && r.m.steps[i].flags&doubted == 0 {
			if f = r.predictedLocked(i); f == nil && r.looks(i) {
				r.m.asks = r.m.asks[1:] // it is put back when that is done
				r.asking++
				todo = append(todo, func() { r.find(i) })
				continue
			}
		}
		delete(r.findings, i)
		a := r.openLocked(i, now, now+min(r.gateLocked(i).Terms.Wait(), forever), f)
		d := &detail{Digest: a.req.Digest, Expires: &a.req.ExpiresAt}
		if len(a.req.Gate.Terms.Panels) > 0 {
			record := recordOf(a.req.Gate)
			d.Gate = &record
		}
		if f != nil {
			d.Preview, d.Touches = f.preview, f.touches
		}
		r.applyWithLocked(fact{kind: factAsked, step: i, at: now}, d)
		if r.config.Approver != nil {
			r.asking++
			todo = append(todo, func() { r.announce(a) })
		}
	}
}

// gateLocked is the gate of a step or of the plan, as it is now.
func (r *Run) gateLocked(i int32) approval.Gate {
	if g, ok := r.regated[i]; ok {
		return g
	}
	if i == planGate {
		return r.gates.Plan
	}
	return r.gates.Steps[i]
}

// regate has a gate ask for something else from now on.
func (r *Run) regate(i int32, g approval.Gate) {
	if r.regated == nil {
		r.regated = map[int32]approval.Gate{}
	}
	r.regated[i] = g
}

// openLocked makes a request that was asked at one time and expires at another. f may be nil.
func (r *Run) openLocked(i int32, asked, expiry time.Duration, f *finding) *ask {
	a := &ask{step: i, expiry: expiry}
	a.req = &approval.Request{
		Key: r.id, Run: r.id, Author: r.options.Author, Model: r.options.Model, Incident: r.options.Incident, Plan: r.plan, Gate: r.gateLocked(i), Gates: r.gates,
		Confidence: -1, Digest: r.plan.Digest(), AskedAt: r.startedAt.Add(asked), ExpiresAt: r.startedAt.Add(expiry), Remaining: r.remainingLocked(),
	}
	if r.options.Confidence.Given {
		a.req.Confidence = r.options.Confidence.Value
	}
	if i != planGate {
		a.req.Step = r.plan.Step(int(i))
		a.req.Key = r.id + "/" + a.req.Step.ID()
		a.req.Digest = stepDigest(r.plan, int(i))
		if r.m.steps[i].flags&doubted != 0 {
			a.req.Key += "/unknown"
			if tries := r.m.steps[i].tries; tries > 1 { // another attempt is another question
				a.req.Key += fmt.Sprintf("/%d", tries)
			}
			a.req.Digest = doubtDigest(a.req.Digest, r.m.steps[i].tries)
			a.req.Gate.Required = true
			a.req.Gate.Reasons = []string{doubtReason}
		}
		if f != nil {
			a.req.Preview, a.req.Touches = f.preview, f.touches
			a.req.Digest = basisDigest(a.req.Digest, f.preview)
		}
		if v := r.void[i]; v.rounds > 0 {
			a.req.Key += fmt.Sprintf("/%d", v.rounds+1)
			a.req.Gate.Reasons = append([]string{"it is asked again, because " + v.why}, a.req.Gate.Reasons...)
		}
	}
	a.told = a.req.AskedAt
	a.tally = approval.NewTally(a.req)
	a.ctx, a.cancel = context.WithDeadline(r.ctx, a.req.ExpiresAt)
	r.asks[i] = a
	r.openAsks = append(r.openAsks, a)
	r.nextClose = min(r.nextClose, expiry)
	if at, ok := a.tally.EscalatesAt(a.told); ok {
		r.nextClose = min(r.nextClose, at.Sub(r.startedAt))
	}
	return a
}

// remainingLocked is how long the rest of the run is expected to take.
func (r *Run) remainingLocked() (rest time.Duration) {
	if r.rest == nil {
		durations := make([]time.Duration, r.plan.Len())
		for i := range durations {
			durations[i] = r.plan.Step(i).Duration()
		}
		r.rest = r.graph.Remaining(durations)
	}
	for i, d := range r.rest {
		if d > rest && !r.m.steps[i].status.Final() {
			rest = d
		}
	}
	return rest
}

// forgetAskLocked forgets the question about a step, whose answer is no answer to another one.
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
	switch {
	case r.decidedLocked(a) || r.ctx.Err() != nil || now >= a.expiry:
		// Somebody else has answered, nobody needs an answer, or it comes too late: the supervisor knows.
	case err == nil && d != nil && d.Verdict == approval.Pending: // Decide answers
		r.receiveLocked(a, d.Receipt, now)
	default:
		if err == nil && d != nil && d.Digest == "" {
			own := *d
			own.Digest, d = a.req.Digest, &own
		}
		switch {
		case err != nil:
		case d == nil || d.Verdict != approval.Approved && d.Verdict != approval.Rejected:
			err = errors.New("the approver gave no answer")
		default:
			err = r.castLocked(a, *d, now)
		}
		if errors.Is(err, approval.ErrVoted) { // asked again after a restart, say; others are still needed
			break
		}
		if err != nil {
			a.reason = err.Error()
			a.tally.Deny(a.reason, r.startedAt.Add(now))
			if a.step != planGate {
				r.noteLocked(a.step, outcome{err: err})
			}
			r.applyWithLocked(fact{kind: factRejected, step: a.step, at: now, reason: ReasonApprovalError}, &detail{Message: a.reason})
		}
	}
	helper := r.helperLocked()
	r.pokeLocked()
	r.unlock()
	r.spawn(helper)
}

// receiveLocked keeps what an Approver wants to know of a request later.
func (r *Run) receiveLocked(a *ask, receipt string, now time.Duration) {
	if receipt == "" || receipt == a.req.Receipt {
		return
	}
	own := *a.req
	own.Receipt, a.req = receipt, &own
	r.applyWithLocked(fact{kind: factAnnounced, step: a.step, at: now}, &detail{Receipt: receipt})
}

// castLocked counts a decision.
func (r *Run) castLocked(a *ask, d approval.Decision, now time.Duration) error {
	state, err := a.tally.Cast(d, r.startedAt.Add(now))
	if err != nil {
		return err
	}
	dt := &detail{By: d.By, Groups: d.Groups, Message: d.Reason, Digest: a.req.Digest}
	f := fact{kind: factVoted, step: a.step, at: now}
	switch state {
	case approval.Granted:
		f.kind = factApproved
	case approval.Denied:
		f.kind, f.reason = factRejected, ReasonRejected
	}
	if f.kind != factVoted {
		a.by, a.reason = d.By, d.Reason
		r.stale = r.config.StillWanted != nil
	}
	r.applyWithLocked(f, dt)
	if f.kind == factVoted {
		r.updateLocked(a, now)
	}
	return nil
}

// updateLocked has an Updater show what became of a request.
func (r *Run) updateLocked(a *ask, now time.Duration) {
	u, ok := r.config.Approver.(approval.Updater)
	s := a.tally.Standing(r.startedAt.Add(now))
	if !ok || s.State != approval.Open && s.State == a.shown {
		return
	}
	a.shown = s.State
	r.asking++
	req, before, done := a.req, a.shows, make(chan struct{})
	a.shows = done
	r.group.Go(func() error {
		defer close(done)
		if before != nil {
			<-before // in the order in which it happened
		}
		err := r.update(u, req, s)
		r.mu.Lock()
		if r.asking > 0 {
			r.asking--
		}
		if err != nil {
			r.tellAboutLocked(a.step, remarks{kind: EventApprovalUndelivered, status: WaitingApproval.String(), err: err}, r.now())
		}
		r.pokeLocked()
		r.unlock()
		return nil
	})
}

func (r *Run) update(u approval.Updater, req *approval.Request, s approval.Standing) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), r.config.Grace)
	defer cancel()
	returned := false
	defer func() {
		if !returned {
			err = &PanicError{Value: recover(), Stack: debug.Stack()}
		}
	}()
	if err = r.flush(); err == nil { // what is not kept did not happen
		err = u.Update(ctx, req, s)
	}
	returned = true
	return err
}

// decide is Executor.Decide for one run.
func (r *Run) decide(ctx context.Context, step string, d approval.Decision) error {
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
	a, err := r.mayDecideLocked(i, d)
	ready := err == nil && i != planGate && r.m.gate[i].ready && r.m.steps[i].flags&doubted == 0
	r.unlock()
	if ready && d.Verdict == approval.Approved && a.req.Preview != nil && len(a.req.Preview.Basis) > 0 {
		why := changed(a.req.Preview, r.look(ctx, i).preview)
		if why != "" {
			r.mu.Lock()
			if r.asks[i] == a && !r.decidedLocked(a) {
				r.voidLocked(i, &staleError{why: why}, r.now())
				r.pokeLocked()
			}
			r.unlock()
			return fmt.Errorf("%w: %s; it is asked again", approval.ErrDigest, why)
		}
	}
	r.mu.Lock()
	if a, err = r.mayDecideLocked(i, d); err == nil {
		err = r.castLocked(a, d, r.now())
	}
	var helper *worker
	if err == nil {
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

// mayDecideLocked is the question that a decision is about, or why it does not count.
func (r *Run) mayDecideLocked(i int32, d approval.Decision) (*ask, error) {
	a, now := r.asks[i], r.now()
	switch {
	case a == nil && r.void[i].rounds > 0:
		return nil, fmt.Errorf("%w: %s; it is asked again", approval.ErrDigest, r.void[i].why)
	case a == nil:
		return nil, approval.ErrNotAsked
	case !r.m.gate[i].decided && (r.decidedLocked(a) || r.ctx.Err() != nil):
		return nil, fmt.Errorf("%w: the question was withdrawn", approval.ErrNotAsked)
	}
	return a, a.tally.Check(d, r.startedAt.Add(now))
}
