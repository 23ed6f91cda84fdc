package actions

import (
	"fmt"
	"slices"
)

// A Registry is a set of Specs. The zero Registry is empty and ready to use. It is not safe to add to a Registry
// while it is being read; a Registry that nobody adds to any more may be shared.
type Registry struct {
	specs  []*Spec
	byName map[string]*Spec
	// known maps every name and alias, in snake_case, to its Spec.
	known map[string]*Spec
}

// Add adds a Spec, with its defaults filled in and with the parameter reason, which every action accepts. It refuses a
// name or alias that is already there in any spelling, and a Spec that contradicts itself; the error names the field.
// The Registry keeps a copy.
func (r *Registry) Add(s Spec) error {
	spec, err := complete(s)
	if err != nil {
		return fmt.Errorf("actions: %w", err)
	}
	spellings := make([]string, 0, 1+len(spec.Aliases))
	for i, name := range append([]string{spec.Name}, spec.Aliases...) {
		field := "name"
		if i > 0 {
			field = fmt.Sprintf("aliases[%d]", i-1)
		}
		key := spelling(name)
		if other := r.known[key]; other != nil {
			return fmt.Errorf("actions: action %q: %s: %q already means %s", s.Name, field, name, other.Name)
		}
		if slices.Contains(spellings, key) {
			return fmt.Errorf("actions: action %q: %s: %q is there twice", s.Name, field, name)
		}
		spellings = append(spellings, key)
	}
	if r.byName == nil {
		r.byName, r.known = map[string]*Spec{}, map[string]*Spec{}
	}
	r.specs = append(r.specs, spec)
	r.byName[spec.Name] = spec
	for _, key := range spellings {
		r.known[key] = spec
	}
	return nil
}

// Lookup returns the Spec of an action type by its canonical name, nil when there is none. The Spec must not be changed.
func (r *Registry) Lookup(name string) *Spec { return r.byName[name] }

// Resolve is Lookup that also knows aliases, and the kebab-case, PascalCase and camelCase of names and aliases; alias
// tells whether it needed them. Nothing else is ever taken for an action: spec is nil.
func (r *Registry) Resolve(name string) (spec *Spec, alias bool) {
	if spec = r.byName[name]; spec != nil {
		return spec, false
	}
	if len(name) > longestName {
		return nil, false
	}
	spec = r.known[spelling(name)]
	return spec, spec != nil
}

// Specs returns all Specs in the order in which they were added. They must not be changed.
func (r *Registry) Specs() []*Spec { return r.specs }

// Nearest returns up to three names of the registry that are most like a misspelt one, the nearest first. They are
// for messages; nothing is ever replaced by one.
func (r *Registry) Nearest(name string) []string {
	names := make([]string, 0, len(r.specs))
	for _, s := range r.specs {
		names = append(names, s.Name)
	}
	return nearest(name, names, 3)
}
