// Package actions holds the canonical registry of remediation actions and the contract of the handlers that carry
// them out.
//
// A [Spec] describes an action as data: what it does, its parameters with types and bounds, the lowest risk it can
// have, its time-out, whether it can be undone. A [Registry] is a set of Specs that the caller owns: start from
// [Canonical], add your own, hand it to dag.Build, which asks the Spec of each step to [Spec.Resolve] its parameters.
//
// An [ActionHandler] carries one action out. Write it as a [HandlerFunc], or with [Typed] to get the parameters
// decoded into a struct. What else a handler can do it says with one-method interfaces ([DryRunner], [Compensator],
// [Prober], [Footprinter]), which [As] finds through wrappers.
package actions
