package render

import (
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// Lengths of the picture, in pixels.
const (
	margin       = 24
	cardHeight   = 70
	cardLeast    = 150
	cardMost     = 344
	rowGap       = 46
	pictureLeast = 380
	textInset    = 20 // from the card's edge to its text
	labelSize    = 13
	smallSize    = 11
	badgeSize    = 10
	dataPort     = 26 // from a card's middle to where edges of data touch it
)

const (
	gateBadge = "approval gate"
	endBadge  = "no way back"
)

// SVG draws a stand-alone picture in a layered layout, readable on light and dark ground. Dotted edges lead from a step
// that leaves an artifact to one that uses it. It holds no script and loads nothing.
func SVG(p *dag.Plan, v View) string {
	s := &picture{drawing: newDrawing(p, v), final: make([]bool, p.Len())}
	for _, i := range p.PointsOfNoReturn() {
		s.final[i] = true
	}
	s.measure()
	s.layout = newLayout(s.drawing, s.card)
	s.rowTops()
	s.body()
	legend, legendHeight := s.legend()
	width, height := s.wide(), s.bottom()+legendHeight

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>Remediation plan, %s</title>\n", count(p.Len(), "step"))
	fmt.Fprintf(&b, "<desc>%s</desc>\n", s.description())
	b.WriteString("<style>\n" + style + "</style>\n")
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d" rx="12"/>`+"\n", width, height)
	b.WriteString(s.b.String())
	b.WriteString(legend)
	b.WriteString("</svg>\n")
	return b.String()
}

type picture struct {
	*drawing
	*layout
	b     strings.Builder
	final []bool // by step: a point of no return
	card  int    // width of every card
	tops  []int  // of the rows
}

// textWidth is what a text takes in a monospaced font.
func textWidth(s string, size int) int {
	cells := 0
	for _, r := range s {
		cells += cellsOf(r)
	}
	return (cells*size*61 + 99) / 100
}

// cellsOf is 2 for what East Asian fonts draw twice as wide.
func cellsOf(r rune) int {
	if r >= 0x1100 && r <= 0x115F || r >= 0x2E80 && r <= 0xA4CF || r >= 0xAC00 && r <= 0xD7A3 || r >= 0xF900 && r <= 0xFAFF || r >= 0xFE30 && r <= 0xFE6F || r >= 0xFF00 && r <= 0xFF60 || r >= 0x1F300 {
		return 2
	}
	return 1
}

// fit cuts a text with an ellipsis so that it takes no more than a width.
func fit(s string, size, width int) string {
	if textWidth(s, size) <= width {
		return s
	}
	for s != "" && textWidth(s+"…", size) > width {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimRight(s, " ") + "…"
}

// measure chooses the width of the cards: that of the widest text, within bounds.
func (s *picture) measure() {
	s.card = cardLeast
	for i := range s.plan.Len() {
		s.card = max(s.card,
			textInset+numberWidth(s.plan.Len())+textWidth(s.caption(i), labelSize)+14,
			textInset+textWidth(s.aim(i), smallSize)+14,
			textInset+textWidth(s.meta(i), smallSize)+14)
		if s.gated(i) || s.final[i] {
			s.card = max(s.card, 2*(badgeWidth(gateBadge)+14))
		}
	}
	s.card = min(s.card, cardMost) &^ 1
}

func numberWidth(n int) int { return textWidth(strconv.Itoa(n), labelSize) + 8 }

func badgeWidth(text string) int { return textWidth(text, badgeSize) + 14 }

func (s *picture) caption(i int) string {
	c := s.label(i)
	if s.marked(i) {
		c = "▶ " + c
	}
	if note := s.note(i); note != "" {
		c += " (" + note + ")"
	}
	return c
}

// aim is the target as a card shows it: with its kind in capitals (HPA, PVC, PDB) when it is too long.
func (s *picture) aim(i int) string {
	target := s.target(i)
	if textWidth(target, smallSize) <= cardMost-textInset-14 {
		return target
	}
	kind, rest, _ := strings.Cut(target, " ")
	capitals := strings.Map(func(r rune) rune {
		if r < 'A' || r > 'Z' {
			return -1
		}
		return r
	}, kind)
	if len(capitals) < 3 {
		return target
	}
	return capitals + " " + rest
}

// meta is the last line of a card.
func (s *picture) meta(i int) string {
	risk := s.risk(i)
	parts := []string{risk.String() + " risk"}
	if risk == schema.RiskNone {
		parts[0] = "no risk"
	}
	if d := s.plan.Step(i).Duration(); d > 0 {
		parts = append(parts, short(d))
	}
	if state := s.state(i); state != "" {
		parts = append(parts, "["+state+"]")
	}
	return strings.Join(parts, " · ")
}

func (s *picture) description() string {
	d := s.totalSteps()
	if text := clean(s.plan.Estimate().Text, maxLabel); text != "" {
		d += ". Estimated duration: " + text
	}
	if s.anyGated() {
		d += ". A person is asked for approval"
	}
	return html.EscapeString(d + ".")
}

// rowTops gives the rows their y. Rows stand further apart where edges go far to the side.
func (s *picture) rowTops() {
	s.tops = make([]int, len(s.rows))
	far := make([]int, len(s.rows))
	for _, e := range s.segments {
		a, b := s.vertices[e.from], s.vertices[e.to]
		far[b.row] = max(far[b.row], max(a.x-b.x, b.x-a.x)/px)
	}
	y := margin
	for r := range s.rows {
		if r > 0 {
			y += cardHeight + rowGap + min(far[r]/12, 72)
		}
		s.tops[r] = y
	}
}

func (s *picture) bottom() int { return s.tops[len(s.tops)-1] + cardHeight + margin }

func (s *picture) wide() int { return max((s.layout.width+px-1)/px+2*margin, pictureLeast) }

// at is the x of a vertex in pixels.
func (s *picture) at(v int) int {
	return (s.wide()-s.layout.width/px)/2 + (s.vertices[v].x+px/2)/px
}

func (s *picture) body() {
	var solid, dotted, heads, dataHeads strings.Builder
	reached := make([]bool, len(s.vertices))
	for _, e := range s.segments {
		from, to := s.vertices[e.from], s.vertices[e.to]
		x0, y0 := s.at(e.from), s.tops[from.row]+cardHeight
		x1, y1 := s.at(e.to), s.tops[to.row]
		out, head := &solid, &heads
		if e.data {
			out, head = &dotted, &dataHeads
			toward := dataPort
			if x1 < x0 {
				toward = -dataPort
			}
			if from.card {
				x0 += toward
			}
			if to.card && x1 == x0-toward {
				x1 += toward
			} else if to.card {
				x1 -= toward
			}
		}
		end := y1
		if to.card {
			end -= 7
			if e.data || !reached[e.to] {
				fmt.Fprintf(head, "M%d %dl-5 -8h10z", x1, y1-1)
			}
			reached[e.to] = reached[e.to] || !e.data
		}
		fmt.Fprintf(out, "M%d %d", x0, y0)
		if x0 == x1 {
			fmt.Fprintf(out, "V%d", end)
		} else {
			mid := (y0 + end) / 2
			fmt.Fprintf(out, "C%d %d %d %d %d %d", x0, mid, x1, mid, x1, end)
		}
		if !to.card {
			fmt.Fprintf(out, "V%d", y1+cardHeight)
		}
	}
	s.path("edge", solid.String())
	s.path("data", dotted.String())
	s.path("head", heads.String()+dataHeads.String())
	for _, row := range s.rows {
		for _, v := range row {
			if s.vertices[v].card {
				s.drawCard(v)
			}
		}
	}
}

func (s *picture) path(class, d string) {
	if d != "" {
		fmt.Fprintf(&s.b, `<path class="%s" d="%s"/>`+"\n", class, d)
	}
}

func (s *picture) drawCard(v int) {
	i := s.vertices[v].step
	x, y := s.at(v)-s.card/2, s.tops[s.vertices[v].row]
	if i == planStep {
		fmt.Fprintf(&s.b, `<g class="gated"><title>The plan as a whole waits for a person</title><rect class="card" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`, x, y, s.card, cardHeight, cardHeight/2)
		text(&s.b, "label middle", x+s.card/2, y+30, "Plan")
		text(&s.b, "small middle", x+s.card/2, y+48, gateBadge)
		s.b.WriteString("</g>\n")
		return
	}
	class := "plain"
	switch {
	case s.marked(i):
		class = "marked"
	case s.gated(i):
		class = "gated"
	}
	fmt.Fprintf(&s.b, `<g class="%s"><title>%s</title><rect class="card" x="%d" y="%d" width="%d" height="%d" rx="10"/>`, class, html.EscapeString(s.full(i)), x, y, s.card, cardHeight)
	fmt.Fprintf(&s.b, `<rect class="risk %s" x="%d" y="%d" width="4" height="%d" rx="2"/>`, s.risk(i), x+8, y+10, cardHeight-20)
	left, room, indent := x+textInset, s.card-textInset-10, numberWidth(i+1)
	target, meta := fit(s.aim(i), smallSize, room), fit(s.meta(i), smallSize, room)
	top, next := y+24, y+41
	if target == "" {
		top, next = y+30, y+31
	}
	text(&s.b, "number", left, top, strconv.Itoa(i+1))
	text(&s.b, "label", left+indent, top, fit(s.caption(i), labelSize, room-indent))
	text(&s.b, "small", left, next, target)
	text(&s.b, "small", left, next+16, meta)
	if s.gated(i) {
		badge(&s.b, "gate", x+s.card-10, y, gateBadge)
	}
	if s.final[i] {
		badge(&s.b, "end", x+s.card-10, y+cardHeight, endBadge)
	}
	s.b.WriteString("</g>\n")
}

// full is what a card says to those who hear it or point at it: everything, uncut.
func (s *picture) full(i int) string {
	parts := []string{fmt.Sprintf("Step %d: %s", i+1, s.caption(i))}
	if t := s.target(i); t != "" {
		parts = append(parts, t)
	}
	parts = append(parts, s.meta(i))
	if s.gated(i) {
		parts = append(parts, "waits for approval")
	}
	if s.final[i] {
		parts = append(parts, "no rollback takes it back")
	}
	if numbers := s.numbers(i); len(numbers) > 0 {
		names := make([]string, len(numbers))
		for k, n := range numbers {
			names[k] = strconv.Itoa(n)
		}
		parts = append(parts, "after "+strings.Join(names, ", "))
	}
	return strings.Join(parts, "; ")
}

func text(b *strings.Builder, class string, x, y int, t string) {
	if t != "" {
		fmt.Fprintf(b, `<text class="%s" x="%d" y="%d">%s</text>`, class, x, y, html.EscapeString(t))
	}
}

// badge draws a pill that ends at right and lies over a card's border at y.
func badge(b *strings.Builder, class string, right, y int, t string) {
	w := badgeWidth(t)
	fmt.Fprintf(b, `<rect class="badge %s" x="%d" y="%d" width="%d" height="18" rx="9"/>`, class, right-w, y-9, w)
	text(b, "badge-text "+class+"-text middle", right-w/2, y+4, t)
}

// legend explains what the picture uses, and how high that is.
func (s *picture) legend() (string, int) {
	type entry struct {
		draw func(b *strings.Builder, x, y int)
		wide int
		says string
	}
	sample := func(class string) func(*strings.Builder, int, int) {
		return func(b *strings.Builder, x, y int) {
			fmt.Fprintf(b, `<path class="%s" d="M%d %dh20"/><path class="head" d="M%d %dl-8 -5v10z"/>`, class, x, y, x+27, y)
		}
	}
	pill := func(class, t string) func(*strings.Builder, int, int) {
		return func(b *strings.Builder, x, y int) { badge(b, class, x+badgeWidth(t), y, t) }
	}
	var entries []entry
	if slices.ContainsFunc(s.segments, func(e segment) bool { return !e.data }) {
		entries = append(entries, entry{sample("edge"), 27, "goes before"})
	}
	if len(s.plan.DataEdges()) > 0 {
		entries = append(entries, entry{sample("data"), 27, "leaves data for"})
	}
	if s.anyGated() {
		entries = append(entries, entry{pill("gate", gateBadge), badgeWidth(gateBadge), "a person decides"})
	}
	if slices.Contains(s.final, true) {
		entries = append(entries, entry{pill("end", endBadge), badgeWidth(endBadge), "no rollback takes it back"})
	}
	var b strings.Builder
	right := s.wide() - margin
	x, y := margin, s.bottom()
	for _, e := range entries {
		wide := e.wide + 8 + textWidth(e.says, badgeSize)
		if x > margin && x+wide > right {
			x, y = margin, y+24
		}
		e.draw(&b, x, y+8)
		text(&b, "tiny", x+e.wide+8, y+12, e.says)
		x += wide + 24
	}
	if len(entries) == 0 {
		return "", 0
	}
	return `<g class="legend">` + b.String() + "</g>\n", y + 8 + margin - s.bottom()
}

// style gives every colour twice, for light and dark ground. Risks are told in words beside their colours.
const style = `.ground{fill:#fff}
text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;font-size:11px;fill:#475569}
.label,.number{font-size:13px;font-weight:600;fill:#0f172a}
.number{fill:#64748b}
.tiny,.badge-text{font-size:10px}
.middle{text-anchor:middle}
.card{fill:#f8fafc;stroke:#94a3b8;stroke-width:1.25}
.gated .card{stroke:#b45309;stroke-width:2}
.marked .card{stroke:#2563eb;stroke-width:3}
.risk{fill:#94a3b8}.low{fill:#16a34a}.medium{fill:#d97706}.high{fill:#dc2626}.critical{fill:#a21caf}
.badge{stroke-width:1}
.gate{fill:#fef3c7;stroke:#b45309}.gate-text{fill:#78350f}
.end{fill:#fee2e2;stroke:#b91c1c}.end-text{fill:#7f1d1d}
.edge,.data{fill:none;stroke:#64748b;stroke-width:1.5}
.data{stroke-dasharray:1.5 4.5;stroke-linecap:round;stroke-width:2}
.head{fill:#64748b}
@media (prefers-color-scheme:dark){
.ground{fill:#0f172a}
text{fill:#cbd5e1}
.label{fill:#f1f5f9}
.number{fill:#94a3b8}
.card{fill:#1e293b;stroke:#64748b}
.gated .card{stroke:#f59e0b}
.marked .card{stroke:#60a5fa}
.risk{fill:#64748b}.low{fill:#4ade80}.medium{fill:#fbbf24}.high{fill:#f87171}.critical{fill:#e879f9}
.gate{fill:#451a03;stroke:#f59e0b}.gate-text{fill:#fde68a}
.end{fill:#450a0a;stroke:#f87171}.end-text{fill:#fecaca}
.edge,.data{stroke:#94a3b8}
.head{fill:#94a3b8}
}
`
