// Package approval decides which steps of a plan wait for a person, and carries the question to that person.
//
// A [Policy] turns a plan and the confidence of its analysis into [Gates]. A policy can only raise what the registry
// and the plan ask for; nothing a plan says lowers a gate. An [Approver] puts one [Request] before people; what comes
// back is a [Decision], bound to the digest of what was asked. Everything fails closed: silence, errors, panics,
// unknown answers and decisions about something else all mean no.
package approval
