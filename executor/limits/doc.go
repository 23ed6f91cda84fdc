// Package limits keeps many runs, in many processes, from doing too much together.
//
// [Limits] is asked before each effect ([Limits.Admit]) and told how it went ([Limits.Ended]). It applies [Rules]: a cooldown for
// the same action on the same target, a breaker that opens after repeated failure, budgets of effects per namespace and
// time, budgets of what one run may touch, and a kill switch. What it remembers is in a [Store]: [NewMemory] for one
// process, [OpenFiles] for several.
package limits
