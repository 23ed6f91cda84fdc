// Package approval decides which steps of a plan wait for a person, and carries the question to that person.
//
// A [Policy] turns a plan and the confidence of its analysis into [Gates]: whether somebody is asked, why, and on which
// [Terms]. A policy can only raise what the registry and the plan ask for; nothing a plan says lowers a gate. An [Approver]
// puts one [Request] before people; [Request.Brief] is all that they need to know, the same in every medium; what comes back is a
// [Decision], bound to the digest of what was asked. Everything fails closed: silence, errors, panics, unknown answers
// and decisions about something else all mean no.
//
// # Policies
//
// Beside its table a policy has rules, freezes, caps and protected objects. A [Rule] asks for more where its [Condition] holds:
// a higher risk, a panel of its own, less time; or it forbids the plan. Package cel reads conditions in CEL.
//
// # Gates
//
// A [Tally] is the state machine of one gate. Each [Panel] of its terms has to say yes with as many distinct people as its quorum; one no
// of anybody who may decide is a no. The author of a plan and the model that wrote it may not decide. Who sits on a panel
// by escalation may decide from its time on. When the time is up the answer is no. The answer to a decision that comes too late, or
// twice, or about something that has changed since, says so.
//
// # Channels
//
// An Approver answers at once, or [Pending] and later through a [Decider], which an executor is. One that is an [Updater] is told
// what became of a request, so that nobody goes on looking at a question that is closed. [Broadcast] makes one Approver of
// several, and tries again what could not be delivered. Package terminal asks on a terminal; web, slack and email are in a
// module of their own, crd asks with an object in a cluster.
package approval
