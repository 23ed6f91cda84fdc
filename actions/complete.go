package actions

import (
	"fmt"
	"slices"
	"time"

	"github.com/remedykit/remedy/schema"
)

const (
	longestName    = 63
	mostParameters = 64 // resolver.seen has a bit for each
)

// complete returns a copy of s that shares no memory with it, with its defaults filled in, or an error that names the
// field that contradicts another.
func complete(s Spec) (*Spec, error) {
	s.Aliases = slices.Clone(s.Aliases)
	s.GateParameters = slices.Clone(s.GateParameters)
	s.Rules = slices.Clone(s.Rules)
	for i := range s.Rules {
		rule := &s.Rules[i]
		rule.OneOf, rule.AnyOf = slices.Clone(rule.OneOf), slices.Clone(rule.AnyOf)
		rule.AtMostOne, rule.NotGreater = slices.Clone(rule.AtMostOne), slices.Clone(rule.NotGreater)
	}
	s.Parameters = slices.Clone(s.Parameters)
	if !slices.ContainsFunc(s.Parameters, func(p Parameter) bool { return p.Name == "reason" }) {
		s.Parameters = append(s.Parameters, Parameter{Name: "reason", Type: String, Description: "Why the step is taken, for people."})
	}
	if s.Title == "" {
		s.Title = title(s.Name)
	}
	if s.Category == "" {
		s.Category = "custom"
	}
	if s.Effect == "" {
		s.Effect = Mutates
	}
	if s.Role == "" {
		s.Role = Fixes
	}
	if s.RiskFloor == schema.RiskUnset {
		s.RiskFloor = schema.RiskHigh
	}
	if s.Timeout == 0 {
		s.Timeout = 5 * time.Minute
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("action %q: %w", s.Name, err)
	}
	for i := range s.Parameters {
		if err := s.Parameters[i].complete(); err != nil {
			return nil, fmt.Errorf("action %q: parameters[%d] %q: %w", s.Name, i, s.Parameters[i].Name, err)
		}
	}
	if err := s.checkNames(); err != nil {
		return nil, fmt.Errorf("action %q: %w", s.Name, err)
	}
	for i := range s.Rules {
		if err := s.checkRule(&s.Rules[i]); err != nil {
			return nil, fmt.Errorf("action %q: rules[%d]: %w", s.Name, i, err)
		}
	}
	return &s, nil
}

func (s *Spec) check() error {
	if !isSnakeCase(s.Name) || len(s.Name) > longestName {
		return fmt.Errorf("name: want snake_case of at most %d letters", longestName)
	}
	for i, a := range s.Aliases {
		if spelling(a) == "" || !isSnakeCase(spelling(a)) || len(a) > longestName {
			return fmt.Errorf("aliases[%d]: %q is not a name in snake_case, kebab-case or PascalCase", i, a)
		}
	}
	switch s.Effect {
	case Reads, Mutates, External:
	default:
		return fmt.Errorf("effect: unknown effect %q", s.Effect)
	}
	switch s.Role {
	case Diagnoses, BacksUp, Fixes, Restarts, Verifies, Correlates, Silences, Records:
	default:
		return fmt.Errorf("role: unknown role %q", s.Role)
	}
	switch {
	case s.RiskFloor > schema.RiskCritical:
		return fmt.Errorf("riskFloor: unknown risk %d", s.RiskFloor)
	case s.Timeout < 0:
		return fmt.Errorf("timeout: %v is negative", s.Timeout)
	case s.Notice && s.Effect != External:
		return fmt.Errorf("notice: only an external action can be one, and this %s", s.Effect)
	case s.Undo != "" && s.Effect == Reads:
		return fmt.Errorf("undo: an action that changes nothing has nothing to undo")
	case s.Rolls && s.Effect != Mutates:
		return fmt.Errorf("rolls: only an action that mutates can restart pods")
	case s.Gate && len(s.GateParameters) > 0:
		return fmt.Errorf("gateParameters: gate is set, so they would say nothing")
	case s.ArtifactParameter != "" && s.Artifact == "":
		return fmt.Errorf("artifactParameter: artifact is empty, so there is nothing to override")
	case s.Artifact != "" && !isFileName(s.Artifact):
		return fmt.Errorf("artifact: %q cannot be part of a file name", s.Artifact)
	case len(s.Parameters) > mostParameters:
		return fmt.Errorf("parameters: %d are more than %d", len(s.Parameters), mostParameters)
	}
	return nil
}

// checkNames holds what names must exist, and that no parameter can be spelt like another.
func (s *Spec) checkNames() error {
	spellings := map[string]string{}
	for i := range s.Parameters {
		p := &s.Parameters[i]
		own := append([]string{p.Name}, p.Aliases...)
		if under := snake(p.Name); under != p.Name {
			own = append(own, under)
		}
		for _, name := range own {
			if other, ok := spellings[name]; ok {
				return fmt.Errorf("parameters[%d] %q: %q already means %s", i, p.Name, name, other)
			}
			spellings[name] = p.Name
		}
	}
	for i, name := range s.GateParameters {
		if s.parameter(name) == nil {
			return fmt.Errorf("gateParameters[%d]: there is no parameter %q", i, name)
		}
	}
	if p := s.parameter(s.ArtifactParameter); s.ArtifactParameter != "" && (p == nil || p.Type != String) {
		return fmt.Errorf("artifactParameter: there is no string parameter %q", s.ArtifactParameter)
	}
	return nil
}

func (s *Spec) checkRule(r *Rule) error {
	set := 0
	for _, of := range [][]string{r.OneOf, r.AnyOf, r.AtMostOne, r.NotGreater} {
		if len(of) == 0 {
			continue
		}
		set++
		if len(of) < 2 {
			return fmt.Errorf("%q alone is no relation", of[0])
		}
		for i, name := range of {
			p := s.parameter(name)
			if p == nil {
				return fmt.Errorf("there is no parameter %q", name)
			}
			if slices.Contains(of[:i], name) {
				return fmt.Errorf("%q is there twice", name)
			}
			if p.Required && len(r.NotGreater) == 0 {
				return fmt.Errorf("%q is required, so the rule leaves no choice", name)
			}
		}
	}
	if set != 1 {
		return fmt.Errorf("%d of oneOf, anyOf, atMostOne, notGreater are set, want exactly one", set)
	}
	if len(r.NotGreater) > 0 {
		if len(r.NotGreater) != 2 {
			return fmt.Errorf("notGreater: want two parameters, have %d", len(r.NotGreater))
		}
		a, b := s.parameter(r.NotGreater[0]), s.parameter(r.NotGreater[1])
		if a.Type != b.Type || a.Type != Integer && a.Type != Duration && a.Type != Quantity {
			return fmt.Errorf("notGreater: %s and %s cannot be compared", a.Type, b.Type)
		}
	}
	return nil
}

// complete gives p memory of its own, brings the values in it to their canonical form, and checks it.
func (p *Parameter) complete() error {
	p.Aliases, p.Enum = slices.Clone(p.Aliases), slices.Clone(p.Enum)
	p.Words, p.Refuse, p.Floors = slices.Clone(p.Words), slices.Clone(p.Refuse), slices.Clone(p.Floors)
	if p.Min != nil {
		p.Min = new(*p.Min)
	}
	if p.Max != nil {
		p.Max = new(*p.Max)
	}
	if p.Name == "namespace" && !slices.Contains(p.Aliases, "ns") {
		p.Aliases = append(p.Aliases, "ns")
	}
	isName := p.Type == Name || p.Type == String || p.Type == Path || p.Type == RelativePath
	isList := p.Type == StringList || p.Type == NameList || p.Type == PathList
	bounded := p.Type == Integer || p.Type == Duration
	switch {
	case !isCamelCase(p.Name):
		return fmt.Errorf("name: want camelCase")
	case !p.Type.known():
		return fmt.Errorf("type: unknown type %q", p.Type)
	case p.Name == "namespace" && p.Type != Namespace:
		return fmt.Errorf("type: want %s, not %s", Namespace, p.Type)
	case p.Kind != "" && !isName:
		return fmt.Errorf("kind: a %s cannot name an object", p.Type)
	case len(p.Enum) > 0 && p.Type != String:
		return fmt.Errorf("enum: only a string can have one, not a %s", p.Type)
	case len(p.Words) > 0 && !bounded && p.Type != Quantity:
		return fmt.Errorf("words: a %s cannot have any", p.Type)
	case len(p.Refuse) > 0 && p.Type != String && !isList:
		return fmt.Errorf("refuse: a %s cannot have any", p.Type)
	case p.Min != nil && !bounded:
		return fmt.Errorf("min: a %s has no bounds", p.Type)
	case p.Max != nil && !bounded:
		return fmt.Errorf("max: a %s has no bounds", p.Type)
	case p.Min != nil && p.Max != nil && *p.Min > *p.Max:
		return fmt.Errorf("max: %d is less than min %d", *p.Max, *p.Min)
	case p.Default != nil && p.Required:
		return fmt.Errorf("default: a required parameter has none")
	}
	for i, a := range p.Aliases {
		if !isCamelCase(a) && !isSnakeCase(a) {
			return fmt.Errorf("aliases[%d]: %q is neither camelCase nor snake_case", i, a)
		}
	}
	if p.Default != nil {
		v, problem := p.value(p.Default, false)
		if problem != "" {
			return fmt.Errorf("default: %s", problem)
		}
		p.Default = v
	}
	for i := range p.Floors {
		f := &p.Floors[i]
		v, problem := p.value(f.Value, false)
		switch {
		case problem != "":
			return fmt.Errorf("floors[%d].value: %s", i, problem)
		case !hasEquals(v):
			return fmt.Errorf("floors[%d].value: a %s cannot be compared", i, p.Type)
		case f.Risk == schema.RiskUnset || f.Risk > schema.RiskCritical:
			return fmt.Errorf("floors[%d].risk: want a risk", i)
		case f.Reason == "":
			return fmt.Errorf("floors[%d].reason: people are told why a step's risk was raised", i)
		}
		f.Value = v
	}
	return nil
}

// hasEquals tells whether a canonical value can be compared with ==.
func hasEquals(v any) bool {
	switch v.(type) {
	case string, bool, int64:
		return true
	}
	return false
}

func (t ParameterType) known() bool {
	switch t {
	case String, Integer, Boolean, Duration, Quantity, Name, Namespace, Path, RelativePath, StringList, NameList, PathList,
		StringMap, Object, Any:
		return true
	}
	return false
}
