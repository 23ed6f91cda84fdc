package cel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/schema"
)

var risks = []schema.Risk{schema.RiskNone, schema.RiskLow, schema.RiskMedium, schema.RiskHigh, schema.RiskCritical}

// conditions about a step, and about the plan; some of them fail for some steps.
var (
	stepConditions = []string{"", "true", "false", "step.mutating", "!step.reversible", "risk >= medium", "risk < low", "confidence < 0.8",
		`step.target.namespace == "production"`, "step.parameters.replicas > 5", `step.number / (step.number - 2) == 1`}
	planConditions = []string{"", "true", "false", "plan.mutating > 3", "risk == high", "plan.steps / (plan.steps - 9) > 0"}
)

func drawRule(t *rapid.T, name string) approval.Rule {
	r := approval.Rule{Name: name, Plan: rapid.IntRange(0, 3).Draw(t, "plan") == 0}
	conditions := stepConditions
	if r.Plan {
		conditions = planConditions
	}
	if r.When = rapid.SampledFrom(conditions).Draw(t, "when"); r.When != "" {
		r.Condition = compile(t, r.When, r.Plan)
	}
	switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); {
	case kind == 0 && !r.Plan:
		r.Risk = rapid.SampledFrom(risks).Draw(t, "risk")
	case kind == 1:
		r.Quorum = rapid.IntRange(1, 3).Draw(t, "quorum")
	case kind == 2:
		r.Approvers = approval.Approvers{People: []string{"ann"}, Groups: []string{"leads"}}
	case kind == 3:
		r.Timeout = time.Duration(rapid.IntRange(1, 60).Draw(t, "minutes")) * time.Minute
	default:
		r.Require = true
	}
	return r
}

// asking are the reasons of a gate without those that say how high the risk is, or what raised it: a higher risk words them anew.
func asking(g approval.Gate) []string {
	return slices.DeleteFunc(slices.Clone(g.Reasons), func(r string) bool {
		return strings.HasPrefix(r, "risk ") || strings.Contains(r, " raises it to ")
	})
}

func TestARuleMoreTakesNothingAway(t *testing.T) {
	t.Parallel()
	plans := []string{"alert-storm", "cascading-failure", "database-deadlock", "oomkill"}
	rapid.Check(t, func(t *rapid.T) {
		p := incident(t, rapid.SampledFrom(plans).Draw(t, "plan"))
		policy := &approval.Policy{Timeout: time.Duration(rapid.IntRange(0, 30).Draw(t, "timeout")) * time.Minute}
		if rapid.Bool().Draw(t, "table") {
			policy.Table = []approval.Row{{Confidence: 0.5, Ask: rapid.SampledFrom(risks).Draw(t, "ask")}}
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
			policy.Rules = append(policy.Rules, drawRule(t, fmt.Sprint("rule ", i)))
		}
		c := approval.Confidence{Value: 0.7, Given: rapid.Bool().Draw(t, "given")}
		before, err := policy.Gates(p, c, tuesday)
		require.NoError(t, err)

		more := *policy
		place := rapid.IntRange(0, len(policy.Rules)).Draw(t, "place")
		more.Rules = slices.Insert(slices.Clone(policy.Rules), place, drawRule(t, "one more"))
		after, err := more.Gates(p, c, tuesday)
		require.NoError(t, err)

		for i := range before.Steps {
			takesNothingAway(t, before.Steps[i], after.Steps[i])
		}
		takesNothingAway(t, before.Plan, after.Plan)
	})
}

func takesNothingAway(t *rapid.T, before, after approval.Gate) {
	require.GreaterOrEqual(t, after.Risk, before.Risk)
	if !before.Required {
		return
	}
	require.True(t, after.Required)
	require.Subset(t, after.Reasons, asking(before))
	require.GreaterOrEqual(t, len(after.Reasons), len(before.Reasons))
	for _, panel := range before.Terms.Panels {
		require.Contains(t, after.Terms.Panels, panel)
	}
	require.LessOrEqual(t, after.Terms.Wait(), before.Terms.Wait())
}
