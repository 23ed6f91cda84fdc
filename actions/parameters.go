package actions

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/remedykit/remedy/schema"
)

// Parameters are the canonical parameters of a step: checked against the Spec, under their canonical names, sorted,
// immutable and safe to share. The zero Parameters is empty.
type Parameters struct {
	list []parameter // sorted by name
	spec *Spec       // for defaults; nil: none
}

// value is in canonical form (see Parameter.value) when it is listed in a Spec.
type parameter struct {
	name  string
	value any
}

// NewParameters makes Parameters from a map, for tests and handlers' examples; nothing is checked and there are no
// defaults. Lists and objects are copied.
func NewParameters(m map[string]any) Parameters {
	list := make([]parameter, 0, len(m))
	for _, name := range sortedKeys(m) {
		v := clone(m[name])
		if n, ok := integerOf(v); ok {
			v = n
		}
		list = append(list, parameter{name, v})
	}
	return Parameters{list: list}
}

func byName(a, b parameter) int { return cmp.Compare(a.name, b.name) }

func (p Parameters) given(name string) (any, bool) {
	// Steps have a handful of parameters: a walk is quicker than halving.
	if len(p.list) <= 8 {
		for i := range p.list {
			if p.list[i].name == name {
				return p.list[i].value, true
			}
		}
		return nil, false
	}
	i, ok := slices.BinarySearchFunc(p.list, name, func(a parameter, name string) int { return cmp.Compare(a.name, name) })
	if !ok {
		return nil, false
	}
	return p.list[i].value, true
}

// value is Get without the copy.
func (p Parameters) value(name string) any {
	if v, ok := p.given(name); ok {
		return v
	}
	if p.spec != nil {
		if d := p.spec.parameter(name); d != nil {
			return d.Default
		}
	}
	return nil
}

// Len is the number of parameters that the document gives.
func (p Parameters) Len() int { return len(p.list) }

// Given tells whether the document gives the parameter.
func (p Parameters) Given(name string) bool {
	_, ok := p.given(name)
	return ok
}

// Get returns the value that is given, else the Spec's default, else nil: a string, bool, int64, []string or
// map[string]string as the Spec says, []any and map[string]any where it does not. Lists and objects are copies.
func (p Parameters) Get(name string) any { return clone(p.value(name)) }

// String returns a string, "" when there is none.
func (p Parameters) String(name string) string {
	s, _ := p.value(name).(string)
	return s
}

// Int returns an integer, 0 when there is none.
func (p Parameters) Int(name string) int64 {
	n, _ := p.value(name).(int64)
	return n
}

// Bool returns a bool, false when there is none.
func (p Parameters) Bool(name string) bool {
	b, _ := p.value(name).(bool)
	return b
}

// Duration returns a duration, 0 when there is none.
func (p Parameters) Duration(name string) time.Duration {
	switch v := p.value(name).(type) {
	case string:
		if d, err := schema.ParseDuration(v); err == nil {
			return d
		}
	case time.Duration:
		return v
	}
	return 0
}

// Strings returns a list of strings, nil when there is none. The list is a copy.
func (p Parameters) Strings(name string) []string {
	switch v := p.value(name).(type) {
	case []string:
		return slices.Clone(v)
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil
			}
			out = append(out, s)
		}
		return out
	}
	return nil
}

// All yields the given parameters by name, in sorted order. Lists and objects are copies.
func (p Parameters) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, one := range p.list {
			if !yield(one.name, clone(one.value)) {
				return
			}
		}
	}
}
