package cel_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/cel"
	"github.com/remedykit/remedy/schema"
)

func TestConditionsSeeWhatTheyAreAbout(t *testing.T) {
	cascade, oomkill := incident(t, "cascading-failure"), incident(t, "oomkill")
	of := map[string]*approval.Subject{
		"scale":   subject(cascade, 4), // scale_deployment fraud-detection-service to 8
		"patch":   subject(cascade, 2), // patch_config_map fraud-detection-config in production
		"collect": subject(cascade, 1),
		"restart": subject(oomkill, 4),
		"plan":    subject(cascade, 0),
	}
	nobody := subject(cascade, 4)
	nobody.Confidence = -1
	of["no confidence"] = nobody
	for _, test := range []struct {
		about, when string
		want        bool
	}{
		{"scale", `step.id == "rec-004" && step.number == 4`, true},
		{"scale", `step.action == "scale_deployment"`, true},
		{"scale", `step.action in ["drain_node", "cordon_node"]`, false},
		{"scale", `step.action.startsWith("scale_")`, true},
		{"scale", `step.action.matches("^(scale|drain)_")`, true},
		{"scale", `step.category == "core"`, true},
		{"scale", `step.mutating && step.reversible`, true},
		{"collect", `step.mutating`, false},
		{"scale", `step.timeout > duration("1m") && step.timeout < duration("1h")`, true},
		{"scale", `step.parameters.replicas == 8`, true},
		{"scale", `step.parameters.replicas > 7.5`, true},
		{"scale", `has(step.parameters.replicas) && step.parameters.replicas > 10`, false},
		{"patch", `has(step.parameters.replicas) && step.parameters.replicas > 10`, false},
		{"patch", `"replicas" in step.parameters`, false},
		{"patch", `step.parameters.patch.DATABASE_POOL_SIZE == "200"`, true},
		{"patch", `step.parameters.patch.exists(k, k.contains("TIMEOUT"))`, true},
		{"collect", `"active_connections" in step.parameters.metrics`, true},
		{"scale", `step.target.kind == "Deployment" && step.target.name == "fraud-detection-service"`, true},
		{"patch", `step.target.namespace == "production"`, true},
		{"patch", `has(step.target.namespace)`, true},
		{"collect", `has(step.target.namespace)`, false},
		{"restart", `risk >= medium && risk < high && risk == medium && risk != low`, true},
		{"restart", `step.risk <= low`, false},
		{"restart", `step.risk > low`, true},
		{"restart", `none < low && low < medium && medium < high && high < critical`, true},
		{"scale", `confidence == 0.85 && confidence < 1`, true},
		{"no confidence", `confidence < 0.5`, true},
		{"no confidence", `confidence >= 0`, false},
		{"scale", `time.getHours("Europe/Berlin") == 22 && time.getHours() == 21`, true},
		{"scale", `time.getDayOfWeek() == 2`, true}, // Tuesday
		{"scale", `time > timestamp("2026-11-01T00:00:00Z")`, true},
		{"plan", `plan.steps == 9 && plan.mutating == 6`, true},
		{"plan", `plan.actions.exists(a, a == "scale_deployment")`, true},
		{"plan", `"drain_node" in plan.actions`, false},
		{"plan", `plan.actions.filter(a, a == "rolling_restart_pods").size() == 3`, true},
		{"plan", `plan.digest == "` + cascade.Digest() + `"`, true},
		{"plan", `risk == medium`, true},
		{"scale", `plan.steps > 5 && step.mutating`, true},
		{"scale", `step == step && plan == plan && step.target == step.target`, true},
		{"scale", "// why\nstep.mutating", true},
	} {
		got, err := compile(t, test.when, test.about == "plan").Holds(of[test.about])
		require.NoError(t, err, test.when)
		require.Equal(t, test.want, got, "%s: %s", test.about, test.when)
	}
}

// What an action of one's own may have in its parameters.
func TestParametersAreWhatTheHandlerSees(t *testing.T) {
	reg := actions.Canonical()
	require.NoError(t, reg.Add(actions.Spec{Name: "rotate", Title: "Rotate", Does: "It rotates.", Parameters: []actions.Parameter{
		{Name: "token", Type: actions.String, Secret: true, Description: "A secret."},
		{Name: "pin", Type: actions.String, Secret: true, Default: "0000", Description: "A secret with a default."},
		{Name: "window", Type: actions.Duration, Description: "How long."},
		{Name: "grace", Type: actions.Duration, Default: "90s", Description: "How long before."},
		{Name: "count", Type: actions.Integer, Default: int64(3), Description: "How many."},
		{Name: "size", Type: actions.Quantity, Description: "How large."},
		{Name: "labels", Type: actions.StringMap, Description: "Labels."},
		{Name: "names", Type: actions.NameList, Description: "Names."},
		{Name: "more", Type: actions.Any, Description: "Anything."},
	}}))
	s := subject(build(t, reg, step{"action": "rotate", "parameters": step{
		"token": "hunter2", "window": "7d", "size": "1Gi", "labels": step{"app": "cart"}, "names": []string{"a", "b"},
		"more": step{"list": []any{1, "two", nil, true, 2.5}},
	}}), 1)
	for when, want := range map[string]bool{
		`has(step.parameters.token)`:                                 false,
		`has(step.parameters.pin)`:                                   false,
		`"token" in step.parameters`:                                 false,
		`step.parameters.exists(k, k.contains("tok") || k == "pin")`: false,
		`step.parameters.window == duration("168h")`:                 true,
		`step.parameters.grace == duration("90s")`:                   true,
		`step.parameters.count == 3`:                                 true,
		`step.parameters.size == "1Gi"`:                              true,
		`step.parameters.labels.app == "cart"`:                       true,
		`step.parameters.names[1] == "b"`:                            true,
		`step.parameters.more.list == [1, "two", null, true, 2.5]`:   true,
		`has(step.parameters.reason)`:                                false,
	} {
		got, err := compile(t, when, false).Holds(s)
		require.NoError(t, err, when)
		require.Equal(t, want, got, when)
	}
}

func TestFaultsAreFoundWhenAPolicyIsLoadedWithLineAndCharacter(t *testing.T) {
	for name, test := range map[string]struct{ rule, want string }{
		"misspelt field":      {`when: step.acton == "drain_node"`, "line 3: rules[0].when: character 5: undefined field 'acton' (did you mean action?)"},
		"misspelt variable":   {`when: stp.action == "x"`, "character 1: undeclared reference to 'stp'"},
		"misspelt target":     {`when: step.target.knd == "x"`, "character 12: undefined field 'knd' (did you mean kind?)"},
		"misspelt risk":       {`when: risk >= hihg`, "character 9: undeclared reference to 'hihg' (did you mean 'high'?)"},
		"nothing like it":     {`when: step.zzzzzz == 1`, "character 5: undefined field 'zzzzzz'"},
		"field of a risk":     {`when: risk.level > 1`, "character 5: undefined field 'level'"},
		"not bool":            {`when: step.action`, "character 1: the condition is string; it must be true or false"},
		"a number":            {`when: plan.steps`, "character 1: the condition is int; it must be true or false"},
		"perhaps bool":        {`when: step.parameters.force`, "character 1: the condition is dyn; it must be true or false: compare it with something, such as == true"},
		"risk and text":       {`when: risk == "high"`, "character 6: == does not go between Risk and string; compare a risk with none, low, medium, high or critical, without quotes"},
		"risk and number":     {`when: step.risk >= 3`, "character 11: >= does not go between Risk and int; compare a risk with"},
		"text and number":     {`when: step.action > 3`, "character 13: > does not go between string and int"},
		"unknown function":    {`when: step.action.upper() == "X"`, "character 18: undeclared reference to 'upper'"},
		"bad regexp":          {`when: step.action.matches("((")`, "character 21: invalid matches argument"},
		"bad duration":        {`when: step.timeout > duration("soon")`, "character 25: invalid duration argument"},
		"bad time":            {`when: time > timestamp("soon")`, "character 18: invalid timestamp argument"},
		"bad zone":            {`when: time.getHours("Europe/Berln") > 3`, `character 15: "Europe/Berln" is not the name of a time zone that this system knows`},
		"syntax":              {`when: step.mutating &&`, "character 17: Syntax error"},
		"literal block":       {"when: |\n      step.mutating &&\n        step.acton == \"x\"", "line 5: rules[0].when: character 7: undefined field 'acton' (did you mean action?)"},
		"folded block":        {"when: >\n      step.mutating &&\n      step.acton == \"x\"", "line 5: rules[0].when: character 5: undefined field 'acton' (did you mean action?)"},
		"over lines":          {"when: step.mutating &&\n      step.acton == \"x\"", "line 4: rules[0].when: character 5: undefined field 'acton' (did you mean action?)"},
		"step of a plan":      {"when: plan.steps > 3 && step.mutating\n    plan: true", "line 3: rules[0].when: character 19: a rule about the plan as a whole has no step; leave plan: true out"},
		"too long":            {`when: "` + strings.Repeat(" ", cel.LengthLimit) + `true"`, "character 1: expression code point size exceeds limit: size: 4100, limit 4096"},
		"too deep":            {`when: "` + strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500) + `"`, "expression recursion limit exceeded: 64"},
		"too deep, operators": {`when: "` + strings.Repeat("!", 500) + `true"`, ""},
		"macros in macros":    {`when: plan.actions.all(a, plan.actions.all(b, plan.actions.all(c, a == b && b == c)))`, "comprehension exceeds nesting limit"},
		"huge regexp":         {`when: step.action.matches("(a{900}){900}")`, "character 21: "},
		"nothing but costs":   {`when: "` + costly + `"`, "the condition costs at least "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cel.ParsePolicy([]byte("rules:\n  - name: x\n    " + test.rule + "\n    require: true\n"))
			if test.want == "" {
				return // it may be fine, as long as it does not bring the program down
			}
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n", "one fault, one line")
		})
	}
}

// costly goes half a million times round, whatever the plan.
var costly = func() string {
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 1000), ",") + "]"
	return list + ".map(a, " + list[:len(list)/2] + "].map(b, a + b)).size() > 0"
}()

func TestAllRulesThatAreWrongAreShownAtOnce(t *testing.T) {
	_, err := cel.ParsePolicy([]byte("rules:\n- {name: a, require: true, when: bogus}\n- {name: b, require: true, when: '1'}\n- {name: c, when: 'true'}\n"))
	require.ErrorContains(t, err, "line 2: rules[0].when: character 1: undeclared reference to 'bogus'")
	require.ErrorContains(t, err, "line 3: rules[1].when: character 1: the condition is int")
}

func TestAConditionThatFailsCountsAsMet(t *testing.T) {
	p := build(t, actions.Canonical(), scale(3))
	for when, want := range map[string]string{
		`step.parameters.bogus > 3`:                                  "no such key: bogus",
		`10 / (step.parameters.replicas - 3) > 1`:                    "division by zero",
		`step.parameters.replicas == "3" + step.parameters.replicas`: "no such overload",
		`time.getHours(step.action) > 1`:                             "unknown time zone",
		`plan.actions[7] == "x"`:                                     "index out of bounds: 7",
	} {
		_, err := compile(t, when, false).Holds(subject(p, 1))
		require.ErrorContains(t, err, want, when)

		policy, err := cel.ParsePolicy([]byte("table: [{confidence: 0, ask: never}]\nrules:\n- name: x\n  require: true\n  when: |\n    " + when + "\n"))
		require.NoError(t, err)
		g, err := policy.Gates(p, approval.Confidence{}, tuesday)
		require.NoError(t, err)
		require.True(t, g.Steps[0].Required, when)
		require.Contains(t, g.Steps[0].Reasons[0], "rule x (its condition failed, which counts as met: ")
		require.Contains(t, g.Steps[0].Reasons[0], want)
	}
}

func TestAConditionMayNotCostMoreThanTheLimit(t *testing.T) {
	steps := make([]step, 256)
	for i := range steps {
		steps[i] = scale(3)
	}
	p := build(t, actions.Canonical(), steps...)
	c := compile(t, `plan.actions.all(a, plan.actions.all(b, a == b))`, false) // 65,536 turns
	begun := time.Now()
	_, err := c.Holds(subject(p, 1))
	require.ErrorContains(t, err, "cost limit exceeded")
	require.Less(t, time.Since(begun), 2*time.Second)

	held, err := c.Holds(subject(build(t, actions.Canonical(), scale(1), scale(2)), 1))
	require.NoError(t, err)
	require.True(t, held)

	// A text of a model cannot make a regular expression blow up: RE2 is linear, and long texts cost.
	long := build(t, actions.Canonical(), step{"action": "notify_only", "parameters": step{"message": strings.Repeat("a", 900_000)}})
	_, err = compile(t, `step.parameters.message.matches("^(a+)+$") && step.parameters.message.matches("(a|aa)+b")`, false).Holds(subject(long, 1))
	require.ErrorContains(t, err, "cost limit exceeded")
}

func TestAConditionIsSafeForConcurrentUse(t *testing.T) {
	cascade := incident(t, "cascading-failure")
	c := compile(t, `has(step.parameters.replicas) && step.parameters.replicas > 7 && step.action.matches("^scale") && plan.actions.exists(a, a == step.action)`, false)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for k := range 200 {
				number := 1 + k%cascade.Len()
				held, err := c.Holds(subject(cascade, number))
				if err != nil || held != (number == 4) {
					t.Errorf("step %d: %v, %v", number, held, err)
				}
			}
		})
	}
	group.Wait()
}

// Midnight to four in the morning, on the nights when the clocks of Berlin change.
func TestHoursAreThoseOfTheClockOnTheWall(t *testing.T) {
	night := compile(t, `time.getHours("Europe/Berlin") < 4`, false)
	s := subject(incident(t, "oomkill"), 1)
	for at, want := range map[string]bool{
		"2026-03-28T22:59:59Z": false,
		"2026-03-28T23:00:00Z": true, // midnight
		"2026-03-29T00:59:59Z": true, // 01:59:59, and then it is three
		"2026-03-29T01:59:59Z": true, // 03:59:59
		"2026-03-29T02:00:00Z": false,
		"2026-10-24T22:00:00Z": true, // midnight
		"2026-10-25T00:30:00Z": true, // half past two
		"2026-10-25T01:30:00Z": true, // half past two again
		"2026-10-25T02:59:59Z": true,
		"2026-10-25T03:00:00Z": false,
	} {
		var err error
		s.Time, err = time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		held, err := night.Holds(s)
		require.NoError(t, err)
		require.Equal(t, want, held, at)

		s.Time = s.Time.In(time.FixedZone("elsewhere", -9*3600)) // whose clock the caller has must not matter
		utc, err := compile(t, "time.getHours() == "+strconv.Itoa(s.Time.UTC().Hour()), false).Holds(s)
		require.NoError(t, err)
		require.True(t, utc, at)
	}
}

func TestRulesReachGates(t *testing.T) {
	policy, err := cel.ParsePolicy([]byte(`
table: [{confidence: 0.5, ask: high}]
rules:
  - name: more replicas
    when: has(step.parameters.replicas) && step.parameters.replicas > 5
    quorum: 2
    approvers: {people: [ann, bob]}
  - name: config is code
    when: step.target.kind == "ConfigMap" && step.target.namespace == "production"
    risk: high
  - name: sweeping
    when: plan.mutating > 5
    plan: true
    require: true
`))
	require.NoError(t, err)
	g, err := policy.Gates(incident(t, "cascading-failure"), approval.Confidence{Value: 0.9, Given: true}, tuesday)
	require.NoError(t, err)
	require.Equal(t, []string{"rule sweeping"}, g.Plan.Reasons)
	for i, gate := range g.Steps {
		switch i + 1 {
		case 2:
			require.Equal(t, schema.RiskHigh, gate.Risk)
			require.Contains(t, gate.Reasons, "rule config is code raises it to high")
		case 4:
			require.Equal(t, []string{"rule more replicas: it takes 2 of ann, bob"}, gate.Reasons)
			require.Equal(t, "more replicas", gate.Terms.Panels[0].Rule)
		default:
			require.False(t, gate.Required, "step %d", i+1)
		}
	}
}
