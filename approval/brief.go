package approval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// A Brief must fit a person's patience whatever a document holds. What is left out is always counted.
const (
	mostDrawn  = 60  // steps of a plan that is drawn, or listed
	mostText   = 600 // characters of a text or value
	mostListed = 20  // parameters, warnings, step numbers, lines of a text
)

// A Brief is all that a person needs to decide about a request, in one look, and the same in every medium. All of it is
// plain text: cut to a length, with secrets masked, and with characters that a screen would obey or hide made visible. A
// channel still escapes it for its own medium.
type Brief struct {
	// Subject names what is asked about: "step 4, increase_resources", or "the plan as a whole".
	Subject string
	// Heading says of which run and plan that is.
	Heading string
	// Drawing is the plan as a drawing of characters with the step marked, a line each; empty when it would be too long.
	Drawing []string
	// Facts are what is known, in the order of a reader's interest.
	Facts []Fact
	// Yes, No and Silence say what follows from each answer.
	Yes, No, Silence string
}

// A Fact is one thing that a Brief says.
type Fact struct {
	Label string
	Lines []string
	// Quoted tells that the lines are not remedy's words but those of a model, a handler or a caller.
	Quoted bool
}

// Brief says what a person needs to know, at a time, about a request that stands so far.
func (r *Request) Brief(s Standing, now time.Time) *Brief {
	b := &briefing{req: r, Brief: &Brief{
		Subject: r.Subject(),
		Heading: fmt.Sprintf("%d steps in all, run %s", r.Plan.Len(), oneLine(r.Run)),
	}}
	b.draw()
	b.incident()
	if r.Step != nil {
		b.step()
	} else {
		b.plan()
	}
	b.terms(s)
	b.say("Confidence", "%s", b.confidence())
	b.noReturn()
	if r.Remaining > 0 {
		b.say("Then", "the rest takes about %s after a yes", wording.Duration(r.Remaining.Round(time.Second)))
	}
	b.outcomes(now)
	return b.Brief
}

// Subject names what a request is about: "step 4, increase_resources", or "the plan as a whole".
func (r *Request) Subject() string {
	if r.Step == nil {
		return "the plan as a whole"
	}
	return fmt.Sprintf("step %d, %s", r.Step.Number(), wording.Visible(r.Step.Action()))
}

// A briefing writes a Brief.
type briefing struct {
	*Brief
	req *Request
}

func (b *briefing) say(label, format string, args ...any) {
	b.add(label, []string{fmt.Sprintf(format, args...)})
}

func (b *briefing) add(label string, lines []string) {
	if len(lines) > 0 {
		b.Facts = append(b.Facts, Fact{Label: label, Lines: lines})
	}
}

// quote adds words that are not ours.
func (b *briefing) quote(label string, texts ...string) {
	var lines []string
	for _, text := range texts {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		for part := range strings.SplitSeq(wording.Cut(text, mostText), "\n") {
			lines = append(lines, wording.Visible(part))
		}
	}
	if more := len(lines) - mostListed; more > 0 {
		lines = append(lines[:mostListed], fmt.Sprintf("… (%d more lines)", more))
	}
	if len(lines) > 0 {
		b.Facts = append(b.Facts, Fact{Label: label, Lines: lines, Quoted: true})
	}
}

func (b *briefing) draw() {
	r := b.req
	if r.Plan.Len() > mostDrawn {
		return
	}
	view := render.View{}
	if r.Gates != nil {
		view.Gated, view.Risk, view.PlanGated = r.Gates.Required, r.Gates.Risk, r.Gates.Plan.Required
	}
	if r.Step != nil {
		view.Mark, view.Marked = r.Step.Index(), true
	}
	for line := range strings.Lines(render.Box(r.Plan, view)) {
		b.Drawing = append(b.Drawing, strings.TrimRight(wording.Visible(strings.TrimSuffix(line, "\n")), " "))
	}
}

func (b *briefing) incident() {
	i := b.req.Incident
	if i == nil {
		return
	}
	b.quote("Incident", strings.TrimSpace(i.ID+" "+i.Title), i.Summary)
	b.quote("Evidence", i.Evidence...)
}

func (b *briefing) step() {
	s := b.req.Step
	b.say("Step", "%s (%s)", wording.Visible(s.Action()), wording.Visible(s.ID()))
	if name := s.Name(); name != "" {
		b.say("Title", "%s", oneLine(name))
	}
	b.say("Target", "%s", targetOf(s))
	b.quote("Description", s.Description())
	b.quote("Rationale", s.Rationale())
	b.say("Risk", "%s", b.req.Gate.Risk)
	b.reasons()
	if does := s.Spec().Does; does != "" {
		b.say("Does", "%s", wording.Visible(does))
	}
	b.parameters()
	b.preview()
	b.touches()
	b.say("Undo", "%s", undoOf(s))
	b.warnings(s.ID())
}

func (b *briefing) plan() {
	r := b.req
	if r.Author != "" {
		b.say("Author", "%s", oneLine(r.Author))
	}
	b.say("Risk", "%s, that of its riskiest step", r.Gate.Risk)
	b.reasons()
	for i := range min(r.Plan.Len(), mostDrawn) {
		s := r.Plan.Step(i)
		asks := ""
		if r.Gates != nil && r.Gates.Required(i) {
			asks = "; asks for itself"
		}
		label := "Step " + strconv.Itoa(s.Number())
		b.say(label, "%s, %s; risk %s%s; undo: %s", wording.Visible(s.Action()), targetOf(s), riskOf(r, s), asks, undoOf(s))
		b.quote(label, wording.Cut(s.Description(), 100))
	}
	if more := r.Plan.Len() - mostDrawn; more > 0 {
		b.say("More", "… and %d more steps, not shown: read the plan itself before you approve it", more)
	}
	b.warnings("")
}

func (b *briefing) reasons() {
	var lines []string
	for _, r := range b.req.Gate.Reasons {
		lines = append(lines, oneLine(r))
	}
	b.add("Asks because", lines)
}

// terms say who decides, where a policy does not leave it to anybody.
func (b *briefing) terms(s Standing) {
	panels := b.req.Gate.Terms.Panels
	var lines []string
	for i := range panels {
		lines = append(lines, oneLine(panels[i].String()))
	}
	b.add("It takes", lines)
	lines = nil
	for _, v := range s.Votes {
		lines = append(lines, oneLine(v.By)+quoted(v.Reason))
	}
	b.add("Yes so far", lines)
	if len(s.Votes) > 0 && s.Missing != "" {
		b.say("Still needed", "%s", oneLine(s.Missing))
	}
}

func quoted(reason string) string {
	if strings.TrimSpace(reason) == "" {
		return ""
	}
	return ": " + oneLine(reason)
}

func (b *briefing) parameters() {
	s := b.req.Step
	var lines []string
	n := 0
	for name, value := range s.Parameters().All() {
		if n++; n > mostListed {
			continue
		}
		text := "(secret)"
		if !secretParameter(s.Spec(), name) {
			text = valueText(value)
		}
		lines = append(lines, oneLine(name)+": "+text)
	}
	if n > mostListed {
		lines = append(lines, fmt.Sprintf("… and %d more, not shown: read the plan itself before you approve this", n-mostListed))
	}
	b.add("Parameters", lines)
}

func secretParameter(spec *actions.Spec, name string) bool {
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

// preview says what the dry run found.
func (b *briefing) preview() {
	p := b.req.Preview
	switch {
	case p == nil:
	case p.Verdict == actions.Unverifiable:
		b.say("Would change", "nobody can say in advance what it changes")
	case len(p.Change) > 0:
		b.quote("Would change", p.Change...)
		how := "the dry run was checked by the system that carries it out"
		if p.Verdict == actions.Simulated {
			how = "this was worked out, not checked by the system that carries it out"
		}
		b.say("Dry run", "%s", how)
	}
}

// touches says what the step would write or disturb, where that is more than its target.
func (b *briefing) touches() {
	var lines []string
	all := b.req.Touches
	for _, t := range all[:min(len(all), mostListed)] {
		line := oneLine(t.Target.String())
		if t.Of > 0 {
			line += fmt.Sprintf(", %d of %d replicas at the same time", t.Replicas, t.Of)
		}
		lines = append(lines, line)
	}
	if more := len(all) - mostListed; more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", more))
	}
	if len(all) > 1 || len(all) == 1 && (all[0].Of > 0 || all[0].Target != b.req.Step.Target()) {
		b.add("Touches", lines)
	}
}

// warnings are those of one step, or with "" those of the whole plan.
func (b *briefing) warnings(id string) {
	var lines []string
	n := 0
	for _, w := range b.req.Plan.Warnings() {
		if id != "" && w.Step != id {
			continue
		}
		if n++; n > mostListed {
			continue
		}
		where := ""
		if i, ok := b.req.Plan.Index(w.Step); ok && id == "" {
			where = fmt.Sprintf("step %d ", i+1)
		}
		lines = append(lines, where+oneLine(w.Message))
	}
	if n > mostListed {
		lines = append(lines, fmt.Sprintf("… and %d more warnings", n-mostListed))
	}
	b.add("Warning", lines)
}

// noReturn names the steps of the plan that no rollback takes back.
func (b *briefing) noReturn() {
	if points := b.req.Plan.PointsOfNoReturn(); len(points) > 0 {
		does := "it does"
		if len(points) > 1 {
			does = "they do"
		}
		b.say("No way back", "%s: what %s stays, whatever a rollback undoes", stepNumbers(points), does)
	}
}

// outcomes says what follows from each answer.
func (b *briefing) outcomes(now time.Time) {
	r := b.req
	if s := r.Step; s != nil {
		b.Yes = fmt.Sprintf("step %d runs; it takes about %s, and at most %s", s.Number(), wording.Duration(s.Duration()), wording.Duration(s.Timeout()))
		b.No = refusal(r.Plan, s)
	} else {
		b.Yes = "the run starts; steps that ask for themselves still do"
		b.No = "no step runs"
	}
	if r.ExpiresAt.IsZero() {
		b.Silence = "the question stays open until the run withdraws it, and nothing happens before"
		return
	}
	left := max(0, r.ExpiresAt.Sub(now))
	b.Silence = fmt.Sprintf("no answer within %s (until %s) means no", wording.Duration(left.Round(time.Second)), r.ExpiresAt.Format("15:04:05 MST"))
}

// refusal says what a no to a step means for the others.
func refusal(plan *dag.Plan, s *dag.Step) string {
	text := fmt.Sprintf("step %d does not run", s.Number())
	behind := dependents(plan, s.Index())
	if len(behind) > 0 {
		text += ", and neither does what needs it: " + stepNumbers(behind)
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

// stepNumbers names steps by number.
func stepNumbers(indexes []int) string {
	var b strings.Builder
	b.WriteString("step")
	if len(indexes) > 1 {
		b.WriteString("s")
	}
	for k, i := range indexes {
		if k == mostListed {
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

func targetOf(s *dag.Step) string {
	t := s.Target()
	if t.Kind == "" && t.Name == "" {
		return "no object by name"
	}
	return oneLine(t.String())
}

func undoOf(s *dag.Step) string {
	switch {
	case !s.Mutating() && s.Spec().Effect == actions.Reads:
		return "nothing to undo, it only reads"
	case !s.Mutating() && !s.Reversible():
		return "none, what it tells people is told"
	case !s.Reversible():
		return "cannot be undone"
	}
	return wording.Visible(s.Spec().Undo)
}

// riskOf is the effective one where the policy's view is known.
func riskOf(req *Request, s *dag.Step) schema.Risk {
	if req.Gates != nil {
		return req.Gates.Risk(s.Index())
	}
	return s.Risk()
}

func (b *briefing) confidence() string {
	text := "not given for the analysis"
	if b.req.Confidence >= 0 {
		text = number(b.req.Confidence) + " of the analysis"
	}
	if b.req.Step != nil {
		if own, ok := b.req.Step.Confidence(); ok {
			text += ", " + number(own) + " of the plan in this step"
		}
	}
	return text
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
