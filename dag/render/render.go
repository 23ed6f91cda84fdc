// Package render draws plans: as text for terminals, notifications and logs, and as Mermaid, DOT and SVG.
//
// The text of a plan was written by a model. Every format escapes it; none lets it become markup, a link or a terminal
// escape.
package render

import (
	"time"

	"github.com/remedykit/remedy/dag"
)

// A View says what to draw beyond the plan. The zero View draws the bare plan.
type View struct {
	// Gated tells which steps wait for a person; nil: those whose document says so.
	Gated func(i int) bool
	// PlanGated tells that the plan as a whole waits for a person.
	PlanGated bool
	// State is drawn beside a step, such as "running" or "waitingApproval"; nil or "": nothing.
	State func(i int) string
	// Mark is the index of a step to point at (the one that a person is asked about); -1 or no such step: none.
	// Only drawn when Marked.
	Mark   int
	Marked bool
}

// Box draws the plan as boxes, one per group, with totals below.
func Box(p *dag.Plan, v View) string { return "" }

// Tree draws the plan as a tree, with totals below.
func Tree(p *dag.Plan, v View) string { return "" }

// Mermaid draws a Mermaid flowchart.
func Mermaid(p *dag.Plan, v View) string { return "" }

// DOT draws a Graphviz digraph.
func DOT(p *dag.Plan, v View) string { return "" }

// SVG draws a stand-alone picture in a layered layout, readable on light and dark ground.
func SVG(p *dag.Plan, v View) string { return "" }

// A Span is what a timeline shows of one step. Times are since the start of the run.
type Span struct {
	Step int
	// Asked is when a person was asked, Decided when the answer came; meaningful only when Gated.
	Gated          bool
	Asked, Decided time.Duration
	// Start and End are the step's; End is 0 while it has not ended.
	Start, End time.Duration
	// Started is false for a step that never started.
	Started bool
	Status  string
	// By names who decided, "" when it is not known.
	By string
}

// A Run is what a timeline shows of a whole run.
type Run struct {
	Spans  []Span
	End    time.Duration
	Status string
	// PlanGate is drawn first when Gated.
	PlanGate Span
}

// Timeline draws a run as T+ moments: what started, how long it took, who waited for whom.
func Timeline(p *dag.Plan, r Run) string { return "" }
