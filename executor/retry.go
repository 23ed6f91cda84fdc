package executor

import (
	"cmp"
	"slices"
	"time"
)

// DefaultRetries is how many attempts follow a first one that failed for a while.
const DefaultRetries = 3

// maxRetries bounds Config.Retries.
const maxRetries = 100

// Backoff between attempts: the first wait, and the longest.
const (
	firstBackoff = time.Second
	maxBackoff   = 30 * time.Second
)

// A delay is a step that waits for its next attempt.
type delay struct {
	until time.Duration
	step  int32
}

// backoff is the wait after an attempt that failed with an error that may pass; ok is false when there is no other
// attempt. Where an effect may have been sent nobody tries again blindly. Each attempt has the step's time-out, so that a
// step takes that many times as long at most; a wait that is longer than it is not waited.
func (m *machine) backoff(i int32, begun bool, after time.Duration) (wait time.Duration, ok bool) {
	s, info := &m.steps[i], &m.info[i]
	if int(s.tries) > m.retries || m.stops(i) != ReasonNone || begun && info.traits&mutating != 0 {
		return 0, false
	}
	wait = max(min(firstBackoff<<min(s.tries-1, 16), maxBackoff), after)
	return wait, wait <= info.timeout
}

// stops tells why no attempt of a step starts any more; ReasonNone while one does.
func (m *machine) stops(i int32) Reason {
	traits := m.info[i].traits
	switch {
	case m.halted != ReasonNone && (traits&always == 0 || m.halted == ReasonInterrupted):
		return m.halted
	case m.failed && traits&always == 0 && (m.onFailure == CancelRunning || m.onFailure == StopMutating && traits&mutating != 0):
		return ReasonRunFailed
	}
	return ReasonNone
}

// retry puts a step whose attempt ended aside until its next one. It holds no slot, but keeps its group of writers.
func (m *machine) retry(f fact) {
	s := &m.steps[f.step]
	m.running--
	s.status = Pending
	if m.info[f.step].traits&mutating != 0 && s.flags&begun != 0 {
		s.flags &^= unsure // unless the fact says that the effect may have been sent, it is known that it was not
		if f.effect != notBegun {
			s.flags |= unsure
		}
	}
	s.flags = s.flags&^begun | retried | delaying
	d := delay{f.until, f.step}
	at, _ := slices.BinarySearchFunc(m.delayed, d, func(a, b delay) int {
		return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.step, b.step))
	})
	m.delayed = slices.Insert(m.delayed, at, d)
	switch reason := m.stops(f.step); reason {
	case ReasonNone:
		m.tell(toldRetryScheduled, f.step, f.at)
	case ReasonRunFailed:
		m.end(f.step, f.at, Cancelled, reason, m.cause)
	default:
		m.end(f.step, f.at, Cancelled, reason, -1)
	}
}

// due makes a step that has waited ready.
func (m *machine) due(i int32) {
	m.undelay(i)
	s := &m.steps[i]
	if s.status != Pending || s.flags&retried == 0 {
		return
	}
	s.flags |= inReady
	m.ready.add(m.info[i].rank)
}

func (m *machine) undelay(i int32) {
	if s := &m.steps[i]; s.flags&delaying != 0 {
		s.flags &^= delaying
		m.delayed = slices.DeleteFunc(m.delayed, func(d delay) bool { return d.step == i })
	}
}

// nextDue is the step whose wait is over at a time.
func (m *machine) nextDue(at time.Duration) (step int32, ok bool) {
	if len(m.delayed) == 0 || m.delayed[0].until > at {
		return 0, false
	}
	return m.delayed[0].step, true
}

// dueAt is when the next wait is over.
func (m *machine) dueAt() time.Duration {
	if len(m.delayed) == 0 {
		return never
	}
	return m.delayed[0].until
}

// begin notes that the effect of a step may have been sent.
func (m *machine) begin(f fact) {
	s := &m.steps[f.step]
	s.flags |= begun
	switch {
	case f.effect != noTrace:
		s.flags &^= harmless
	case s.flags&unsure == 0: // else there may be nothing to undo only because an attempt before this one did it
		s.flags |= harmless
	}
}

// doubt has a person asked whether a step that may have taken effect is to be tried again. It keeps its group.
func (m *machine) doubt(f fact) {
	s := &m.steps[f.step]
	m.running--
	s.flags = s.flags&^approved | doubted | retried
	s.status = WaitingApproval
	m.gate[f.step] = &gateState{ready: true, readyAt: f.at}
	m.asks = append(m.asks, f.step)
	m.waiting++
}

// void has a step's gate asked again. A step that was about to send its effect has made no attempt.
func (m *machine) void(f fact) {
	s := &m.steps[f.step]
	g := m.gate[f.step]
	m.tell(toldApprovalVoided, f.step, f.at)
	if s.status != Running { // its gate is still open
		m.gate[f.step] = &gateState{ready: g.ready, readyAt: g.readyAt}
		m.asks = append(m.asks, f.step)
		m.closing = true
		return
	}
	m.running--
	s.flags &^= approved
	if s.tries--; s.tries == 0 {
		s.flags &^= started | retried
		s.start = 0
		m.withdraw(f.step)
	} else { // as between two attempts, it keeps its group of writers
		s.flags |= retried
	}
	s.status = WaitingApproval
	m.gate[f.step] = &gateState{ready: true, readyAt: f.at}
	m.asks = append(m.asks, f.step)
	m.waiting++
	switch reason := m.stops(f.step); reason {
	case ReasonNone:
	case ReasonRunFailed:
		m.end(f.step, f.at, Cancelled, reason, m.cause)
	default:
		m.end(f.step, f.at, Cancelled, reason, -1)
	}
}
