package dag

import (
	"cmp"
	"slices"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

const (
	// In a group of at most so many writers every pair is looked at, in a larger one only neighbours in the order.
	maxPairwise = 16
	// So many steps before a restart are looked at in search of one that makes it redundant.
	maxRollers = 8
)

// checkWriters looks at the steps that write the same object.
func (b *builder) checkWriters() {
	writers := make([]*Step, 0, len(b.steps))
	for i := range b.steps {
		if b.steps[i].writes() {
			writers = append(writers, &b.steps[i])
		}
	}
	slices.SortFunc(writers, func(x, y *Step) int {
		return cmp.Or(compareTargets(x.task.Target, y.task.Target), cmp.Compare(b.graph.place[x.index], b.graph.place[y.index]))
	})
	for len(writers) > 0 {
		end := 1
		for end < len(writers) && writers[end].task.Target == writers[0].task.Target {
			end++
		}
		if end > 1 {
			b.checkConflicts(writers[:end])
			b.checkRestarts(writers[:end])
		}
		writers = writers[end:]
	}
	slices.SortFunc(b.writers, func(x, y []int) int { return cmp.Compare(x[0], y[0]) })
}

func compareTargets(x, y schema.Target) int {
	return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Kind, y.Kind))
}

// checkConflicts warns of writers of one object, given in topological order, that may run at the same time. They are
// all ordered exactly when each is ordered after the one before it.
func (b *builder) checkConflicts(group []*Step) {
	conflict := false
	for k := 1; k < len(group) && !conflict; k++ {
		conflict = !b.search.reaches(int32(group[k-1].index), int32(group[k].index))
	}
	if !conflict {
		return
	}
	members := make([]int, len(group))
	for k, s := range group {
		members[k] = s.index
		from := 0
		if len(group) > maxPairwise {
			from = max(0, k-1)
		}
		for _, other := range group[from:k] {
			if !b.search.reaches(int32(other.index), int32(s.index)) {
				b.warnConflict(other, s)
			}
		}
	}
	slices.Sort(members)
	b.writers = append(b.writers, members)
}

func (b *builder) warnConflict(x, y *Step) {
	first, second := min(x.index, y.index), max(x.index, y.index)
	b.warning(second, schema.CodeWriteConflict, b.doc.Pointer(second, "parameters"),
		"writes %s, as %s does, and may run at the same time: they will run one after the other, as the document lists them; add a dependency to choose",
		y.task.Target, b.called(first))
}

// checkRestarts warns of restarts of pods that an earlier step of the group, given in topological order, already rolls.
func (b *builder) checkRestarts(group []*Step) {
	for k, s := range group {
		if s.spec.Role != actions.Restarts {
			continue
		}
		seen := 0
		for _, before := range slices.Backward(group[:k]) {
			if !before.spec.Rolls && before.spec.Role != actions.Restarts {
				continue
			}
			if b.search.reaches(int32(before.index), int32(s.index)) {
				if !b.changesBetween(before, s) {
					b.warnRedundant(before, s)
				}
				break
			}
			if seen++; seen == maxRollers {
				break
			}
		}
	}
}

// changesBetween tells whether a step that must run between two others writes something that a restart would pick up.
func (b *builder) changesBetween(from, to *Step) bool {
	b.search.ancestors(int32(to.index), b.graph.place[from.index], b.graph.level[from.index], nil)
	var between []int32
	for _, i := range b.graph.order[b.graph.place[from.index]+1 : b.graph.place[to.index]] {
		if b.search.marked(i) && b.pickedUp(&b.steps[i], to) {
			between = append(between, i)
		}
	}
	return slices.ContainsFunc(between, func(i int32) bool { return b.search.reaches(int32(from.index), i) })
}

// pickedUp tells whether a restart would show an effect of step s that the pods do not show before.
func (b *builder) pickedUp(s, restart *Step) bool {
	return s.writes() && s.spec.Role == actions.Fixes && s.task.Target != restart.task.Target && s.task.Target.Namespace == restart.task.Target.Namespace
}

func (b *builder) warnRedundant(before, s *Step) {
	late := ""
	if !before.approval {
		switch {
		case s.approval:
			late = "; its approval comes too late: step %d already rolls these pods before anyone is asked"
		case s.risk > before.risk:
			late = "; an approval because of its risk would come too late: step %d already rolls these pods before anyone is asked"
		}
	}
	args := []any{s.task.Target, b.called(before.index), before.spec.Name}
	if late != "" {
		args = append(args, before.Number())
	}
	b.warning(s.index, schema.CodeRedundantStep, b.doc.Pointer(s.index, "action"),
		"restarts the pods of %s, which %s already rolls by %s, and nothing between them changes what a restart would pick up"+late, args...)
}
