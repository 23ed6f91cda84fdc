package render

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/remedykit/remedy/dag"
)

// Mermaid draws a Mermaid flowchart. Dotted edges lead from a step that leaves an artifact to one that uses it.
func Mermaid(p *dag.Plan, v View) string {
	d := newDrawing(p, v)
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	used := map[string]bool{}
	class := func(name string) string {
		used[name] = true
		return ":::" + name
	}
	if d.planGated() {
		fmt.Fprintf(&b, "  plan([\"Plan<br/>%s\"])%s\n", gateMark, class("gated"))
	}
	for i := range p.Len() {
		lines := d.nodeLines(i)
		for k := range lines {
			lines[k] = mermaidText(lines[k])
		}
		if d.gated(i) {
			lines = append(lines, gateMark)
		}
		fmt.Fprintf(&b, "  s%d[\"%s\"]", i+1, strings.Join(lines, "<br/>"))
		switch {
		case d.marked(i):
			b.WriteString(class("marked"))
		case d.gated(i):
			b.WriteString(class("gated"))
		case d.parallel[i]:
			b.WriteString(class("parallel"))
		}
		b.WriteString("\n")
	}
	for i := range p.Len() {
		if d.planGated() && len(d.reduced.Predecessors(i)) == 0 {
			fmt.Fprintf(&b, "  plan --> s%d\n", i+1)
		}
		for _, j := range d.reduced.Predecessors(i) {
			fmt.Fprintf(&b, "  s%d --> s%d\n", j+1, i+1)
		}
	}
	for _, e := range p.DataEdges() {
		fmt.Fprintf(&b, "  s%d -.->|\"%s\"| s%d\n", e.From+1, mermaidText(d.artifact(e)), e.To+1)
	}
	for _, c := range []struct{ name, style string }{
		{"gated", "stroke:#c2570c,stroke-width:3px"},
		{"marked", "stroke:#1f6feb,stroke-width:4px"},
		{"parallel", "stroke-dasharray:6 3"},
	} {
		if used[c.name] {
			fmt.Fprintf(&b, "  classDef %s %s\n", c.name, c.style)
		}
	}
	return b.String()
}

// nodeLines are the lines of a step in the drawings with nodes; the gate is not among them.
func (d *drawing) nodeLines(i int) []string {
	head := fmt.Sprintf("Step %d: %s", i+1, d.label(i))
	if d.marked(i) {
		head = "▶ " + head
	}
	if note := d.note(i); note != "" {
		head += " (" + note + ")"
	}
	lines := []string{head}
	if target := d.target(i); target != "" {
		lines = append(lines, target)
	}
	lines = append(lines, "risk "+d.risk(i).String())
	if state := d.state(i); state != "" {
		lines = append(lines, "["+state+"]")
	}
	return lines
}

func (d *drawing) target(i int) string {
	t := d.plan.Step(i).Target()
	if t.Kind == "" && t.Name == "" {
		return ""
	}
	return clean(t.String(), maxLabel)
}

// artifact names what travels along a data edge.
func (d *drawing) artifact(e dag.Edge) string {
	return clean(d.plan.Step(int(e.From)).Artifact(), maxLabel)
}

// mermaidText keeps letters, digits and a little punctuation where Markdown does not read it; all else becomes an
// entity code, which Mermaid shows as the character and never reads.
func mermaidText(s string) string {
	var b strings.Builder
	before := ' '
	for k, r := range s {
		after, _ := utf8.DecodeRuneInString(s[k+utf8.RuneLen(r):])
		plain := isWord(r)
		switch r {
		case ' ', ',', ':':
			plain = true
		case '_', '-', '/':
			plain = isWord(before) && isWord(after)
		}
		if plain {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "#%d;", r)
		}
		before = r
	}
	return b.String()
}

func isWord(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
