package dag

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// Load reads a document and builds its plan: [schema.Parse] and [Build]. When the document is at fault the error is a
// [*schema.Error] that holds the problems of both; any other error is the caller's, such as an overlay for steps that
// the document does not have.
func Load(data []byte, reg *actions.Registry, opts ...Option) (*Plan, error) {
	doc, err := schema.Parse(data, gather(opts).parse...)
	if err != nil && len(doc.Recommendations) == 0 {
		return nil, err
	}
	return Build(doc, reg, opts...)
}

// Build makes a plan of a document. It checks what was built by hand as [schema.Document.Check] does, resolves aliases,
// fills in namespaces, checks every step against the registry and analyses the whole, adding its problems and repairs to those of the document, so that one pass shows all. When
// one of the problems is an error there is no plan and the error is a [*schema.Error]; any other error is the
// caller's.
//
// A document is built once: a second Build would report its problems again. The plan keeps nothing that a later
// change of the document could reach.
func Build(doc *schema.Document, reg *actions.Registry, opts ...Option) (*Plan, error) {
	if doc == nil || reg == nil {
		return nil, errors.New("dag: a plan needs a document and a registry")
	}
	b := &builder{options: gather(opts), doc: doc, reg: reg}
	if err := b.checkNamespaces(); err != nil {
		return nil, err
	}
	n := len(doc.Recommendations)
	b.steps = make([]Step, n)
	b.index = make(map[string]int32, n)
	doc.Check()
	b.nameSteps()
	b.resolveSteps()
	b.joinSteps()
	b.checkArtifacts()
	if b.sound {
		b.checkWriters()
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	if err := b.checkOverlay(); err != nil {
		return nil, err
	}
	return b.finish(), nil
}

func gather(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// A builder holds what Build knows while it works. A step whose action is unknown has no spec; all later stages pass
// it by.
type builder struct {
	options
	doc   *schema.Document
	reg   *actions.Registry
	steps []Step
	index map[string]int32
	graph *Graph
	// sound tells that every dependency was found and none is part of a cycle, so that a missing path means something.
	sound   bool
	search  *search
	writers [][]int
	data    []Edge
}

func (b *builder) problem(i int, code schema.Code, pointer, suggestion, format string, args ...any) {
	b.doc.Report(schema.Problem{
		Code: code, Message: fmt.Sprintf(format, args...), Step: b.validID(i), Pointer: pointer, Suggestion: suggestion,
	})
}

func (b *builder) warning(i int, code schema.Code, pointer, format string, args ...any) {
	b.doc.Report(schema.Problem{
		Code: code, Severity: schema.SeverityWarning, Message: fmt.Sprintf(format, args...), Step: b.validID(i), Pointer: pointer,
	})
}

// validID is the id of step i, "" when it is none.
func (b *builder) validID(i int) string {
	if id := b.doc.Recommendations[i].ID; isID(id) {
		return id
	}
	return ""
}

// called names step i in a message.
func (b *builder) called(i int) string {
	number := fmt.Sprintf("step %d", i+1)
	if id := b.validID(i); id != "" && id != number[len("step "):] {
		return number + " (" + id + ")"
	}
	return number
}

// nameSteps finds the Spec of every step.
func (b *builder) nameSteps() {
	for i := range b.steps {
		rec := &b.doc.Recommendations[i]
		b.steps[i].index = i
		if _, again := b.index[rec.ID]; !again && rec.ID != "" {
			b.index[rec.ID] = int32(i)
		}
		if rec.Action == "" {
			continue
		}
		spec, alias := b.reg.Resolve(rec.Action)
		if spec == nil {
			b.problem(i, schema.CodeUnknownAction, b.doc.Pointer(i, "action"), strings.Join(b.reg.Nearest(rec.Action), ", "),
				"the registry has no action %s", wording.Quote(rec.Action))
			continue
		}
		if alias {
			b.doc.Repaired(schema.Repair{
				Kind: schema.RepairAlias, Pointer: b.doc.Pointer(i, "action"),
				Message: fmt.Sprintf("action %s read as %s", wording.Quote(rec.Action), spec.Name),
			})
		}
		b.steps[i].spec = spec
	}
}

// resolveSteps checks each step by itself and fills it in.
func (b *builder) resolveSteps() {
	shared := b.sharedNamespace()
	for i := range b.steps {
		s, rec := &b.steps[i], &b.doc.Recommendations[i]
		if s.spec == nil {
			continue
		}
		fill := ""
		if ns, needed := s.spec.NamespaceOf(rec); needed && ns == "" {
			if fill = b.namespace; fill == "" && shared != "" {
				fill = shared
				b.doc.Repaired(schema.Repair{
					Kind: schema.RepairNamespace, Pointer: b.doc.Pointer(i, "parameters"),
					Message: fmt.Sprintf("%s names no namespace: read as %s, the only one that the other steps name", b.called(i), shared),
				})
			}
		}
		r := s.spec.Resolve(b.doc, i, fill)
		s.task.Parameters, s.task.Target, s.gate, s.spellings = r.Parameters, r.Target, r.Gate, r.Names
		s.artifact = b.artifactName(rec.ID, r.Artifact)
		s.task.Artifact = s.artifact
		s.written = rec.ParameterNames()
		s.task.Step, s.task.Number, s.task.Action = rec.ID, i+1, s.spec.Name
		s.task.Description, s.rationale = rec.Description, rec.Rationale
		s.name, s.label = rec.Name, s.spec.Name
		if s.name == "" {
			s.name = s.spec.Title
		}
		if rec.Confidence != nil {
			s.confidence, s.confident = *rec.Confidence, true
		}
		s.approval = rec.RequiresApproval != nil && *rec.RequiresApproval
		b.setTimes(s, rec)
		b.setRisk(s, rec, r.Floors)
		b.checkProtected(s)
	}
	shareNamespaces(b.steps)
}

// shareNamespaces tells every step which namespaces the plan names.
func shareNamespaces(steps []Step) {
	var all []string
	for i := range steps {
		if ns := steps[i].task.Parameters.String("namespace"); ns != "" && !slices.Contains(all, ns) {
			all = append(all, ns)
		}
	}
	for i := range steps {
		steps[i].task.Namespaces = all
	}
}

// setTimes settles time-out and expected duration, and takes from the overlay what else it says.
func (b *builder) setTimes(s *Step, rec *schema.Recommendation) {
	var own schema.StepOverlay
	var common schema.ActionOverlay
	if b.overlay != nil {
		own, common = b.overlay.Steps[s.task.Step], b.overlay.Actions[s.spec.Name]
	}
	s.timeout = firstSet(own.Timeout, common.Timeout, rec.Timeout, s.spec.Timeout)
	s.task.Expected = firstSet(own.Duration, common.Duration, min(s.spec.Estimate(), s.timeout))
	if s.task.Expected > s.timeout {
		b.warning(s.index, schema.CodeTimeout, b.doc.Pointer(s.index, "timeout"),
			"expected to take %s, which is longer than its time-out of %s: it would be stopped", wording.Duration(s.task.Expected), wording.Duration(s.timeout))
	}
	if own.Name != "" {
		s.name = own.Name
	}
	if own.Label != "" {
		s.label = own.Label
	}
	s.note, s.continues, s.always = own.Note, own.ContinueOnFailure, own.Always
}

// setRisk takes the highest of what registry, parameters, time-out and document say.
func (b *builder) setRisk(s *Step, rec *schema.Recommendation, floors []actions.Floor) {
	floor := s.spec.RiskFloor
	s.risk = floor
	raise := func(to schema.Risk, reason string) {
		if to > floor {
			s.risk = max(s.risk, to)
			s.reasons = append(s.reasons, to.String()+": "+reason)
		}
	}
	for _, f := range floors {
		raise(f.Risk, f.Reason)
	}
	if b.restartsProtectedComponent(s) {
		raise(schema.RiskCritical, "restarts a component of a protected namespace")
	}
	if s.timeout == rec.Timeout && s.timeout > s.spec.Timeout && !b.overlayTimes(s) {
		raise(schema.RiskHigh, fmt.Sprintf("the document asks for a time-out of %s, longer than the registry's %s", wording.Duration(s.timeout), wording.Duration(s.spec.Timeout)))
	}
	raise(rec.Risk, "the document says so")
}

// overlayTimes tells whether a person set the step's time-out.
func (b *builder) overlayTimes(s *Step) bool {
	return b.overlay != nil && (b.overlay.Steps[s.task.Step].Timeout > 0 || b.overlay.Actions[s.spec.Name].Timeout > 0)
}

func firstSet(durations ...time.Duration) time.Duration {
	for _, d := range durations {
		if d > 0 {
			return d
		}
	}
	return 0
}

// checkOverlay refuses an overlay for what is not there.
func (b *builder) checkOverlay() error {
	if b.overlay == nil {
		return nil
	}
	var wrong []string
	for _, id := range slices.Sorted(maps.Keys(b.overlay.Steps)) {
		if _, ok := b.index[id]; !ok {
			wrong = append(wrong, "the plan has no step "+wording.Quote(id))
		} else if o := b.overlay.Steps[id]; o.Timeout < 0 || o.Duration < 0 {
			wrong = append(wrong, "a duration of step "+wording.Quote(id)+" is negative")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.overlay.Actions)) {
		if b.reg.Lookup(name) == nil {
			wrong = append(wrong, "the registry has no action "+wording.Quote(name))
		} else if o := b.overlay.Actions[name]; o.Timeout < 0 || o.Duration < 0 {
			wrong = append(wrong, "a duration of action "+wording.Quote(name)+" is negative")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New("overlay: " + strings.Join(wrong, "; "))
}
