package schema

import (
	"fmt"
	"iter"
	"time"

	"github.com/remedykit/remedy/internal/wording"
)

// An Overlay is what people add to a model's plan without touching it: titles, labels for drawings, time-outs,
// expected durations. The zero Overlay adds nothing.
type Overlay struct {
	// Steps by step id.
	Steps map[string]StepOverlay `json:"steps,omitempty"`
	// Actions by action type; a step's own entry goes before.
	Actions map[string]ActionOverlay `json:"actions,omitempty"`
}

// A StepOverlay is laid over one step. Zero fields change nothing.
type StepOverlay struct {
	// Name is the title in the manifest.
	Name string `json:"name,omitempty"`
	// Label replaces the action in drawings.
	Label string `json:"label,omitempty"`
	// Note stands in parentheses in drawings.
	Note string `json:"note,omitempty"`
	// Timeout may be longer than the registry's.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Duration is what the step is expected to take.
	Duration time.Duration `json:"duration,omitempty"`
	// ContinueOnFailure (in YAML onFailure: continue) lets dependents go on when the step fails.
	ContinueOnFailure bool `json:"onFailure,omitempty"`
	// Always lets the step run although the run has failed, once its dependencies have ended.
	Always bool `json:"always,omitempty"`
}

// An ActionOverlay is laid over every step of an action type. Zero fields change nothing.
type ActionOverlay struct {
	Timeout  time.Duration `json:"timeout,omitempty"`
	Duration time.Duration `json:"duration,omitempty"`
}

// ParseOverlay reads an overlay in YAML. Unknown fields, unknown onFailure values and bad durations are errors that
// name their line; the error is an [*Error] with all of them.
func ParseOverlay(data []byte) (*Overlay, error) {
	o := &Overlay{Steps: map[string]StepOverlay{}, Actions: map[string]ActionOverlay{}}
	p := parser{steps: none, exact: true}
	p.limits = Limits{}.orDefault()
	p.maxDepth = p.limits.Depth
	p.open(data, func() { p.overlay(o) })
	if _, err := p.finish(); err != nil {
		return nil, err
	}
	return o, nil
}

func (p *parser) overlay(o *Overlay) {
	if !p.readYAML() {
		return
	}
	p.forbidden()
	if p.nodes[0].kind == kindNull {
		return
	}
	p.section(0, "the overlay", map[string]func(int32){
		"steps": func(v int32) {
			for id, fields := range p.entries(v, "steps") {
				var s StepOverlay
				p.section(fields, "a step of the overlay", map[string]func(int32){
					"name":     p.stringInto(&s.Name, "name"),
					"label":    p.stringInto(&s.Label, "label"),
					"note":     p.stringInto(&s.Note, "note"),
					"timeout":  p.durationInto(&s.Timeout, "timeout"),
					"duration": p.durationInto(&s.Duration, "duration"),
					"always":   p.boolInto(&s.Always, "always"),
					"onFailure": func(v int32) {
						var word string
						if p.stringInto(&word, "onFailure")(v); word == "continue" {
							s.ContinueOnFailure = true
						} else if p.nodes[v].kind == kindString {
							p.problem(CodeInvalidValue, v, fmt.Sprintf("onFailure %s is not known; it can only be continue", wording.Quote(word)), "")
						}
					},
				})
				o.Steps[id] = s
			}
		},
		"actions": func(v int32) {
			for action, fields := range p.entries(v, "actions") {
				var a ActionOverlay
				p.section(fields, "an action of the overlay", map[string]func(int32){
					"timeout":  p.durationInto(&a.Timeout, "timeout"),
					"duration": p.durationInto(&a.Duration, "duration"),
				})
				o.Actions[action] = a
			}
		},
	})
}

// entries yields the members of an object that are objects themselves; one without a value is empty.
func (p *parser) entries(object int32, what string) iter.Seq2[string, int32] {
	return func(yield func(string, int32) bool) {
		if !p.expect(object, kindObject, what, -1) {
			return
		}
		for k := range p.items(object) {
			if p.nodes[k+1].kind != kindNull && !yield(p.text(k), k+1) {
				return
			}
		}
	}
}

func (p *parser) durationInto(into *time.Duration, field string) func(int32) {
	return func(v int32) {
		if !p.expect(v, kindString, field, -1) {
			return
		}
		d, err := ParseDuration(p.text(v))
		if err != nil || d == 0 {
			p.problem(CodeInvalidValue, v, fmt.Sprintf("%s %s must be a duration above zero, such as 90s or 5m", field, wording.Quote(p.text(v))), "")
		}
		*into = d
	}
}
