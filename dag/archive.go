package dag

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// archiveFormat is the version that Archive writes. Restore reads all from 1 on.
const archiveFormat = 1

// maxArchive bounds what Restore reads, in bytes.
const maxArchive = 64 << 20

// archive is a plan on disk: its steps as they were settled, so that no overlay or option has to be applied again.
type archive struct {
	Format           int                        `json:"format"`
	Digest           string                     `json:"digest"`
	Steps            []archivedStep             `json:"steps"`
	ApprovalRequired bool                       `json:"approvalRequired,omitempty"`
	Estimate         schema.Estimate            `json:"estimatedDuration,omitzero"`
	Rate             *float64                   `json:"historicalSuccessRate,omitempty"`
	Protect          []string                   `json:"protect,omitempty"`
	Components       []string                   `json:"components,omitempty"`
	Specs            map[string]json.RawMessage `json:"specs"`
}

type archivedStep struct {
	ID           string          `json:"id"`
	Action       string          `json:"action"`
	Digest       string          `json:"digest"`
	Parameters   json.RawMessage `json:"parameters"`
	Secrets      []string        `json:"secrets,omitempty"` // parameters that were left out
	Dependencies []string        `json:"dependencies,omitempty"`
	Risk         schema.Risk     `json:"risk"`
	RiskReasons  []string        `json:"riskReasons,omitempty"`
	Confidence   *float64        `json:"confidence,omitempty"`
	Approval     bool            `json:"requiresApproval,omitempty"`
	Timeout      time.Duration   `json:"timeoutNanoseconds"`
	Expected     time.Duration   `json:"expectedNanoseconds"`
	Continues    bool            `json:"continueOnFailure,omitempty"`
	Always       bool            `json:"always,omitempty"`
	Name         string          `json:"name,omitempty"`
	Label        string          `json:"label,omitempty"`
	Note         string          `json:"note,omitempty"`
	Artifact     string          `json:"artifact,omitempty"`
	Description  string          `json:"description,omitempty"`
	Rationale    string          `json:"rationale,omitempty"`
}

// Archive returns the plan as JSON from which [Restore] makes it again, with the meaning of the Specs that it uses. Values
// of secret parameters are left out.
func (p *Plan) Archive() ([]byte, error) {
	a := archive{
		Format: archiveFormat, Digest: p.digest, Steps: make([]archivedStep, len(p.steps)), ApprovalRequired: p.approvalRequired,
		Estimate: p.estimate, Protect: p.protect, Components: p.components, Specs: map[string]json.RawMessage{},
	}
	if p.rated {
		a.Rate = &p.rate
	}
	for i := range p.steps {
		s := &p.steps[i]
		out := archivedStep{
			ID: s.task.Step, Action: s.spec.Name, Digest: p.StepDigest(i), Risk: s.risk, RiskReasons: s.reasons, Approval: s.approval,
			Timeout: s.timeout, Expected: s.task.Expected, Continues: s.continues, Always: s.always, Name: s.name, Label: s.label,
			Note: s.note, Artifact: s.artifact, Description: s.task.Description, Rationale: s.rationale,
		}
		if s.confident {
			out.Confidence = &s.confidence
		}
		for _, d := range s.deps {
			out.Dependencies = append(out.Dependencies, p.steps[d].task.Step)
		}
		given := map[string]any{}
		for name, v := range s.task.Parameters.All() {
			if slices.ContainsFunc(s.spec.Parameters, func(q actions.Parameter) bool { return q.Name == name && q.Secret }) {
				out.Secrets = append(out.Secrets, name)
				continue
			}
			given[name] = v
		}
		out.Parameters = actions.NewParameters(given).AppendJSON(nil)
		a.Steps[i] = out
		if a.Specs[s.spec.Name] == nil {
			a.Specs[s.spec.Name] = s.spec.Meaning()
		}
	}
	return json.Marshal(a)
}

// Restore makes a plan of what Archive returned. The registry must know its actions, in the same meaning; the archive may
// be hostile, and is checked as a document is. A plan with secret parameters cannot be restored, because they were left
// out.
func Restore(data []byte, reg *actions.Registry) (*Plan, error) {
	a, err := readArchive(data)
	if err != nil {
		return nil, err
	}
	doc := &schema.Document{EstimatedDuration: a.Estimate, HistoricalSuccessRate: a.Rate}
	overlay := &schema.Overlay{Steps: map[string]schema.StepOverlay{}}
	for i := range a.Steps {
		s := &a.Steps[i]
		if len(s.Secrets) > 0 {
			return nil, fmt.Errorf("dag: step %s has the secret parameter %s, which is not kept: use a program that has the plan itself", s.ID, s.Secrets[0])
		}
		rec := schema.Recommendation{
			ID: s.ID, Action: s.Action, Description: s.Description, Rationale: s.Rationale, Dependencies: s.Dependencies, Risk: s.Risk, Confidence: s.Confidence,
		}
		if s.Approval {
			rec.RequiresApproval = &s.Approval
		}
		if rec.Parameters, err = numbers(s.Parameters); err != nil {
			return nil, fmt.Errorf("dag: the archive's step %d: %w", i+1, err)
		}
		doc.Recommendations = append(doc.Recommendations, rec)
		overlay.Steps[s.ID] = schema.StepOverlay{
			Name: s.Name, Label: s.Label, Note: s.Note, Timeout: s.Timeout, Duration: s.Expected, ContinueOnFailure: s.Continues, Always: s.Always,
		}
	}
	p, err := Build(doc, reg, WithOverlay(overlay), Protect(a.Protect...), AllowComponents(a.Components...))
	if err != nil {
		return nil, err
	}
	p.approvalRequired = a.ApprovalRequired
	for i := range p.steps {
		p.steps[i].reasons, p.steps[i].artifact = a.Steps[i].RiskReasons, a.Steps[i].Artifact
	}
	return p, p.matches(a)
}

func readArchive(data []byte) (*archive, error) {
	if len(data) > maxArchive {
		return nil, fmt.Errorf("dag: the archive is longer than %d bytes", maxArchive)
	}
	var a archive
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("dag: the archive cannot be read: %w", err)
	}
	if a.Format < 1 || a.Format > archiveFormat {
		return nil, fmt.Errorf("dag: the archive has format %d; this program reads up to %d: use a newer one", a.Format, archiveFormat)
	}
	return &a, nil
}

// numbers reads parameters with whole numbers as they were.
func numbers(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	for k, v := range out {
		out[k] = number(v)
	}
	return out, nil
}

func number(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = number(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = number(v[k])
		}
	}
	return v
}

// Matches tells in which parts an archive differs from the plan in what it does, and from its Specs in what they mean; nil
// when in none. Prose may differ.
func (p *Plan) Matches(data []byte) error {
	a, err := readArchive(data)
	if err != nil {
		return err
	}
	return p.matches(a)
}

func (p *Plan) matches(a *archive) error {
	var differences []error
	differ := func(format string, args ...any) { differences = append(differences, fmt.Errorf(format, args...)) }
	was := map[string]*archivedStep{}
	for i := range a.Steps {
		was[a.Steps[i].ID] = &a.Steps[i]
		if _, ok := p.index[a.Steps[i].ID]; !ok {
			differ("step %s is not there any more", a.Steps[i].ID)
		}
	}
	for i := range p.steps {
		s := &p.steps[i]
		old := was[s.task.Step]
		if old == nil {
			differ("step %s was not there", s.task.Step)
		} else if old.Digest != p.StepDigest(i) {
			p.differs(i, old, differ)
		}
	}
	seen := map[string]bool{}
	for i := range p.steps {
		spec := p.steps[i].spec
		if old, ok := a.Specs[spec.Name]; ok && !seen[spec.Name] && !bytes.Equal(compact(old), spec.Meaning()) {
			differ("action %s: %s", spec.Name, meant(old, spec.Meaning()))
		}
		seen[spec.Name] = true
	}
	if len(differences) == 0 && a.Digest != p.digest {
		differ("the order of the steps, or how they are written down, is another")
	}
	return errors.Join(differences...)
}

func compact(b []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return nil
	}
	return out.Bytes()
}

// differs says what is different about one step.
func (p *Plan) differs(i int, old *archivedStep, differ func(format string, args ...any)) {
	s := &p.steps[i]
	id, n := s.task.Step, 0
	say := func(what string, now, then any) {
		n++
		differ("step %s: %s is %v, was %v", id, what, now, then)
	}
	if s.spec.Name != old.Action {
		say("action", s.spec.Name, old.Action)
	}
	then, _ := numbers(old.Parameters)
	for name, v := range s.task.Parameters.All() {
		o, ok := then[name]
		switch {
		case slices.Contains(old.Secrets, name):
		case !ok:
			n++
			differ("step %s: parameter %s was not given", id, name)
		case !bytes.Equal(one(v), one(o)):
			say("parameter "+name, string(one(v)), string(one(o)))
		}
	}
	for name := range then {
		if !s.task.Parameters.Given(name) {
			n++
			differ("step %s: parameter %s is not given any more", id, name)
		}
	}
	var deps []string
	for _, d := range s.deps {
		deps = append(deps, p.steps[d].task.Step)
	}
	if !slices.Equal(deps, old.Dependencies) {
		say("dependencies", "["+strings.Join(deps, ", ")+"]", "["+strings.Join(old.Dependencies, ", ")+"]")
	}
	if s.risk != old.Risk {
		say("risk", s.risk, old.Risk)
	}
	if s.approval != old.Approval {
		say("requiresApproval", s.approval, old.Approval)
	}
	if s.timeout != old.Timeout {
		say("time-out", s.timeout, old.Timeout)
	}
	if n == 0 {
		differ("step %s: it does something else (%s, was %s)", id, p.StepDigest(i), old.Digest)
	}
}

// one writes one value in canonical form.
func one(v any) []byte {
	return bytes.TrimSuffix(bytes.TrimPrefix(actions.NewParameters(map[string]any{"v": v}).AppendJSON(nil), []byte(`{"v":`)), []byte("}"))
}

// meant names the fields in which two meanings of a Spec differ.
func meant(then, now []byte) string {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(then, &a) != nil || json.Unmarshal(now, &b) != nil {
		return "what it means cannot be read"
	}
	var fields []string
	for name, v := range b {
		if name == "parameters" {
			fields = append(fields, meantParameters(a[name], v)...)
		} else if !bytes.Equal(a[name], v) {
			fields = append(fields, fmt.Sprintf("%s is %s, was %s", name, v, orNothing(a[name])))
		}
	}
	for name, v := range a {
		if _, ok := b[name]; !ok {
			fields = append(fields, fmt.Sprintf("%s is not set any more, was %s", name, v))
		}
	}
	slices.Sort(fields)
	return strings.Join(fields, "; ")
}

func orNothing(v json.RawMessage) string {
	if v == nil {
		return "not set"
	}
	return string(v)
}

func meantParameters(then, now json.RawMessage) []string {
	type named struct {
		Name string `json:"name"`
	}
	index := func(list json.RawMessage) (map[string]json.RawMessage, []string) {
		var all []json.RawMessage
		_ = json.Unmarshal(list, &all)
		byName, order := map[string]json.RawMessage{}, []string{}
		for _, v := range all {
			var n named
			_ = json.Unmarshal(v, &n)
			byName[n.Name] = v
			order = append(order, n.Name)
		}
		return byName, order
	}
	a, before := index(then)
	b, after := index(now)
	var out []string
	for _, name := range after {
		if v, ok := a[name]; !ok {
			out = append(out, "parameter "+name+" was not there")
		} else if !bytes.Equal(v, b[name]) {
			out = append(out, fmt.Sprintf("parameter %s is %s, was %s", name, b[name], v))
		}
	}
	for _, name := range before {
		if _, ok := b[name]; !ok {
			out = append(out, "parameter "+name+" is not there any more")
		}
	}
	if out == nil && !bytes.Equal(then, now) {
		out = append(out, "the order of its parameters is another")
	}
	return out
}
