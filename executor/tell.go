package executor

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// An eventCode is an EventKind in one byte.
type eventCode uint8

const (
	toldStepStarted eventCode = iota
	toldStepFinished
	toldApprovalRequested
	toldApprovalDecided
	toldApprovalVoted
	toldApprovalEscalated
	toldApprovalVoided
	toldRetryScheduled
	toldRollbackStarted
	toldUndoStarted
	toldUndoFinished
	toldRollbackFinished
	toldRun // remarks say what
)

var eventKinds = [...]EventKind{
	toldStepStarted: EventStepStarted, toldStepFinished: EventStepFinished,
	toldApprovalRequested: EventApprovalRequested, toldApprovalDecided: EventApprovalDecided,
	toldApprovalVoted: EventApprovalVoted, toldApprovalEscalated: EventApprovalEscalated, toldApprovalVoided: EventApprovalVoided,
	toldRetryScheduled: EventRetryScheduled, toldRollbackStarted: EventRollbackStarted,
	toldUndoStarted: EventUndoStarted, toldUndoFinished: EventUndoFinished, toldRollbackFinished: EventRollbackFinished,
}

// news is an event that observers have not been told, in few bytes: a run has two or three for every step.
type news struct {
	transition
	more *remarks // nil for an event that says no more than that
}

// remarks are what an event says beyond which step it is about and how that fares.
type remarks struct {
	kind    EventKind // of an event of the run
	status  string
	by      string
	message string
	err     error // whose text is the message; nil when message is set. It is a handler's, so it is not asked under a lock
}

// An outbox holds the news of a run until a goroutine tells the observers. It has a lock of its own, so that who empties
// it never keeps a step from starting.
type outbox struct {
	mu      sync.Mutex // guards what follows; taken after Run.mu
	news    []news
	telling bool // a goroutine tells observers, or is about to be started
	awaited bool // the supervisor wants to know when there is nothing more to tell

	_ [64]byte // what is written at every event shares no cache line with what is written at every step

	// These belong to the goroutine that tells, and after it to the next one.
	now      []news // what it is about to tell
	room     []news // of which now is the rest, to be used again
	seq      int64  // of the event before now
	observer int    // of the first event
}

// outboxRoom is how many events of a run may wait before their room has to grow.
const outboxRoom = 128

// text is what an error says. One that panics, as a nil pointer may, says that.
func text(err error) string { return fmt.Sprint(err) }

// tellLocked queues an event of the run, before what the machine has told since publishLocked.
func (r *Run) tellLocked(more remarks, at time.Duration) { r.tellAboutLocked(planGate, more, at) }

// tellAboutLocked is tellLocked for an event that is about a step.
func (r *Run) tellAboutLocked(step int32, more remarks, at time.Duration) {
	if r.m.recording {
		r.outbox.mu.Lock()
		r.outbox.news = append(r.outbox.news, news{transition{at: at, step: step, kind: toldRun}, &more})
		r.tellingLocked()
		r.outbox.mu.Unlock()
	}
}

// publishLocked queues what the machine has told since.
func (r *Run) publishLocked() {
	if len(r.m.transitions) == 0 {
		return
	}
	r.outbox.mu.Lock()
	for i := range r.m.transitions {
		t := &r.m.transitions[i]
		r.outbox.news = append(r.outbox.news, news{*t, r.remarksLocked(t)})
	}
	r.tellingLocked()
	r.outbox.mu.Unlock()
	r.m.transitions = r.m.transitions[:0]
}

// tellingLocked has who lets go of Run.mu start a goroutine that tells observers, unless there is one.
func (r *Run) tellingLocked() {
	r.startTelling = r.startTelling || !r.outbox.telling
	r.outbox.telling = true
}

// quietLocked tells whether observers have been told everything. If not, the supervisor is poked once they have.
func (r *Run) quietLocked() bool {
	if r.outbox == nil {
		return true
	}
	r.publishLocked()
	r.outbox.mu.Lock()
	defer r.outbox.mu.Unlock()
	r.outbox.awaited = r.outbox.telling
	return !r.outbox.telling
}

// remarksLocked are what is to be said of a transition.
func (r *Run) remarksLocked(t *transition) *remarks {
	switch t.kind {
	case toldStepFinished, toldRetryScheduled:
		if r.outcomes == nil && t.status != Rejected {
			return nil
		}
		if message, err := r.messageLocked(t.step); message != "" || err != nil {
			return &remarks{message: message, err: err}
		}
	case toldUndoFinished:
		if r.undoErrs != nil {
			return &remarks{err: r.undoErrs[t.step]}
		}
	case toldRollbackFinished:
		return &remarks{status: string(r.m.status())}
	case toldApprovalRequested:
		return &remarks{message: strings.Join(r.asks[t.step].req.Gate.Reasons, "; ")}
	case toldApprovalVoted:
		a := r.asks[t.step]
		s := a.tally.Standing(r.startedAt.Add(t.at))
		v := s.Votes[len(s.Votes)-1]
		message := "still needed: " + s.Missing
		if v.Reason != "" {
			message = v.Reason + "; " + message
		}
		return &remarks{by: v.By, message: message}
	case toldApprovalEscalated:
		return &remarks{message: "still needed: " + r.asks[t.step].tally.Standing(r.startedAt.Add(t.at)).Missing}
	case toldApprovalVoided:
		return &remarks{message: r.void[t.step].why}
	case toldApprovalDecided:
		a := r.asks[t.step]
		return &remarks{status: r.m.gate[t.step].verdict.String(), by: a.by, message: a.reason}
	}
	return nil
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

// event is what observers are told.
func (r *Run) event(n *news) Event {
	e := Event{Time: r.startedAt.Add(n.at), Run: r.id}
	if n.kind != toldRun {
		e.Kind = eventKinds[n.kind]
	}
	if n.step != planGate {
		e.Step = r.plan.Step(int(n.step)).ID()
	}
	switch n.kind {
	case toldStepStarted:
		e.Status, e.Attempt = Running.String(), int(n.attempt)
	case toldStepFinished:
		e.Status, e.Reason, e.Attempt = n.status.String(), n.reason.String(), int(n.attempt)
	case toldRetryScheduled:
		e.Status, e.Attempt = Pending.String(), int(n.attempt)
	case toldUndoStarted:
		e.Status = Running.String()
	case toldUndoFinished:
		e.Status, e.Reason = n.status.String(), n.reason.String()
	case toldRollbackStarted:
		e.Status = string(RunRunning)
	case toldApprovalRequested, toldApprovalVoted, toldApprovalEscalated, toldApprovalVoided:
		e.Status = WaitingApproval.String()
	}
	if more := n.more; more != nil {
		e.By, e.Message = more.by, more.message
		if more.kind != "" {
			e.Kind = more.kind
		}
		if more.status != "" {
			e.Status = more.status
		}
		if more.err != nil {
			e.Message = text(more.err)
		}
	}
	return e
}

// tell tells the observers on a goroutine of its own, so that one that blocks keeps no clock from being watched, until
// there is no more to tell. An observer that panics or ends the goroutine does not keep the others from hearing.
func (r *Run) tell() {
	r.group.Go(func() error {
		done := false
		defer func() {
			if !done {
				r.tell()
			}
		}()
		for !done {
			done = r.tellOn(r.outbox)
		}
		return nil
	})
}

// tellOn tells what there is, and returns false when an observer has panicked.
func (r *Run) tellOn(box *outbox) (done bool) {
	defer func() { _ = recover() }()
	for box.fetch(r.wake) {
		if box.observer == 0 && r.flush() != nil {
			box.now = nil // what is not kept did not happen
			continue
		}
		e := r.event(&box.now[0])
		e.Seq = box.seq + 1
		for box.observer < len(r.config.Observers) {
			o := r.config.Observers[box.observer]
			box.observer++
			o.Observe(e)
		}
		box.seq, box.now, box.observer = e.Seq, box.now[1:], 0
	}
	return true
}

// fetch gets what has happened since when now has come to its end. It tells whether there is more to tell; if not, it
// wakes the supervisor who wants to know.
func (b *outbox) fetch(wake chan<- struct{}) bool {
	if len(b.now) > 0 {
		return true
	}
	clear(b.room)
	b.mu.Lock()
	b.now, b.room, b.news = b.news, b.news, b.room[:0]
	more := len(b.now) > 0
	b.telling = more
	awaited := b.awaited && !more
	b.mu.Unlock()
	if awaited { // with the end of the run, or with parking it
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	return more
}
