package kube

import (
	"cmp"
	"slices"
	"strings"

	"github.com/remedykit/remedy/actions"
)

// A Right is what RBAC must allow an account: a verb on a resource.
type Right struct {
	Verb string
	// Group is the API group, "" for the core one. Resource may have a subresource, as in "pods/exec".
	Group, Resource string
	// Namespace is "" for objects that are in none, and for a right in all namespaces.
	Namespace string
	// Name restricts the right to one object; "" for all.
	Name string
}

// A handler says which rights it needs to carry a task out, to look at it first, and to undo it.
type handler interface {
	actions.ActionHandler
	rights(t *actions.Task) []Right
}

// rightsTo are the rights to do all of verbs (one string, separated by spaces) with one resource.
func rightsTo(verbs, group, resource, namespace, name string) []Right {
	var all []Right
	for verb := range strings.FieldsSeq(verbs) {
		all = append(all, Right{verb, group, resource, namespace, name})
	}
	return all
}

// sortRights puts rights into order and takes out what is there twice, or what a right to all objects covers.
func sortRights(all []Right) []Right {
	slices.SortFunc(all, func(a, b Right) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Name, b.Name))
	})
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(r Right) bool {
		whole := r
		whole.Name = ""
		return r.Name != "" && slices.Contains(all, whole)
	})
}
