package schema

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/internal/wording"
)

// document reads the source into the Document.
func (p *parser) document() {
	p.steps = none
	if looksLikeYAML(p.src) {
		if !p.readYAML() {
			return
		}
	} else {
		o := p.find()
		p.broken = o != outcomeComplete
	}
	if len(p.nodes) == 0 {
		return
	}
	p.root()
	if !p.broken {
		p.forbidden()
		p.rules()
	}
}

// root reads the document's outermost value.
func (p *parser) root() {
	switch root := p.nodes[0]; root.kind {
	case kindArray:
		p.repaired(RepairAlias, 0, `the list itself was read as "recommendations"`)
		p.recommendations(0)
	case kindObject:
		if p.isManifest() {
			p.workflow()
			return
		}
		p.outer()
	default:
		p.broken = true
		p.problem(CodeInvalidValue, 0, "a recommendations document is an object or a list of steps, not "+root.kind.what(), "")
	}
}

// outer reads the object around the recommendations.
func (p *parser) outer() {
	seen := members{parser: p}
	for k := range p.items(0) {
		name := p.text(k)
		canonical := outerField(name)
		if canonical == "" {
			p.unknown(k, "the document", func(name string) string {
				return outerField(nearest(name, "recommendations", "steps", "estimatedDuration", "historicalSuccessRate"))
			})
			continue
		}
		if !seen.first(k, canonical) {
			continue
		}
		v := k + 1
		if p.nodes[v].kind == kindNull {
			continue
		}
		switch canonical {
		case "recommendations":
			if p.expect(v, kindArray, canonical, -1) {
				p.recommendations(v)
			}
		case "estimatedDuration":
			if p.expect(v, kindString, canonical, -1) {
				p.doc.EstimatedDuration = p.estimate(v)
			}
		case "historicalSuccessRate":
			p.doc.HistoricalSuccessRate = p.fraction(v, canonical, -1)
		}
	}
}

// outerField returns the canonical name of a field beside the recommendations, "" when there is no such field.
func outerField(name string) string {
	if len(name) > 40 {
		return ""
	}
	switch foldName(name) {
	case "recommendations", "steps":
		return "recommendations"
	case "estimatedduration":
		return "estimatedDuration"
	case "historicalsuccessrate":
		return "historicalSuccessRate"
	}
	return ""
}

// members tells the first spelling of a field in one object from later ones.
type members struct {
	*parser
	keys map[string]int32
}

func (m *members) first(k int32, canonical string) bool {
	if m.keys == nil {
		m.keys = make(map[string]int32, 8)
	}
	earlier, ok := m.keys[canonical]
	if !ok {
		m.keys[canonical] = k
		m.alias(k, canonical)
		return true
	}
	m.twice(earlier, k)
	return false
}

// alias notes that a field is not spelled canonically.
func (p *parser) alias(k int32, canonical string) {
	if name := p.text(k); name != canonical {
		p.repaired(RepairAlias, k, fmt.Sprintf("%s was read as %q", wording.Quote(name), canonical))
	}
}

// twice reports that one field stands twice in two spellings. One spelling twice is found when the object is read.
func (p *parser) twice(first, second int32) {
	a, b := p.text(first), p.text(second)
	if !strings.EqualFold(a, b) {
		p.problem(CodeDuplicateKey, second, fmt.Sprintf("%s and %s are the same field; keep one", wording.Quote(a), wording.Quote(b)), "")
	}
}

// expect tells whether a value has the kind that its field wants, and reports it when not.
func (p *parser) expect(v int32, want kind, field string, step int) bool {
	got := p.nodes[v].kind
	if got == want {
		return true
	}
	p.tell(step, field)
	if got != kindBad {
		p.problem(CodeInvalidValue, v, fmt.Sprintf("%s must be %s, not %s", field, want.what(), got.what()), "")
	}
	return false
}

// tell keeps the rules from reporting a field again.
func (p *parser) tell(step int, field string) {
	if p.told == nil {
		p.told = make(map[told]bool)
	}
	p.told[told{step, field}] = true
}

func (p *parser) fraction(v int32, field string, step int) *float64 {
	if !p.expect(v, kindNumber, field, step) {
		return nil
	}
	f, err := strconv.ParseFloat(p.text(v), 64)
	if err != nil {
		p.tell(step, field)
		p.problem(CodeInvalidValue, v, field+" must be between 0 and 1", "")
		return nil
	}
	return &f
}

func (p *parser) estimate(v int32) Estimate {
	text := p.text(v)
	e, err := ParseEstimate(text)
	if err != nil {
		p.warn(CodeInvalidValue, v, fmt.Sprintf("estimatedDuration %s is no duration such as \"4 minutes\" or \"4-5 minutes\"; it is only shown", wording.Quote(text)), "")
		return Estimate{Text: text}
	}
	return e
}

// recommendations reads the list of steps.
func (p *parser) recommendations(list int32) {
	p.steps = list
	n := 0
	for i := range p.items(list) {
		if n++; n > p.limits.Steps {
			p.broken = true
			p.problem(CodeLimitExceeded, i, tooManySteps(p.limits.Steps), "")
			return
		}
	}
	p.doc.Recommendations = make([]Recommendation, 0, n)
	for i := range p.items(list) {
		node := p.nodes[i]
		switch {
		case node.flags&flagOpen != 0 || node.kind == kindBad:
		case p.isPlaceholder(i):
			p.tell(-1, "recommendations")
			p.problem(CodeInvalidValue, i, `"..." stands for steps that were left out; write them all`, "")
		case node.kind != kindObject:
			p.tell(-1, "recommendations")
			p.problem(CodeInvalidValue, i, "a step must be an object, not "+node.kind.what(), "")
		default:
			p.doc.Recommendations = append(p.doc.Recommendations, Recommendation{})
			r := &p.doc.Recommendations[len(p.doc.Recommendations)-1]
			p.step(i, len(p.doc.Recommendations)-1, r)
		}
	}
	if !p.numbered {
		for _, i := range p.numbers {
			p.problem(CodeInvalidValue, i, "a dependency must be the id of a step, a string, not a number; numbers stand for steps that have a stepNumber", "")
		}
	}
	p.duplicateIDs()
}

func (p *parser) dropped(i int32) {
	p.repaired(RepairPlaceholder, i, `the list item "..." was dropped`)
}

// step reads one recommendation.
func (p *parser) step(object int32, at int, r *Recommendation) {
	r.node = object
	var seen [fieldCount]int32
	for k := range p.items(object) {
		name := p.text(k)
		f := canonicalField(name)
		canonical := f != fieldUnknown
		if !canonical {
			if f = lookUpField(name); f == fieldUnknown {
				p.unknown(k, "a step", suggestField)
				continue
			}
		}
		if seen[f] != 0 {
			p.twice(seen[f], k)
			continue
		}
		seen[f] = k
		if p.manifest && f == fieldID {
			if name != "stepNumber" {
				p.alias(k, "stepNumber")
			}
		} else if !canonical {
			p.alias(k, fieldNames[f])
		}
		if p.nodes[k+1].kind != kindNull {
			p.field(f, k, at, r)
		}
	}
}

// field reads the value of the member k, which is field f of recommendation number at.
func (p *parser) field(f field, k int32, at int, r *Recommendation) {
	v, name := k+1, fieldNames[f]
	str := func(into *string) {
		if p.expect(v, kindString, name, at) {
			*into = p.text(v)
		}
	}
	switch f {
	case fieldID:
		p.id(k, at, r)
	case fieldAction:
		str(&r.Action)
	case fieldDescription:
		str(&r.Description)
	case fieldRationale:
		str(&r.Rationale)
	case fieldName:
		str(&r.Name)
	case fieldConfidence:
		r.Confidence = p.fraction(v, name, at)
	case fieldParameters:
		if p.expect(v, kindObject, name, at) {
			r.Parameters, r.order = p.parameters(v)
		}
	case fieldDependencies:
		if p.expect(v, kindArray, name, at) {
			r.Dependencies = p.dependencies(v)
		}
	case fieldRisk:
		if p.expect(v, kindString, name, at) {
			p.risk(v, r)
		}
	case fieldRequiresApproval:
		switch got := p.nodes[v].kind; got {
		case kindTrue, kindFalse:
			r.RequiresApproval = new(got == kindTrue)
		case kindBad:
		default:
			p.problem(CodeInvalidValue, v, "requiresApproval must be true or false, not "+got.what(), "")
		}
	case fieldTarget:
		if p.expect(v, kindObject, name, at) {
			r.Target = p.target(v, at)
		}
	case fieldTimeout:
		if p.expect(v, kindString, name, at) {
			r.Timeout = p.timeout(v)
		}
	}
}

func (p *parser) id(k int32, at int, r *Recommendation) {
	v := k + 1
	if !p.manifest && !isStepNumber(p.text(k)) {
		if p.expect(v, kindString, "id", at) {
			r.ID = p.text(v)
		}
		return
	}
	p.numbered = true
	if n, ok := p.integer(v); ok && n > 0 {
		r.ID = strconv.FormatInt(n, 10)
		return
	}
	p.tell(at, "id")
	switch got := p.nodes[v].kind; got {
	case kindBad:
	case kindNumber:
		p.problem(CodeInvalidValue, v, "stepNumber must be a whole number from 1, not "+wording.Quote(p.text(v)), "")
	default:
		p.problem(CodeInvalidValue, v, "stepNumber must be a whole number from 1, not "+got.what(), "")
	}
}

func (p *parser) duplicateIDs() {
	first := make(map[string]int32, len(p.doc.Recommendations))
	for i := range p.doc.Recommendations {
		r := &p.doc.Recommendations[i]
		if r.ID == "" {
			continue
		}
		earlier, ok := first[r.ID]
		if !ok {
			first[r.ID] = r.node
			continue
		}
		line, _ := p.positions().at(p.nodes[earlier].off)
		p.problem(CodeDuplicateID, p.valueOf(r.node, fieldID), fmt.Sprintf("the id %s is already that of the step in line %d; ids must differ", wording.Quote(r.ID), line), "")
	}
}

// valueOf returns the value of a step's field, or the step itself.
func (p *parser) valueOf(object int32, f field) int32 {
	for k := range p.items(object) {
		if lookUpField(p.text(k)) == f {
			return k + 1
		}
	}
	return object
}

func (p *parser) risk(v int32, r *Recommendation) {
	word := p.text(v)
	risk, err := ParseRisk(word)
	if err != nil {
		p.problem(CodeInvalidValue, v, fmt.Sprintf("risk %s is none of none, low, medium, high, critical", wording.Quote(word)),
			nearest(word, "none", "low", "medium", "high", "critical"))
	}
	r.Risk = risk
}

func (p *parser) timeout(v int32) time.Duration {
	text := p.text(v)
	d, err := ParseDuration(text)
	if err != nil {
		var e Estimate
		if e, err = ParseEstimate(text); err == nil && e.Min == e.Max {
			d = e.Max
		}
	}
	if err != nil || d <= 0 {
		p.problem(CodeInvalidValue, v, fmt.Sprintf("timeout %s must be one duration above zero, such as \"90s\" or \"5m\"", wording.Quote(text)), "")
		return 0
	}
	return d
}

func (p *parser) target(object int32, at int) *Target {
	t := &Target{}
	seen := members{parser: p}
	for k := range p.items(object) {
		name := p.text(k)
		folded := foldName(name)
		var into *string
		switch folded {
		case "kind":
			into = &t.Kind
		case "namespace":
			into = &t.Namespace
		case "name":
			into = &t.Name
		default:
			p.unknown(k, "targetResource", func(name string) string { return nearest(name, "kind", "namespace", "name") })
			continue
		}
		if seen.first(k, folded) && p.nodes[k+1].kind != kindNull && p.expect(k+1, kindString, folded, at) {
			*into = p.text(k + 1)
		}
	}
	return t
}

// dependencies reads ids. A number is one where steps have numbers.
func (p *parser) dependencies(list int32) []string {
	from := len(p.names)
	for i := range p.items(list) {
		if id, ok := p.dependency(i); ok {
			p.names = append(p.names, id)
			if p.nodes[i].kind == kindNumber {
				p.numbers = append(p.numbers, i)
			}
			continue
		}
		switch got := p.nodes[i].kind; {
		case p.isPlaceholder(i):
			p.problem(CodeInvalidValue, i, `"..." stands for dependencies that were left out; name the id of each`, "")
		case got == kindNumber:
			p.problem(CodeInvalidValue, i, "a dependency must be a step's id, not "+wording.Quote(p.text(i)), "")
		case got != kindBad:
			p.problem(CodeInvalidValue, i, "a dependency must be a step's id, not "+got.what(), "")
		}
	}
	return p.names[from:len(p.names):len(p.names)]
}
