package actions

// A Registry is a set of Specs. The zero Registry is empty and ready to use. It is not safe to add to a Registry
// while it is being read; a Registry that nobody adds to any more may be shared.
type Registry struct {
	specs  []*Spec
	byName map[string]*Spec
}

// Canonical returns a new Registry with the 38 canonical actions.
func Canonical() *Registry { return &Registry{} }

// Add adds a Spec, with its defaults filled in. It refuses a name or alias that is already there, and a Spec that
// contradicts itself.
func (r *Registry) Add(s Spec) error { return nil }

// Lookup returns the Spec of an action type by its canonical name, nil when there is none. The Spec must not be changed.
func (r *Registry) Lookup(name string) *Spec { return r.byName[name] }

// Resolve is Lookup that also knows aliases, kebab-case and PascalCase; alias tells whether it needed them.
func (r *Registry) Resolve(name string) (spec *Spec, alias bool) { return nil, false }

// Specs returns all Specs in the order in which they were added. They must not be changed.
func (r *Registry) Specs() []*Spec { return r.specs }

// Nearest returns up to three names of the registry that are most like a misspelt one, the nearest first. They are
// for messages; nothing is ever replaced by one.
func (r *Registry) Nearest(name string) []string { return nil }
