package actions_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

func TestActionsAreFoundUnderTheirSpellings(t *testing.T) {
	reg := actions.Canonical()
	for name, want := range map[string]string{
		"restart_pods": "restart_pod", "increase_memory_limit": "increase_resources", "verify_deployment": "health_check",
		"rollout_restart": "rolling_restart_pods", "restart-pod": "restart_pod", "RestartPod": "restart_pod", "restartPod": "restart_pod",
		"rollout-restart": "rolling_restart_pods", "RolloutRestart": "rolling_restart_pods", "ExpandPVC": "expand_pvc", "ExpandPvc": "expand_pvc",
		"updateHPA": "update_hpa",
	} {
		spec, alias := reg.Resolve(name)
		require.NotNil(t, spec, name)
		require.Equal(t, want, spec.Name)
		require.True(t, alias, name)
		require.Nil(t, reg.Lookup(name), "Lookup knows canonical names only")
	}
	spec, alias := reg.Resolve("restart_pod")
	require.Same(t, reg.Lookup("restart_pod"), spec)
	require.False(t, alias)
}

func TestNothingFuzzyIsFound(t *testing.T) {
	reg := actions.Canonical()
	for _, name := range []string{"", "restart_database", "cordon", "restartpod", "RESTART_POD", "Restart_Pod", "Restart-Pod", "restart pod", " restart_pod",
		"restart_pod ", "restart__pod", "restart-_pod", "_restart_pod", "réstart_pod", "restart_pod\n", strings.Repeat("A", 1<<20)} {
		spec, alias := reg.Resolve(name)
		require.Nil(t, spec, "%.40q", name)
		require.False(t, alias)
	}
}

func TestNearestNamesAreHints(t *testing.T) {
	reg := actions.Canonical()
	require.Equal(t, "repair_database", reg.Nearest("restart_database")[0])
	require.Contains(t, reg.Nearest("scale_deploymnet"), "scale_deployment")
	require.Equal(t, "scale_deployment", reg.Nearest("Scale-Deploymnet")[0])
	require.Equal(t, "cordon_node", reg.Nearest("cordn_node")[0])
	require.Equal(t, []string{"cordon_node"}, reg.Nearest("cordon"), "half a name")
	require.Equal(t, []string{"scale_deployment", "scale_statefulset"}, reg.Nearest("Scale"))
	require.Empty(t, reg.Nearest("s"))
	require.LessOrEqual(t, len(reg.Nearest("restart_pood")), 3)
	require.Empty(t, reg.Nearest("delete_everything_now"))
	require.Empty(t, reg.Nearest(""))
	require.Empty(t, reg.Nearest("\x00"))
	require.Empty(t, reg.Nearest(strings.Repeat("restart_pod", 1<<16)), "long names are not even compared")
	for range 10 {
		require.Equal(t, reg.Nearest("restart_pot"), reg.Nearest("restart_pot"))
	}
}

func TestAnActionOfOnesOwnGetsTheMostRestrictiveDefaults(t *testing.T) {
	var reg actions.Registry
	require.Empty(t, reg.Specs())
	require.Nil(t, reg.Lookup("x"))
	require.Empty(t, reg.Nearest("x"))
	require.NoError(t, reg.Add(actions.Spec{Name: "flush_cdn_cache"}))
	s := reg.Lookup("flush_cdn_cache")
	require.Equal(t, "Flush Cdn Cache", s.Title)
	require.Equal(t, "custom", s.Category)
	require.Equal(t, actions.Mutates, s.Effect)
	require.Equal(t, actions.Fixes, s.Role)
	require.Equal(t, schema.RiskHigh, s.RiskFloor)
	require.Equal(t, 5*time.Minute, s.Timeout)
	require.True(t, s.Mutating())
	require.False(t, s.Reversible())
	require.Len(t, s.Parameters, 1, "reason is accepted everywhere")
	require.Equal(t, "reason", s.Parameters[0].Name)
	require.Len(t, reg.Specs(), 1)
}

func TestOneNameMeansOneAction(t *testing.T) {
	for want, s := range map[string]actions.Spec{
		`action "restart_pod": name: "restart_pod" already means restart_pod`:           {Name: "restart_pod"},
		`action "rollout_restart": name: "rollout_restart" already means`:               {Name: "rollout_restart"},
		`action "x": aliases[0]: "RestartPod" already means restart_pod`:                {Name: "x", Aliases: []string{"RestartPod"}},
		`action "x": aliases[1]: "rollout-restart" already means`:                       {Name: "x", Aliases: []string{"fine", "rollout-restart"}},
		`action "x_y": aliases[0]: "X Y" is not a name`:                                 {Name: "x_y", Aliases: []string{"X Y"}},
		`action "x_y": aliases[0]: "x-y" is there twice`:                                {Name: "x_y", Aliases: []string{"x-y"}},
		`action "Restart": name: want snake_case`:                                       {Name: "Restart"},
		`action "": name: want snake_case`:                                              {},
		`action "` + strings.Repeat("a", 64) + `": name: want snake_case of at most 63`: {Name: strings.Repeat("a", 64)},
	} {
		reg := actions.Canonical()
		err := reg.Add(s)
		require.ErrorContains(t, err, want)
		require.Len(t, reg.Specs(), 38, "what is refused is not added")
	}
}

func TestASpecThatContradictsItselfIsRefused(t *testing.T) {
	one, five := int64(1), int64(5)
	param := func(p actions.Parameter) actions.Spec {
		return actions.Spec{Name: "x", Parameters: []actions.Parameter{{Name: "other", Type: actions.Integer}, p}}
	}
	floor := func(f actions.Floor) actions.Spec {
		return param(actions.Parameter{Name: "p", Type: actions.Boolean, Floors: []actions.Floor{f}})
	}
	rule := func(r actions.Rule) actions.Spec {
		return actions.Spec{Name: "x", Rules: []actions.Rule{r}, Parameters: []actions.Parameter{{Name: "a", Type: actions.Integer},
			{Name: "b", Type: actions.Integer}, {Name: "s", Type: actions.String}, {Name: "must", Type: actions.Integer, Required: true}}}
	}
	for want, s := range map[string]actions.Spec{
		`effect: unknown effect "breaks"`:          {Name: "x", Effect: "breaks"},
		`role: unknown role "hero"`:                {Name: "x", Role: "hero"},
		"riskFloor: unknown risk 9":                {Name: "x", RiskFloor: 9},
		"timeout: -1s is negative":                 {Name: "x", Timeout: -time.Second},
		"notice: only an external action":          {Name: "x", Notice: true},
		"undo: an action that changes nothing":     {Name: "x", Effect: actions.Reads, Undo: "x"},
		"rolls: only an action that mutates":       {Name: "x", Effect: actions.External, Rolls: true},
		"gateParameters: gate is set":              {Name: "x", Gate: true, GateParameters: []string{"reason"}},
		`gateParameters[0]: there is no`:           {Name: "x", GateParameters: []string{"gone"}},
		"artifactParameter: artifact is empty":     {Name: "x", ArtifactParameter: "reason"},
		"artifactParameter: there is no string":    {Name: "x", Artifact: "dump", ArtifactParameter: "gone"},
		`artifact: "a/b" cannot be part`:           {Name: "x", Artifact: "a/b"},
		"parameters: 66 are more than 64":          {Name: "x", Parameters: make([]actions.Parameter, 65)},
		`parameters[1] "Upper": name: want camel`:  param(actions.Parameter{Name: "Upper", Type: actions.String}),
		`type: unknown type "text"`:                param(actions.Parameter{Name: "p", Type: "text"}),
		"type: want namespace, not string":         param(actions.Parameter{Name: "namespace", Type: actions.String}),
		"kind: a integer cannot name":              param(actions.Parameter{Name: "p", Type: actions.Integer, Kind: "Pod"}),
		"enum: only a string":                      param(actions.Parameter{Name: "p", Type: actions.Integer, Enum: []string{"1"}}),
		"words: a boolean cannot":                  param(actions.Parameter{Name: "p", Type: actions.Boolean, Words: []string{"maybe"}}),
		"refuse: a integer cannot":                 param(actions.Parameter{Name: "p", Type: actions.Integer, Refuse: []string{"1"}}),
		"min: a string has no bounds":              param(actions.Parameter{Name: "p", Type: actions.String, Min: &one}),
		"max: a string has no bounds":              param(actions.Parameter{Name: "p", Type: actions.String, Max: &one}),
		"max: 1 is less than min 5":                param(actions.Parameter{Name: "p", Type: actions.Integer, Min: &five, Max: &one}),
		"default: a required parameter":            param(actions.Parameter{Name: "p", Type: actions.Integer, Required: true, Default: 1}),
		"default: p is 7; expected an integer":     param(actions.Parameter{Name: "p", Type: actions.Integer, Max: &five, Default: 7}),
		`aliases[0]: "a b" is neither`:             param(actions.Parameter{Name: "p", Type: actions.String, Aliases: []string{"a b"}}),
		`"other" already means other`:              param(actions.Parameter{Name: "p", Type: actions.String, Aliases: []string{"other"}}),
		`"other" already means other `:             param(actions.Parameter{Name: "other", Type: actions.String}),
		"floors[0].value: p is 1; expected true":   floor(actions.Floor{Value: 1, Risk: schema.RiskHigh, Reason: "x"}),
		"floors[0].risk: want a risk":              floor(actions.Floor{Value: true, Reason: "x"}),
		"floors[0].reason: people are told":        floor(actions.Floor{Value: true, Risk: schema.RiskHigh}),
		"floors[0].value: a stringList cannot":     param(actions.Parameter{Name: "p", Type: actions.StringList, Floors: []actions.Floor{{Value: []string{"a"}, Risk: schema.RiskHigh, Reason: "x"}}}),
		"rules[0]: 0 of oneOf":                     rule(actions.Rule{}),
		"rules[0]: 2 of oneOf":                     rule(actions.Rule{OneOf: []string{"a", "b"}, AnyOf: []string{"a", "b"}}),
		`rules[0]: "a" alone is no relation`:       rule(actions.Rule{AnyOf: []string{"a"}}),
		`rules[0]: there is no parameter "gone"`:   rule(actions.Rule{AnyOf: []string{"a", "gone"}}),
		`rules[0]: "a" is there twice`:             rule(actions.Rule{AtMostOne: []string{"a", "a"}}),
		`rules[0]: "must" is required`:             rule(actions.Rule{OneOf: []string{"a", "must"}}),
		"rules[0]: notGreater: integer and string": rule(actions.Rule{NotGreater: []string{"a", "s"}}),
		"rules[0]: notGreater: want two":           rule(actions.Rule{NotGreater: []string{"a", "b", "must"}}),
	} {
		var reg actions.Registry
		err := reg.Add(s)
		require.ErrorContains(t, err, strings.TrimSpace(want))
		require.ErrorContains(t, err, `actions: action "x": `)
		require.Empty(t, reg.Specs())
	}
}

func TestARegistryKeepsItsOwnCopy(t *testing.T) {
	low := int64(1)
	s := actions.Spec{Name: "x", Aliases: []string{"y"}, GateParameters: []string{"a"}, Rules: []actions.Rule{{AnyOf: []string{"a", "b"}}},
		Parameters: []actions.Parameter{{Name: "a", Type: actions.Integer, Min: &low, Max: &low, Aliases: []string{"c"}}, {Name: "b", Type: actions.String, Enum: []string{"e"}}}}
	var reg actions.Registry
	require.NoError(t, reg.Add(s))
	before, err := json.Marshal(reg.Lookup("x"))
	require.NoError(t, err)
	low = 99
	s.Aliases[0], s.GateParameters[0], s.Rules[0].AnyOf[0], s.Parameters[0].Name, s.Parameters[1].Enum[0] = "z", "z", "z", "z", "z"
	after, err := json.Marshal(reg.Lookup("x"))
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

func TestASpecIsAValueToMakeAnotherFrom(t *testing.T) {
	reg := actions.Canonical()
	s := *reg.Lookup("scale_deployment")
	s.Name, s.Aliases, s.RiskFloor = "scale_canary", nil, schema.RiskMedium
	require.NoError(t, reg.Add(s))
	require.Equal(t, schema.RiskLow, reg.Lookup("scale_deployment").RiskFloor)
	require.Equal(t, schema.RiskMedium, reg.Lookup("scale_canary").RiskFloor)
	require.Equal(t, "scale_canary", reg.Specs()[38].Name)
}
