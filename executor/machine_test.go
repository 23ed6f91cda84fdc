package executor

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// model is the rules of a run, told once more in the most obvious way: it keeps what was told, looks at everything
// again after every fact, and knows nothing of counters, queues or ready sets.
type model struct {
	p          *program
	limit      int
	early      bool
	status     map[int32]Status // of steps that run or have ended; others are derived
	reason     map[int32]Reason
	cause      map[int32]int32
	approved   map[int32]bool
	decided    map[int32]bool
	asked      map[int32]bool
	planNeeded bool
	halted     Reason
	failed     bool
	rejected   bool
	root       int32
	cut        Reason
	used       time.Duration // of the run's clock
	now        time.Duration
	stood      bool
}

func newModel(p *program, limit int, early bool) *model {
	m := &model{
		p: p, limit: limit, early: early, status: map[int32]Status{}, reason: map[int32]Reason{}, cause: map[int32]int32{},
		approved: map[int32]bool{}, decided: map[int32]bool{}, asked: map[int32]bool{}, planNeeded: p.gates.Plan.Required, root: -1,
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

// could tells whether a step would start if only people and other writers let it.
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

func (m *model) waits(i int32) bool { return m.could(i) && m.is(i, gated) && !m.approved[i] }

func (m *model) ready() []int32 {
	var ready []int32
	for _, i := range m.steps() {
		if !m.could(i) || m.waits(i) {
			continue
		}
		first := true
		for _, j := range m.steps() {
			if g := m.p.info[i].group; g >= 0 && g == m.p.info[j].group {
				if m.status[j] == Running || j < i && m.could(j) && !m.waits(j) {
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
	return slices.DeleteFunc(m.steps(), func(i int32) bool { return m.status[i] != Running })
}

func (m *model) finished() bool {
	return !slices.ContainsFunc(m.steps(), func(i int32) bool { return !m.final(i) })
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
	return len(m.running()) == 0 && m.waiting() > 0 && len(m.ready()) == 0 && !m.finished()
}

// toAsk are the gates that are to be asked.
func (m *model) toAsk() []int32 {
	var asks []int32
	if m.finished() {
		return nil
	}
	if m.planNeeded && !m.asked[planGate] {
		asks = append(asks, planGate)
	}
	for _, i := range m.steps() {
		if m.is(i, gated) && !m.asked[i] && m.untouched(i) && (m.early || m.waits(i)) {
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

func (m *model) end(i int32, s Status, r Reason, cause int32) {
	m.status[i], m.reason[i], m.cause[i] = s, r, cause
	switch r {
	case ReasonInterrupted, ReasonRunCancelled, ReasonRunTimeout:
		m.cut = max(m.cut, r)
	case ReasonAbandoned:
		m.cut = max(m.cut, m.halted)
	}
}

func (m *model) cancelAll(r Reason, cause int32, which func(int32) bool) {
	for _, i := range m.steps() {
		if m.untouched(i) && which(i) {
			m.end(i, Cancelled, r, cause)
		}
	}
}

func (m *model) apply(f fact) {
	at := max(f.at, m.now)
	if !m.stood {
		m.used += at - m.now
	}
	m.now = at
	switch f.kind {
	case factStarted:
		m.status[f.step] = Running
	case factEnded:
		m.end(f.step, f.status, f.reason, -1)
	case factAsked:
		m.asked[f.step] = true
	case factApproved:
		m.decided[f.step], m.approved[f.step] = true, true
	case factRejected:
		m.decided[f.step] = true
		if f.step == planGate {
			m.failed, m.rejected = true, true
			m.cancelAll(ReasonPlanRejected, -1, func(int32) bool { return true })
		} else {
			m.end(f.step, Rejected, f.reason, -1)
		}
	case factHalted:
		if m.halted == ReasonNone || f.reason == ReasonInterrupted {
			m.halted = f.reason
			m.cancelAll(f.reason, -1, func(i int32) bool { return f.reason == ReasonInterrupted || m.planWaits() || !m.is(i, always) })
		}
	}
	m.block()
	if !m.failed {
		if m.root = m.failure(); m.root >= 0 {
			m.failed, m.rejected = true, m.status[m.root] == Rejected
			m.cancelAll(ReasonRunFailed, m.root, func(i int32) bool {
				return m.planWaits() || !m.is(i, always) && (m.is(i, mutating) || m.is(i, gated) && !m.approved[i])
			})
			m.block()
		}
	}
	m.stood = m.idle()
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
				if m.final(d) && !m.well(d) {
					m.end(i, Blocked, ReasonDependency, d)
					again = true
					break
				}
			}
		}
	}
}

// failure is the step that began the failure of the run, -1 while there is none.
func (m *model) failure() int32 {
	for _, i := range m.steps() {
		if m.is(i, critical) && m.final(i) && !m.well(i) {
			for m.cause[i] >= 0 {
				i = m.cause[i]
			}
			if r := m.reason[i]; r != ReasonRunCancelled && r != ReasonRunTimeout && r != ReasonInterrupted {
				return i
			}
		}
	}
	return -1
}

func (m *model) outcome() RunStatus {
	allWell := true
	for _, i := range m.steps() {
		allWell = allWell && m.status[i] == Succeeded
	}
	switch {
	case !m.finished():
		return RunRunning
	case allWell:
		return RunSucceeded
	case m.cut == ReasonInterrupted:
		return RunInterrupted
	case m.cut == ReasonRunCancelled:
		return RunCancelled
	case m.rejected:
		return RunRejected
	case m.failed, m.cut == ReasonRunTimeout:
		return RunFailed
	}
	return RunSucceededWithWarnings
}

func drawProgram(t *rapid.T) *program {
	n := rapid.IntRange(1, 12).Draw(t, "steps")
	p := &program{gates: &approval.Gates{}, info: make([]stepInfo, n), byRank: make([]int32, n), groups: 2}
	p.gates.Plan.Required = rapid.IntRange(0, 3).Draw(t, "plan gate") == 0
	var edges []dag.Edge
	for i := range n {
		info := stepInfo{group: int32(rapid.IntRange(-3, 1).Draw(t, "group")), rank: int32(n - 1 - i)}
		info.group = max(info.group, -1)
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			info.traits |= mutating | critical
		case 1:
			info.traits |= critical
		}
		for _, trait := range []uint8{always, continues, gated} {
			if rapid.IntRange(0, 4).Draw(t, "trait") == 0 {
				info.traits |= trait
			}
		}
		p.info[i], p.byRank[info.rank] = info, int32(i)
		for d := range i {
			if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
				edges = append(edges, dag.Edge{From: int32(d), To: int32(i)})
			}
		}
	}
	p.graph = dag.NewGraph(n, edges)
	return p
}

// drawFact draws something that can happen next.
func drawFact(t *rapid.T, m *model) (fact, bool) {
	var facts []fact
	if ready := m.ready(); m.limit == 0 || len(m.running()) < m.limit {
		for _, i := range ready {
			facts = append(facts, fact{kind: factStarted, step: i}, fact{kind: factStarted, step: i})
		}
	}
	for _, i := range m.running() {
		facts = append(facts,
			fact{kind: factEnded, step: i, status: Succeeded, reason: ReasonCompleted},
			fact{kind: factEnded, step: i, status: Succeeded, reason: ReasonCompleted},
			fact{kind: factEnded, step: i, status: Failed, reason: ReasonHandlerError},
			fact{kind: factEnded, step: i, status: Unknown, reason: ReasonAbandoned})
		if m.halted != ReasonNone {
			facts = append(facts,
				fact{kind: factEnded, step: i, status: Failed, reason: m.halted},
				fact{kind: factEnded, step: i, status: Cancelled, reason: m.halted})
		}
	}
	for _, i := range m.toAsk() {
		facts = append(facts, fact{kind: factAsked, step: i}, fact{kind: factAsked, step: i})
	}
	for _, i := range m.toAnswer() {
		facts = append(facts, fact{kind: factApproved, step: i}, fact{kind: factApproved, step: i},
			fact{kind: factRejected, step: i, reason: ReasonRejected}, fact{kind: factRejected, step: i, reason: ReasonApprovalTimeout})
	}
	if len(facts) == 0 {
		return fact{}, false
	}
	if !m.finished() && rapid.IntRange(0, 19).Draw(t, "halt") == 0 {
		facts = nil
		for _, r := range []Reason{ReasonRunCancelled, ReasonRunTimeout, ReasonInterrupted} {
			facts = append(facts, fact{kind: factHalted, reason: r})
		}
	}
	f := rapid.SampledFrom(facts).Draw(t, "fact")
	f.at = m.now + time.Duration(rapid.IntRange(-2, 9).Draw(t, "later"))
	return f, true
}

func TestTheMachineKeepsTheRulesWhateverHappensInWhateverOrder(t *testing.T) {
	seen := map[RunStatus]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := drawProgram(t)
		limit, early := rapid.IntRange(0, 3).Draw(t, "limit"), rapid.Bool().Draw(t, "early")
		m, naive := newMachine(p, rules{limit: limit, runTimeout: time.Hour, early: early, retries: DefaultRetries}, true), newModel(p, limit, early)
		compare(t, m, naive)
		for !naive.finished() {
			f, ok := drawFact(t, naive)
			if !ok {
				t.Fatalf("nothing can happen any more, and the run has not finished")
			}
			m.transitions = m.transitions[:0]
			before := map[int32]Status{}
			for i := range m.steps {
				before[int32(i)] = m.steps[i].status
			}
			m.apply(f)
			naive.apply(f)
			compare(t, m, naive)
			told(t, m, f, before)
		}
		seen[m.status()]++
	})
	for _, s := range []RunStatus{RunSucceeded, RunSucceededWithWarnings, RunFailed, RunRejected, RunCancelled, RunInterrupted} {
		if seen[s] == 0 {
			t.Errorf("no run %s: the facts are drawn badly", s)
		}
	}
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
	next, ok := m.next()
	if want := len(ready) > 0 && (m.limit == 0 || m.running < m.limit); ok != want {
		t.Fatalf("next proposes %t, expected %t", ok, want)
	}
	if ok && m.info[next].rank != m.info[slices.MinFunc(ready, func(a, b int32) int { return int(m.info[a].rank - m.info[b].rank) })].rank {
		t.Fatalf("next proposes %d of %v", next, ready)
	}
	ask, ok := m.nextAsk()
	if want := naive.toAsk(); ok != (len(want) > 0) || ok && !slices.Contains(want, ask) {
		t.Fatalf("to be asked is %d %t, expected one of %v", ask, ok, want)
	}
	if m.finished() != naive.finished() || m.status() != naive.outcome() {
		t.Fatalf("the run is %s, expected %s", m.status(), naive.outcome())
	}
	if m.idle() != naive.idle() || m.running != len(naive.running()) || m.limit > 0 && m.running > m.limit || m.running > m.open {
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
	case s.reason == ReasonDependency:
		d := &m.steps[s.cause]
		if !slices.Contains(m.graph.Predecessors(int(i)), s.cause) || !d.status.Final() || naive.well(s.cause) || d.end > s.end {
			t.Fatalf("step %d is blocked by %d", i, s.cause)
		}
	case s.reason == ReasonRunFailed:
		root := &m.steps[m.cause]
		if s.cause != m.cause || root.cause >= 0 || root.status == Succeeded || root.status == Cancelled && root.reason == ReasonRunFailed {
			t.Fatalf("step %d was cancelled because of %d", i, s.cause)
		}
	case s.cause >= 0:
		t.Fatalf("step %d, %s/%s, has the cause %d", i, s.status, s.reason, s.cause)
	}
}

// told checks that there is one transition for each change that observers hear of, with its time.
func told(t *rapid.T, m *machine, f fact, before map[int32]Status) {
	t.Helper()
	var want, got []string
	add := func(kind EventKind, step int32) { want = append(want, fmt.Sprint(kind, step, m.now)) }
	switch f.kind {
	case factAsked:
		add(EventApprovalRequested, f.step)
	case factApproved, factRejected:
		add(EventApprovalDecided, f.step)
	}
	for i := range m.steps {
		i := int32(i)
		switch after := m.steps[i].status; {
		case after == Running && before[i] != Running:
			add(EventStepStarted, i)
		case after.Final() && !before[i].Final():
			add(EventStepFinished, i)
		}
	}
	for _, tr := range m.transitions {
		got = append(got, fmt.Sprint(tr.kind, tr.step, tr.at))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("told %v, expected %v", got, want)
	}
}
