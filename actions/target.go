package actions

import (
	"fmt"
	"strings"

	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// targetNames are the spellings of an object that names the target by kind, name and namespace.
var targetNames = [...]string{"target", "targetResource", "target_resource"}

// looseNames are the spellings of a target's kind and name as parameters of their own.
var looseNames = [...]struct{ kind, name string }{
	{"resourceType", "resourceName"}, {"resource_type", "resource_name"}, {"kind", "name"},
}

// namespaceOf is the namespace that a target is in, or is.
func namespaceOf(kind, name, namespace string) string {
	if strings.EqualFold(kind, "Namespace") {
		return name
	}
	return namespace
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

// hasTargets tells whether a parameter of the action names an object.
func (s *Spec) hasTargets() bool {
	for i := range s.Parameters {
		if s.Parameters[i].Kind != "" {
			return true
		}
	}
	return false
}

// readTarget takes a parameter that names the target in another way than under its kind; false when it is none.
func (r *resolver) readTarget(at place, name string, v any) bool {
	switch name {
	case "target", "targetResource", "target_resource":
		object, ok := v.(map[string]any)
		if !ok {
			r.report(schema.CodeInvalidParameter, at, name+" is "+describe(v)+"; expected an object with kind, name and namespace")
			return true
		}
		r.targetObject(at, name, object)
	case "resourceType", "resource_type", "kind":
		r.looseName(&r.loose.kind, at, name)
	case "resourceName", "resource_name", "name":
		r.looseName(&r.loose.name, at, name)
	default:
		return false
	}
	return true
}

func (r *resolver) looseName(into *string, at place, name string) {
	if *into != "" {
		r.report(schema.CodeDuplicateKey, at, fmt.Sprintf("%s and %s say the same; keep one", *into, name))
		return
	}
	*into = name
}

// targetObject reads {kind, name, namespace} among the parameters.
func (r *resolver) targetObject(at place, spelt string, object map[string]any) {
	var kind, name, namespace string
	for _, key := range sortedKeys(object) {
		inner := place{at.field, at.key, key}
		into := &kind
		switch key {
		case "kind":
		case "name":
			into = &name
		case "namespace":
			into = &namespace
		default:
			r.unknown(inner, key)
			continue
		}
		text, ok := object[key].(string)
		if !ok {
			r.report(schema.CodeInvalidParameter, inner, fmt.Sprintf("%s of %s is %s; expected a string", key, spelt, describe(object[key])))
			return
		}
		*into = text
	}
	r.target(at, spelt, spelt, kind, name, namespace)
}

// looseTarget reads a target whose kind and name are parameters of their own.
func (r *resolver) looseTarget() {
	kindName, name := r.loose.kind, r.loose.name
	if kindName == "" && name == "" {
		return
	}
	var kind string
	if kindName != "" {
		at := place{"parameters", kindName, ""}
		text, ok := r.rec.Parameters[kindName].(string)
		switch {
		case !ok:
			r.report(schema.CodeInvalidParameter, at, kindName+" is "+describe(r.rec.Parameters[kindName])+"; expected a kind such as \"Deployment\"")
			return
		case name == "":
			r.report(schema.CodeInvalidParameter, at, kindName+" says a kind, but no name goes with it")
			return
		}
		kind = text
	}
	at := place{"parameters", name, ""}
	text, ok := r.rec.Parameters[name].(string)
	if !ok {
		r.report(schema.CodeInvalidParameter, at, name+" is "+describe(r.rec.Parameters[name])+"; expected the name of an object")
		return
	}
	spelt := name
	if kindName != "" {
		spelt = name + " and " + kindName
	}
	r.target(at, name, spelt, kind, text, "")
}

// target takes an object as the parameter of its kind. key is the parameter that the document spells it with, "" when
// it stands beside the parameters; spelt is what messages call it.
func (r *resolver) target(at place, key, spelt, kind, name, namespace string) {
	if !r.spec.hasTargets() && r.spec.AnyParameters {
		return // it says what the step is about, and the action takes note of anything
	}
	nameAt, namespaceAt := at, at
	switch {
	case at.field == "targetResource":
		nameAt.key, namespaceAt.key = "name", "namespace"
	case key == "target" || key == "targetResource" || key == "target_resource":
		nameAt.sub, namespaceAt.sub = "name", "namespace"
	}
	var read []string
	take := func(i int, at place, v string) {
		if r.claim(i, at, key) {
			r.take(i, at, v)
			read = append(read, r.spec.Parameters[i].Name)
		}
	}
	if i, problem := r.spec.targetParameter(kind); problem != "" {
		r.report(schema.CodeInvalidParameter, at, spelt+problem)
	} else {
		take(i, nameAt, name)
	}
	if namespace != "" {
		if i := r.spec.indexOf("namespace"); i >= 0 {
			take(i, namespaceAt, namespace)
		} else {
			r.unknown(namespaceAt, "namespace")
		}
	}
	if len(read) > 0 {
		r.repaired(at, spelt+" read as "+strings.Join(read, " and "))
	}
}

// targetParameter finds the parameter that takes an object of a kind, or the only one when the kind is not said.
func (s *Spec) targetParameter(kind string) (i int, problem string) {
	if strings.EqualFold(kind, "Namespace") {
		if i := s.indexOf("namespace"); i >= 0 {
			return i, ""
		}
	}
	var takes []string
	only := -1
	for i := range s.Parameters {
		p := &s.Parameters[i]
		if p.Kind == "" {
			continue
		}
		if kind != "" && (strings.EqualFold(kind, p.Kind) || strings.EqualFold(kind, p.Name)) {
			return i, ""
		}
		only = i
		takes = append(takes, p.Name)
	}
	switch {
	case len(takes) == 0:
		return -1, ": " + s.Name + " takes no target"
	case kind != "":
		return -1, " is of kind " + wording.Quote(kind) + "; " + s.Name + " takes " + strings.Join(takes, ", ")
	case len(takes) > 1:
		return -1, " says no kind; name the object as one of " + strings.Join(takes, ", ")
	}
	return only, ""
}

// object is the target that the parameters name.
func (r *resolver) object() schema.Target {
	var t schema.Target
	given := Parameters{list: r.list}
	for i := range r.spec.Parameters {
		p := &r.spec.Parameters[i]
		if p.Kind == "" || r.seen>>i&1 == 0 || t.Kind != "" && t.Kind != p.Kind {
			continue
		}
		name := given.String(p.Name)
		switch {
		case name == "":
		case t.Kind == "":
			t = schema.Target{Kind: p.Kind, Name: name}
		default:
			t.Name += "/" + name
		}
	}
	if t.Kind != "" {
		t.Namespace = given.String("namespace")
	}
	return t
}
