package render

import (
	"fmt"
	"strings"

	"github.com/remedykit/remedy/dag"
)

// DOT draws a Graphviz digraph. Dashed edges lead from a step that leaves an artifact to one that uses it.
func DOT(p *dag.Plan, v View) string {
	d := newDrawing(p, v)
	var b strings.Builder
	b.WriteString("digraph plan {\n")
	b.WriteString("  graph [rankdir=TB, nodesep=0.35, ranksep=0.5]\n")
	b.WriteString("  node [shape=box, style=rounded, fontname=\"Helvetica\", fontsize=11]\n")
	b.WriteString("  edge [fontname=\"Helvetica\", fontsize=9]\n")
	if d.planGated() {
		fmt.Fprintf(&b, "  plan [label=\"Plan\\n%s\", color=\"#c2570c\", penwidth=2]\n", gateMark)
	}
	for i := range p.Len() {
		lines := d.nodeLines(i)
		for k := range lines {
			lines[k] = dotText(lines[k])
		}
		style := ""
		if d.gated(i) {
			lines = append(lines, gateMark)
			style = ", color=\"#c2570c\", penwidth=2"
		}
		if d.marked(i) {
			style = ", color=\"#1f6feb\", penwidth=3"
		}
		fmt.Fprintf(&b, "  s%d [label=\"%s\"%s]\n", i+1, strings.Join(lines, `\n`), style)
	}
	for i := range p.Len() {
		if d.planGated() && len(d.reduced.Predecessors(i)) == 0 {
			fmt.Fprintf(&b, "  plan -> s%d\n", i+1)
		}
		for _, j := range d.reduced.Predecessors(i) {
			fmt.Fprintf(&b, "  s%d -> s%d\n", j+1, i+1)
		}
	}
	for _, e := range p.DataEdges() {
		fmt.Fprintf(&b, "  s%d -> s%d [style=dashed, constraint=false, label=\"%s\"]\n", e.From+1, e.To+1, dotText(d.artifact(e)))
	}
	b.WriteString("}\n")
	return b.String()
}

// dotText escapes for a quoted string of DOT, in which a backslash begins an escape and "&" an entity.
func dotText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;").Replace(s)
}
