// Package cel reads the conditions of a policy's rules in [CEL], the language in which Kubernetes admission policies are
// written:
//
//	rules:
//	  - name: drains need two
//	    when: step.action == "drain_node" && risk >= high
//	    quorum: 2
//	  - name: large scale-ups
//	    when: has(step.parameters.replicas) && step.parameters.replicas > 10
//	    require: true
//	  - name: no sweeping plans at night
//	    when: |
//	      plan.mutating > 5 &&
//	      (time.getHours("Europe/Berlin") >= 22 || time.getHours("Europe/Berlin") < 6)
//	    plan: true
//	    forbid: wait for the morning
//
// # What a condition can speak of
//
//	step.id            string     as the document has it
//	step.number        int        position in the document, from 1
//	step.action        string     the canonical action type
//	step.category      string     of the action
//	step.mutating      bool       it changes something
//	step.reversible    bool       a rollback can undo it
//	step.risk          Risk       the same as risk
//	step.timeout       duration   of the step
//	step.parameters    map        as its handler sees them: defaults included, durations as durations, quantities as text. Secrets are not there
//	step.target        Target     kind, namespace, name: strings, "" where the parameters name none
//	plan.steps         int        how many
//	plan.mutating      int        how many of them change something
//	plan.actions       list       the action of each step, in order
//	plan.digest        string     of what the plan does
//	risk               Risk       of the step by registry, plan and Policy.Risks, before rules; in a rule with plan: true that of the riskiest step
//	confidence         double     the lower of the analysis's and the step's own; -1 when neither is given, which is below every bound
//	time               timestamp  when it is asked; time.getHours("Europe/Berlin"), time.getDayOfWeek() (0 is Sunday), UTC without a zone
//
// Risks are compared with the constants none, low, medium, high and critical: risk >= high. A rule with plan: true has no step.
// Macros (has, exists, all, filter, map), matches (RE2) and all else that is CEL's own is there.
//
// # What goes wrong
//
// When a policy is loaded, a name that does not exist, values of types that cannot be compared, a condition that is not true or false, a regular
// expression, time, duration or time zone that cannot be read, and what costs more than [CostLimit] whatever the plan are errors with line
// and character. A condition that fails later (a parameter that is not there, a division by zero, more than CostLimit) counts as met, and the gate says so:
// ask has(step.parameters.replicas) first.
//
// # What it costs
//
// On a core of an AMD EPYC one evaluation takes 0.3 to 4 µs, 10 µs where it names a time zone twice; the gates of a plan of 256 steps under
// 20 rules 13 ms. To compile a condition takes 0.2 ms, once.
//
// [CEL]: https://cel.dev
package cel
