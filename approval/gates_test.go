package approval_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

func TestTheFourIncidentsAskWhereTheyShould(t *testing.T) {
	for _, tt := range []struct {
		plan       string
		confidence approval.Confidence
		want       []int
	}{
		{"oomkill", given(0.725), []int{4}},
		{"cascading-failure", given(0.85), []int{}},
		{"alert-storm", given(0.90), []int{}},
		{"database-deadlock", given(0.92), []int{3}},
		{"oomkill", approval.Confidence{}, []int{4}},
	} {
		t.Run(tt.plan, func(t *testing.T) {
			g := gates(t, approval.IncidentTable(), incident(t, tt.plan), tt.confidence)
			require.Equal(t, tt.want, asks(t, g))
			require.False(t, g.Plan.Required)
		})
	}
}

func TestReasonsAreLinesThatPeopleUnderstand(t *testing.T) {
	g := gates(t, approval.IncidentTable(), incident(t, "oomkill"), given(0.725))
	require.Equal(t, []string{
		"risk medium at confidence 0.725 (from 0.60 medium risk asks)",
		"the plan asks for approval",
	}, g.Steps[3].Reasons)
	require.Equal(t, schema.RiskMedium, g.Steps[3].Risk)
	require.Empty(t, g.Steps[0].Reasons)
}

func TestTheTable(t *testing.T) {
	p := plan(t, look(), look("risk", "low"), raise(), raise("risk", "medium"), raise("risk", "high"), raise("risk", "critical"))
	for _, tt := range []struct {
		confidence approval.Confidence
		want       []int
	}{
		{given(1), []int{6}},
		{given(0.90), []int{6}},
		{given(math.Nextafter(0.90, 0)), []int{5, 6}},
		{given(0.80), []int{5, 6}},
		{given(math.Nextafter(0.80, 0)), []int{4, 5, 6}},
		{given(0.60), []int{4, 5, 6}},
		{approval.Confidence{}, []int{4, 5, 6}},
		{approval.Confidence{AllowLow: true}, []int{4, 5, 6}},
		{approval.Confidence{Value: 0.59, Given: true, AllowLow: true}, []int{3, 4, 5, 6}},
		{approval.Confidence{Given: true, AllowLow: true}, []int{3, 4, 5, 6}},
		{approval.Confidence{Value: 0.95, Given: true, AllowLow: true}, []int{6}},
	} {
		require.Equal(t, tt.want, asks(t, gates(t, approval.IncidentTable(), p, tt.confidence)), "%+v", tt.confidence)
	}
}

func TestALowConfidenceIsRefusedUnlessTheCallerAllowsIt(t *testing.T) {
	p := plan(t, look(), look("risk", "high"), tell(), raise(), restart())
	_, err := approval.IncidentTable().Gates(p, given(0.4), time.Now())
	require.ErrorIs(t, err, approval.ErrLowConfidence)
	require.EqualError(t, err, "approval: confidence is too low: it is 0.40 and the policy accepts a plan from 0.60; "+
		"investigate further, or allow low confidence and have every step that changes something approved")

	g := gates(t, approval.IncidentTable(), p, approval.Confidence{Value: 0.4, Given: true, AllowLow: true})
	require.Equal(t, []int{2, 4, 5}, asks(t, g), "every mutating step, and what the last row asks for")
	require.Equal(t, []string{"risk high at confidence 0.40 (below 0.60 too medium risk asks)", "high: the document says so"}, g.Steps[1].Reasons)
	require.Equal(t, []string{"it changes something, and the confidence 0.40 is below 0.60"}, g.Steps[3].Reasons)
	require.Equal(t, []string{
		"risk medium at confidence 0.40 (below 0.60 too medium risk asks)",
		"it changes something, and the confidence 0.40 is below 0.60",
	}, g.Steps[4].Reasons)
}

func TestTheLowerConfidenceChoosesTheRow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		caller approval.Confidence
		own    any
		want   []string
	}{
		{"the caller's is lower", given(0.7), 0.95, []string{"risk medium at confidence 0.70 (from 0.60 medium risk asks)"}},
		{"the step's own is lower", given(0.95), 0.7, []string{"risk medium at the step's own confidence 0.70 (from 0.60 medium risk asks)"}},
		{"both in one row", given(0.79), 0.61, []string{"risk medium at confidence 0.79 (from 0.60 medium risk asks)"}},
		{"both high", given(0.95), 0.85, nil},
		{"the step has none", given(0.85), nil, nil},
		{"the caller has none", approval.Confidence{}, 1.0, []string{"risk medium and no confidence given (counts as 0.60, where medium risk asks)"}},
		{"neither has one", approval.Confidence{}, nil, []string{"risk medium and no confidence given (counts as 0.60, where medium risk asks)"}},
		{"the step's own is below the table", given(0.95), 0.5, []string{
			"risk medium at the step's own confidence 0.50 (below 0.60 too medium risk asks)",
			"the step's own confidence 0.50 is below 0.60",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := restart()
			if tt.own != nil {
				s["confidence"] = tt.own
			}
			require.Equal(t, tt.want, gates(t, approval.IncidentTable(), plan(t, s), tt.caller).Steps[0].Reasons)
		})
	}
}

func TestAStepThatDoubtsItselfAsksWhateverItsRisk(t *testing.T) {
	p := plan(t, look("confidence", 0.59), tell("confidence", 0.0), raise("confidence", 0.6))
	for _, c := range []approval.Confidence{given(1), given(0.6), {}, {Given: true, AllowLow: true}} {
		g := gates(t, approval.IncidentTable(), p, c)
		require.Subset(t, asks(t, g), []int{1, 2})
		require.Equal(t, []string{"the step's own confidence 0.59 is below 0.60"}, g.Steps[0].Reasons)
	}
	require.Equal(t, []int{1, 2}, asks(t, gates(t, approval.IncidentTable(), p, given(1))))
}

func TestADocumentCanRaiseItsGatesAndNeverLowerThem(t *testing.T) {
	p := plan(t, look("requiresApproval", true), restart("requiresApproval", false), restart("risk", "none"), restart())
	for _, policy := range []*approval.Policy{nil, {}, approval.IncidentTable()} {
		g := gates(t, policy, p, given(0.7))
		require.Equal(t, []int{1, 2, 3, 4}, asks(t, g))
		require.Equal(t, []string{"the plan asks for approval"}, g.Steps[0].Reasons)
		require.Equal(t, g.Steps[3], g.Steps[1])
		require.Equal(t, schema.RiskMedium, g.Steps[2].Risk, "the registry's floor")
	}
}

func TestWithoutATableEveryMutatingStepAsks(t *testing.T) {
	p := plan(t, look("risk", "critical", "confidence", 0.1), tell(), raise(), restart())
	for _, policy := range []*approval.Policy{nil, {}, {MaxSteps: 1}} {
		for _, c := range []approval.Confidence{{}, given(1), given(0)} {
			g := gates(t, policy, p, c)
			require.Equal(t, []int{3, 4}, asks(t, g))
			require.False(t, g.Plan.Required)
			require.Equal(t, []string{"it changes something, and the policy has no table that lets that pass unasked"}, g.Steps[2].Reasons)
		}
	}
}

func TestGatesDoNotShareWhatAReaderMayAppendTo(t *testing.T) {
	g := gates(t, nil, plan(t, raise("requiresApproval", true), raise(), raise("requiresApproval", true)), given(1))
	require.Len(t, g.Steps[0].Reasons, 2)
	require.Len(t, g.Steps[1].Reasons, 1)
	_ = append(g.Steps[1].Reasons, "mine")
	require.Equal(t, "the plan asks for approval", g.Steps[2].Reasons[1])
}

func TestThePolicyRaisesRisks(t *testing.T) {
	policy := approval.IncidentTable()
	policy.Risks = map[string]schema.Risk{"increase_resources": schema.RiskHigh, "restart_pod": schema.RiskLow}
	g := gates(t, policy, plan(t, raise(), restart(), raise("risk", "critical")), given(0.85))
	for i := range g.Steps {
		require.Equal(t, g.Steps[i].Risk, g.Risk(i))
		require.Equal(t, g.Steps[i].Required, g.Required(i))
	}
	require.Equal(t, []int{1, 3}, asks(t, g))
	require.Equal(t, schema.RiskHigh, g.Steps[0].Risk)
	require.Equal(t, []string{
		"risk high at confidence 0.85 (from 0.80 high risk asks)",
		"the policy raises increase_resources to high",
	}, g.Steps[0].Reasons)
	require.Equal(t, schema.RiskMedium, g.Steps[1].Risk, "a policy lowers nothing")
	require.NotContains(t, g.Steps[2].Reasons, "the policy raises increase_resources to high")
	require.Equal(t, schema.RiskCritical, g.Plan.Risk)
}

func TestThePolicyMayCallAnActionByItsAlias(t *testing.T) {
	policy := approval.IncidentTable()
	policy.Risks = map[string]schema.Risk{"restart_pods": schema.RiskCritical}
	require.Contains(t, actions.Canonical().Lookup("restart_pod").Aliases, "restart_pods")
	require.Equal(t, []int{1}, asks(t, gates(t, policy, plan(t, restart()), given(1))))
}

func TestWhatRaisedTheRiskIsAmongTheReasons(t *testing.T) {
	p := plan(t, step{"action": "scale_deployment", "parameters": map[string]any{
		"namespace": "shop", "deployment": "cart", "replicas": 3, "force": true}})
	require.NotEmpty(t, p.Step(0).RiskReasons())
	g := gates(t, approval.IncidentTable(), p, given(0.85))
	require.Equal(t, append([]string{"risk high at confidence 0.85 (from 0.80 high risk asks)"}, p.Step(0).RiskReasons()...), g.Steps[0].Reasons)
	require.Empty(t, gates(t, approval.IncidentTable(), p, given(0.95)).Steps[0].Reasons)
}

func TestARowThatAsksNever(t *testing.T) {
	policy := &approval.Policy{Table: []approval.Row{{Confidence: 0.5, Ask: schema.RiskUnset}}}
	p := plan(t, restart("risk", "critical"), look("requiresApproval", true), raise("confidence", 0.4))
	require.Equal(t, []int{2, 3}, asks(t, gates(t, policy, p, given(0.5))))
}

func TestALongPlanIsGatedAsAWholeAndItsStepsAsBefore(t *testing.T) {
	long := func(n int) []step {
		steps := make([]step, n)
		for i := range steps {
			steps[i] = look()
		}
		steps[0] = restart()
		return steps
	}
	ten, eleven := plan(t, long(10)...), plan(t, long(11)...)
	policy := approval.IncidentTable()
	require.False(t, gates(t, policy, ten, given(0.7)).Plan.Required)
	g := gates(t, policy, eleven, given(0.7))
	require.Equal(t, approval.Gate{
		Required: true,
		Risk:     schema.RiskMedium,
		Reasons:  []string{"the plan has 11 steps; with more than 10 it is approved as a whole first"},
	}, g.Plan)
	require.Equal(t, []int{1}, asks(t, g))

	policy.MaxSteps = -1
	require.False(t, gates(t, policy, eleven, given(0.7)).Plan.Required)
	policy.MaxSteps = 9
	require.True(t, gates(t, policy, ten, given(0.7)).Plan.Required)
	require.False(t, gates(t, nil, eleven, given(0.7)).Plan.Required)
}

func TestAManifestCanAskForItsPlanToBeApproved(t *testing.T) {
	const manifest = `
apiVersion: workflowexecution.kubernaut.ai/v1alpha1
kind: WorkflowExecution
metadata: {name: w}
spec:
  workflowDefinition:
    steps:
    - {stepNumber: 1, action: audit_logs, parameters: {namespace: shop}}
  executionStrategy: {approvalRequired: true}
`
	p, err := dag.Load([]byte(manifest), actions.Canonical())
	require.NoError(t, err)
	require.True(t, p.ApprovalRequired())
	for _, policy := range []*approval.Policy{nil, approval.IncidentTable()} {
		g := gates(t, policy, p, given(1))
		require.Equal(t, []string{"the plan asks to be approved as a whole"}, g.Plan.Reasons)
		require.Equal(t, []int{}, asks(t, g))
	}
}

func TestRestartingTheNetworkOfAProtectedNamespaceAlwaysAsks(t *testing.T) {
	network := func(parameters map[string]any) step {
		parameters["component"] = "coredns"
		return step{"action": "restart_network", "parameters": parameters}
	}
	allow := []dag.Option{dag.AllowComponents("coredns")}
	never := &approval.Policy{Table: []approval.Row{{Confidence: 0, Ask: schema.RiskUnset}}}
	p := planWith(t, allow, network(map[string]any{"namespace": "kube-system"}), network(map[string]any{}), network(map[string]any{"namespace": "mesh"}))
	g := gates(t, never, p, given(1))
	require.Equal(t, []int{1, 2}, asks(t, g))
	require.Equal(t, []string{"it restarts the network in the protected namespace kube-system"}, g.Steps[0].Reasons)
	require.Equal(t, []string{"it leaves the namespace open, and may restart the network in a protected one"}, g.Steps[1].Reasons)

	never.ProtectedNamespaces = []string{"mesh"}
	_, err := never.Gates(p, given(1), time.Now())
	require.EqualError(t, err, "approval: step 3 (s3, restart_network) would change namespace mesh, which the policy protects; leave the step out")
	never.Components = []string{"coredns"}
	require.Equal(t, []int{1, 2, 3}, asks(t, gates(t, never, p, given(1))))
}

func TestAPlanBuiltWithoutThePolicysNamespacesIsRefused(t *testing.T) {
	policy := approval.IncidentTable()
	policy.ProtectedNamespaces = []string{"bank", "shop"}
	_, err := policy.Gates(plan(t, look(), raise()), given(1), time.Now())
	require.EqualError(t, err, "approval: step 2 (s2, increase_resources) would change namespace shop, which the policy protects; leave the step out")
	require.Empty(t, asks(t, gates(t, policy, plan(t, look(), tell()), given(1))), "reading is allowed")
}

func TestGatesRefuseWhatMakesNoSense(t *testing.T) {
	p := plan(t, look())
	for _, v := range []float64{-0.01, 1.01, math.NaN(), math.Inf(1)} {
		for _, policy := range []*approval.Policy{nil, approval.IncidentTable()} {
			_, err := policy.Gates(p, given(v), time.Now())
			require.ErrorContains(t, err, "is not between 0 and 1")
			require.NotErrorIs(t, err, approval.ErrLowConfidence)
		}
	}
	_, err := approval.IncidentTable().Gates(nil, given(1), time.Now())
	require.ErrorContains(t, err, "there is no plan")
	_, err = (&approval.Policy{MaxSteps: -3}).Gates(p, given(1), time.Now())
	require.ErrorContains(t, err, "maxSteps: -3")
}

func TestGatesOfStepsThatDoNotAskCostNoAllocation(t *testing.T) {
	policy := approval.IncidentTable()
	policy.Risks = map[string]schema.Risk{"drain_node": schema.RiskCritical}
	policy.ProtectedNamespaces = []string{"bank"}
	steps := make([]step, 1000)
	for i := range steps {
		steps[i] = restart("confidence", 0.93)
	}
	p := plan(t, steps...)
	// Far below one a step; the runtime itself may allocate meanwhile.
	require.Less(t, testing.AllocsPerRun(5, func() { _, _ = policy.Gates(p, given(0.95), time.Now()) }), 100.0)
}

func BenchmarkGates(b *testing.B) {
	steps := make([]step, 100_000)
	for i := range steps {
		steps[i] = restart("confidence", 0.93)
	}
	p, policy := plan(b, steps...), approval.IncidentTable()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Gates(p, given(0.95), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
