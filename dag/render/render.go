// Package render draws plans: as text for terminals, notifications and logs, and as Mermaid, DOT and SVG.
//
// The text of a plan was written by a model. Every format escapes it; none lets it become markup, a link or a terminal
// escape. Drawings are deterministic: the same plan and view give the same bytes. Every drawing ends in a newline.
package render

import (
	"slices"

	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// A View says what to draw beyond the plan. The zero View draws the bare plan.
type View struct {
	// Gated tells which steps wait for a person; nil: those whose document says so.
	Gated func(i int) bool
	// Risk is the risk that a policy sees in a step, which can be higher than the step's own; nil: the step's own.
	Risk func(i int) schema.Risk
	// PlanGated tells that the plan as a whole waits for a person, as it also does when the document asks for it.
	PlanGated bool
	// State is drawn beside a step, such as "running" or "waitingApproval"; nil or "": nothing.
	State func(i int) string
	// Mark is the index of a step to point at (the one that a person is asked about); -1 or no such step: none.
	// Only drawn when Marked.
	Mark   int
	Marked bool
}

// gateMark stands behind what waits for a person.
const gateMark = "(APPROVAL GATE) ⚠️"

// A drawing is a plan and a view with what every format asks of them.
type drawing struct {
	plan     *dag.Plan
	view     View
	groups   [][]int
	parallel []bool // by step: shares its group with another
	reduced  *dag.Graph
}

func newDrawing(p *dag.Plan, v View) *drawing {
	d := &drawing{plan: p, view: v, groups: p.Groups(), parallel: make([]bool, p.Len()), reduced: p.Graph().Reduction()}
	for _, g := range d.groups {
		for _, i := range g {
			d.parallel[i] = len(g) > 1
		}
	}
	return d
}

func (d *drawing) gated(i int) bool {
	if d.view.Gated != nil {
		return d.view.Gated(i)
	}
	return d.plan.Step(i).RequiresApproval()
}

func (d *drawing) risk(i int) schema.Risk {
	if d.view.Risk != nil {
		return d.view.Risk(i)
	}
	return d.plan.Step(i).Risk()
}

func (d *drawing) planGated() bool { return d.view.PlanGated || d.plan.ApprovalRequired() }

func (d *drawing) anyGated() bool {
	if d.planGated() {
		return true
	}
	for i := range d.plan.Len() {
		if d.gated(i) {
			return true
		}
	}
	return false
}

func (d *drawing) marked(i int) bool { return d.view.Marked && d.view.Mark == i }

func (d *drawing) state(i int) string {
	if d.view.State == nil {
		return ""
	}
	return clean(d.view.State(i), maxState)
}

// numbers returns the numbers of the dependencies that the document names.
func (d *drawing) numbers(i int) []int {
	deps := slices.Clone(d.plan.Step(i).Dependencies())
	for k := range deps {
		deps[k]++
	}
	return deps
}
