package actions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// A Resolution is what a Spec makes of one recommendation.
type Resolution struct {
	Parameters Parameters
	// Target is the object that the step is about; the zero Target when it names none.
	Target schema.Target
	// Gate tells that a failure of this step fails the run: it changes something, or it is a gate of verification. A
	// step that only writes down or tells what was done is none.
	Gate bool
	// Floors are the floors that the given values reached.
	Floors []Floor
	// Artifact is the name of the artifact that the step leaves, "" for none.
	Artifact string
	// Names maps canonical parameter names to the document's, for those that differ; nil when none does. What the
	// dialect's targetResource names is not in it: the document's parameters do not have it.
	Names map[string]string
}

// NamespaceOf returns the namespace that a recommendation names under any of its spellings, "" when it names none,
// and whether the action needs one. What is given but is no text needs none: Resolve refuses it.
func (s *Spec) NamespaceOf(rec *schema.Recommendation) (namespace string, needed bool) {
	p := s.parameter("namespace")
	needed = p != nil && p.Required
	for _, name := range [...]string{"namespace", "ns"} {
		if v, ok := rec.Parameters[name]; ok {
			namespace = textOf(v)
			return namespace, needed && namespace != ""
		}
	}
	for _, name := range targetNames {
		if object, ok := rec.Parameters[name].(map[string]any); ok && s.indexOf(name) < 0 {
			if namespace = namespaceOf(textOf(object["kind"]), textOf(object["name"]), textOf(object["namespace"])); namespace != "" {
				return namespace, needed
			}
		}
	}
	for _, pair := range looseNames {
		if kind := textOf(rec.Parameters[pair.kind]); kind != "" && s.indexOf(pair.kind) < 0 {
			if namespace = namespaceOf(kind, textOf(rec.Parameters[pair.name]), ""); namespace != "" {
				return namespace, needed
			}
		}
	}
	if t := rec.Target; t != nil {
		namespace = namespaceOf(t.Kind, t.Name, t.Namespace)
	}
	return namespace, needed
}

// Resolve checks recommendation i of doc against the Spec and reports every problem and repair to doc. fill is the
// namespace to use where the action needs one and the recommendation names none, "" when there is none; the caller
// reports the namespace repair.
func (s *Spec) Resolve(doc *schema.Document, i int, fill string) Resolution {
	rec := &doc.Recommendations[i]
	r := resolver{spec: s, doc: doc, index: i, rec: rec, list: make([]parameter, 0, len(rec.Parameters)+1)}
	for _, name := range rec.ParameterNames() {
		r.read(name, rec.Parameters[name])
	}
	r.looseTarget()
	if t := rec.Target; t != nil {
		r.target(place{field: "targetResource"}, "", "targetResource", t.Kind, t.Name, t.Namespace)
	}
	r.moreUnknown()
	r.fill(fill)
	r.sort()
	r.required()
	for j := range s.Rules {
		r.rule(&s.Rules[j])
	}
	return Resolution{
		Parameters: Parameters{list: r.list, spec: s},
		Target:     r.object(),
		Gate:       s.Mutating() && s.Role != Records || s.Gate || r.anyGiven(s.GateParameters),
		Floors:     r.floors,
		Artifact:   r.artifact(),
		Names:      r.names,
	}
}

// A resolver reads one recommendation.
type resolver struct {
	spec  *Spec
	doc   *schema.Document
	index int
	rec   *schema.Recommendation
	// list holds what fits; seen has a bit for every listed parameter that is there, fitting or not.
	list     []parameter
	seen     uint64
	unsorted bool
	floors   []Floor
	names    map[string]string
	// strangers counts the parameters that the action does not have.
	strangers int
	// loose are the names of the parameters that name a target by kind and name apart.
	loose struct{ kind, name string }
}

// A place is a value of the recommendation: parameters/key/sub or targetResource/key.
type place struct{ field, key, sub string }

func (r *resolver) pointer(at place) string {
	switch {
	case at.key == "":
		return r.doc.Pointer(r.index, at.field)
	case at.sub == "":
		return r.doc.Pointer(r.index, at.field, at.key)
	}
	return r.doc.Pointer(r.index, at.field, at.key, at.sub)
}

func (r *resolver) report(code schema.Code, at place, message string) {
	r.doc.Report(schema.Problem{Code: code, Step: r.rec.ID, Pointer: r.pointer(at), Message: message})
}

func (r *resolver) repaired(at place, message string) {
	r.doc.Repaired(schema.Repair{Kind: schema.RepairAlias, Pointer: r.pointer(at), Message: message})
}

// mostUnknown bounds what is said of one step: every place costs a walk through its parameters.
const mostUnknown = 32

// unknown reports a parameter that the action does not have: an error where the action changes something.
func (r *resolver) unknown(at place, name string) {
	if r.strangers++; r.strangers > mostUnknown {
		return
	}
	var suggestion string
	if found := nearest(name, r.spec.parameterNames(), 1); len(found) > 0 {
		suggestion = found[0]
	}
	r.doc.Report(schema.Problem{Code: schema.CodeUnknownParameter, Severity: r.severity(), Step: r.rec.ID, Pointer: r.pointer(at),
		Message: fmt.Sprintf("%s has no parameter %s", r.spec.Name, wording.Quote(name)), Suggestion: suggestion})
}

// moreUnknown tells how many parameters unknown has left out.
func (r *resolver) moreUnknown() {
	if more := r.strangers - mostUnknown; more > 0 {
		r.doc.Report(schema.Problem{Code: schema.CodeLimitExceeded, Severity: r.severity(), Step: r.rec.ID, Pointer: r.pointer(place{field: "parameters"}),
			Message: fmt.Sprintf("%d more parameters are unknown to %s; mend the others first", more, r.spec.Name)})
	}
}

// severity is that of an unknown parameter.
func (r *resolver) severity() schema.Severity {
	if r.spec.Mutating() {
		return schema.SeverityError
	}
	return schema.SeverityWarning
}

// read takes one parameter as the document spells it.
func (r *resolver) read(name string, v any) {
	at := place{"parameters", name, ""}
	i, alias := r.spec.find(name)
	if i < 0 {
		if r.spec.hasTargets() && r.readTarget(at, name, v) {
			return
		}
		if r.spec.AnyParameters {
			r.add(name, clone(v))
			return
		}
		r.unknown(at, name)
		return
	}
	if !r.claim(i, at, name) {
		return
	}
	if alias {
		r.repaired(at, "parameter "+name+" read as "+r.spec.Parameters[i].Name)
	}
	r.take(i, at, v)
}

// claim notes that listed parameter i is there, spelt name ("" when it is not among the parameters); false when it was
// there before.
func (r *resolver) claim(i int, at place, name string) bool {
	canonical := r.spec.Parameters[i].Name
	if r.seen>>i&1 == 1 {
		other := canonical
		if spelt, ok := r.names[canonical]; ok {
			other = spelt
		}
		if name == "" {
			name = at.field
		}
		r.report(schema.CodeDuplicateKey, at, fmt.Sprintf("%s and %s both give %s; keep one", other, name, canonical))
		return false
	}
	r.seen |= 1 << i
	if name != "" && name != canonical {
		if r.names == nil {
			r.names = map[string]string{}
		}
		r.names[canonical] = name
	}
	return true
}

// take checks the value of listed parameter i and keeps it.
func (r *resolver) take(i int, at place, v any) {
	p := &r.spec.Parameters[i]
	canonical, problem := p.value(v, p.Required || r.spec.chosen(p.Name))
	if problem == "" && p.Name == r.spec.ArtifactParameter && !isFileName(canonical.(string)) {
		problem = fmt.Sprintf("%s is %s; expected letters, digits, dots, underscores and hyphens, since it names the artifact", p.Name, describe(v))
	}
	if problem != "" {
		r.report(schema.CodeInvalidParameter, at, problem)
		return
	}
	r.add(p.Name, canonical)
	for j := range p.Floors {
		if hasEquals(canonical) && canonical == p.Floors[j].Value {
			r.floors = append(r.floors, p.Floors[j])
		}
	}
}

func (r *resolver) add(name string, v any) {
	if n := len(r.list); n > 0 && r.list[n-1].name > name {
		r.unsorted = true
	}
	r.list = append(r.list, parameter{name, v})
}

func (r *resolver) sort() {
	if r.unsorted {
		slices.SortFunc(r.list, byName)
	}
}

func (r *resolver) given(name string) bool {
	i := r.spec.indexOf(name)
	return i >= 0 && r.seen>>i&1 == 1
}

func (r *resolver) anyGiven(names []string) bool { return slices.ContainsFunc(names, r.given) }

// fill puts in the namespace that the action needs and the recommendation does not name.
func (r *resolver) fill(namespace string) {
	i := r.spec.indexOf("namespace")
	if i < 0 || !r.spec.Parameters[i].Required || r.seen>>i&1 == 1 {
		return
	}
	r.seen |= 1 << i
	at := place{field: "parameters"}
	switch {
	case namespace == "":
		r.report(schema.CodeMissingNamespace, at, r.spec.Name+" needs a namespace and none is named; add one")
	case !fits(Namespace, namespace):
		r.report(schema.CodeInvalidParameter, at, "the namespace for steps that name none is "+describe(namespace)+"; expected "+
			r.spec.Parameters[i].expected())
	default:
		r.add("namespace", namespace)
	}
}

func (r *resolver) required() {
	for i := range r.spec.Parameters {
		if p := &r.spec.Parameters[i]; p.Required && r.seen>>i&1 == 0 {
			r.report(schema.CodeMissingParameter, place{field: "parameters"}, fmt.Sprintf("%s needs %s: %s", r.spec.Name, p.Name, p.expected()))
		}
	}
}

// artifact is the name of what the step leaves.
func (r *resolver) artifact() string {
	kind := r.spec.Artifact
	if kind == "" {
		return ""
	}
	if name := r.spec.ArtifactParameter; name != "" {
		if v, ok := (Parameters{list: r.list}).given(name); ok && v != "" {
			kind, _ = v.(string)
		}
	}
	return kind + "_" + r.rec.ID
}

// isFileName tells whether s can stand in the name of an artifact.
func isFileName(s string) bool {
	if len(s) > longestName || strings.HasPrefix(s, ".") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isUpper(c) && !isDigit(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
