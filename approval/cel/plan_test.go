package cel_test

import (
	"encoding/json"
	"os"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/cel"
	"github.com/remedykit/remedy/dag"
)

// tuesday is 22:30 in Berlin, one hour behind in UTC.
var tuesday = time.Date(2026, 11, 24, 21, 30, 0, 0, time.UTC)

func incident(t require.TestingT, name string) *dag.Plan {
	data, err := os.ReadFile("../../examples/plans/" + name + ".json")
	require.NoError(t, err)
	p, err := dag.Load(data, actions.Canonical())
	require.NoError(t, err)
	return p
}

type step = map[string]any

// build makes a plan of steps that do not wait for one another.
func build(t require.TestingT, reg *actions.Registry, steps ...step) *dag.Plan {
	for i, s := range steps {
		s["id"] = "s" + strconv.Itoa(i+1)
	}
	data, err := json.Marshal(map[string]any{"recommendations": steps})
	require.NoError(t, err)
	p, err := dag.Load(data, reg)
	require.NoError(t, err)
	return p
}

// scale is a step that asks for many replicas.
func scale(replicas int) step {
	return step{"action": "scale_deployment", "parameters": step{"namespace": "shop", "deployment": "cart", "replicas": replicas}}
}

// subject is what a rule about a step (from 1) or, with 0, about the plan looks at.
func subject(p *dag.Plan, number int) *approval.Subject {
	s := &approval.Subject{Plan: p, Confidence: 0.85, Time: tuesday}
	if number > 0 {
		s.Step = p.Step(number - 1)
		s.Risk = s.Step.Risk()
		return s
	}
	for i := range p.Len() {
		s.Risk = max(s.Risk, p.Step(i).Risk())
	}
	return s
}

func compile(t require.TestingT, when string, plan bool) approval.Condition {
	c, err := cel.Compile(when, plan)
	require.NoError(t, err, when)
	return c
}
