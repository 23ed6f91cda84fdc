package render

import (
	"slices"
	"strings"

	"github.com/remedykit/remedy/dag"
)

// maxCreep is how far joins move to the right before they go back to where their sequence began.
const maxCreep = 40

// Tree draws the plan as a tree, with totals below. Below branches stands what waits for all of them; a step whose
// dependencies the drawing cannot show has a line that names them.
func Tree(p *dag.Plan, v View) string {
	t := &tree{drawing: newDrawing(p, v)}
	t.sequence(t.shape(), place{root: true})
	t.b.WriteString("\n" + t.totalSteps() + "\n")
	_, longest := p.CriticalPath()
	if saved := words(p.Work() - longest); saved != "" {
		t.b.WriteString("Parallel Savings: ~" + saved + "\n")
	}
	return t.b.String()
}

type tree struct {
	*drawing
	b strings.Builder
	// lead is written before the next line in place of its prefix: the branch mark.
	lead string
}

// A place is where a sequence is drawn.
type place struct {
	prefix string // of every line
	before []int  // what its first piece waits for, as the drawing reads
	hidden bool   // the drawing does not tell what its first piece waits for
	root   bool   // nothing stands before it
	last   bool   // it is the last of several branches: what follows its first piece looks like their join
}

func (t *tree) line(prefix, text string) {
	if t.lead != "" {
		prefix, t.lead = t.lead, ""
	}
	t.b.WriteString(prefix + text + "\n")
}

func (t *tree) sequence(seq []piece, at place) {
	before, hidden, column := at.before, at.hidden, 0
	for k, p := range seq {
		prefix := at.prefix + strings.Repeat(" ", column)
		if k > 0 {
			t.line(prefix, "    ↓")
			hidden = hidden || at.last && k == 1
		}
		if len(p.branches) == 0 {
			t.step(p.step, prefix, before, hidden)
			before, hidden = p.exits, false
			continue
		}
		switch {
		case k == 0 && at.root && !slices.ContainsFunc(p.branches, func(b []piece) bool { return len(b) > 1 || len(b[0].branches) > 0 }):
			for _, b := range p.branches {
				t.step(b[0].step, prefix, before, hidden)
			}
		case k == 0 && t.lead != "":
			// A branch that begins with branches: its mark runs into theirs.
			t.lead = strings.TrimSuffix(t.lead, "> ")
			t.fan(p, prefix[:len(prefix)-2], before, hidden)
			column += 2
		case k == 0:
			t.fan(p, prefix, before, hidden)
			column += 4
		default:
			t.fan(p, prefix+"    ", before, hidden)
			column += 8
		}
		final := p.branches[len(p.branches)-1]
		before, hidden = p.exits, len(final) > 1 || len(final[0].branches) > 0
		if column > maxCreep {
			column, hidden = 0, true
		}
	}
}

// fan draws branches. When a branch mark is still to be written, the first of them joins it.
func (t *tree) fan(p piece, prefix string, before []int, hidden bool) {
	for k, b := range p.branches {
		mark, inner := "├─> ", "│   "
		if k == len(p.branches)-1 {
			mark, inner = "└─> ", "    "
		}
		if t.lead != "" {
			t.lead += "┬─> "
		} else {
			t.lead = prefix + mark
		}
		t.sequence(b, place{prefix: prefix + inner, before: before, hidden: hidden, last: k == len(p.branches)-1})
	}
}

func (t *tree) step(i int, prefix string, before []int, hidden bool) {
	if i == planStep {
		t.line(prefix, "Plan "+gateMark)
		return
	}
	t.line(prefix, t.title(i))
	if hidden || !slices.Equal(t.shown(i), before) {
		if numbers := t.numbers(i); len(numbers) > 0 {
			for _, line := range dependencyLines(numbers) {
				t.line(prefix, line)
			}
		} else if len(before) > 0 || hidden {
			t.line(prefix, "  Dependencies: none")
		}
	}
	if t.gated(i) {
		t.line(prefix, t.riskLine(i))
	}
}

// shown is what step i must be seen to wait for: its dependencies without those that others imply.
func (t *tree) shown(i int) []int {
	if len(t.reduced.Predecessors(i)) == 0 && t.planGated() {
		return []int{planStep}
	}
	var deps []int
	for _, j := range t.reduced.Predecessors(i) {
		deps = append(deps, int(j))
	}
	return deps
}
