package executor

import (
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// What is known of a step before the run; bits of program.traits.
const (
	mutating  = 1 << iota // changes something
	critical              // its failure fails the run
	always                // runs although the run has failed
	continues             // dependents go on when it fails
	gated                 // waits for a person
)

// program is a plan made ready to run: what the state machine needs, in flat slices by step index. It is immutable.
type program struct {
	plan   *dag.Plan
	gates  *approval.Gates
	graph  *dag.Graph
	traits []uint8
	rank   []int32 // place of a step in the order of starting
	byRank []int32 // the inverse
	group  []int32 // the group of writers that a step is in, -1 for none; nil when there are no groups
	groups int
}

func compile(plan *dag.Plan, gates *approval.Gates) *program {
	n := plan.Len()
	p := &program{plan: plan, gates: gates, graph: plan.Graph(), traits: make([]uint8, n), rank: plan.Ranks(), byRank: make([]int32, n)}
	for i := range n {
		s := plan.Step(i)
		var t uint8
		if s.Mutating() {
			t |= mutating
		}
		if s.Gate() {
			t |= critical
		}
		if s.Always() {
			t |= always
		}
		if s.ContinueOnFailure() {
			t |= continues
		}
		if gates.Steps[i].Required {
			t |= gated
		}
		p.traits[i] = t
		p.byRank[p.rank[i]] = int32(i)
	}
	if writers := plan.Writers(); len(writers) > 0 {
		p.groups = len(writers)
		p.group = make([]int32, n)
		for i := range p.group {
			p.group[i] = -1
		}
		for g, steps := range writers {
			for _, i := range steps {
				p.group[i] = int32(g)
			}
		}
	}
	return p
}
