package dag

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// Manifest returns the plan as a WorkflowExecution: ids become step numbers, the names of artifacts too, parameters
// keep the document's spelling and order. name and request are its metadata ("" request: none); an empty namespace is
// the first that a step names. gated tells which steps wait for a person beside those whose document says so; nil: no
// others.
func (p *Plan) Manifest(name, namespace, request string, gated func(i int) bool) *schema.WorkflowExecution {
	w := &schema.WorkflowExecution{APIVersion: schema.WorkflowAPIVersion, Kind: schema.WorkflowKind}
	w.Metadata.Name, w.Metadata.Namespace = name, namespace
	w.Spec.RemediationRequestRef.Name = request
	w.Spec.ExecutionStrategy.ApprovalRequired = p.approvalRequired
	w.Spec.ExecutionStrategy.DryRunFirst = true
	w.Spec.ExecutionStrategy.RollbackStrategy = "automatic"
	w.Status.Phase = "planning"
	steps := make([]schema.WorkflowStep, len(p.steps))
	for i := range p.steps {
		s := &p.steps[i]
		steps[i] = schema.WorkflowStep{
			StepNumber: s.Number(), Name: s.name, Action: s.spec.Name,
			Parameters: p.manifestParameters(s), Dependencies: make([]int, len(s.deps)),
			RequiresApproval: s.approval || gated != nil && gated(i), Timeout: wording.Duration(s.timeout),
		}
		for k, d := range s.deps {
			steps[i].Dependencies[k] = d + 1
		}
		if w.Metadata.Namespace == "" {
			w.Metadata.Namespace = s.task.Parameters.String("namespace")
		}
	}
	w.Spec.WorkflowDefinition.Steps = steps
	return w
}

// manifestParameters lists the parameters as the document wrote them. What it said in another way than by a name of the
// parameter (as an object of kind and name, or beside the parameters, or not at all) comes under the canonical name.
func (p *Plan) manifestParameters(s *Step) []schema.Parameter {
	type named struct {
		canonical, written string
		place              int
	}
	place := make(map[string]int, len(s.written))
	for k, written := range s.written {
		place[written] = k
	}
	names := make([]named, 0, s.task.Parameters.Len())
	for canonical := range s.task.Parameters.All() {
		n := named{canonical, cmp.Or(s.spellings[canonical], canonical), len(place)}
		if k, ok := place[n.written]; ok {
			n.place = k
		}
		if !isSpelling(s.spec, n.written, canonical) {
			n.written = canonical
		}
		names = append(names, n)
	}
	slices.SortStableFunc(names, func(x, y named) int { return cmp.Compare(x.place, y.place) })
	list := make([]schema.Parameter, len(names))
	for k, n := range names {
		list[k] = schema.Parameter{Name: n.written, Value: documentValue(s.task.Parameters.Get(n.canonical))}
		if n.canonical == attachments && len(s.references) > 0 {
			list[k].Value = p.manifestAttachments(s)
		}
	}
	return list
}

// documentValue gives a value the type that a document's has.
func documentValue(v any) any {
	m, ok := v.(map[string]string)
	if !ok {
		return v
	}
	object := make(map[string]any, len(m))
	for name, value := range m {
		object[name] = value
	}
	return object
}

// manifestAttachments names artifacts by the number of the step that leaves them.
func (p *Plan) manifestAttachments(s *Step) []string {
	names := s.task.Parameters.Strings(attachments)
	for _, r := range s.references {
		producer := &p.steps[r.producer]
		names[r.entry] = artifactKind(producer) + "_step-" + strconv.Itoa(producer.Number())
	}
	return names
}

// isSpelling tells whether a name is the parameter's own, an alias, or one of them in snake_case.
func isSpelling(spec *actions.Spec, name, canonical string) bool {
	return strings.EqualFold(strings.ReplaceAll(name, "_", ""), canonical) ||
		slices.ContainsFunc(spec.Parameters, func(p actions.Parameter) bool {
			return p.Name == canonical && slices.Contains(p.Aliases, name)
		})
}
