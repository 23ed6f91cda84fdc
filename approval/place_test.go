package approval_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/schema"
)

// A misfit is an error of a condition with a position.
type misfit struct{ line, column int }

func (m misfit) Error() string                { return "misfit" }
func (m misfit) Position() (line, column int) { return m.line, m.column }

// faultAt is a compiler that finds fault with one place of every condition.
func faultAt(line, column int) approval.Compiler {
	return func(string, bool) (approval.Condition, error) { return nil, misfit{line, column} }
}

func TestAFaultOfAConditionIsShownWhereItStandsInTheFile(t *testing.T) {
	for name, c := range map[string]struct {
		when         string
		line, column int // in the text of the condition
		want         string
	}{
		"plain":                    {"when: one two", 1, 5, "line 3: rules[0].when: character 5: misfit"},
		"quoted":                   {`when: "one two"`, 1, 5, "line 3: rules[0].when: character 5: misfit"},
		"below its key":            {"when:\n      one two", 1, 5, "line 4: rules[0].when: character 5: misfit"},
		"plain over lines":         {"when: one\n      two three", 1, 9, "line 4: rules[0].when: character 5: misfit"},
		"quoted over lines":        {"when: 'one\n      two three'", 1, 9, "line 4: rules[0].when: character 5: misfit"},
		"literal":                  {"when: |\n      one\n      two", 2, 2, "line 5: rules[0].when: character 2: misfit"},
		"literal, indented more":   {"when: |\n      one\n        two", 2, 4, "line 5: rules[0].when: character 4: misfit"},
		"literal, blank line":      {"when: |\n\n      one\n\n      two", 4, 2, "line 7: rules[0].when: character 2: misfit"},
		"folded":                   {"when: >\n      one two\n      three\n      four", 1, 9, "line 5: rules[0].when: character 1: misfit"},
		"folded, the last":         {"when: >-\n      one two\n      three\n      four", 1, 17, "line 6: rules[0].when: character 3: misfit"},
		"folded, blank line":       {"when: >\n      one\n\n      two", 2, 1, "line 6: rules[0].when: character 1: misfit"},
		"more than one byte":       {"when: >\n      öö ü\n      ää", 1, 7, "line 5: rules[0].when: character 2: misfit"},
		"at the end":               {"when: one two", 1, 8, "line 3: rules[0].when: character 8: misfit"},
		"beyond the end":           {"when: one two", 7, 80, "line 3: rules[0].when: character 8: misfit"},
		"the same words in a line": {"when: >\n      one\n      one\n      one", 1, 9, "line 6: rules[0].when: character 1: misfit"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := approval.ParsePolicy([]byte("rules:\n  - name: x\n    "+c.when+"\n    require: true\n"), faultAt(c.line, c.column))
			require.EqualError(t, err, "approval: policy: "+c.want)
		})
	}
}

func TestAFieldThatIsMissingIsNamedAtTheObjectThatLacksIt(t *testing.T) {
	for policy, want := range map[string]string{
		"rules:\n  - require: true\n":                                        `line 2: rules[0].name: "" is not a name`,
		"freezes:\n  - {days: [mon]}\n":                                      "line 2: freezes[0].name: the window has no name",
		"approvers: {people: [ann]}\nescalation:\n  to: {people: [bob]}\n":   "line 3: escalation.after: 0s is not above zero",
		"rules:\n  - name: x\n    approvers: {people: [a]}\n    quorum: 2\n": "line 4: rules[0].quorum: 2 people are wanted, and the list has 1",
	} {
		_, err := approval.ParsePolicy([]byte(policy))
		require.ErrorContains(t, err, want, policy)
	}
}

func TestYesIsReadInEverySpellingThatYAMLHas(t *testing.T) {
	for _, yes := range []string{"true", "True", "TRUE"} {
		p, err := approval.ParsePolicy([]byte("rules: [{name: x, timeout: 1m, require: " + yes + "}]"))
		require.NoError(t, err)
		require.True(t, p.Rules[0].Require, yes)
	}
}

func TestAQuorumOfOneHasSomebodyAsked(t *testing.T) {
	p, err := approval.ParsePolicy([]byte("table: [{confidence: 0.5, ask: never}]\nrules: [{name: look at it, quorum: 1}]"))
	require.NoError(t, err)
	g := gates(t, p, plan(t, look()), given(0.9))
	require.Equal(t, []string{"rule look at it"}, g.Steps[0].Reasons)
}

func TestConditionsThatWereReadBackCanBeCompiled(t *testing.T) {
	yes := approval.ConditionFunc(func(*approval.Subject) (bool, error) { return true, nil })
	own := approval.ConditionFunc(func(*approval.Subject) (bool, error) { return false, nil })
	p := &approval.Policy{Rules: []approval.Rule{
		{Name: "text", When: "always", Plan: true, Require: true},
		{Name: "own", When: "never", Condition: own, Require: true},
		{Name: "none", Require: true},
	}}
	require.ErrorContains(t, p.Validate(), "nobody has read the condition")
	require.NoError(t, p.Compile(func(when string, plan bool) (approval.Condition, error) {
		require.Equal(t, "always", when)
		require.True(t, plan)
		return yes, nil
	}))
	require.NoError(t, p.Validate())
	require.Nil(t, p.Rules[2].Condition)
	require.Equal(t, []string{"rule text"}, gates(t, p, plan(t, look()), given(1)).Plan.Reasons)

	p.Rules[0].Condition = nil
	require.EqualError(t, p.Compile(faultAt(2, 3)), "approval: rule text: misfit")
	require.NoError(t, (*approval.Policy)(nil).Compile(faultAt(1, 1)))
}

func TestAGateNamesTheRulesBehindIt(t *testing.T) {
	p := &approval.Policy{Table: []approval.Row{{Confidence: 0.5}}, Rules: []approval.Rule{
		{Name: "raises", Risk: schema.RiskHigh},
		{Name: "is not met", Require: true, Condition: approval.ConditionFunc(func(*approval.Subject) (bool, error) { return false, nil })},
		{Name: "of the plan", Plan: true, Require: true},
		{Name: "asks", Require: true},
	}}
	g := gates(t, p, plan(t, look()), given(0.9))
	require.Equal(t, []string{"raises", "asks"}, g.Steps[0].Rules)
	require.Equal(t, []string{"of the plan"}, g.Plan.Rules)
	require.Empty(t, gates(t, nil, plan(t, restart()), given(0.9)).Steps[0].Rules)
}
