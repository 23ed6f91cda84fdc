package approval_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/schema"
)

func TestValidPoliciesPassValidation(t *testing.T) {
	var none *approval.Policy
	for name, p := range map[string]*approval.Policy{
		"nil":      none,
		"zero":     {},
		"incident": approval.IncidentTable(),
		"all": {
			Table:               []approval.Row{{Confidence: 1, Ask: schema.RiskUnset}, {Confidence: 0, Ask: schema.RiskNone}},
			MaxSteps:            -1,
			Risks:               map[string]schema.Risk{"restart_pod": schema.RiskCritical},
			ProtectedNamespaces: []string{"billing", "team-7"},
			Components:          []string{"coredns", "node.local-dns"},
			Timeout:             time.Minute,
		},
	} {
		require.NoError(t, p.Validate(), name)
	}
}

func TestValidateNamesEveryFaultAtOnce(t *testing.T) {
	p := &approval.Policy{
		Table: []approval.Row{
			{Confidence: 0.8, Ask: schema.RiskMedium},
			{Confidence: 0.9, Ask: schema.RiskHigh},
			{Confidence: math.NaN(), Ask: 77},
			{Confidence: 1.5, Ask: schema.RiskLow},
			{Confidence: 0.1, Ask: schema.RiskUnset},
		},
		MaxSteps:            -2,
		Risks:               map[string]schema.Risk{"restart-pod": schema.RiskHigh, "drain_node": schema.RiskUnset, "notify_only": 99},
		ProtectedNamespaces: []string{"prod-*", ""},
		Components:          []string{"Core DNS"},
		Timeout:             -time.Second,
	}
	require.EqualError(t, p.Validate(), `approval: policy: table[1].confidence: 0.90 is not below 0.80 of the row before; list the highest first
approval: policy: table[1].ask: high asks for less than the row before, although the confidence is lower
approval: policy: table[2].confidence: NaN is not between 0 and 1
approval: policy: table[2].ask: 77 is no risk
approval: policy: table[3].confidence: 1.5 is not between 0 and 1
approval: policy: table[4].ask: never asks for less than the row before, although the confidence is lower
approval: policy: maxSteps: -2 is less than -1, which stands for no limit
approval: policy: risks.drain_node: 0 is no risk
approval: policy: risks.notify_only: 99 is no risk
approval: policy: risks.restart-pod: this is not an action type in snake_case
approval: policy: protectedNamespaces[0]: "prod-*" is not the name of a namespace; patterns are not read
approval: policy: protectedNamespaces[1]: "" is not the name of a namespace; patterns are not read
approval: policy: components[0]: "Core DNS" is not the name of a component; patterns are not read
approval: policy: timeout: -1s is negative; leave it out for 15m0s`)
}

func TestRowsWithTheSameConfidenceAreRefused(t *testing.T) {
	p := &approval.Policy{Table: []approval.Row{{Confidence: 0.8, Ask: schema.RiskHigh}, {Confidence: 0.8, Ask: schema.RiskHigh}}}
	require.ErrorContains(t, p.Validate(), "0.80 is not below 0.80 of the row before")
}

func TestARequestWaitsFifteenMinutesUnlessThePolicySaysOtherwise(t *testing.T) {
	var none *approval.Policy
	require.Equal(t, 15*time.Minute, none.Wait())
	require.Equal(t, 15*time.Minute, approval.IncidentTable().Wait())
	require.Equal(t, time.Hour, (&approval.Policy{Timeout: time.Hour}).Wait())
}
