package dag

import "github.com/remedykit/remedy/schema"

// An Option changes how Build makes a plan.
type Option func(*options)

type options struct {
	namespace  string
	overlay    *schema.Overlay
	protected  []string
	components []string
	parse      []schema.Option
}

// Namespace is used for steps that need a namespace and name none. It is the caller's word, not a repair.
func Namespace(ns string) Option { return func(o *options) { o.namespace = ns } }

// WithOverlay lays an overlay over the document. A step id that the document does not have, and an action type that
// the registry does not have, is an error of the caller, not a problem of the document.
func WithOverlay(v *schema.Overlay) Option { return func(o *options) { o.overlay = v } }

// Protect adds namespaces that mutating actions must not touch, beside kube-system, kube-public and kube-node-lease. Nodes that are
// of the control plane by their names are always closed to them.
func Protect(namespaces ...string) Option {
	return func(o *options) { o.protected = append(o.protected, namespaces...) }
}

// AllowComponents lets restart_network restart these components although they live in a protected namespace. Such a
// step has critical risk. Defaults to none.
func AllowComponents(components ...string) Option {
	return func(o *options) { o.components = append(o.components, components...) }
}

// Reading passes options on to schema.Parse. Build ignores it.
func Reading(opts ...schema.Option) Option {
	return func(o *options) { o.parse = append(o.parse, opts...) }
}
