package executor

import (
	"cmp"
	"slices"
	"time"
)

// DefaultRollbackTimeout bounds a rollback.
const DefaultRollbackTimeout = 30 * time.Minute

// rollback is the part of the machine that takes effects back. The undo of a step waits for the undos of all steps that
// depended on it, or that wrote the same object after it; of those that could start, that of the step which ended last
// goes first. A failed undo holds nothing up.
type rollback struct {
	began   time.Duration
	expired bool
	open    int // undos that have not ended
	running int
	steps   []undoState
	ready   []int32 // by completion, the last of all at the end
	before  []int32 // the step that wrote the same object before, -1 for none
	order   []int32 // undos in the order in which they started
}

type undoPhase uint8

const (
	undoNone    undoPhase = iota // nothing to undo
	undoWaiting                  // for other undos, or a slot
	undoRunning
	undoEnded
)

type undoState struct {
	start, end time.Duration
	unmet      int32 // steps whose undo, if any, must end before
	phase      undoPhase
	former     Status // of the step
	formerly   Reason
}

// undoable tells whether a step took, or may have taken, an effect that can be taken back.
func (s *stepState) undoable(info *stepInfo) bool {
	return info.traits&reversible != 0 && s.flags&harmless == 0 && s.status != RolledBack && s.effective(info)
}

// effective tells whether a step changed something, or may have.
func (s *stepState) effective(info *stepInfo) bool {
	happened := s.status == Succeeded || s.status == RollbackFailed || s.flags&begun != 0
	return info.traits&mutating != 0 && s.status.Final() && s.flags&started != 0 && happened
}

// undone are the steps of the rollback in the order in which their undos started, then those that never did.
func (m *machine) undone() []int32 {
	b := m.rollback
	if b == nil {
		return nil
	}
	all := slices.Clone(b.order)
	for i := range b.steps {
		if b.steps[i].phase == undoEnded && !slices.Contains(b.order, int32(i)) {
			all = append(all, int32(i))
		}
	}
	return all
}

// beginRollback begins to undo what can be; nothing happens when nothing can.
func (m *machine) beginRollback(at time.Duration) {
	n := len(m.steps)
	b := &rollback{began: at, steps: make([]undoState, n), before: make([]int32, n)}
	if m.rollback != nil {
		b.order = m.rollback.order
	}
	for i := range n {
		b.steps[i].unmet = int32(len(m.graph.Successors(i)))
		b.before[i] = -1
		if m.steps[i].undoable(&m.info[i]) {
			b.steps[i] = undoState{unmet: b.steps[i].unmet, phase: undoWaiting, former: m.steps[i].status, formerly: m.steps[i].reason}
			b.open++
		}
	}
	if b.open == 0 {
		return
	}
	m.chainWriters(b)
	m.rollback = b
	m.tell(toldRollbackStarted, planGate, at)
	var free []int32
	for i := range b.steps {
		if b.steps[i].unmet == 0 {
			free = append(free, int32(i))
		}
	}
	m.releaseUndos(free)
}

// chainWriters has the undo of a step wait for those of the steps of its group that ran after it.
func (m *machine) chainWriters(b *rollback) {
	for g := range m.writers {
		ran := m.writers[g].ran
		for k := 1; k < len(ran); k++ {
			b.before[ran[k]] = ran[k-1]
			b.steps[ran[k-1]].unmet++
		}
	}
}

// releaseUndos lets steps go whose undo, if any, waits for no other; what has none lets those before it go at once.
func (m *machine) releaseUndos(free []int32) {
	b := m.rollback
	for len(free) > 0 {
		i := free[len(free)-1]
		free = free[:len(free)-1]
		if b.steps[i].phase == undoWaiting {
			at, _ := slices.BinarySearchFunc(b.ready, i, func(x, y int32) int {
				return cmp.Or(cmp.Compare(m.steps[x].end, m.steps[y].end), cmp.Compare(x, y))
			})
			b.ready = slices.Insert(b.ready, at, i)
			continue
		}
		free = m.undoOver(i, free)
	}
}

// undoOver tells the steps that wait for the undo of i, and appends those that wait for no other.
func (m *machine) undoOver(i int32, free []int32) []int32 {
	b := m.rollback
	drop := func(p int32) {
		if b.steps[p].unmet--; b.steps[p].unmet == 0 {
			free = append(free, p)
		}
	}
	for _, p := range m.graph.Predecessors(int(i)) {
		drop(p)
	}
	if p := b.before[i]; p >= 0 {
		drop(p)
	}
	return free
}

// nextUndo proposes the step to undo now.
func (m *machine) nextUndo() (step int32, ok bool) {
	b := m.rollback
	if b == nil || len(b.ready) == 0 || m.halted == ReasonInterrupted || m.limit > 0 && m.running >= m.limit {
		return 0, false
	}
	return b.ready[len(b.ready)-1], true
}

// undo takes the facts of a rollback.
func (m *machine) undo(f fact) {
	b := m.rollback
	switch f.kind {
	case factRollback:
		if m.ended == "" {
			m.undoWanted = true
		} else if b == nil || b.over(m) {
			if m.halted == ReasonInterrupted {
				m.halted = ReasonNone
			}
			m.beginRollback(f.at)
		}
	case factUndoStarted:
		b.ready = slices.DeleteFunc(b.ready, func(i int32) bool { return i == f.step })
		b.steps[f.step].phase, b.steps[f.step].start = undoRunning, f.at
		b.order = append(slices.DeleteFunc(b.order, func(i int32) bool { return i == f.step }), f.step)
		b.running++
		m.running++
		m.tell(toldUndoStarted, f.step, f.at)
	case factUndoEnded:
		m.running--
		b.running--
		if f.status == Pending { // to be tried again when the run is resumed
			b.steps[f.step].phase = undoWaiting
			m.releaseUndos([]int32{f.step})
			break
		}
		m.undoEnd(f.step, f.at, f.status, f.reason)
		m.releaseUndos(m.undoOver(f.step, nil))
	case factRollbackOver:
		b.expired = true
		b.ready = nil
		for i := range b.steps {
			if b.steps[i].phase == undoWaiting {
				m.undoEnd(int32(i), f.at, RollbackFailed, ReasonRollbackTimeout)
			}
		}
	}
	if b := m.rollback; b != nil && f.kind != factRollback && b.open == 0 {
		m.tell(toldRollbackFinished, planGate, f.at)
	}
}

// undoEnd ends the undo of a step.
func (m *machine) undoEnd(i int32, at time.Duration, status Status, reason Reason) {
	b := m.rollback
	u, s := &b.steps[i], &m.steps[i]
	u.end, u.phase = at, undoEnded
	b.open--
	s.status, s.reason = status, reason
	if s.cause < 0 && m.cause != i {
		s.cause = m.cause
	}
	m.tell(toldUndoFinished, i, at)
}

// over tells whether nothing is left to be undone, or an interrupt keeps the rest from it.
func (b *rollback) over(m *machine) bool {
	return b.running == 0 && (b.open == 0 || m.halted == ReasonInterrupted)
}

func (b *rollback) deadline(m *machine) time.Duration {
	if m.rollbackTimeout <= 0 || b.open == 0 || b.expired || m.halted == ReasonInterrupted {
		return never
	}
	return later(b.began, m.rollbackTimeout)
}

// status is that of a run that was rolled back.
func (b *rollback) status(m *machine) RunStatus {
	if b.open > 0 {
		return RunInterrupted
	}
	for i := range b.steps {
		if b.steps[i].phase == undoEnded && m.steps[i].status == RollbackFailed {
			return RunRollbackFailed
		}
	}
	return RunRolledBack
}
