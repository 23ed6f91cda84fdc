package executor

import (
	"math"
	"time"

	"github.com/remedykit/remedy/approval"
)

// machine is the schedule of one run: a pure state machine, without goroutines, clocks or I/O. It is told what
// happened by apply; next proposes what may start now and nextAsk what is to be asked. Run drives it with workers and
// Simulate with a heap of virtual ends, so the two cannot disagree.
//
// Times are since the start of the run. A machine is not safe for concurrent use.
//
// Invariants: running ≤ limit if limit > 0; running ≤ open; a step is in ready only while it is Pending, all its
// dependencies are met, its gate (if any) is approved and nobody holds its group of writers.
type machine struct {
	*program
	rules

	steps   []stepState
	ready   readySet // of ranks
	writers []writers
	gate    map[int32]*gateState // of gated steps that are ready or asked; planGate under its own index
	asks    []int32              // to be asked, in order

	running int // steps that run
	open    int // steps that have not ended
	waiting int // undecided gates for which all else is ready

	failed      bool          // no new mutating step starts
	rejected    bool          // failed because somebody said no
	stopping    bool          // what runs is to be told to end, because the run has failed; set to false by who does
	delayed     []delay       // steps that wait for another attempt, the next first
	rollback    *rollback     // nil before there is one
	undoWanted  bool          // somebody asked for the rollback before the run ended
	ended       RunStatus     // how the run ended before anything was undone; "" while it goes on
	cause       int32         // the step that began the failure, -1 for none
	halted      Reason        // why nothing new starts but steps marked always, ReasonNone while it does
	cut         Reason        // the halt that kept a step from succeeding, ReasonNone while none has
	planClosed  bool          // nothing starts before the plan's own gate is approved
	now         time.Duration // of the latest fact
	clockUsed   time.Duration
	clockSince  time.Duration // -1 while the run's clock stands
	closing     bool          // a gate needs no answer any more since this was last set to false
	unspread    []int32       // steps that have ended and whose dependents have not been told
	recording   bool
	transitions []transition
}

// rules are what a Config says about how a run goes.
type rules struct {
	limit           int           // 0: none
	runTimeout      time.Duration // 0: none
	early           bool
	onFailure       FailurePolicy
	onReject        RejectPolicy
	strategy        RollbackStrategy
	rollbackTimeout time.Duration // 0: none
	retries         int
}

// planGate stands for the plan as a whole where a step index is expected.
const planGate int32 = -1

// A stepState is 32 bytes, so that what a transition touches of a step shares a cache line.
type stepState struct {
	start, end time.Duration
	unmet      int32 // dependencies that are not settled
	cause      int32 // the step that kept this one from running, -1 for none
	flags      uint16
	status     Status
	reason     Reason
	tries      uint8 // attempts that have started
}

const (
	inReady  uint16 = 1 << iota // all is met: in ready, or queued behind another writer
	approved                    // its gate is
	started
	settled  // it has ended, and so has all that it depends on
	begun    // its effect may have been sent
	harmless // its effect, if any, left nothing to undo
	delaying // it is in delayed
	retried  // an attempt ended and another is to come; it still holds its group of writers
	doubted  // nobody knows whether its effect was sent, and a person is asked
	unsure   // nobody knows whether an attempt before this one sent its effect
)

type gateState struct {
	asked   bool
	ready   bool
	askedAt time.Duration
	readyAt time.Duration
	decided bool
	at      time.Duration // of the decision
	verdict approval.Verdict
	reason  Reason // of a rejection
}

func newMachine(p *program, ru rules, recording bool) *machine {
	n := len(p.info)
	ru.limit = max(ru.limit, 0)
	m := &machine{
		program: p, rules: ru,
		steps: make([]stepState, n), ready: newReadySet(n), open: n, cause: -1, recording: recording,
		gate: map[int32]*gateState{},
	}
	for range p.groups {
		m.writers = append(m.writers, writers{holder: -1})
	}
	for i := range m.steps {
		m.steps[i].unmet = int32(len(p.graph.Predecessors(i)))
		m.steps[i].cause = -1
	}
	if p.gates.Plan.Required {
		m.planClosed = true
		m.asks = append(m.asks, planGate)
		m.gate[planGate] = &gateState{ready: true}
		m.waiting++
	}
	if m.early {
		for i := range p.info {
			if p.info[i].traits&gated != 0 {
				m.asks = append(m.asks, int32(i))
				m.gate[int32(i)] = &gateState{}
			}
		}
	}
	if !m.planClosed {
		m.release(0)
	}
	m.tick(0)
	return m
}

// release lets the roots go.
func (m *machine) release(at time.Duration) {
	for i := range m.steps {
		if m.steps[i].unmet == 0 && !m.steps[i].status.Final() {
			m.met(int32(i), at)
		}
	}
}

// next proposes the step to start now: the ready one with the longest remaining path.
func (m *machine) next() (step int32, ok bool) {
	if m.limit > 0 && m.running >= m.limit {
		return 0, false
	}
	rank := m.ready.least()
	if rank < 0 {
		return 0, false
	}
	return m.byRank[rank], true
}

// nextAsk proposes the gate to ask now; its fact is factAsked.
func (m *machine) nextAsk() (step int32, ok bool) {
	for len(m.asks) > 0 {
		step := m.asks[0]
		if g := m.gate[step]; m.open > 0 && !g.asked && !g.decided && (step == planGate || !m.steps[step].status.Final()) {
			return step, true
		}
		m.asks = m.asks[1:]
	}
	return 0, false
}

// finished tells whether every step has ended and nothing is left to be undone.
func (m *machine) finished() bool {
	return m.open == 0 && (m.rollback == nil || m.rollback.over(m))
}

// idle tells whether the run waits for people only.
func (m *machine) idle() bool {
	return m.running == 0 && m.waiting > 0 && m.open > 0 && m.ready.least() < 0 && len(m.delayed) == 0
}

// deadline is when the clock of the run, or of its rollback, runs out, if nothing else happens before.
func (m *machine) deadline() time.Duration {
	if m.rollback != nil {
		return m.rollback.deadline(m)
	}
	if m.runTimeout <= 0 || m.clockSince < 0 || m.halted != ReasonNone || m.open == 0 {
		return math.MaxInt64
	}
	return m.clockSince + m.runTimeout - m.clockUsed
}

// apply takes a fact. It never schedules. Facts are told by several goroutines, each with the time that it read before
// it could tell: none is taken to be older than those before it, or a step could start before its dependencies ended.
func (m *machine) apply(f fact) {
	f.at = max(f.at, m.now)
	before := m.now
	m.now = f.at
	switch f.kind {
	case factStarted:
		s := &m.steps[f.step]
		if s.flags&delaying != 0 {
			m.undelay(f.step)
		}
		if s.flags&started == 0 {
			s.start = f.at
		}
		s.status = Running
		s.tries++
		m.ready.remove(m.info[f.step].rank)
		if m.groups > 0 && s.flags&retried == 0 {
			m.hold(f.step)
		}
		s.flags = s.flags&^(inReady|retried|begun) | started
		m.running++
		m.tell(toldStepStarted, f.step, f.at)
	case factBegun:
		m.begin(f)
	case factEnded:
		m.running--
		if m.groups > 0 {
			m.letGo(f.step)
		}
		if f.effect != notBegun {
			m.begin(f)
		}
		cause := int32(-1)
		if f.reason == ReasonRunFailed { // it was told to end
			cause = m.cause
		}
		m.end(f.step, f.at, f.status, f.reason, cause)
	case factRetry:
		m.retry(f)
	case factDue:
		m.due(f.step)
	case factDoubted:
		m.doubt(f)
	case factAsked:
		g := m.gate[f.step]
		g.asked, g.askedAt = true, f.at
		m.tell(toldApprovalRequested, f.step, f.at)
	case factApproved:
		m.decide(f, approval.Approved)
		if f.step == planGate {
			m.planClosed = false
			m.release(f.at)
			break
		}
		m.steps[f.step].flags |= approved
		if m.gate[f.step].ready {
			m.steps[f.step].status = Pending
			m.met(f.step, f.at)
		}
	case factRejected:
		m.decide(f, approval.Rejected)
		if f.step == planGate {
			m.failed, m.rejected = true, true
			m.sweep(f.at, ReasonPlanRejected, -1, func(int32) bool { return true })
			break
		}
		if m.steps[f.step].flags&doubted != 0 {
			m.end(f.step, f.at, Unknown, ReasonUnresolved, -1)
			break
		}
		m.end(f.step, f.at, Rejected, f.reason, -1)
	case factVoted:
		m.tell(toldApprovalVoted, f.step, f.at)
	case factEscalated:
		m.tell(toldApprovalEscalated, f.step, f.at)
	case factVoided:
		m.void(f)
	case factUndoStarted, factUndoEnded, factRollback, factRollbackOver:
		m.undo(f)
	case factRefused:
		m.failed, m.cause = true, f.step
		m.end(f.step, f.at, Failed, ReasonDryRun, -1)
		m.sweep(f.at, ReasonRunFailed, f.step, func(int32) bool { return true })
	case factResumed:
		m.resume(f.at - before)
	case factHalted:
		if m.halted != ReasonNone && f.reason != ReasonInterrupted {
			break
		}
		m.halted = f.reason
		m.sweep(f.at, f.reason, -1, func(i int32) bool {
			return f.reason == ReasonInterrupted || m.planClosed || m.info[i].traits&always == 0
		})
	}
	if len(m.unspread) > 0 {
		m.spread(f.at)
	}
	if m.open == 0 && m.ended == "" {
		m.conclude(f.at)
	}
	if m.runTimeout > 0 {
		m.tick(f.at)
	}
}

// resume goes on after a time in which no process had the run: all clocks but those of people stood.
func (m *machine) resume(gap time.Duration) {
	if m.clockSince >= 0 {
		m.clockSince += gap
	}
	if m.rollback != nil {
		m.rollback.began += gap
	}
}

// tick keeps the run's clock: it stands while nothing runs and a gate waits.
func (m *machine) tick(at time.Duration) {
	if m.runTimeout <= 0 {
		return
	}
	switch stands := m.idle(); {
	case stands && m.clockSince >= 0:
		m.clockUsed += at - m.clockSince
		m.clockSince = -1
	case !stands && m.clockSince < 0:
		m.clockSince = at
	}
}

func (m *machine) tell(kind eventCode, step int32, at time.Duration) {
	if m.recording {
		t := transition{kind: kind, step: step, at: at}
		if step != planGate {
			s := &m.steps[step]
			t.attempt, t.status, t.reason = s.tries, s.status, s.reason
		}
		m.transitions = append(m.transitions, t)
	}
}

// decide notes the decision of a gate.
func (m *machine) decide(f fact, v approval.Verdict) {
	g := m.gate[f.step]
	g.decided, g.verdict, g.reason, g.at = true, v, f.reason, f.at
	m.closing = true
	if g.ready && (f.step == planGate || m.steps[f.step].status == WaitingApproval) {
		m.waiting--
	}
	m.tell(toldApprovalDecided, f.step, f.at)
}

// met is called when a step's dependencies are met, and again when its gate is approved after that.
func (m *machine) met(i int32, at time.Duration) {
	s, traits := &m.steps[i], m.info[i].traits
	if (traits&gated != 0 || s.flags&doubted != 0) && s.flags&approved == 0 {
		g := m.gate[i]
		if g == nil {
			g = &gateState{}
			m.gate[i] = g
			m.asks = append(m.asks, i)
		}
		g.ready, g.readyAt = true, at
		s.status = WaitingApproval
		m.waiting++
		return
	}
	if traits&gated != 0 && !m.gate[i].ready {
		m.gate[i].ready, m.gate[i].readyAt = true, at
	}
	if s.flags&(doubted|begun) == doubted|begun { // it is to be tried again
		s.flags = s.flags&^begun | unsure
	}
	s.flags = s.flags&^doubted | inReady
	if m.info[i].group >= 0 && s.flags&retried == 0 {
		m.enqueue(i)
		return
	}
	m.ready.add(m.info[i].rank)
}

// end makes a step final. spread must follow.
func (m *machine) end(i int32, at time.Duration, status Status, reason Reason, cause int32) {
	s := &m.steps[i]
	if s.status == WaitingApproval && !m.gate[i].decided {
		m.waiting--
	}
	if s.flags&inReady != 0 {
		s.flags &^= inReady
		m.ready.remove(m.info[i].rank)
		if m.groups > 0 && s.flags&retried == 0 {
			m.dequeue(i)
		}
	}
	if s.flags&retried != 0 {
		m.undelay(i)
		m.letGo(i)
		s.flags &^= retried
	}
	s.status, s.reason, s.end, s.cause = status, reason, at, cause
	if s.flags&(unsure|begun) == unsure && status != Succeeded { // this attempt sent nothing, but one before may have
		s.status, s.reason = Unknown, ReasonUnresolved
		s.flags |= begun
	}
	if reason >= ReasonRunCancelled {
		m.cut = max(m.cut, reason)
	} else if reason == ReasonAbandoned {
		m.cut = max(m.cut, m.halted)
	}
	if m.open--; len(m.gate) > 0 && (m.open == 0 || m.info[i].traits&gated != 0) {
		m.closing = true
	}
	m.unspread = append(m.unspread, i)
	m.tell(toldStepFinished, i, at)
}

// spread tells dependents of the steps that have ended, and what follows from that, until nothing more follows. Every
// edge is walked twice at most in a run: a step that did not succeed blocks its dependents at once, but counts as over
// for steps marked always only when all that it depends on is over, so that these never overlap with what they follow.
func (m *machine) spread(at time.Duration) {
	for head := 0; head < len(m.unspread) || m.failing(at); head++ {
		i := m.unspread[head]
		s := &m.steps[i]
		ok := s.status == Succeeded || s.status == Failed && m.info[i].traits&continues != 0
		skips := s.status == Skipped || s.status == Rejected && m.onReject == RejectSkipBranch
		if !ok && !skips && m.info[i].traits&critical != 0 && m.cause < 0 && !m.failed {
			if o := m.origin(i); m.steps[o].reason < ReasonRunCancelled {
				m.cause = o
			}
		}
		over := s.unmet == 0 && s.flags&settled == 0
		if over {
			s.flags |= settled
		}
		for _, d := range m.graph.Successors(int(i)) {
			next := &m.steps[d]
			if !ok && m.info[d].traits&always == 0 && !next.status.Final() {
				if skips {
					m.end(d, at, Skipped, ReasonBranchSkipped, i)
				} else {
					m.end(d, at, Blocked, ReasonDependency, i)
				}
			}
			if !over {
				continue
			}
			if next.unmet--; next.unmet > 0 {
				continue
			}
			if next.status.Final() {
				m.unspread = append(m.unspread, d)
			} else if !m.planClosed {
				m.met(d, at)
			}
		}
	}
	m.unspread = m.unspread[:0]
}

// origin is the step that began the chain of causes that ends in i.
func (m *machine) origin(i int32) int32 {
	for m.steps[i].cause >= 0 {
		i = m.steps[i].cause
	}
	return i
}

// failing makes the run fail once a critical step did not succeed, and tells whether it ended more steps.
func (m *machine) failing(at time.Duration) bool {
	if m.failed || m.cause < 0 {
		return false
	}
	m.failed, m.rejected = true, m.steps[m.cause].status == Rejected
	if m.onFailure == IndependentBranches {
		return false
	}
	cancels := m.onFailure == CancelRunning
	m.stopping = cancels
	before := len(m.unspread)
	m.sweep(at, ReasonRunFailed, m.cause, func(i int32) bool {
		traits := m.info[i].traits
		unapproved := traits&gated != 0 && m.steps[i].flags&approved == 0
		return m.planClosed || traits&always == 0 && (cancels || traits&mutating != 0 || unapproved)
	})
	return len(m.unspread) > before
}

// sweep cancels the steps that have not started and that which selects. It looks at every step, at most three times in
// a run: when the run fails, when it is halted, and when it is interrupted.
func (m *machine) sweep(at time.Duration, reason Reason, cause int32, which func(i int32) bool) {
	for i := range m.steps {
		s := &m.steps[i]
		switch {
		case s.status.Final() || s.status == Running || !which(int32(i)):
		case s.flags&doubted != 0 && reason == ReasonInterrupted: // its question waits for another process
			m.end(int32(i), at, Unknown, reason, cause)
		case s.flags&doubted != 0:
			m.end(int32(i), at, Unknown, ReasonUnresolved, cause)
		default:
			m.end(int32(i), at, Cancelled, reason, cause)
		}
	}
}

// status is the run's.
func (m *machine) status() RunStatus {
	switch {
	case !m.finished():
		return RunRunning
	case m.rollback == nil:
		return m.ended
	}
	return m.rollback.status(m)
}

// conclude says how the run ended before anything is undone, and begins the rollback where one follows. A halt that
// came too late to keep any step from succeeding does not count.
func (m *machine) conclude(at time.Duration) {
	whole := true
	for i := range m.steps {
		if m.steps[i].status != Succeeded {
			whole = false
			break
		}
	}
	undo := false
	switch {
	case whole:
		m.ended = RunSucceeded
	case m.cut == ReasonInterrupted:
		m.ended = RunInterrupted
	case m.cut == ReasonObsolete:
		m.ended = RunObsolete
	case m.cut == ReasonRunCancelled:
		m.ended, undo = RunCancelled, true
	case m.rejected:
		m.ended, undo = RunRejected, m.onReject == RejectRollback
	case m.failed || m.cut == ReasonRunTimeout || m.cut == ReasonGuard:
		m.ended, undo = RunFailed, true
	default:
		m.ended = RunSucceededWithWarnings
	}
	if undo && m.strategy == RollbackAutomatic || m.undoWanted {
		m.beginRollback(at)
	}
}
