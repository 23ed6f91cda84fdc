package dag

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// restartNetwork is the one action that may touch a protected namespace: cluster DNS and the like live there.
const restartNetwork = "restart_network"

// checkNamespaces refuses options that no cluster could have.
func (b *builder) checkNamespaces() error {
	if b.namespace != "" && !isLabel(b.namespace) {
		return fmt.Errorf("dag: namespace %s is not an RFC 1123 label", wording.Quote(b.namespace))
	}
	for _, ns := range b.options.protected {
		if !isLabel(ns) {
			return fmt.Errorf("dag: protected namespace %s is not an RFC 1123 label", wording.Quote(ns))
		}
	}
	return nil
}

// sharedNamespace is the one namespace that the steps name, "" when they name none or several. A step whose action is
// unknown counts as far as it can be read: its error should not bring others about.
func (b *builder) sharedNamespace() string {
	shared := ""
	for i := range b.steps {
		rec := &b.doc.Recommendations[i]
		var ns string
		if spec := b.steps[i].spec; spec != nil {
			ns, _ = spec.NamespaceOf(rec)
		} else {
			ns, _ = rec.Parameters["namespace"].(string)
		}
		if ns == "" || ns == shared {
			continue
		}
		if shared != "" {
			return ""
		}
		shared = ns
	}
	if !isLabel(shared) {
		return ""
	}
	return shared
}

// protects tells whether mutating actions must leave a namespace alone.
func (b *builder) protects(ns string) bool {
	switch ns {
	case "kube-system", "kube-public", "kube-node-lease":
		return true
	}
	return slices.Contains(b.options.protected, ns)
}

// restartsProtectedComponent tells whether a step is a restart_network that may touch a protected namespace. Without a
// namespace it may: the components that it is for live in kube-system.
func (b *builder) restartsProtectedComponent(s *Step) bool {
	if s.spec.Name != restartNetwork {
		return false
	}
	ns := s.task.Parameters.String("namespace")
	return ns == "" || b.protects(ns)
}

// checkProtected refuses a mutating step in a protected namespace.
func (b *builder) checkProtected(s *Step) {
	if !s.Mutating() {
		return
	}
	if b.restartsProtectedComponent(s) {
		if component := s.task.Parameters.String("component"); component != "" && !slices.Contains(b.components, component) {
			b.problem(s.index, schema.CodeInvalidParameter, b.parameterPointer(s, "component"), "",
				"component %s may live in a protected namespace and the policy does not allow to restart it", wording.Quote(component))
		}
		return
	}
	check := func(name string) {
		if ns := s.task.Parameters.String(name); b.protects(ns) {
			b.problem(s.index, schema.CodeInvalidParameter, b.namespacePointer(s, name), "",
				"namespace %s is protected: %s must not change anything in it", ns, s.spec.Name)
		}
	}
	listed := false
	for k := range s.spec.Parameters {
		if p := &s.spec.Parameters[k]; p.Type == actions.Namespace {
			listed = listed || p.Name == "namespace"
			check(p.Name)
		}
	}
	if !listed {
		check("namespace") // of an action that takes any parameter
	}
}

// namespacePointer points at a namespace, be it a parameter, a part of one, or a part of the object that the step names
// apart from its parameters.
func (b *builder) namespacePointer(s *Step, name string) string {
	rec := &b.doc.Recommendations[s.index]
	as := cmp.Or(s.spellings[name], name)
	if _, ok := rec.Parameters[as]; !ok && rec.Target != nil {
		return b.doc.Pointer(s.index, "targetResource", "namespace")
	}
	return b.parameterPointer(s, name, "namespace")
}

// parameterPointer points at a parameter as the document spells it.
func (b *builder) parameterPointer(s *Step, name string, path ...string) string {
	name = cmp.Or(s.spellings[name], name)
	return b.doc.Pointer(s.index, "parameters", append([]string{name}, path...)...)
}
