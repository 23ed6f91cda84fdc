package cel_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/cel"
)

// real is what the rules of a policy look like.
var real = []string{
	`step.action == "drain_node" && risk >= high`,
	`has(step.parameters.replicas) && step.parameters.replicas > 10`,
	`step.target.kind == "StatefulSet" && step.target.namespace in ["payments", "ledger"]`,
	`confidence < 0.8 && step.mutating && !step.reversible`,
	`time.getHours("Europe/Berlin") >= 22 || time.getHours("Europe/Berlin") < 6`,
}

func BenchmarkHolds(b *testing.B) {
	p := incident(b, "cascading-failure")
	for _, when := range append(real, `plan.actions.exists(a, a == "drain_node")`) {
		b.Run(when, func(b *testing.B) {
			c, s := compile(b, when, false), subject(p, 4)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Holds(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cel.Compile(real[1], false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGates gates 256 steps under 20 rules.
func BenchmarkGates(b *testing.B) {
	steps := make([]step, 256)
	for i := range steps {
		steps[i] = scale(3 + i%10)
	}
	p := build(b, actions.Canonical(), steps...)
	policy := approval.IncidentTable()
	for i := range 20 {
		when := real[i%len(real)]
		policy.Rules = append(policy.Rules, approval.Rule{Name: fmt.Sprint(i), When: when, Condition: compile(b, when, false), Require: true})
	}
	require.NoError(b, policy.Validate())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Gates(p, approval.Confidence{Value: 0.9, Given: true}, tuesday); err != nil {
			b.Fatal(err)
		}
	}
}
