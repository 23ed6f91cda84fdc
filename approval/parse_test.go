package approval_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/schema"
)

func TestParsePolicyReadsEveryField(t *testing.T) {
	p, err := approval.ParsePolicy([]byte(`
# Who is asked, and when.
table:
  - {confidence: 0.95, ask: never}
  - {confidence: 0.9, ask: Critical}
  - confidence: 0
    ask: none
maxSteps: -1
risks:
  restart_pod: high
protectedNamespaces: [billing, "7"]
components: [coredns]
timeout: 1h30m
`))
	require.NoError(t, err)
	require.Equal(t, &approval.Policy{
		Table: []approval.Row{
			{Confidence: 0.95, Ask: schema.RiskUnset},
			{Confidence: 0.9, Ask: schema.RiskCritical},
			{Confidence: 0, Ask: schema.RiskNone},
		},
		MaxSteps:            -1,
		Risks:               map[string]schema.Risk{"restart_pod": schema.RiskHigh},
		ProtectedNamespaces: []string{"billing", "7"},
		Components:          []string{"coredns"},
		Timeout:             90 * time.Minute,
	}, p)
}

func TestParsePolicyReadsJSON(t *testing.T) {
	p, err := approval.ParsePolicy([]byte(`{"table": [{"confidence": 0.6, "ask": "medium"}], "maxSteps": 3}`))
	require.NoError(t, err)
	require.Equal(t, &approval.Policy{Table: []approval.Row{{Confidence: 0.6, Ask: schema.RiskMedium}}, MaxSteps: 3}, p)
}

func TestParsePolicyNamesTheLineOfEveryFault(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"unknown field", "timeout: 5m\nconfidence: 0.9\n",
			`line 2: unknown field "confidence"; the fields are table, maxSteps, risks, protectedNamespaces, protectedObjects, components, caps, freezes, rules, groups, quorum, approvers, escalation, timeout`},
		{"unknown field of a row", "table:\n- {confidence: 0.9, ask: high, risk: low}", `line 2: unknown field "risk"; the fields are confidence, ask`},
		{"field twice", "timeout: 5m\ntimeout: 6m\n", `line 2: "timeout" is there twice`},
		{"odd key", "[a]: 1\n", `line 1: unknown field a list; the fields are`},
		{"rows rising", "table:\n- {confidence: 0.6, ask: low}\n- {confidence: 0.8, ask: low}\n",
			`line 3: table[1].confidence: 0.80 is not below 0.60 of the row before; list the highest first`},
		{"row asks for less", "table:\n- {confidence: 0.8, ask: low}\n- {confidence: 0.6,\n   ask: never}\n",
			`line 4: table[1].ask: never asks for less than the row before, although the confidence is lower`},
		{"confidence in percent", "table:\n- {confidence: 90%, ask: low}", `line 2: table[0].confidence is "90%"; it must be a number between 0 and 1`},
		{"confidence as text", "table:\n- {confidence: '0.9', ask: low}", `line 2: table[0].confidence is "0.9"; it must be a number between 0 and 1`},
		{"confidence too high", "table:\n- {confidence: 90, ask: low}", `line 2: table[0].confidence: 90 is not between 0 and 1`},
		{"confidence negative", "table:\n- {confidence: -0.1, ask: low}", `line 2: table[0].confidence: -0.1 is not between 0 and 1`},
		{"confidence not a number", "table:\n- {confidence: .nan, ask: low}", `line 2: table[0].confidence is ".nan"; it must be a number between 0 and 1`},
		{"row without confidence", "table:\n- ask: low", `line 2: table[0] has no confidence`},
		{"row without ask", "table:\n- confidence: 0.5", `line 2: table[0] has no ask`},
		{"row is a word", "table:\n- high", `line 2: table[0] is "high"; an object belongs here`},
		{"unknown ask", "table:\n- {confidence: 0.5, ask: severe}", `line 2: table[0].ask is "severe"; it must be one of none, low, medium, high, critical, never`},
		{"ask without a word", "table:\n- {confidence: 0.5, ask: }", `line 2: table[0].ask is nothing; it must be one of`},
		{"ask is a list", "table:\n- {confidence: 0.5, ask: [low]}", `line 2: table[0].ask is a list; it must be one of`},
		{"empty table", "timeout: 5m\ntable: []", `line 2: table is an empty list; give it a list, or leave it out`},
		{"table without rows", "timeout: 5m\ntable:", `line 2: table is nothing; give it a list, or leave it out`},
		{"table is an object", "table: {confidence: 0.9}", `line 1: table is an object; give it a list, or leave it out`},
		{"unknown risk", "risks:\n  restart_pod: very high", `line 2: risks.restart_pod is "very high"; it must be one of none, low, medium, high, critical`},
		{"risk never", "risks:\n  restart_pod: never", `line 2: risks.restart_pod is "never"; it must be one of none, low, medium, high, critical`},
		{"risk without a word", "risks:\n  restart_pod:", `line 2: risks.restart_pod is nothing; it must be`},
		{"action in kebab case", "risks:\n  drain_node: high\n  restart-pod: high", `line 3: risks.restart-pod: this is not an action type in snake_case`},
		{"action with a percent sign", "risks: {50%d: high}", `line 1: risks.50%d: this is not an action type in snake_case`},
		{"risks is a list", "risks: [restart_pod]", `line 1: risks is a list; an object belongs here`},
		{"namespace pattern", "protectedNamespaces:\n- billing\n- prod-*", `line 3: protectedNamespaces[1]: "prod-*" is not the name of a namespace; patterns are not read`},
		{"namespace number", "protectedNamespaces: [7]", `line 1: protectedNamespaces[0] is "7"; it must be a name`},
		{"namespaces one word", "protectedNamespaces: billing", `line 1: protectedNamespaces is "billing"; give it a list, or leave it out`},
		{"component", "components: [Core/DNS]", `line 1: components[0]: "Core/DNS" is not the name of a component; patterns are not read`},
		{"steps not whole", "table: [{confidence: 0, ask: low}]\nmaxSteps: 2.5", `line 2: maxSteps is "2.5"; it must be a whole number`},
		{"steps too low", "table: [{confidence: 0, ask: low}]\nmaxSteps: -2", `line 2: maxSteps: -2 is less than -1, which stands for no limit`},
		{"steps zero", "table: [{confidence: 0, ask: low}]\nmaxSteps: 0", `line 2: maxSteps is 0; leave it out for 10, or write -1 for no limit`},
		{"steps without table", "timeout: 5m\nmaxSteps: 5", `line 2: maxSteps counts only beside a table; add one, or leave it out`},
		{"timeout negative", "timeout: -5m", `line 1: timeout is "-5m"; it must be a duration above zero such as 15m`},
		{"timeout zero", "timeout: 0s", `line 1: timeout is "0s"; it must be a duration above zero such as 15m`},
		{"timeout without unit", "timeout: 15", `line 1: timeout is "15"; it must be a duration above zero such as 15m`},
		{"timeout is an object", "timeout: {minutes: 5}", `line 1: timeout is an object; it must be a duration`},
		{"alias", "protectedNamespaces: &a [x]\ncomponents: *a", `line 2: components is an alias, which is not read here`},
		{"a list", "- table", `line 1: the policy is a list; an object belongs here`},
		{"a word", "strict", `line 1: the policy is "strict"; an object belongs here`},
		{"two documents", "timeout: 5m\n---\ntimeout: 6m\n", `there is a second document; a policy is one`},
		{"not YAML", "table: [\ntimeout: 5m", `approval: policy: yaml: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := approval.ParsePolicy([]byte(tt.in))
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, p)
		})
	}
}

func TestParsePolicyShowsAllFaultsInTheOrderOfTheFile(t *testing.T) {
	_, err := approval.ParsePolicy([]byte("timeout: soon\nmaxStep: 3\ntable:\n- {confidence: high, ask: 3}\n"))
	require.EqualError(t, err, `approval: policy: line 1: timeout is "soon"; it must be a duration above zero such as 15m
approval: policy: line 2: unknown field "maxStep"; the fields are table, maxSteps, risks, protectedNamespaces, protectedObjects, components, caps, freezes, rules, groups, quorum, approvers, escalation, timeout
approval: policy: line 4: table[0].confidence is "high"; it must be a number between 0 and 1
approval: policy: line 4: table[0].ask is "3"; it must be one of none, low, medium, high, critical, never`)
}

func TestAnEmptyPolicyFileIsAnError(t *testing.T) {
	for _, in := range []string{"", "\n\n", "# nothing yet\n", "---\n", "{}", "null", "~"} {
		_, err := approval.ParsePolicy([]byte(in))
		require.ErrorContains(t, err, "the policy is empty; it would ask for every step that changes something", "%q", in)
	}
}

func TestAPolicySurvivesJSON(t *testing.T) {
	want := approval.IncidentTable()
	want.Timeout, want.Risks = time.Hour, map[string]schema.Risk{"restart_pod": schema.RiskHigh}
	want.Table = append([]approval.Row{{Confidence: 0.99}}, want.Table...)
	data, err := json.Marshal(want)
	require.NoError(t, err)
	got := &approval.Policy{}
	require.NoError(t, json.Unmarshal(data, got))
	require.Equal(t, want, got)
}

func FuzzParsePolicy(f *testing.F) {
	f.Add("table:\n- {confidence: 0.9, ask: high}\nmaxSteps: 3\nrisks: {a: low}\ntimeout: 5m")
	f.Add("components: [x]\nprotectedNamespaces: &a [y]\ntable: *a")
	f.Fuzz(func(t *testing.T, in string) {
		p, err := approval.ParsePolicy([]byte(in))
		if (p == nil) == (err == nil) {
			t.Fatalf("policy %v with error %v", p, err)
		}
		if err == nil && p.Validate() != nil {
			t.Fatalf("%v", p.Validate())
		}
		if err != nil && !strings.HasPrefix(err.Error(), "approval: ") {
			t.Fatal(err)
		}
	})
}
