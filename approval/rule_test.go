package approval_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

func scaleTo(t *testing.T, n int, target string) *dag.Plan {
	t.Helper()
	p, err := dag.Build(&schema.Document{Recommendations: []schema.Recommendation{
		{ID: "look", Action: "collect_diagnostics", Parameters: map[string]any{"namespace": "shop"}},
		{ID: "scale", Action: "scale_deployment", Parameters: map[string]any{"namespace": "shop", "deployment": target, "replicas": n}},
		{ID: "a", Action: "cordon_node", Parameters: map[string]any{"node": "one"}},
		{ID: "b", Action: "cordon_node", Parameters: map[string]any{"node": "two"}},
	}}, actions.Canonical())
	require.NoError(t, err)
	return p
}

// calm asks for nothing by itself.
func calm() *approval.Policy {
	return &approval.Policy{Table: []approval.Row{{Confidence: 0, Ask: schema.RiskUnset}}, MaxSteps: -1}
}

func when(f func(s *approval.Subject) bool) approval.Condition {
	return approval.ConditionFunc(func(s *approval.Subject) (bool, error) { return f(s), nil })
}

func about(action string) approval.Condition {
	return when(func(s *approval.Subject) bool { return s.Step.Action() == action })
}

func TestARuleRaisesWhereItsConditionHolds(t *testing.T) {
	p := calm()
	p.Groups = map[string][]string{"sre": {"ann", "bob"}}
	p.Rules = []approval.Rule{
		{Name: "scaling", Condition: about("scale_deployment"), Require: true, Timeout: time.Hour},
		{Name: "nodes", Condition: about("cordon_node"), Quorum: 2, Approvers: approval.Approvers{Groups: []string{"sre"}}, Timeout: time.Minute},
		{Name: "whole", Plan: true, Require: true},
	}
	g, err := p.Gates(scaleTo(t, 3, "web"), given(1), t0)
	require.NoError(t, err)
	require.False(t, g.Steps[0].Required)
	require.Equal(t, []string{"rule scaling"}, g.Steps[1].Reasons)
	require.Equal(t, 15*time.Minute, g.Steps[1].Terms.Wait(), "no rule makes people wait for longer")
	require.Equal(t, []string{"rule nodes: it takes 2 of ann, bob, group sre"}, g.Steps[2].Reasons)
	require.Equal(t, approval.Terms{Timeout: time.Minute, Panels: []approval.Panel{{Rule: "nodes", Quorum: 2, Approvers: approval.Approvers{People: []string{"ann", "bob"}, Groups: []string{"sre"}}}}}, g.Steps[2].Terms)
	require.Equal(t, []string{"rule whole"}, g.Plan.Reasons)
}

func TestARuleThatRaisesTheRiskIsNamedWhereTheTableAsks(t *testing.T) {
	p := approval.IncidentTable()
	p.Rules = []approval.Rule{{Name: "careful", Condition: about("scale_deployment"), Risk: schema.RiskCritical}}
	g, err := p.Gates(scaleTo(t, 3, "web"), given(0.95), t0)
	require.NoError(t, err)
	require.Contains(t, g.Steps[1].Reasons, "rule careful raises it to critical")
	require.Equal(t, schema.RiskCritical, g.Steps[1].Risk)
}

func TestAConditionThatFailsCountsAsMet(t *testing.T) {
	p := calm()
	p.Rules = []approval.Rule{
		{Name: "fails", Condition: approval.ConditionFunc(func(*approval.Subject) (bool, error) { return false, errors.New("no such\nkey") }), Require: true},
		{Name: "panics", Condition: approval.ConditionFunc(func(*approval.Subject) (bool, error) { panic("oh") }), Require: true},
	}
	g, err := p.Gates(scaleTo(t, 3, "web"), given(1), t0)
	require.NoError(t, err)
	require.Equal(t, []string{
		"rule fails (its condition failed, which counts as met: no such key)", "rule panics (its condition failed, which counts as met: panic: oh)",
	}, g.Steps[0].Reasons)
}

func TestWhatIsForbiddenIsSaidAllAtOnce(t *testing.T) {
	p := calm()
	p.ProtectedObjects = []string{"deployment/shop/web", "Node/two"}
	p.Caps = approval.Caps{Replicas: 10, Nodes: 1}
	p.Rules = []approval.Rule{{Name: "no cordons", Condition: about("cordon_node"), Forbid: "nodes are for humans"}}
	_, err := p.Gates(scaleTo(t, 11, "web"), given(1), t0)
	require.ErrorIs(t, err, approval.ErrForbidden)
	for _, want := range []string{
		"step 2 (scale, scale_deployment): the policy protects Deployment/shop/web", "step 2 (scale, scale_deployment): replicas is 11, and the policy allows 10",
		"step 3 (a, cordon_node): rule no cordons: nodes are for humans", "step 4 (b, cordon_node): the policy protects Node/two", "the plan changes 2 nodes, and the policy allows 1",
	} {
		require.ErrorContains(t, err, want)
	}
	p.Caps, p.Rules, p.ProtectedObjects = approval.Caps{Replicas: 11, Nodes: 2}, nil, []string{"Deployment/shop/other"}
	_, err = p.Gates(scaleTo(t, 11, "web"), given(1), t0)
	require.NoError(t, err)
}

func TestAShareBoundsWhatAStepDisturbs(t *testing.T) {
	p := &approval.Policy{Caps: approval.Caps{Share: 0.5}}
	web := schema.Target{Kind: "Deployment", Namespace: "shop", Name: "web"}
	require.NoError(t, p.Exceeds([]actions.Touch{{Target: web, Replicas: 2, Of: 4}, {Target: web, Replicas: 9}}))
	err := p.Exceeds([]actions.Touch{{Target: web, Replicas: 3, Of: 4}})
	require.ErrorIs(t, err, approval.ErrForbidden)
	require.ErrorContains(t, err, "3 of 4 replicas of Deployment shop/web")
	require.NoError(t, (*approval.Policy)(nil).Exceeds([]actions.Touch{{Target: web, Replicas: 4, Of: 4}}))
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return v
}

func TestAFreezeForbidsOrAsksWhileItLasts(t *testing.T) {
	night := approval.Freeze{Name: "night", Days: []time.Weekday{time.Friday}, Start: 22 * time.Hour, End: 6 * time.Hour, Zone: "Europe/Berlin"}
	for name, test := range map[string]struct {
		freeze approval.Freeze
		at     string
		on     bool
	}{
		"once, before":              {approval.Freeze{Name: "sale", From: at(t, "2026-11-27T00:00:00Z"), Until: at(t, "2026-11-30T00:00:00Z")}, "2026-11-26T23:59:59Z", false},
		"once, first moment":        {approval.Freeze{Name: "sale", From: at(t, "2026-11-27T00:00:00Z"), Until: at(t, "2026-11-30T00:00:00Z")}, "2026-11-27T00:00:00Z", true},
		"once, end":                 {approval.Freeze{Name: "sale", From: at(t, "2026-11-27T00:00:00Z"), Until: at(t, "2026-11-30T00:00:00Z")}, "2026-11-30T00:00:00Z", false},
		"night, evening":            {night, "2026-11-27T21:00:00Z", true}, // 22:00 in Berlin
		"night, just before":        {night, "2026-11-27T20:59:59Z", false},
		"night, next morning":       {night, "2026-11-28T04:59:59Z", true},
		"night, over":               {night, "2026-11-28T05:00:00Z", false},
		"night, the evening before": {night, "2026-11-26T22:00:00Z", false},
		"summer time began":         {approval.Freeze{Name: "n", Start: 0, End: 4 * time.Hour, Zone: "Europe/Berlin"}, "2026-03-29T01:59:59Z", true}, // 03:59:59
		"and its window ended":      {approval.Freeze{Name: "n", Start: 0, End: 4 * time.Hour, Zone: "Europe/Berlin"}, "2026-03-29T02:00:00Z", false},
		"a whole day":               {approval.Freeze{Name: "d", Days: []time.Weekday{time.Saturday}}, "2026-11-28T23:59:59Z", true},
		"a whole day, over":         {approval.Freeze{Name: "d", Days: []time.Weekday{time.Saturday}}, "2026-11-29T00:00:00Z", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := calm()
			p.Freezes = []approval.Freeze{test.freeze}
			_, err := p.Gates(scaleTo(t, 3, "web"), given(1), at(t, test.at))
			require.Equal(t, test.on, errors.Is(err, approval.ErrForbidden), "%v", err)
			p.Freezes[0].Ask = true
			g, err := p.Gates(scaleTo(t, 3, "web"), given(1), at(t, test.at))
			require.NoError(t, err)
			require.Equal(t, test.on, g.Steps[1].Required)
			require.False(t, g.Steps[0].Required, "what reads goes on")
		})
	}
}

func TestThePanelOfThePolicySitsAtEveryGate(t *testing.T) {
	p := calm()
	p.Approvers.People = []string{"ann", "bob"}
	p.Timeout = time.Hour
	p.Rules = []approval.Rule{{Name: "r", Condition: about("scale_deployment"), Quorum: 2}}
	g, err := p.Gates(scaleTo(t, 3, "web"), given(1), t0)
	require.NoError(t, err)
	require.Equal(t, approval.Terms{Timeout: time.Hour, Panels: []approval.Panel{{Approvers: approval.Approvers{People: []string{"ann", "bob"}}}, {Rule: "r", Quorum: 2}}}, g.Steps[1].Terms)
	require.False(t, g.Steps[2].Required)
	require.Len(t, g.Steps[2].Terms.Panels, 1, "should somebody else ask")
	one, err := p.Gate(scaleTo(t, 3, "web"), 1, given(1), t0)
	require.NoError(t, err)
	require.Equal(t, g.Steps[1], one)
	require.True(t, g.Steps[1].Terms.Cover(g.Steps[2].Terms))
	require.False(t, g.Steps[2].Terms.Cover(g.Steps[1].Terms))
}

func TestAPolicyThatCanNeverSayYesIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(p *approval.Policy)
		want   string
	}{
		"too few people": {func(p *approval.Policy) { p.Quorum, p.Approvers.People = 3, []string{"ann", "Ann ", "bob"} }, "quorum: 3 people are wanted, and the list has 2"},
		"too few in groups": {func(p *approval.Policy) {
			p.Quorum, p.Approvers.Groups, p.Groups = 2, []string{"g"}, map[string][]string{"g": {"ann"}}
		}, "has 1"},
		"an empty name": {func(p *approval.Policy) { p.Approvers.People = []string{" "} }, "a name is empty"},
		"escalation to none": {func(p *approval.Policy) {
			p.Approvers.People, p.Escalation = []string{"ann"}, &approval.Escalation{After: 1}
		}, "escalation.to: it names nobody"},
		"escalation of all": {func(p *approval.Policy) {
			p.Escalation = &approval.Escalation{After: 1, To: approval.Approvers{People: []string{"ann"}}}
		}, "everybody may decide from the start"},
		"at once": {func(p *approval.Policy) {
			p.Approvers.People, p.Escalation = []string{"ann"}, &approval.Escalation{To: approval.Approvers{People: []string{"bob"}}}
		}, "not above zero"},
		"says nothing": {func(p *approval.Policy) { p.Rules = []approval.Rule{{Name: "r"}} }, "asks for nothing"},
		"not compiled": {func(p *approval.Policy) { p.Rules = []approval.Rule{{Name: "r", When: "true", Require: true}} }, "nobody has read the condition"},
		"twice": {func(p *approval.Policy) {
			p.Rules = []approval.Rule{{Name: "r", Require: true}, {Name: "r", Require: true}}
		}, `another rule is called "r"`},
		"for ever":  {func(p *approval.Policy) { p.Freezes = []approval.Freeze{{Name: "f"}} }, "open for ever"},
		"backwards": {func(p *approval.Policy) { p.Freezes = []approval.Freeze{{Name: "f", From: t0, Until: t0}} }, "is no window"},
		"mixed": {func(p *approval.Policy) {
			p.Freezes = []approval.Freeze{{Name: "f", From: t0, Until: t0.Add(1), Start: 1}}
		}, "make two of it"},
		"zone":    {func(p *approval.Policy) { p.Freezes = []approval.Freeze{{Name: "f", Start: 1, Zone: "Atlantis"}} }, `"Atlantis" is not the name of a time zone`},
		"share":   {func(p *approval.Policy) { p.Caps.Share = 2 }, "caps.share"},
		"pattern": {func(p *approval.Policy) { p.ProtectedObjects = []string{"Deployment/*"} }, "patterns are not read"},
	} {
		t.Run(name, func(t *testing.T) {
			p := calm()
			test.change(p)
			require.ErrorContains(t, p.Validate(), test.want)
		})
	}
}

const whole = `
table: [{confidence: 0.6, ask: high}]
protectedObjects: [Deployment/shop/ledger, Node/one]
caps: {replicas: 50, nodes: 2, share: 0.5}
freezes:
  - {name: sale, from: 2026-11-27T00:00:00Z, until: 2026-11-30T00:00:00Z}
  - {name: nights, days: [mon, Tuesday], start: "22:00", end: "06:30", zone: Europe/Berlin, ask: true}
groups: {sre: [ann, bob]}
quorum: 1
approvers: {groups: [sre]}
escalation: {after: 10m, to: {people: [carol]}}
rules:
  - name: two for databases
    when: yes please
    quorum: 2
    approvers: {people: [dora], groups: [sre]}
    escalation: {after: 5m, to: {groups: [leads]}}
    timeout: 20m
    risk: high
  - {name: whole, plan: true, forbid: never}
timeout: 30m
`

func TestParsePolicyReadsAllOfIt(t *testing.T) {
	var asked []string
	p, err := approval.ParsePolicy([]byte(whole), func(text string, plan bool) (approval.Condition, error) {
		asked = append(asked, text)
		return about("x"), nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"yes please"}, asked)
	require.NotNil(t, p.Rules[0].Condition)
	p.Rules[0].Condition = nil
	require.Equal(t, &approval.Policy{
		Table: []approval.Row{{Confidence: 0.6, Ask: schema.RiskHigh}}, ProtectedObjects: []string{"Deployment/shop/ledger", "Node/one"},
		Caps: approval.Caps{Replicas: 50, Nodes: 2, Share: 0.5},
		Freezes: []approval.Freeze{
			{Name: "sale", From: at(t, "2026-11-27T00:00:00Z"), Until: at(t, "2026-11-30T00:00:00Z")},
			{Name: "nights", Days: []time.Weekday{time.Monday, time.Tuesday}, Start: 22 * time.Hour, End: 6*time.Hour + 30*time.Minute, Zone: "Europe/Berlin", Ask: true},
		},
		Groups: map[string][]string{"sre": {"ann", "bob"}}, Quorum: 1, Approvers: approval.Approvers{Groups: []string{"sre"}},
		Escalation: &approval.Escalation{After: 10 * time.Minute, To: approval.Approvers{People: []string{"carol"}}},
		Rules: []approval.Rule{
			{Name: "two for databases", When: "yes please", Quorum: 2, Approvers: approval.Approvers{People: []string{"dora"}, Groups: []string{"sre"}},
				Escalation: &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"leads"}}}, Timeout: 20 * time.Minute, Risk: schema.RiskHigh},
			{Name: "whole", Plan: true, Forbid: "never"},
		},
		Timeout: 30 * time.Minute,
	}, p)
	_, err = approval.ParsePolicy([]byte(whole))
	require.ErrorContains(t, err, "line 14: rules[0].when: nobody has read the condition")
}

// positioned is an error of a compiler that knows where.
type positioned struct{ error }

func (positioned) Position() (line, column int) { return 2, 7 }

func TestTheFaultOfAConditionIsShownWhereItIs(t *testing.T) {
	_, err := approval.ParsePolicy([]byte("rules:\n  - name: r\n    require: true\n    when: |\n      one\n      two &&\n"), func(string, bool) (approval.Condition, error) {
		return nil, positioned{errors.New("unexpected end")}
	})
	require.ErrorContains(t, err, "line 6: rules[0].when: character 7: unexpected end")
	for text, want := range map[string]string{
		"approvers: {}": "line 1: approvers names nobody", "approvers: {people: []}": "an empty list", "caps: {share: 0}": "above 0 and up to 1",
		"freezes: [{name: f, start: \"25:00\"}]": "a time of the day", "freezes: [{name: f, days: [someday]}]": "is no day", "rules: [{name: r, require: maybe}]": "true or false",
		"rules: [{nam: r}]": `unknown field "nam"`, "quorum: 0": "a whole number above 0",
	} {
		_, err := approval.ParsePolicy([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}
