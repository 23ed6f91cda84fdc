package executor

import (
	"fmt"
	"slices"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// What is known of a step before the run; bits of stepInfo.traits.
const (
	mutating   = 1 << iota // changes something
	critical               // its failure fails the run
	always                 // runs although the run has failed
	continues              // dependents go on when it fails
	gated                  // waits for a person
	reversible             // can be undone
	writes                 // changes an object that it names
)

// program is a plan made ready to run: what the state machine needs, in flat slices. It is immutable.
type program struct {
	plan    *dag.Plan
	gates   *approval.Gates
	graph   *dag.Graph
	info    []stepInfo // by step index
	byRank  []int32    // step indexes in the order of starting
	groups  int        // of writers
	actions []string   // that the plan uses
	secrets secrets
}

// stepInfo is what is known of a step before the run, in one place, so that a step costs one miss of the cache.
type stepInfo struct {
	timeout time.Duration
	rank    int32 // place in the order of starting
	action  int32 // in program.actions
	group   int32 // of writers, -1 for none
	traits  uint8
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
	gates, err := e.config.Policy.Gates(plan, c, time.Now())
	if err != nil {
		return nil, fmt.Errorf("executor: %w", err)
	}
	p := compile(plan, gates, e.compensates)
	if e.config.Policy.Timed() {
		return p, nil
	}
	e.mu.Lock()
	e.program, e.programFor = p, c
	e.mu.Unlock()
	return p, nil
}

// gated tells whether a step waits for a person.
func (p *program) gated() bool {
	return slices.ContainsFunc(p.info, func(i stepInfo) bool { return i.traits&gated != 0 })
}

// compensates tells whether a handler can undo an action. Without a handler (in a simulation) the Spec's word counts.
func (e *Executor) compensates(action string) bool {
	h := e.handlers[action]
	return h == nil || h.compensator != nil
}

func compile(plan *dag.Plan, gates *approval.Gates, compensates func(action string) bool) *program {
	n := plan.Len()
	p := &program{plan: plan, gates: gates, graph: plan.Graph(), info: make([]stepInfo, n), byRank: make([]int32, n)}
	ranks, index := plan.Ranks(), map[string]int32{}
	for i := range p.info {
		s := plan.Step(i)
		info := stepInfo{timeout: min(s.Timeout(), forever), rank: ranks[i], group: -1}
		if s.Mutating() {
			info.traits |= mutating
			if s.Target().Name != "" {
				info.traits |= writes
			}
		}
		if s.Gate() {
			info.traits |= critical
		}
		if s.Always() {
			info.traits |= always
		}
		if s.ContinueOnFailure() {
			info.traits |= continues
		}
		if gates.Required(i) {
			info.traits |= gated
		}
		if s.Reversible() && compensates(s.Action()) {
			info.traits |= reversible
		}
		if i > 0 && s.Action() == p.actions[p.info[i-1].action] {
			info.action = p.info[i-1].action
		} else if k, ok := index[s.Action()]; ok {
			info.action = k
		} else {
			info.action = int32(len(p.actions))
			index[s.Action()], p.actions = info.action, append(p.actions, s.Action())
		}
		if s.Parameters().Len() > 0 {
			p.secrets = p.secrets.add(s)
		}
		p.info[i] = info
		p.byRank[info.rank] = int32(i)
	}
	writers := plan.Writers()
	p.groups = len(writers)
	for g, steps := range writers {
		for _, i := range steps {
			p.info[i].group = int32(g)
		}
	}
	return p
}
