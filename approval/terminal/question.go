package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// A question must fit a person's patience whatever a document holds. What is left out is always counted.
const (
	width     = 100 // characters in a line
	indent    = 15  // where values begin
	maxDrawn  = 60  // steps of a plan that is drawn, or listed
	maxText   = 600 // characters of a text or value
	maxListed = 20  // parameters, warnings, step numbers, lines of a text
)

// subject names what a request is about.
func subject(req *approval.Request) string {
	if req.Step == nil {
		return "the plan as a whole"
	}
	return fmt.Sprintf("step %d, %s", req.Step.Number(), visible(req.Step.Action()))
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// question is the whole text, the prompt at its end.
func question(req *approval.Request, now time.Time) string {
	p := &page{}
	p.line("Approval needed: %s, %d steps in all, run %s", subject(req), req.Plan.Len(), oneLine(req.Run))
	p.line("")
	p.drawing(req)
	if req.Step != nil {
		p.step(req)
	} else {
		p.plan(req)
	}
	p.field("Confidence", "%s", confidence(req))
	p.noReturn(req)
	p.outcomes(req, now)
	p.line("")
	fmt.Fprintf(&p.b, "Approve %s? y or n (a reason may follow), ? shows this again: ", subject(req))
	return p.b.String()
}

// A page is text in two columns. Everything that comes from a document goes through visible on its way there.
type page struct{ b strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// field writes a label and a value, wrapped; an empty label goes on with the field before.
func (p *page) field(label, format string, args ...any) {
	for _, text := range wrap(fmt.Sprintf(format, args...), width-indent) {
		p.line("  %-*s%s", indent-2, label, text)
		label = ""
	}
}

// quote writes words of the model behind a bar on every line, so that none can pass for one of ours.
func (p *page) quote(label, text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	var lines []string
	for part := range strings.SplitSeq(cut(strings.TrimSpace(text), maxText), "\n") {
		lines = append(lines, wrap(visible(part), width-indent-2)...)
	}
	for _, line := range lines[:min(len(lines), maxListed)] {
		p.line("%s", strings.TrimRight(fmt.Sprintf("  %-*s| %s", indent-2, label, line), " "))
		label = ""
	}
	if more := len(lines) - maxListed; more > 0 {
		p.line("  %-*s| … (%d more lines)", indent-2, "", more)
	}
}

func (p *page) drawing(req *approval.Request) {
	if req.Plan.Len() > maxDrawn {
		return
	}
	view := render.View{}
	if req.Gates != nil {
		view.Gated, view.Risk, view.PlanGated = req.Gates.Required, req.Gates.Risk, req.Gates.Plan.Required
	}
	if req.Step != nil {
		view.Mark, view.Marked = req.Step.Index(), true
	}
	for line := range strings.Lines(render.Box(req.Plan, view)) {
		p.line("%s", strings.TrimRight(visible(line), " "))
	}
	p.line("")
}

func (p *page) step(req *approval.Request) {
	s := req.Step
	p.line("Step %d: %s (%s)", s.Number(), visible(s.Action()), visible(s.ID()))
	if name := s.Name(); name != "" {
		p.field("Title", "%s", oneLine(name))
	}
	p.field("Target", "%s", target(s))
	p.quote("Description", s.Description())
	p.quote("Rationale", s.Rationale())
	p.field("Risk", "%s", req.Gate.Risk)
	p.reasons(req.Gate.Reasons)
	if does := s.Spec().Does; does != "" {
		p.field("Does", "%s", visible(does))
	}
	p.parameters(s)
	p.field("Undo", "%s", undo(s))
	p.warnings(req.Plan, s.ID())
}

func (p *page) plan(req *approval.Request) {
	if req.Author != "" {
		p.field("Author", "%s", oneLine(req.Author))
	}
	p.field("Risk", "%s, that of its riskiest step", req.Gate.Risk)
	p.reasons(req.Gate.Reasons)
	for i := range min(req.Plan.Len(), maxDrawn) {
		s := req.Plan.Step(i)
		asks := ""
		if req.Gates != nil && req.Gates.Required(i) {
			asks = "; asks for itself"
		}
		p.field("Step "+strconv.Itoa(s.Number()), "%s, %s; risk %s%s; undo: %s", visible(s.Action()), target(s), risk(req, s), asks, undo(s))
		p.quote("", cut(s.Description(), width))
	}
	if more := req.Plan.Len() - maxDrawn; more > 0 {
		p.field("", "… and %d more steps, not shown: read the plan itself before you approve it", more)
	}
	p.warnings(req.Plan, "")
}

func (p *page) reasons(reasons []string) {
	label := "Asks because"
	for _, r := range reasons {
		p.field(label, "%s", oneLine(r))
		label = ""
	}
}

func (p *page) parameters(s *dag.Step) {
	label, n := "Parameters", 0
	for name, value := range s.Parameters().All() {
		if n++; n > maxListed {
			continue
		}
		text := "(secret)"
		if !secret(s.Spec(), name) {
			text = valueText(value)
		}
		p.field(label, "%s: %s", oneLine(name), text)
		label = ""
	}
	if n > maxListed {
		p.field("", "… and %d more, not shown: read the plan itself before you approve this", n-maxListed)
	}
}

func secret(spec *actions.Spec, name string) bool {
	return slices.ContainsFunc(spec.Parameters, func(p actions.Parameter) bool { return p.Name == name && p.Secret })
}

func valueText(v any) string {
	if s, ok := v.(string); ok {
		return oneLine(s)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "(cannot be shown)"
	}
	return oneLine(strings.TrimSuffix(b.String(), "\n"))
}

// warnings shows those of one step, or with "" those of the whole plan.
func (p *page) warnings(plan *dag.Plan, id string) {
	label, n := "Warning", 0
	for _, w := range plan.Warnings() {
		if id != "" && w.Step != id {
			continue
		}
		if n++; n > maxListed {
			continue
		}
		where := ""
		if i, ok := plan.Index(w.Step); ok && id == "" {
			where = fmt.Sprintf("step %d ", i+1)
		}
		p.field(label, "%s%s", where, oneLine(w.Message))
		label = ""
	}
	if n > maxListed {
		p.field("", "… and %d more warnings", n-maxListed)
	}
}

// noReturn names the steps of the plan that no rollback takes back.
func (p *page) noReturn(req *approval.Request) {
	if points := req.Plan.PointsOfNoReturn(); len(points) > 0 {
		does := "it does"
		if len(points) > 1 {
			does = "they do"
		}
		p.field("No way back", "%s: what %s stays, whatever a rollback undoes", steps(points), does)
	}
}

// outcomes says what follows from each answer.
func (p *page) outcomes(req *approval.Request, now time.Time) {
	p.line("")
	if s := req.Step; s != nil {
		p.field("yes", "step %d runs; it takes about %s, and at most %s", s.Number(), wording.Duration(s.Duration()), wording.Duration(s.Timeout()))
		p.field("no", "%s", refusal(req.Plan, s))
	} else {
		p.field("yes", "the run starts; steps that ask for themselves still do")
		p.field("no", "no step runs")
	}
	if req.ExpiresAt.IsZero() {
		p.field("silence", "the question stays open until the run withdraws it, and nothing happens before")
		return
	}
	left := max(0, req.ExpiresAt.Sub(now))
	p.field("silence", "no answer within %s (until %s) means no", wording.Duration(left.Round(time.Second)), req.ExpiresAt.Format("15:04:05"))
}

// refusal says what a no to a step means for the others.
func refusal(plan *dag.Plan, s *dag.Step) string {
	text := fmt.Sprintf("step %d does not run", s.Number())
	behind := dependents(plan, s.Index())
	if len(behind) > 0 {
		text += ", and neither does what needs it: " + steps(behind)
	}
	if s.Gate() || slices.ContainsFunc(behind, func(i int) bool { return plan.Step(i).Gate() }) {
		text += "; the run fails, and nothing more that changes something starts"
	}
	return text
}

// dependents returns, ascending, the steps that cannot run without step i.
func dependents(plan *dag.Plan, i int) []int {
	g := plan.Graph()
	seen := make([]bool, plan.Len())
	queue, found := []int{i}, []int(nil)
	for len(queue) > 0 {
		node := queue[0]
		queue = queue[1:]
		for _, next := range g.Successors(node) {
			if n := int(next); !seen[n] && !plan.Step(n).Always() {
				seen[n] = true
				queue, found = append(queue, n), append(found, n)
			}
		}
	}
	slices.Sort(found)
	return found
}

// steps names steps by number.
func steps(indexes []int) string {
	var b strings.Builder
	b.WriteString("step")
	if len(indexes) > 1 {
		b.WriteString("s")
	}
	for k, i := range indexes {
		if k == maxListed {
			fmt.Fprintf(&b, " and %d more", len(indexes)-k)
			break
		}
		if k > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %d", i+1)
	}
	return b.String()
}

func target(s *dag.Step) string {
	t := s.Target()
	if t.Kind == "" && t.Name == "" {
		return "no object by name"
	}
	return oneLine(t.String())
}

func undo(s *dag.Step) string {
	switch {
	case !s.Mutating() && s.Spec().Effect == actions.Reads:
		return "nothing to undo, it only reads"
	case !s.Mutating() && !s.Reversible():
		return "none, what it tells people is told"
	case !s.Reversible():
		return "cannot be undone"
	}
	return visible(s.Spec().Undo)
}

// risk is the effective one where the policy's view is known.
func risk(req *approval.Request, s *dag.Step) schema.Risk {
	if req.Gates != nil {
		return req.Gates.Risk(s.Index())
	}
	return s.Risk()
}

func confidence(req *approval.Request) string {
	text := "not given for the analysis"
	if req.Confidence >= 0 {
		text = number(req.Confidence) + " of the analysis"
	}
	if req.Step != nil {
		if own, ok := req.Step.Confidence(); ok {
			text += ", " + number(own) + " of the plan in this step"
		}
	}
	return text
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// oneLine makes a text of any length and content fit into a sentence.
func oneLine(s string) string { return visible(cut(s, maxText)) }
