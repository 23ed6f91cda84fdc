package dag

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

const (
	// archiveFormat is the version that Archive writes. All from 1 on are read.
	archiveFormat = 1
	// maxArchive bounds an archive in bytes, and with it everything in it.
	maxArchive = 64 << 20
	// maxArchivedDepth bounds how deep the values of parameters are nested.
	maxArchivedDepth = 256
	// mostWarnings is how many warnings a document lists.
	mostWarnings = 1000
)

// An archive is a plan on disk: its steps as they were settled, so that no overlay or option has to be applied again.
type archive struct {
	Format           int              `json:"format"`
	Digest           string           `json:"digest"`
	Steps            []archivedStep   `json:"steps"`
	Manifest         bool             `json:"manifest,omitempty"`
	ApprovalRequired bool             `json:"approvalRequired,omitempty"`
	Estimate         schema.Estimate  `json:"estimatedDuration,omitzero"`
	Rate             *float64         `json:"historicalSuccessRate,omitempty"`
	Warnings         []schema.Problem `json:"warnings,omitempty"`
	Protect          []string         `json:"protect,omitempty"`
	Components       []string         `json:"components,omitempty"`
	// Specs holds the meanings of the Specs that the steps use.
	Specs map[string]json.RawMessage `json:"specs"`
}

type archivedStep struct {
	ID           string          `json:"id"`
	Action       string          `json:"action"`
	Digest       string          `json:"digest"`
	Parameters   json.RawMessage `json:"parameters"`
	Secrets      []string        `json:"secrets,omitempty"` // parameters whose values were left out
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
	Description  string          `json:"description,omitempty"`
	Rationale    string          `json:"rationale,omitempty"`
}

// Archive returns the plan as JSON from which [Restore] makes it again, with what the Specs that it uses mean. Equal
// plans give equal bytes. Values of parameters that their Spec marks as secret are left out; what a person or model
// wrote into a description or a note is not. A plan of more than 64 MB is an error.
func (p *Plan) Archive() ([]byte, error) {
	a := archive{
		Format: archiveFormat, Digest: p.digest, Steps: make([]archivedStep, len(p.steps)), Manifest: p.manifest,
		ApprovalRequired: p.approvalRequired, Estimate: p.estimate, Warnings: p.warnings, Protect: p.protect, Components: p.components,
		Specs: map[string]json.RawMessage{},
	}
	if p.rated {
		a.Rate = &p.rate
	}
	for i := range p.steps {
		a.Steps[i] = p.archived(i)
		if spec := p.steps[i].spec; a.Specs[spec.Name] == nil {
			a.Specs[spec.Name] = spec.Meaning()
		}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(&a); err != nil {
		return nil, fmt.Errorf("dag: the plan cannot be archived: %w", err)
	}
	data := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if len(data) > maxArchive {
		return nil, fmt.Errorf("dag: the plan cannot be archived: it would take %d bytes, and %d is the most", len(data), maxArchive)
	}
	return data, nil
}

func (p *Plan) archived(i int) archivedStep {
	s := &p.steps[i]
	out := archivedStep{
		ID: s.task.Step, Action: s.spec.Name, Digest: p.StepDigest(i), Dependencies: p.dependencyIDs(s), Risk: s.risk, RiskReasons: s.reasons,
		Approval: s.approval, Timeout: s.timeout, Expected: s.task.Expected, Continues: s.continues, Always: s.always,
		Name: s.name, Label: s.label, Note: s.note, Description: s.task.Description, Rationale: s.rationale,
	}
	if s.confident {
		out.Confidence = &s.confidence
	}
	given := map[string]any{}
	for name, v := range s.task.Parameters.All() {
		if isSecret(s.spec, name) {
			out.Secrets = append(out.Secrets, name)
		} else {
			given[name] = v
		}
	}
	out.Parameters = actions.NewParameters(given).AppendJSON(nil)
	return out
}

func (p *Plan) dependencyIDs(s *Step) []string {
	var ids []string
	for _, d := range s.deps {
		ids = append(ids, p.steps[d].task.Step)
	}
	return ids
}

func isSecret(spec *actions.Spec, parameter string) bool {
	return slices.ContainsFunc(spec.Parameters, func(q actions.Parameter) bool { return q.Name == parameter && q.Secret })
}

// Restore makes a plan of what [Plan.Archive] returned. Everything is checked again as [Build] does, for an archive may
// have been changed on disk; its bounds are 64 MB and values nested 256 deep. The registry must know its actions in the
// same meaning, and the plan must come out as it was: otherwise the error says what differs. It is an error too when a
// secret parameter was left out. Repairs and the document's own spelling of parameters are not restored.
func Restore(data []byte, reg *actions.Registry) (*Plan, error) {
	a, err := readArchive(data)
	if err != nil {
		return nil, err
	}
	doc, overlay, err := a.document()
	if err != nil {
		return nil, err
	}
	if err := a.checkTexts(); err != nil {
		return nil, err
	}
	p, err := Build(doc, reg, WithOverlay(overlay), Protect(a.Protect...), AllowComponents(a.Components...))
	if err != nil {
		return nil, fmt.Errorf("dag: the archive holds no plan: %w", err)
	}
	for i := range p.steps {
		p.steps[i].reasons = a.Steps[i].RiskReasons
	}
	p.warnings = a.warnings(p.warnings)
	if err := p.matches(a); err != nil {
		return nil, fmt.Errorf("dag: the plan cannot be restored as it was: %w", err)
	}
	return p, nil
}

func readArchive(data []byte) (*archive, error) {
	if len(data) > maxArchive {
		return nil, fmt.Errorf("dag: the archive has more than %d bytes", maxArchive)
	}
	// A later format may hold anything beside its number.
	var head struct {
		Format int `json:"format"`
	}
	var a archive
	err := json.Unmarshal(data, &head)
	switch {
	case err == nil && head.Format > archiveFormat:
		return nil, fmt.Errorf("dag: the archive has format %d and this program reads formats up to %d: use the program that wrote it, or a later one", head.Format, archiveFormat)
	case err == nil && head.Format < 1:
		return nil, errors.New("dag: this is no archive of a plan: it has no format")
	case err == nil:
		err = json.Unmarshal(data, &a)
	}
	if err != nil {
		return nil, fmt.Errorf("dag: the archive cannot be read: %w", err)
	}
	return &a, nil
}

// document has for every step what makes Build settle it as it was.
func (a *archive) document() (*schema.Document, *schema.Overlay, error) {
	doc := &schema.Document{EstimatedDuration: a.Estimate, HistoricalSuccessRate: a.Rate}
	if a.Manifest {
		doc.Workflow = &schema.WorkflowExecution{}
		strategy := &doc.Workflow.Spec.ExecutionStrategy
		strategy.ApprovalRequired, strategy.DryRunFirst, strategy.RollbackStrategy = a.ApprovalRequired, true, "automatic"
	}
	overlay := &schema.Overlay{Steps: make(map[string]schema.StepOverlay, len(a.Steps))}
	for i := range a.Steps {
		s := &a.Steps[i]
		if len(s.Secrets) > 0 {
			return nil, nil, fmt.Errorf("dag: %s has the secret parameter %s, whose value is never archived: use a program that has the plan itself",
				a.called(i), printable(s.Secrets[0]))
		}
		parameters, err := decodeObject(s.Parameters)
		if err != nil {
			return nil, nil, fmt.Errorf("dag: the archive cannot be read: parameters of %s: %w", a.called(i), err)
		}
		rec := schema.Recommendation{
			ID: s.ID, Action: s.Action, Description: s.Description, Rationale: s.Rationale, Parameters: parameters,
			Dependencies: s.Dependencies, Risk: s.Risk, Confidence: s.Confidence,
		}
		if s.Approval {
			rec.RequiresApproval = &s.Approval
		}
		doc.Recommendations = append(doc.Recommendations, rec)
		overlay.Steps[s.ID] = schema.StepOverlay{
			Name: s.Name, Label: s.Label, Note: s.Note, Timeout: s.Timeout, Duration: s.Expected,
			ContinueOnFailure: s.Continues, Always: s.Always,
		}
	}
	return doc, overlay, nil
}

// checkTexts refuses in the texts that Build takes as they are what no document may hold.
func (a *archive) checkTexts() error {
	var doc schema.Document
	add := func(texts ...string) {
		id := strconv.Itoa(len(doc.Recommendations))
		doc.Recommendations = append(doc.Recommendations, schema.Recommendation{ID: id, Action: "any", Description: strings.Join(texts, "\n")})
	}
	add() // no document is without a step
	for i := range a.Steps {
		s := &a.Steps[i]
		add(append([]string{s.Name, s.Label, s.Note}, s.RiskReasons...)...)
	}
	for _, w := range a.Warnings {
		add(string(w.Code), w.Step, w.Pointer, w.Message, w.Suggestion)
	}
	doc.Check()
	if len(doc.Problems) == 0 {
		return nil
	}
	of := "a warning"
	if i, err := strconv.Atoi(doc.Problems[0].Step); err == nil && i > 0 && i <= len(a.Steps) {
		of = a.called(i - 1)
	}
	return fmt.Errorf("dag: the archive is refused: a text of %s %s", of, strings.TrimPrefix(doc.Problems[0].Message, "description "))
}

// warnings are those of the archive, of which the reader's cannot be found again, and what Build has found beside them.
func (a *archive) warnings(found []schema.Problem) []schema.Problem {
	type told struct {
		code          schema.Code
		step, message string
	}
	var out []schema.Problem
	known := map[told]bool{}
	for _, w := range a.Warnings[:min(len(a.Warnings), mostWarnings)] {
		w.Severity = schema.SeverityWarning
		known[told{w.Code, w.Step, w.Message}] = true
		out = append(out, w)
	}
	for _, w := range found {
		if len(out) < mostWarnings && !known[told{w.Code, w.Step, w.Message}] {
			out = append(out, w)
		}
	}
	return out
}

// called names step i in a message.
func (a *archive) called(i int) string { return "step " + printable(a.Steps[i].ID) }

// decodeObject reads an object without loss: whole numbers stay whole.
func decodeObject(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("there is no object")
	}
	_, err := settleNumbers(v, maxArchivedDepth)
	return object, err
}

func settleNumbers(v any, depth int) (any, error) {
	if depth < 0 {
		return nil, fmt.Errorf("a value is nested more than %d deep", maxArchivedDepth)
	}
	var err error
	switch v := v.(type) {
	case json.Number:
		return number(v), nil
	case []any:
		for i := range v {
			if v[i], err = settleNumbers(v[i], depth-1); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = settleNumbers(v[k], depth-1); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func number(n json.Number) any {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u
	}
	if f, err := n.Float64(); err == nil {
		return f
	}
	return n
}

// printable writes a name of the archive into a message.
func printable(name string) string {
	if isID(name) {
		return name
	}
	return wording.Quote(name)
}
