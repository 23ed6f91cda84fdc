package executor

import (
	"fmt"
	"time"
)

// news is an event that observers have not been told.
type news struct {
	Event
	err error // whose text is the Message; nil when Message is set. It is a handler's, so it is not asked under a lock
}

// text is what an error says. One that panics, as a nil pointer may, says that.
func text(err error) string { return fmt.Sprint(err) }

// tellLocked queues an event for the observers.
func (r *Run) tellLocked(e news, at time.Duration) {
	if !r.m.recording {
		return
	}
	r.seq++
	e.Seq, e.Run, e.Time = r.seq, r.id, r.startedAt.Add(at)
	r.outbox = append(r.outbox, e)
}

// collectLocked makes events of what the machine has told since.
func (r *Run) collectLocked() {
	for _, t := range r.m.transitions {
		e := news{Event: Event{Kind: t.kind}}
		if t.step != planGate {
			e.Step = r.plan.Step(int(t.step)).ID()
		}
		switch t.kind {
		case EventStepStarted:
			e.Status, e.Attempt = Running.String(), t.attempt
		case EventStepFinished:
			s := &r.m.steps[t.step]
			e.Status, e.Reason = s.status.String(), s.reason.String()
			e.Attempt = t.attempt
			e.Message, e.err = r.messageLocked(t.step)
		case EventRetryScheduled:
			e.Status, e.Attempt = Pending.String(), t.attempt
			e.Message, e.err = r.messageLocked(t.step)
		case EventUndoStarted:
			e.Status = Running.String()
		case EventUndoFinished:
			s := &r.m.steps[t.step]
			e.Status, e.Reason = s.status.String(), s.reason.String()
			if r.undoErrs != nil {
				e.err = r.undoErrs[t.step]
			}
		case EventRollbackStarted:
			e.Status = string(RunRunning)
		case EventRollbackFinished:
			e.Status = string(r.m.status())
		case EventApprovalRequested:
			e.Status = WaitingApproval.String()
			for _, reason := range r.asks[t.step].req.Gate.Reasons {
				if e.Message != "" {
					e.Message += "; "
				}
				e.Message += reason
			}
		case EventApprovalDecided:
			a := r.asks[t.step]
			e.Status, e.By, e.Message = r.m.gate[t.step].verdict.String(), a.by, a.reason
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
	observer int // of the first event
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
			e := &t.news[0]
			if e.err != nil {
				e.Message, e.err = text(e.err), nil
			}
			for t.observer < len(r.config.Observers) {
				o := r.config.Observers[t.observer]
				t.observer++
				notify(o, e.Event)
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
	t.news, r.outbox = r.outbox, nil
	if len(t.news) == 0 {
		r.telling = false
		r.pokeLocked() // it may wait with the end of the run, or with parking it
	}
	return len(t.news) > 0
}
