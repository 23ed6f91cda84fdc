package executor

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

var modelEvents = flag.Int("model-events", 100_000, "how many facts the machine is held against the model with")

// model is the rules of a run, told once more in the most obvious way: it keeps what was told, looks at everything
// again after every fact, and knows nothing of counters, queues or ready sets.
type model struct {
	p          *program
	rules      rules
	status     map[int32]Status // of steps that run or have ended; others are derived
	reason     map[int32]Reason
	cause      map[int32]int32
	tries      map[int32]int
	started    map[int32]bool
	endedAt    map[int32]time.Duration
	order      map[int32]int // in which steps ended
	begun      map[int32]bool
	harmless   map[int32]bool
	unsure     map[int32]bool // whether an attempt before this one took effect
	wanted     bool           // a rollback
	held       map[int32]bool // between two attempts
	delayed    map[int32]bool // of these, those whose wait is not over
	doubted    map[int32]bool // of these, those about which a person is asked
	approved   map[int32]bool
	decided    map[int32]bool
	asked      map[int32]bool
	planNeeded bool
	halted     Reason
	failed     bool
	rejected   bool
	root       int32
	cut        Reason
	ended      RunStatus
	undo       map[int32]undoPhase // nil before there is a rollback
	expired    bool
	used       time.Duration // of the run's clock
	now        time.Duration
	stood      bool
}

func newModel(p *program, ru rules) *model {
	m := &model{
		p: p, rules: ru, planNeeded: p.gates.Plan.Required, root: -1,
		status: map[int32]Status{}, reason: map[int32]Reason{}, cause: map[int32]int32{}, tries: map[int32]int{}, started: map[int32]bool{},
		endedAt: map[int32]time.Duration{}, order: map[int32]int{}, begun: map[int32]bool{}, harmless: map[int32]bool{}, unsure: map[int32]bool{}, held: map[int32]bool{},
		delayed: map[int32]bool{}, doubted: map[int32]bool{}, approved: map[int32]bool{}, decided: map[int32]bool{}, asked: map[int32]bool{},
	}
	m.stood = m.idle()
	return m
}

func (m *model) steps() []int32 {
	var all []int32
	for i := range m.p.info {
		all = append(all, int32(i))
	}
	return all
}

func (m *model) is(i int32, trait uint8) bool { return m.p.info[i].traits&trait != 0 }
func (m *model) final(i int32) bool           { return m.status[i].Final() }
func (m *model) untouched(i int32) bool       { return m.status[i] == Pending }
func (m *model) planWaits() bool              { return m.planNeeded && !m.approved[planGate] }

// well tells whether dependents of a step may go on.
func (m *model) well(i int32) bool {
	return m.status[i] == Succeeded || m.status[i] == Failed && m.is(i, continues)
}

// skips tells whether a step takes its branch with it without a failure.
func (m *model) skips(i int32) bool {
	return m.status[i] == Skipped || m.status[i] == Rejected && m.rules.onReject == RejectSkipBranch
}

// over tells whether a step and all that it depends on have ended.
func (m *model) over(i int32) bool {
	if !m.final(i) {
		return false
	}
	for _, d := range m.p.graph.Predecessors(int(i)) {
		if !m.over(d) {
			return false
		}
	}
	return true
}

// could tells whether a step would start if only people, other writers and its own wait let it.
func (m *model) could(i int32) bool {
	if !m.untouched(i) || m.planWaits() {
		return false
	}
	for _, d := range m.p.graph.Predecessors(int(i)) {
		if !m.over(d) {
			return false
		}
	}
	return true
}

func (m *model) waits(i int32) bool {
	return m.could(i) && (m.is(i, gated) || m.doubted[i]) && !m.approved[i]
}

func (m *model) ready() []int32 {
	var ready []int32
	for _, i := range m.steps() {
		if !m.could(i) || m.waits(i) || m.delayed[i] {
			continue
		}
		first := true
		for _, j := range m.steps() {
			if g := m.p.info[i].group; !m.held[i] && g >= 0 && g == m.p.info[j].group {
				if m.status[j] == Running || m.held[j] || j < i && m.could(j) && !m.waits(j) {
					first = false
				}
			}
		}
		if first {
			ready = append(ready, i)
		}
	}
	return ready
}

func (m *model) running() []int32 {
	return slices.DeleteFunc(m.steps(), func(i int32) bool { return m.status[i] != Running && m.undo[i] != undoRunning })
}

func (m *model) allEnded() bool {
	return !slices.ContainsFunc(m.steps(), func(i int32) bool { return !m.final(i) })
}

// toUndo are the steps whose undo has not ended.
func (m *model) toUndo() []int32 {
	return slices.DeleteFunc(m.steps(), func(i int32) bool { return m.undo[i] != undoWaiting && m.undo[i] != undoRunning })
}

func (m *model) finished() bool {
	return m.allEnded() && len(m.running()) == 0 && (len(m.toUndo()) == 0 || m.halted == ReasonInterrupted)
}

// undoneBefore tells whether an undo of i is to wait for that of j: j depended on it, or wrote the same object later.
func (m *model) undoneBefore(i, j int32) bool {
	g := m.p.info[i].group
	return slices.Contains(m.p.graph.Successors(int(i)), j) ||
		g >= 0 && g == m.p.info[j].group && m.started[i] && m.started[j] && m.order[j] > m.order[i]
}

// clear tells whether nothing that is to be undone before i is left.
func (m *model) clear(i int32) bool {
	for _, j := range m.steps() {
		if m.undoneBefore(i, j) && (m.undo[j] == undoWaiting || m.undo[j] == undoRunning || !m.clear(j)) {
			return false
		}
	}
	return true
}

// undoable are the steps that may be undone now, the one that ended last at the end.
func (m *model) undoable() []int32 {
	if m.undo == nil || m.halted == ReasonInterrupted {
		return nil
	}
	free := slices.DeleteFunc(m.steps(), func(i int32) bool { return m.undo[i] != undoWaiting || !m.clear(i) })
	slices.SortStableFunc(free, func(i, j int32) int { return int(m.endedAt[i] - m.endedAt[j]) })
	return free
}

func (m *model) waiting() int {
	n := 0
	if m.planNeeded && !m.decided[planGate] {
		n++
	}
	for _, i := range m.steps() {
		if m.waits(i) {
			n++
		}
	}
	return n
}

func (m *model) idle() bool {
	return len(m.running()) == 0 && m.waiting() > 0 && len(m.ready()) == 0 && len(m.delayed) == 0 && !m.allEnded()
}

// toAsk are the gates that are to be asked.
func (m *model) toAsk() []int32 {
	var asks []int32
	if m.allEnded() {
		return nil
	}
	if m.planNeeded && !m.asked[planGate] {
		asks = append(asks, planGate)
	}
	for _, i := range m.steps() {
		if (m.is(i, gated) || m.doubted[i]) && !m.asked[i] && m.untouched(i) && (m.rules.early || m.waits(i)) {
			asks = append(asks, i)
		}
	}
	return asks
}

// toAnswer are the gates that may be answered.
func (m *model) toAnswer() []int32 {
	var open []int32
	for i := planGate; i < int32(len(m.p.info)); i++ {
		if m.asked[i] && !m.decided[i] && (i == planGate || !m.final(i)) {
			open = append(open, i)
		}
	}
	return open
}

// stops tells why no attempt of a step starts any more.
func (m *model) stops(i int32) Reason {
	switch {
	case m.halted == ReasonInterrupted, m.halted != ReasonNone && !m.is(i, always):
		return m.halted
	case !m.failed || m.is(i, always) || m.rules.onFailure == IndependentBranches:
		return ReasonNone
	case m.rules.onFailure == CancelRunning || m.is(i, mutating):
		return ReasonRunFailed
	}
	return ReasonNone
}

func (m *model) end(i int32, s Status, r Reason, cause int32) {
	m.status[i], m.reason[i], m.cause[i], m.endedAt[i] = s, r, cause, m.now
	if m.unsure[i] && !m.begun[i] && s != Succeeded {
		m.status[i], m.reason[i], m.begun[i] = Unknown, ReasonUnresolved, true
	}
	m.order[i] = len(m.order)
	delete(m.held, i)
	delete(m.delayed, i)
	switch {
	case r >= ReasonRunCancelled:
		m.cut = max(m.cut, r)
	case r == ReasonAbandoned:
		m.cut = max(m.cut, m.halted)
	}
}

func (m *model) cancelAll(r Reason, cause int32, which func(int32) bool) {
	for _, i := range m.steps() {
		switch {
		case !m.untouched(i) || !which(i):
		case m.doubted[i] && r == ReasonInterrupted:
			m.end(i, Unknown, r, cause)
		case m.doubted[i]:
			m.end(i, Unknown, ReasonUnresolved, cause)
		default:
			m.end(i, Cancelled, r, cause)
		}
	}
}

func (m *model) begin(f fact) {
	m.begun[f.step] = true
	if f.effect != noTrace || !m.unsure[f.step] {
		m.harmless[f.step] = f.effect == noTrace
	}
}

func (m *model) apply(f fact) {
	at := max(f.at, m.now)
	if !m.stood && f.kind != factResumed {
		m.used += at - m.now
	}
	m.now = at
	i := f.step
	switch f.kind {
	case factStarted:
		m.status[i], m.started[i], m.begun[i] = Running, true, false
		m.tries[i]++
		delete(m.held, i)
	case factBegun:
		m.begin(f)
	case factEnded:
		if f.effect != notBegun {
			m.begin(f)
		}
		cause := int32(-1)
		if f.reason == ReasonRunFailed {
			cause = m.root
		}
		m.end(i, f.status, f.reason, cause)
	case factRetry:
		if m.begun[i] && m.is(i, mutating) {
			m.unsure[i] = f.effect != notBegun
		}
		m.status[i], m.begun[i], m.held[i], m.delayed[i] = Pending, false, true, true
		switch r := m.stops(i); r {
		case ReasonNone:
		case ReasonRunFailed:
			m.end(i, Cancelled, r, m.root)
		default:
			m.end(i, Cancelled, r, -1)
		}
	case factDue:
		delete(m.delayed, i)
	case factDoubted:
		m.status[i], m.held[i], m.doubted[i] = Pending, true, true
		m.approved[i], m.asked[i], m.decided[i] = false, false, false
	case factAsked:
		m.asked[i] = true
	case factApproved:
		if m.doubted[i] && m.begun[i] {
			m.unsure[i], m.begun[i] = true, false
		}
		m.decided[i], m.approved[i], m.doubted[i] = true, true, false
	case factRejected:
		m.decided[i] = true
		switch {
		case i == planGate:
			m.failed, m.rejected = true, true
			m.cancelAll(ReasonPlanRejected, -1, func(int32) bool { return true })
		case m.doubted[i]:
			m.end(i, Unknown, ReasonUnresolved, -1)
		default:
			m.end(i, Rejected, f.reason, -1)
		}
	case factRefused:
		m.failed, m.root = true, i
		m.end(i, Failed, ReasonDryRun, -1)
		m.cancelAll(ReasonRunFailed, i, func(int32) bool { return true })
	case factHalted:
		if m.halted == ReasonNone || f.reason == ReasonInterrupted {
			m.halted = f.reason
			m.cancelAll(f.reason, -1, func(i int32) bool { return f.reason == ReasonInterrupted || m.planWaits() || !m.is(i, always) })
		}
	case factRollback:
		if m.ended == "" {
			m.wanted = true
			break
		}
		if !m.finished() {
			break
		}
		if m.halted == ReasonInterrupted {
			m.halted = ReasonNone
		}
		m.beginRollback()
	case factUndoStarted:
		m.undo[i] = undoRunning
	case factUndoEnded:
		if m.undo[i] = undoWaiting; f.status != Pending {
			m.undo[i] = undoEnded
			m.status[i], m.reason[i] = f.status, f.reason
		}
	case factRollbackOver:
		for _, i := range m.steps() {
			if m.undo[i] == undoWaiting {
				m.undo[i] = undoEnded
				m.status[i], m.reason[i] = RollbackFailed, ReasonRollbackTimeout
			}
		}
		m.expired = true
	}
	if m.ended == "" {
		m.block()
		m.fail()
		if m.allEnded() {
			m.conclude()
		}
	}
	m.stood = m.idle()
}

// fail has the run fail once a step did not succeed that matters.
func (m *model) fail() {
	if m.failed {
		return
	}
	if m.root = m.failure(); m.root < 0 {
		return
	}
	m.failed, m.rejected = true, m.status[m.root] == Rejected
	if m.rules.onFailure == IndependentBranches {
		return
	}
	m.cancelAll(ReasonRunFailed, m.root, func(i int32) bool {
		return m.planWaits() || !m.is(i, always) &&
			(m.rules.onFailure == CancelRunning || m.is(i, mutating) || m.is(i, gated) && !m.approved[i])
	})
	m.block()
}

// block ends what cannot run any more.
func (m *model) block() {
	for again := true; again; {
		again = false
		for _, i := range m.steps() {
			if !m.untouched(i) || m.is(i, always) {
				continue
			}
			for _, d := range m.p.graph.Predecessors(int(i)) {
				if !m.final(d) || m.well(d) {
					continue
				}
				if again = true; m.skips(d) {
					m.end(i, Skipped, ReasonBranchSkipped, d)
				} else {
					m.end(i, Blocked, ReasonDependency, d)
				}
				break
			}
		}
	}
}

// failure is the step that began the failure of the run, -1 while there is none.
func (m *model) failure() int32 {
	for _, i := range m.steps() {
		if m.is(i, critical) && m.final(i) && !m.well(i) && !m.skips(i) {
			for m.cause[i] >= 0 {
				i = m.cause[i]
			}
			if m.reason[i] < ReasonRunCancelled {
				return i
			}
		}
	}
	return -1
}

// conclude says how the run ended, and begins what follows from that.
func (m *model) conclude() {
	whole := !slices.ContainsFunc(m.steps(), func(i int32) bool { return m.status[i] != Succeeded })
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
		m.ended, undo = RunRejected, m.rules.onReject == RejectRollback
	case m.failed, m.cut == ReasonRunTimeout, m.cut == ReasonGuard:
		m.ended, undo = RunFailed, true
	default:
		m.ended = RunSucceededWithWarnings
	}
	if m.wanted || undo && m.rules.strategy == RollbackAutomatic {
		m.beginRollback()
	}
}

func (m *model) beginRollback() {
	undo := map[int32]undoPhase{}
	for _, i := range m.steps() {
		happened := m.begun[i] || m.status[i] == Succeeded || m.status[i] == RollbackFailed
		if m.is(i, reversible) && m.is(i, mutating) && m.started[i] && happened && !m.harmless[i] && m.status[i] != RolledBack {
			undo[i] = undoWaiting
		}
	}
	if len(undo) > 0 {
		m.undo, m.expired = undo, false
	}
}

func (m *model) outcome() RunStatus {
	switch {
	case !m.finished():
		return RunRunning
	case m.undo == nil:
		return m.ended
	case len(m.toUndo()) > 0:
		return RunInterrupted
	}
	for i := range m.undo {
		if m.status[i] == RollbackFailed {
			return RunRollbackFailed
		}
	}
	return RunRolledBack
}

func drawProgram(t *rapid.T) *program {
	n := rapid.IntRange(1, 12).Draw(t, "steps")
	p := &program{gates: &approval.Gates{}, info: make([]stepInfo, n), byRank: make([]int32, n), groups: 2}
	p.gates.Plan.Required = rapid.IntRange(0, 3).Draw(t, "plan gate") == 0
	var edges []dag.Edge
	order := rapid.Permutation(slices.Collect(func(yield func(int32) bool) {
		for i := range n {
			if !yield(int32(i)) {
				return
			}
		}
	})).Draw(t, "order")
	for i := range n {
		info := stepInfo{group: int32(rapid.IntRange(-3, 1).Draw(t, "group")), rank: int32(n - 1 - i)}
		info.group = max(info.group, -1)
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			info.traits |= mutating | critical
		case 1:
			info.traits |= critical
		}
		if rapid.IntRange(0, 3).Draw(t, "reversible") > 0 {
			info.traits |= reversible
		}
		for _, trait := range []uint8{always, continues, gated} {
			if rapid.IntRange(0, 4).Draw(t, "trait") == 0 {
				info.traits |= trait
			}
		}
		p.info[i], p.byRank[info.rank] = info, int32(i)
		for d := range i {
			if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
				edges = append(edges, dag.Edge{From: order[d], To: order[i]})
			}
		}
	}
	p.graph = dag.NewGraph(n, edges)
	return p
}

// drawFact draws something that can happen next.
func drawFact(t *rapid.T, m *model) (fact, bool) {
	var facts []fact
	add := func(f fact, times int) { facts = append(facts, slices.Repeat([]fact{f}, times)...) }
	if m.rules.limit == 0 || len(m.running()) < m.rules.limit {
		for _, i := range m.ready() {
			add(fact{kind: factStarted, step: i}, 3)
		}
		for _, i := range m.undoable() {
			add(fact{kind: factUndoStarted, step: i}, 3)
		}
	}
	for _, i := range m.running() {
		if m.undo[i] == undoRunning {
			add(fact{kind: factUndoEnded, step: i, status: RolledBack, reason: ReasonUndone}, 2)
			add(fact{kind: factUndoEnded, step: i, status: RollbackFailed, reason: ReasonDrift}, 1)
			if m.halted == ReasonInterrupted {
				add(fact{kind: factUndoEnded, step: i, status: Pending}, 2)
			}
			continue
		}
		effect := rapid.SampledFrom([]effectMark{notBegun, mayHappened, mayHappened, noTrace}).Draw(t, "effect")
		add(fact{kind: factEnded, step: i, status: Succeeded, reason: ReasonCompleted, effect: effect}, 6)
		add(fact{kind: factEnded, step: i, status: Failed, reason: ReasonHandlerError, effect: effect}, 1)
		add(fact{kind: factEnded, step: i, status: Unknown, reason: ReasonAbandoned, effect: effect}, 1)
		if m.tries[i] <= m.rules.retries {
			add(fact{kind: factRetry, step: i, until: m.now + time.Duration(rapid.IntRange(1, 9).Draw(t, "wait"))}, 2)
			if m.begun[i] {
				add(fact{kind: factRetry, step: i, until: m.now, effect: mayHappened}, 2)
			}
		}
		if !m.begun[i] {
			add(fact{kind: factBegun, step: i, effect: max(effect, mayHappened)}, 2)
		}
		stops := m.stops(i)
		if stops == ReasonNone {
			add(fact{kind: factDoubted, step: i}, 1)
		} else {
			add(fact{kind: factEnded, step: i, status: Failed, reason: stops, effect: effect}, 1)
			add(fact{kind: factEnded, step: i, status: Cancelled, reason: stops}, 1)
		}
	}
	for i := range m.delayed {
		add(fact{kind: factDue, step: i}, 2)
	}
	for _, i := range m.toAsk() {
		add(fact{kind: factAsked, step: i}, 2)
	}
	for _, i := range m.toAnswer() {
		add(fact{kind: factApproved, step: i}, 4)
		add(fact{kind: factRejected, step: i, reason: ReasonRejected}, 1)
		add(fact{kind: factRejected, step: i, reason: ReasonApprovalTimeout}, 1)
	}
	if len(facts) == 0 {
		return fact{}, false
	}
	slices.SortStableFunc(facts, func(a, b fact) int { return int(a.kind)*1000 + int(a.step) - int(b.kind)*1000 - int(b.step) })
	switch rapid.IntRange(0, 39).Draw(t, "rare") {
	case 0:
		facts = nil
		for _, r := range []Reason{ReasonRunCancelled, ReasonRunTimeout, ReasonGuard, ReasonObsolete, ReasonInterrupted} {
			add(fact{kind: factHalted, reason: r}, 1)
		}
	case 1:
		if len(m.toUndo()) > 0 {
			facts = []fact{{kind: factRollbackOver}, {kind: factHalted, reason: ReasonInterrupted}}
		}
	case 2:
		facts = []fact{{kind: factResumed}, {kind: factRollback}}
	case 3:
		if len(m.started) == 0 && len(m.asked) == 0 && !m.allEnded() && !m.failed && m.halted == ReasonNone {
			facts = []fact{{kind: factRefused, step: 0}}
		}
	}
	f := rapid.SampledFrom(facts).Draw(t, "fact")
	f.at = m.now + time.Duration(rapid.IntRange(-2, 9).Draw(t, "later"))
	return f, true
}

func TestTheMachineKeepsTheRulesWhateverHappensInWhateverOrder(t *testing.T) {
	seen, events := map[RunStatus]int{}, 0
	for events < *modelEvents && !t.Failed() {
		rapid.Check(t, func(t *rapid.T) {
			p := drawProgram(t)
			ru := rules{
				limit: rapid.IntRange(0, 3).Draw(t, "limit"), early: rapid.Bool().Draw(t, "early"), runTimeout: time.Hour, retries: 2,
				onFailure: rapid.SampledFrom([]FailurePolicy{StopMutating, IndependentBranches, CancelRunning}).Draw(t, "on failure"),
				onReject:  rapid.SampledFrom([]RejectPolicy{RejectStop, RejectRollback, RejectSkipBranch}).Draw(t, "on reject"),
				strategy:  rapid.SampledFrom([]RollbackStrategy{RollbackAutomatic, RollbackAutomatic, RollbackManual}).Draw(t, "strategy"),
			}
			m, naive := newMachine(p, ru, true), newModel(p, ru)
			compare(t, m, naive)
			again := rapid.IntRange(0, 2).Draw(t, "rollbacks")
			for !naive.finished() || again > 0 {
				var f fact
				if naive.finished() {
					again--
					f = fact{kind: factRollback, at: naive.now + 1}
				} else if drawn, ok := drawFact(t, naive); ok {
					f = drawn
				} else {
					t.Fatalf("nothing can happen any more, and the run has not finished")
				}
				m.transitions = m.transitions[:0]
				before, rollback, undos := slices.Clone(m.steps), m.rollback, undoStates(m)
				m.apply(f)
				naive.apply(f)
				events++
				compare(t, m, naive)
				told(t, m, f, before, rollback, undos)
			}
			seen[m.status()]++
		})
	}
	t.Logf("%d facts; %v", events, seen)
	for _, s := range []RunStatus{
		RunSucceeded, RunSucceededWithWarnings, RunFailed, RunRejected, RunCancelled, RunInterrupted, RunObsolete, RunRolledBack, RunRollbackFailed,
	} {
		if seen[s] == 0 && !t.Failed() {
			t.Errorf("no run %s: the facts are drawn badly", s)
		}
	}
}

func undoStates(m *machine) []undoState {
	if m.rollback == nil {
		return nil
	}
	return slices.Clone(m.rollback.steps)
}

// compare holds the machine against the model and its own invariants.
func compare(t *rapid.T, m *machine, naive *model) {
	t.Helper()
	var ready []int32
	for i := range m.steps {
		i := int32(i)
		s := &m.steps[i]
		status := naive.status[i]
		if naive.waits(i) {
			status = WaitingApproval
		}
		if s.status != status || s.reason != naive.reason[i] {
			t.Fatalf("step %d is %s/%s, expected %s/%s", i, s.status, s.reason, status, naive.reason[i])
		}
		causes(t, m, naive, i)
		if word := m.ready.levels[0][m.info[i].rank>>6]; word>>(m.info[i].rank&63)&1 == 1 {
			ready = append(ready, i)
		}
	}
	if want := naive.ready(); !slices.Equal(ready, want) {
		t.Fatalf("ready are %v, expected %v", ready, want)
	}
	slot := m.limit == 0 || m.running < m.limit
	next, ok := m.next()
	if want := len(ready) > 0 && slot; ok != want {
		t.Fatalf("next proposes %t, expected %t", ok, want)
	}
	if ok && m.info[next].rank != m.info[slices.MinFunc(ready, func(a, b int32) int { return int(m.info[a].rank - m.info[b].rank) })].rank {
		t.Fatalf("next proposes %d of %v", next, ready)
	}
	undo, ok := m.nextUndo()
	if want := naive.undoable(); ok != (len(want) > 0 && slot) || ok && undo != want[len(want)-1] {
		t.Fatalf("to be undone is %d %t, expected the last of %v", undo, ok, want)
	}
	for k, d := range m.delayed {
		if !naive.delayed[d.step] || k > 0 && m.delayed[k-1].until > d.until {
			t.Fatalf("step %d waits for %d", d.step, d.until)
		}
	}
	if len(m.delayed) != len(naive.delayed) {
		t.Fatalf("%d wait for another attempt, expected %d", len(m.delayed), len(naive.delayed))
	}
	ask, ok := m.nextAsk()
	if want := naive.toAsk(); ok != (len(want) > 0) || ok && !slices.Contains(want, ask) {
		t.Fatalf("to be asked is %d %t, expected one of %v", ask, ok, want)
	}
	if m.finished() != naive.finished() || m.status() != naive.outcome() {
		t.Fatalf("the run is %s, expected %s", m.status(), naive.outcome())
	}
	if m.idle() != naive.idle() || m.running != len(naive.running()) || m.limit > 0 && m.running > m.limit {
		t.Fatalf("idle %t, %d run of %d open; expected idle %t, %d", m.idle(), m.running, m.open, naive.idle(), len(naive.running()))
	}
	used := m.clockUsed
	if m.clockSince >= 0 {
		used += m.now - m.clockSince
	}
	if used != naive.used {
		t.Fatalf("the run's clock is at %d, expected %d", used, naive.used)
	}
	if stands := m.clockSince < 0; stands != naive.idle() {
		t.Fatalf("the run's clock stands: %t, expected %t", stands, naive.idle())
	}
}

// causes checks that the chain of causes of a step leads to a root event.
func causes(t *rapid.T, m *machine, naive *model, i int32) {
	t.Helper()
	s := &m.steps[i]
	switch {
	case s.reason == ReasonDependency, s.reason == ReasonBranchSkipped:
		d := &m.steps[s.cause]
		if !slices.Contains(m.graph.Predecessors(int(i)), s.cause) || !d.status.Final() || naive.well(s.cause) || d.end > s.end {
			t.Fatalf("step %d is blocked by %d", i, s.cause)
		}
	case s.reason == ReasonRunFailed:
		root := &m.steps[m.cause]
		if s.cause != m.cause || root.cause >= 0 || root.status == Succeeded || root.status == Cancelled && root.reason == ReasonRunFailed {
			t.Fatalf("step %d was cancelled because of %d", i, s.cause)
		}
	case s.reason == ReasonUnresolved || naive.undo[i] == undoEnded || naive.status[i] == RolledBack || naive.status[i] == RollbackFailed:
		for hops := 0; i >= 0; i = m.steps[i].cause {
			if hops++; hops > len(m.steps) {
				t.Fatalf("the causes of step %d go round", i)
			}
		}
	case s.cause >= 0:
		t.Fatalf("step %d, %s/%s, has the cause %d", i, s.status, s.reason, s.cause)
	}
}

// told checks that there is one transition for each change that observers hear of, with its time.
func told(t *rapid.T, m *machine, f fact, before []stepState, rollback *rollback, undos []undoState) {
	t.Helper()
	var want, got []string
	add := func(kind EventKind, step int32) { want = append(want, fmt.Sprint(kind, step, m.now)) }
	switch f.kind {
	case factAsked:
		add(EventApprovalRequested, f.step)
	case factApproved, factRejected:
		add(EventApprovalDecided, f.step)
	case factRetry:
		if m.steps[f.step].status == Pending {
			add(EventRetryScheduled, f.step)
		}
	case factUndoStarted:
		add(EventUndoStarted, f.step)
	}
	for i := range m.steps {
		i := int32(i)
		switch was, after := before[i].status, m.steps[i].status; {
		case after == Running && was != Running:
			add(EventStepStarted, i)
		case after.Final() && !was.Final():
			add(EventStepFinished, i)
		}
	}
	if m.rollback != rollback {
		add(EventRollbackStarted, planGate)
	} else if rollback != nil {
		for i, u := range rollback.steps {
			if u.phase == undoEnded && undos[i].phase != undoEnded {
				add(EventUndoFinished, int32(i))
			}
		}
		if open := func(u undoState) bool { return u.phase == undoWaiting || u.phase == undoRunning }; slices.ContainsFunc(undos, open) && !slices.ContainsFunc(rollback.steps, open) {
			add(EventRollbackFinished, planGate)
		}
	}
	for _, tr := range m.transitions {
		got = append(got, fmt.Sprint(eventKinds[tr.kind], tr.step, tr.at))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("told %v, expected %v", got, want)
	}
}
