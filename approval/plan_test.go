package approval_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// step is one recommendation as a document writes it.
type step map[string]any

// restart, raise, look and tell stand for the floors: medium, low, none (reading), none (a notice).
func restart(more ...any) step {
	return with(step{"action": "restart_pod", "parameters": map[string]any{"namespace": "shop", "deployment": "cart"}}, more)
}

func raise(more ...any) step {
	return with(step{"action": "increase_resources", "parameters": map[string]any{"namespace": "shop", "deployment": "cart", "memory": "1Gi"}}, more)
}

func look(more ...any) step {
	return with(step{"action": "audit_logs", "parameters": map[string]any{"namespace": "shop"}}, more)
}

func tell(more ...any) step {
	return with(step{"action": "notify_only", "parameters": map[string]any{"message": "done"}}, more)
}

// with adds pairs of a field and its value.
func with(s step, pairs []any) step {
	for i := 0; i < len(pairs); i += 2 {
		s[pairs[i].(string)] = pairs[i+1]
	}
	return s
}

// plan builds steps one after the other.
func plan(t require.TestingT, steps ...step) *dag.Plan {
	return planWith(t, []dag.Option{dag.Reading(schema.WithLimits(schema.Limits{Steps: 1 << 21, Bytes: 1 << 30}))}, steps...)
}

func planWith(t require.TestingT, opts []dag.Option, steps ...step) *dag.Plan {
	list := make([]step, len(steps))
	for i, s := range steps {
		id := "s" + itoa(i+1)
		list[i] = step{"id": id}
		for k, v := range s {
			list[i][k] = v
		}
		if i > 0 {
			list[i]["dependencies"] = []string{"s" + itoa(i)}
		}
	}
	data, err := json.Marshal(map[string]any{"recommendations": list})
	require.NoError(t, err)
	p, err := dag.Load(data, actions.Canonical(), opts...)
	require.NoError(t, err)
	return p
}

func itoa(i int) string {
	b, _ := json.Marshal(i)
	return string(b)
}

func incident(t *testing.T, name string) *dag.Plan {
	t.Helper()
	data, err := os.ReadFile("../examples/plans/" + name + ".json")
	require.NoError(t, err)
	p, err := dag.Load(data, actions.Canonical())
	require.NoError(t, err)
	return p
}

func given(v float64) approval.Confidence { return approval.Confidence{Value: v, Given: true} }

// asks lists the numbers of the steps that wait for a person, and checks that exactly those have reasons.
func asks(t require.TestingT, g *approval.Gates) []int {
	numbers := []int{}
	for i, gate := range g.Steps {
		require.Equal(t, gate.Required, len(gate.Reasons) > 0)
		require.Equal(t, gate.Required, g.Required(i))
		if gate.Required {
			numbers = append(numbers, i+1)
		}
	}
	require.Equal(t, g.Plan.Required, len(g.Plan.Reasons) > 0)
	return numbers
}

func gates(t require.TestingT, p *approval.Policy, plan *dag.Plan, c approval.Confidence) *approval.Gates {
	g, err := p.Gates(plan, c, time.Now())
	require.NoError(t, err)
	return g
}
