package render

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/remedykit/remedy/dag"
)

const (
	// boxWidth is the least width of a box in code points, borders included.
	boxWidth = 43
	// arrowColumn is where the arrow leaves a box.
	arrowColumn = 18
)

// Box draws the plan as boxes, one per group, with totals below.
func Box(p *dag.Plan, v View) string {
	d := newDrawing(p, v)
	var boxes [][]string
	if d.planGated() {
		boxes = append(boxes, []string{"Plan " + gateMark})
	}
	for _, g := range d.groups {
		boxes = append(boxes, d.groupLines(g))
	}
	inner := boxWidth - 4
	for _, lines := range boxes {
		for _, line := range lines {
			inner = max(inner, utf8.RuneCountInString(line))
		}
	}
	var b strings.Builder
	border := strings.Repeat("─", inner+2)
	left, right := strings.Repeat("─", arrowColumn-1), strings.Repeat("─", inner+2-arrowColumn)
	arrow := strings.Repeat(" ", arrowColumn) + "↓\n"
	for k, lines := range boxes {
		if k > 0 {
			b.WriteString(arrow)
		}
		b.WriteString("┌" + border + "┐\n")
		for _, line := range lines {
			b.WriteString("│ " + line + strings.Repeat(" ", inner-utf8.RuneCountInString(line)) + " │\n")
		}
		if k < len(boxes)-1 {
			b.WriteString("└" + left + "┬" + right + "┘\n")
		} else {
			b.WriteString("└" + border + "┘\n")
		}
	}
	b.WriteString("\n" + d.totalSteps() + "\n")
	if text := clean(p.Estimate().Text, maxLabel); text != "" {
		b.WriteString("Estimated Duration: " + text)
		if d.anyGated() {
			b.WriteString(" (without approval delay)")
		}
		b.WriteString("\n")
	}
	if rate, ok := p.SuccessRate(); ok {
		b.WriteString("Historical Success Rate: " + percent(rate) + "\n")
	}
	return b.String()
}

// groupLines writes what stands in the box of a group. Dependencies that all its steps share are written once.
func (d *drawing) groupLines(g []int) []string {
	shared := true
	for _, i := range g {
		shared = shared && slices.Equal(d.plan.Step(i).Dependencies(), d.plan.Step(g[0]).Dependencies())
	}
	var lines []string
	for _, i := range g {
		lines = append(lines, d.title(i))
		if numbers := d.numbers(i); len(numbers) > 0 && (!shared || len(g) == 1) {
			lines = append(lines, dependencyLines(numbers)...)
		}
		if d.gated(i) {
			lines = append(lines, d.riskLine(i))
		}
	}
	if numbers := d.numbers(g[0]); len(numbers) > 0 && shared && len(g) > 1 {
		lines = append(lines, dependencyLines(numbers)...)
	}
	return lines
}
