package executor

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// SimulateOptions say what happens in a simulation.
type SimulateOptions struct {
	Confidence approval.Confidence
	// ApprovalAfter is how long after the ask every gate is approved. When it is not shorter than the policy's time-out
	// nobody answers in time.
	ApprovalAfter time.Duration
	// Fail lets steps fail, by step id: so many attempts fail as transient; a negative number fails the step for good. A
	// step that fails has no effect.
	Fail map[string]int
	// Reject lists steps whose gate is rejected instead of approved; "" is the gate of the plan as a whole. For a step
	// without a gate it does nothing.
	Reject []string
}

// A Simulation is what a run would be like when every step takes what it is expected to take.
type Simulation struct {
	// Report is the run's; its times count from the Unix epoch.
	*Report
	// Work is what the steps that ran take one after the other.
	Work time.Duration
	// ApprovalWait is how long steps, and the plan, stood ready waiting for people.
	ApprovalWait time.Duration
	// ParallelSavings is the work less the time during which at least one step ran.
	ParallelSavings time.Duration
}

// Simulate runs the schedule on virtual time with the Executor's policy, limit, clocks and way of asking: it is the
// run's own state machine, so the two cannot disagree. No handler, approver or observer is called. A step that would
// take longer than its time-out fails; one that takes exactly its time-out makes it.
func (e *Executor) Simulate(plan *dag.Plan, o SimulateOptions) (*Simulation, error) {
	if plan == nil || plan.Len() == 0 {
		return nil, errors.New("executor: the plan has no steps")
	}
	if o.ApprovalAfter < 0 {
		return nil, fmt.Errorf("executor: SimulateOptions.ApprovalAfter is %v: it cannot be negative", o.ApprovalAfter)
	}
	p, err := e.prepare(plan, o.Confidence)
	if err != nil {
		return nil, err
	}
	s := simulation{m: newMachine(p, e.config.rules(), false), fail: make([]int, plan.Len()), reject: map[int32]bool{}}
	for id, n := range o.Fail {
		i, ok := plan.Index(id)
		if !ok {
			return nil, fmt.Errorf("executor: SimulateOptions.Fail names step %q, which the plan does not have", id)
		}
		s.fail[i] = n
	}
	for _, id := range o.Reject {
		i, ok := plan.Index(id)
		switch {
		case id == "":
			s.reject[planGate] = true
		case !ok:
			return nil, fmt.Errorf("executor: SimulateOptions.Reject names step %q, which the plan does not have", id)
		default:
			s.reject[int32(i)] = true
		}
	}
	s.decision = fact{kind: factApproved, at: o.ApprovalAfter}
	if wait := min(e.config.Policy.Wait(), forever); o.ApprovalAfter >= wait {
		s.decision = fact{kind: factRejected, at: wait, reason: ReasonApprovalTimeout}
	}
	s.run()
	return s.result(), nil
}

type simulation struct {
	m        *machine
	now      time.Duration
	busy     time.Duration
	decision fact // of every gate; at is since the ask
	fail     []int
	reject   map[int32]bool
	future   facts
}

// run goes from moment to moment: what ends at one is all taken before anything starts.
func (s *simulation) run() {
	m := s.m
	for {
		if s.now >= m.deadline() {
			s.timeUp()
		}
		s.propose()
		if m.finished() {
			return
		}
		at := m.deadline()
		if len(s.future) > 0 {
			at = min(at, s.future[0].at)
		}
		if m.running > 0 {
			s.busy += at - s.now
		}
		s.now = at
		for len(s.future) > 0 && s.future[0].at == s.now {
			s.take(heap.Pop(&s.future).(fact))
		}
	}
}

// propose starts and asks all that the machine proposes.
func (s *simulation) propose() {
	for {
		i, ok := s.m.next()
		if !ok {
			break
		}
		s.m.apply(fact{kind: factStarted, step: i, at: s.now})
		step := s.m.plan.Step(int(i))
		end := fact{kind: factEnded, step: i, at: later(s.now, step.Duration()), status: Succeeded, reason: ReasonCompleted, effect: mayHappened}
		if limit := later(s.now, step.Timeout()); end.at > limit {
			end.at, end.status, end.reason, end.effect = limit, Failed, ReasonTimeout, notBegun
		} else if n := s.fail[i]; n < 0 || n >= int(s.m.steps[i].tries) {
			end.status, end.reason, end.effect = Failed, ReasonHandlerError, notBegun
		}
		heap.Push(&s.future, end)
	}
	for {
		i, ok := s.m.nextUndo()
		if !ok {
			break
		}
		s.m.apply(fact{kind: factUndoStarted, step: i, at: s.now})
		heap.Push(&s.future, fact{kind: factUndoEnded, step: i, at: later(s.now, s.m.plan.Step(int(i)).Duration()), status: RolledBack, reason: ReasonUndone})
	}
	for {
		i, ok := s.m.nextAsk()
		if !ok {
			return
		}
		s.m.apply(fact{kind: factAsked, step: i, at: s.now})
		d := s.decision
		d.step, d.at = i, later(s.now, d.at)
		if s.reject[i] && d.kind == factApproved {
			d.kind, d.reason = factRejected, ReasonRejected
		}
		heap.Push(&s.future, d)
	}
}

// later adds a duration to a time of the simulation, and ends shortly before the end of all times.
func later(at, d time.Duration) time.Duration {
	if d >= never-at {
		return never - 1
	}
	return at + d
}

// take applies what was foreseen, unless it has come to nothing.
func (s *simulation) take(f fact) {
	switch f.kind {
	case factUndoEnded:
		if s.m.rollback.steps[f.step].phase == undoRunning {
			s.m.apply(f)
		}
		return
	case factEnded:
		wait, again := s.m.backoff(f.step, false, 0)
		if s.m.steps[f.step].status == Running && f.reason == ReasonHandlerError && s.fail[f.step] > 0 && again {
			f.kind, f.until = factRetry, later(f.at, wait)
			s.m.apply(f)
			heap.Push(&s.future, fact{kind: factDue, step: f.step, at: f.until})
			return
		}
	}
	if f.kind != factEnded && f.step == planGate {
		if !s.m.finished() {
			s.m.apply(f)
		}
		return
	}
	if !s.m.steps[f.step].status.Final() {
		s.m.apply(f)
	}
	if s.m.stopping {
		s.m.stopping = false
		s.stop(ReasonRunFailed)
	}
}

// timeUp ends the run when its clock has run out: what runs ends at once, unless it is marked always.
func (s *simulation) timeUp() {
	if b := s.m.rollback; b != nil {
		s.m.apply(fact{kind: factRollbackOver, at: s.now})
		for i := range b.steps {
			if b.steps[i].phase == undoRunning {
				s.m.apply(fact{kind: factUndoEnded, step: int32(i), at: s.now, status: RollbackFailed, reason: ReasonRollbackTimeout})
			}
		}
		return
	}
	s.m.apply(fact{kind: factHalted, at: s.now, reason: ReasonRunTimeout})
	s.stop(ReasonRunTimeout)
}

// stop ends what runs at once, unless it is marked always.
func (s *simulation) stop(reason Reason) {
	for i := range s.m.steps {
		if s.m.steps[i].status == Running && s.m.info[i].traits&always == 0 {
			s.m.apply(fact{kind: factEnded, step: int32(i), at: s.now, status: Failed, reason: reason})
		}
	}
}

func (s *simulation) result() *Simulation {
	m := s.m
	epoch := time.Unix(0, 0).UTC()
	sim := &Simulation{Report: &Report{
		run: "simulation", plan: m.plan, status: m.status(), startedAt: epoch, makespan: s.now,
		cut: m.cut, cause: m.cause, steps: m.steps, gates: make(map[int32]GateReport, len(m.gate)),
		undone: m.undone(), info: m.info,
	}}
	for i := range m.steps {
		if st := &m.steps[i]; st.flags&started != 0 {
			sim.Work = later(sim.Work, st.end-st.start)
		}
	}
	for i, g := range m.gate {
		report := GateReport{AskedAt: epoch.Add(g.askedAt), Verdict: g.verdict}
		if g.ready {
			report.ReadyAt = epoch.Add(g.readyAt)
		}
		if g.decided {
			report.DecidedAt = epoch.Add(g.at)
			if g.verdict == approval.Rejected {
				report.Reason = "nobody answered in time"
				if g.reason == ReasonRejected {
					report.Reason = "rejected in the simulation"
				}
			}
		}
		if g.asked {
			sim.Report.gates[i] = report
			sim.ApprovalWait = later(sim.ApprovalWait, report.Wait())
			if g.ready && !g.decided && i != planGate { // withdrawn
				sim.ApprovalWait = later(sim.ApprovalWait, m.steps[i].end-g.readyAt)
			}
		}
	}
	if g := m.gate[planGate]; g != nil {
		sim.Report.planReason = g.reason
	}
	sim.ParallelSavings = sim.Work - s.busy
	return sim
}

// facts is a heap by time, then by step.
type facts []fact

func (f facts) Len() int { return len(f) }
func (f facts) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(f[i].at, f[j].at), cmp.Compare(f[i].step, f[j].step)) < 0
}
func (f facts) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *facts) Push(x any)   { *f = append(*f, x.(fact)) }
func (f *facts) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}
