package executor

import (
	"fmt"
	"strings"
	"time"
)

// news is an event that observers have not been told, in few bytes: a run has two or three for every step.
type news struct {
	seq     int64
	at      time.Duration
	kind    EventKind
	step    int32
	attempt uint8
	status  Status
	reason  Reason
	more    *remarks // nil for an event that says no more than that
}

// remarks are an event that says more than which step it is about and how that fares.
type remarks struct {
	Event
	err error // whose text is the Message; nil when Message is set. It is a handler's, so it is not asked under a lock
}

// text is what an error says. One that panics, as a nil pointer may, says that.
func text(err error) string { return fmt.Sprint(err) }

// tellLocked queues an event for the observers.
func (r *Run) tellLocked(e remarks, at time.Duration) {
	if r.m.recording {
		r.seq++
		r.outbox = append(r.outbox, news{seq: r.seq, at: at, more: &e})
	}
}

// event is what observers are told.
func (r *Run) event(n *news) Event {
	e := Event{Kind: n.kind, Status: n.status.String(), Reason: n.reason.String(), Attempt: int(n.attempt)}
	if n.more == nil {
		e.Step = r.plan.Step(int(n.step)).ID()
	} else if e = n.more.Event; n.more.err != nil {
		e.Message = text(n.more.err)
	}
	e.Seq, e.Run, e.Time = n.seq, r.id, r.startedAt.Add(n.at)
	return e
}

// collectLocked makes events of what the machine has told since.
func (r *Run) collectLocked() {
	for _, t := range r.m.transitions {
		e := remarks{Event: Event{Kind: t.kind, Attempt: t.attempt}}
		if t.step != planGate {
			e.Step = r.plan.Step(int(t.step)).ID()
		}
		switch t.kind {
		case EventStepStarted:
			r.seq++
			r.outbox = append(r.outbox, news{seq: r.seq, at: t.at, kind: t.kind, step: t.step, attempt: uint8(t.attempt), status: Running})
			continue
		case EventStepFinished:
			s := &r.m.steps[t.step]
			if e.Message, e.err = r.messageLocked(t.step); e.Message == "" && e.err == nil {
				r.seq++
				r.outbox = append(r.outbox, news{
					seq: r.seq, at: t.at, kind: t.kind, step: t.step, attempt: uint8(t.attempt), status: s.status, reason: s.reason,
				})
				continue
			}
			e.Status, e.Reason = s.status.String(), s.reason.String()
		case EventRetryScheduled:
			e.Status = Pending.String()
			e.Message, e.err = r.messageLocked(t.step)
		case EventUndoStarted:
			e.Status, e.Attempt = Running.String(), 0
		case EventUndoFinished:
			s := &r.m.steps[t.step]
			e.Status, e.Reason, e.Attempt = s.status.String(), s.reason.String(), 0
			if r.undoErrs != nil {
				e.err = r.undoErrs[t.step]
			}
		case EventRollbackStarted:
			e.Status = string(RunRunning)
		case EventRollbackFinished:
			e.Status = string(r.m.status())
		case EventApprovalRequested:
			e.Status, e.Attempt = WaitingApproval.String(), 0
			e.Message = strings.Join(r.asks[t.step].req.Gate.Reasons, "; ")
		case EventApprovalDecided:
			a := r.asks[t.step]
			e.Status, e.By, e.Message, e.Attempt = r.m.gate[t.step].verdict.String(), a.by, a.reason, 0
		}
		r.tellLocked(e, t.at)
	}
	r.m.transitions = r.m.transitions[:0]
}

// messageLocked says for people how a step ended, or which error says it.
func (r *Run) messageLocked(i int32) (string, error) {
	var o outcome
	if r.outcomes != nil {
		o = r.outcomes[i]
	}
	switch {
	case o.err != nil:
		return "", o.err
	case o.result != nil:
		return o.result.Message, nil
	}
	if a := r.asks[i]; a != nil && r.m.steps[i].status == Rejected {
		return a.reason, nil
	}
	return "", nil
}

// A tale is what a goroutine that tells observers is about to tell.
type tale struct {
	news     []news
	room     []news // of which news is the rest, to be used again
	observer int    // of the first event
}

// tell tells the observers on a goroutine of its own, so that one that blocks keeps no clock from being watched, until
// there is no more to tell. An observer that panics or ends the goroutine does not keep the others from hearing.
func (r *Run) tell(t *tale) {
	r.group.Go(func() error {
		done := false
		defer func() {
			if !done {
				r.tell(t)
			}
		}()
		for r.newsOf(t) {
			if t.observer == 0 && r.flush() != nil {
				t.news = nil // what is not kept did not happen
				continue
			}
			e := r.event(&t.news[0])
			for t.observer < len(r.config.Observers) {
				o := r.config.Observers[t.observer]
				t.observer++
				notify(o, e)
			}
			t.news, t.observer = t.news[1:], 0
		}
		done = true
		return nil
	})
}

// newsOf fetches what has happened since when a tale has come to its end. It tells whether there is more to tell.
func (r *Run) newsOf(t *tale) bool {
	if len(t.news) > 0 {
		return true
	}
	r.mu.Lock()
	defer r.unlock()
	r.collectLocked()
	clear(t.room)
	t.news, t.room, r.outbox = r.outbox, r.outbox, t.room[:0]
	if len(t.news) == 0 {
		r.telling = false
		r.pokeLocked() // it may wait with the end of the run, or with parking it
	}
	return len(t.news) > 0
}
