package actions

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Meaning is what a registered Spec says without its prose and its spellings, as canonical JSON: two Specs with equal
// meanings check, gate, time and undo every step alike. What is not set is left out, so that a field that is added one
// day changes no meaning as long as nobody sets it. Of values of secret parameters it holds a hash.
func (s *Spec) Meaning() []byte {
	m := meaning{}
	m.set("name", s.Name)
	m.set("effect", string(s.Effect))
	m.set("role", string(s.Role))
	m.set("notice", s.Notice)
	m.set("riskFloor", s.RiskFloor.String())
	m.set("timeout", s.Timeout.String())
	m.set("reversible", s.Reversible())
	m.set("idempotent", s.Idempotent)
	m.set("rolls", s.Rolls)
	m.set("gate", s.Gate)
	m.set("gateParameters", sorted(s.GateParameters))
	m.set("artifact", s.Artifact)
	m.set("artifactParameter", s.ArtifactParameter)
	m.set("anyParameters", s.AnyParameters)
	parameters := map[string]any{}
	var targets []string
	for i := range s.Parameters {
		p := &s.Parameters[i]
		parameters[p.Name] = p.meaning()
		if p.Kind != "" {
			targets = append(targets, p.Name)
		}
	}
	m["parameters"] = parameters
	m.set("targets", targets) // their order chooses, that of the others is for readers
	var rules []any
	for i := range s.Rules {
		rules = append(rules, s.Rules[i].meaning())
	}
	m.set("rules", ordered(rules))
	return appendValue(nil, map[string]any(m))
}

func (p *Parameter) meaning() map[string]any {
	value := func(v any) any { return v }
	if p.Secret {
		value = func(v any) any {
			sum := sha256.Sum256(appendValue(nil, v))
			return "sha256:" + hex.EncodeToString(sum[:])
		}
	}
	m := meaning{}
	m.set("type", string(p.Type))
	m.set("required", p.Required)
	m.set("kind", p.Kind)
	m.set("enum", sorted(p.Enum))
	m.set("words", sorted(p.Words))
	m.set("refuse", sorted(p.Refuse))
	m.set("secret", p.Secret)
	if p.Min != nil {
		m["min"] = *p.Min
	}
	if p.Max != nil {
		m["max"] = *p.Max
	}
	if p.Default != nil {
		m["default"] = value(p.Default)
	}
	var floors []any
	for _, f := range p.Floors {
		floors = append(floors, map[string]any{"value": value(f.Value), "risk": f.Risk.String()})
	}
	m.set("floors", ordered(floors))
	return m
}

func (r *Rule) meaning() map[string]any {
	m := meaning{}
	m.set("oneOf", sorted(r.OneOf))
	m.set("anyOf", sorted(r.AnyOf))
	m.set("atMostOne", sorted(r.AtMostOne))
	m.set("notGreater", r.NotGreater)
	return m
}

type meaning map[string]any

// set leaves out what is empty.
func (m meaning) set(name string, v any) {
	switch v := v.(type) {
	case string:
		if v == "" {
			return
		}
	case bool:
		if !v {
			return
		}
	case []string:
		if len(v) == 0 {
			return
		}
	case []any:
		if len(v) == 0 {
			return
		}
	}
	m[name] = v
}

// sorted and ordered are for lists whose order says nothing.
func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func ordered(list []any) []any {
	slices.SortFunc(list, func(a, b any) int { return bytes.Compare(appendValue(nil, a), appendValue(nil, b)) })
	return list
}
