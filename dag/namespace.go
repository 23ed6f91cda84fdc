package dag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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

// checkProtected refuses a mutating step in a protected namespace, or on a node of the control plane.
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
	if t := s.task.Target; t.Kind == "Node" && namesControlPlane(t.Name) {
		b.problem(s.index, schema.CodeInvalidParameter, b.nodePointer(s), "",
			"node %s is of the control plane by its name: %s must not change it", wording.Quote(t.Name), s.spec.Name)
	}
}

// namesControlPlane tells whether a node is of the control plane by its name, as installers choose it: a plan knows no more of a
// node. Who carries the step out sees its labels.
func namesControlPlane(node string) bool {
	words := strings.FieldsFunc(node, func(r rune) bool { return r == '-' || r == '.' })
	for i, word := range words {
		words[i] = strings.TrimRight(word, "0123456789")
		if words[i] == "master" || words[i] == "controlplane" || words[i] == "plane" && i > 0 && words[i-1] == "control" {
			return true
		}
	}
	return false
}

// nodePointer points at the node that a step names, be it a parameter or the object that it names apart from them.
func (b *builder) nodePointer(s *Step) string {
	for k := range s.spec.Parameters {
		p := &s.spec.Parameters[k]
		if _, ok := b.doc.Recommendations[s.index].Parameters[cmp.Or(s.spellings[p.Name], p.Name)]; ok && p.Kind == "Node" {
			return b.parameterPointer(s, p.Name)
		}
	}
	return b.doc.Pointer(s.index, "targetResource", "name")
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
