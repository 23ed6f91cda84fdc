package executor

import (
	"fmt"
	"time"

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

	timeouts []time.Duration
	actions  []string // that the plan uses
	action   []int32  // of each step, into actions
}

// prepare compiles a plan for the Executor's policy. It keeps the last program: a plan is simulated and then run, or
// run again.
func (e *Executor) prepare(plan *dag.Plan, c approval.Confidence) (*program, error) {
	e.mu.Lock()
	last, asked := e.program, e.programFor
	e.mu.Unlock()
	if last != nil && last.plan == plan && asked == c {
		return last, nil
	}
	gates, err := e.config.Policy.Gates(plan, c)
	if err != nil {
		return nil, fmt.Errorf("executor: %w", err)
	}
	p := compile(plan, gates)
	e.mu.Lock()
	e.program, e.programFor = p, c
	e.mu.Unlock()
	return p, nil
}

func compile(plan *dag.Plan, gates *approval.Gates) *program {
	n := plan.Len()
	p := &program{
		plan: plan, gates: gates, graph: plan.Graph(), traits: make([]uint8, n), rank: plan.Ranks(), byRank: make([]int32, n),
		timeouts: make([]time.Duration, n), action: make([]int32, n),
	}
	index := map[string]int32{}
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
		p.timeouts[i] = s.Timeout()
		if i > 0 && s.Action() == p.actions[p.action[i-1]] {
			p.action[i] = p.action[i-1]
			continue
		}
		k, ok := index[s.Action()]
		if !ok {
			k = int32(len(p.actions))
			index[s.Action()], p.actions = k, append(p.actions, s.Action())
		}
		p.action[i] = k
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
