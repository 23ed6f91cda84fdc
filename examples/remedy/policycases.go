package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/schema"
)

// policyCases is a file of policy test.
type policyCases struct {
	// Policy is the name of the file that is tested.
	Policy string       `yaml:"policy"`
	Cases  []policyCase `yaml:"cases"`
}

type policyCase struct {
	Name string `yaml:"name"`
	// Plan is the name of a file, or a document.
	Plan               yaml.Node       `yaml:"plan"`
	Namespace          string          `yaml:"namespace"`
	Overlay            string          `yaml:"overlay"`
	Confidence         *float64        `yaml:"confidence"`
	AllowLowConfidence bool            `yaml:"allowLowConfidence"`
	At                 word[time.Time] `yaml:"at"`
	Expect             expectation     `yaml:"expect"`

	line   int
	file   string // of the plan
	inline []byte // the plan itself; nil: it is in the file
}

func (c *policyCase) confidence() approval.Confidence {
	if c.Confidence == nil {
		return approval.Confidence{AllowLow: c.AllowLowConfidence}
	}
	return approval.Confidence{Value: *c.Confidence, Given: true, AllowLow: c.AllowLowConfidence}
}

// An expectation leaves out what a case does not care about.
type expectation struct {
	Refused  string                     `yaml:"refused"`
	PlanGate string                     `yaml:"planGate"`
	Steps    map[string]stepExpectation `yaml:"steps"`
}

type stepExpectation struct {
	Gate      string              `yaml:"gate"`
	Risk      word[schema.Risk]   `yaml:"risk"`
	Reason    string              `yaml:"reason"`
	Rules     []string            `yaml:"rules"`
	Quorum    int                 `yaml:"quorum"`
	Approvers []string            `yaml:"approvers"`
	Timeout   word[time.Duration] `yaml:"timeout"`
}

// A word is a value that is written as one, read with its line.
type word[T any] struct{ is T }

func (w *word[T]) UnmarshalYAML(n *yaml.Node) (err error) {
	switch v := any(&w.is).(type) {
	case *time.Time:
		*v, err = time.Parse(time.RFC3339, n.Value)
	case *time.Duration:
		*v, err = schema.ParseDuration(n.Value)
	case *schema.Risk:
		*v, err = schema.ParseRisk(n.Value)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// strange is how the YAML reader speaks of a field that a Go type lacks.
var strange = regexp.MustCompile(`field (\S+) not found in type \S+`)

// parseCases reads a file of policy test, and checks all that can be without the plans.
func parseCases(data []byte) (*policyCases, error) {
	var f policyCases
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(strange.ReplaceAllString(err.Error(), `unknown field "$1"`))
	}
	var lines struct {
		Cases []yaml.Node `yaml:"cases"`
	}
	if err := yaml.Unmarshal(data, &lines); err != nil {
		return nil, err
	}
	if f.Policy == "" {
		return nil, errors.New("policy is required: the name of the file that is tested")
	}
	if len(f.Cases) == 0 {
		return nil, errors.New("there are no cases")
	}
	for i := range f.Cases {
		c := &f.Cases[i]
		c.line = lines.Cases[i].Line
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("line %d: cases[%d]: %w", c.line, i, err)
		}
	}
	return &f, nil
}

func (c *policyCase) check() error {
	if c.Name == "" {
		return errors.New("name is required")
	}
	switch c.Plan.Kind {
	case yaml.ScalarNode:
		c.file = c.Plan.Value
	case yaml.MappingNode:
		var document any
		if err := c.Plan.Decode(&document); err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		var err error
		if c.inline, err = json.Marshal(document); err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	if c.file == "" && c.inline == nil {
		return errors.New("plan is required: the name of a file, or a document")
	}
	if v := c.Confidence; v != nil && !(*v >= 0 && *v <= 1) {
		return fmt.Errorf("confidence is %v; it is a number from 0 to 1", *v)
	}
	e := &c.Expect
	if e.Refused == "" && e.PlanGate == "" && len(e.Steps) == 0 {
		return errors.New("expect is required: refused, planGate or steps")
	}
	if e.Refused != "" && (e.PlanGate != "" || len(e.Steps) > 0) {
		return errors.New("a plan that is refused has no gates to expect")
	}
	if err := isGate("planGate", e.PlanGate); err != nil {
		return err
	}
	for id, s := range e.Steps {
		if err := isGate("steps."+id+".gate", s.Gate); err != nil {
			return err
		}
		if s.Gate == "" && s.Risk.is == schema.RiskUnset && s.Reason == "" && s.Rules == nil && s.Quorum == 0 && s.Approvers == nil && s.Timeout.is == 0 {
			return fmt.Errorf("steps.%s expects nothing", id)
		}
	}
	return nil
}

func isGate(field, word string) error {
	if word != "" && word != gateWord(true) && word != gateWord(false) {
		return fmt.Errorf("%s is %q; it is none or approval", field, word)
	}
	return nil
}
