package actions_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// meant has every field set, so that none is forgotten below.
func meant() actions.Spec {
	return actions.Spec{
		Name: "own", Aliases: []string{"mine"}, Title: "Own", Category: "mine", Does: "does", Done: "done", Effect: actions.External,
		Role: actions.Restarts, Notice: true, RiskFloor: schema.RiskLow, Timeout: 90 * time.Second, Undo: "undoes", Idempotent: true,
		Rolls: false, Gate: false, GateParameters: []string{"count", "size"}, Artifact: "dump", ArtifactParameter: "type", AnyParameters: true,
		Parameters: []actions.Parameter{
			{Name: "deployment", Type: actions.Name, Kind: "Deployment", Description: "a"},
			{Name: "pod", Type: actions.Name, Kind: "Pod", Description: "b"},
			{Name: "count", Aliases: []string{"number"}, Type: actions.Integer, Description: "c", Min: new(int64(1)), Max: new(int64(5)), Default: 3,
				Words:  []string{"previous", "next"},
				Floors: []actions.Floor{{Value: 4, Risk: schema.RiskHigh, Reason: "many"}, {Value: 5, Risk: schema.RiskCritical, Reason: "more"}}},
			{Name: "size", Type: actions.Quantity, Description: "d"},
			{Name: "more", Type: actions.Quantity, Description: "d"},
			{Name: "type", Type: actions.String, Enum: []string{"a", "b"}, Refuse: []string{"x", "y"}, Description: "e"},
			{Name: "token", Type: actions.String, Secret: true, Default: "hunter2", Description: "f"},
			{Name: "needed", Type: actions.String, Required: true, Description: "g"},
		},
		Rules: []actions.Rule{
			{OneOf: []string{"deployment", "pod"}}, {AnyOf: []string{"size", "more"}}, {AtMostOne: []string{"count", "token"}}, {NotGreater: []string{"size", "more"}},
		},
	}
}

func meaningOf(t *testing.T, s actions.Spec) string {
	t.Helper()
	var reg actions.Registry
	require.NoError(t, reg.Add(s))
	return string(reg.Specs()[0].Meaning())
}

func parameter(s *actions.Spec, name string) *actions.Parameter {
	return &s.Parameters[slices.IndexFunc(s.Parameters, func(p actions.Parameter) bool { return p.Name == name })]
}

func TestMeaning_is_canonical_JSON(t *testing.T) {
	got := meaningOf(t, meant())
	var v any
	require.NoError(t, json.Unmarshal([]byte(got), &v))
	again, err := json.Marshal(v)
	require.NoError(t, err)
	require.Equal(t, string(again), got, "sorted and compact")
	require.NotContains(t, got, "hunter2")

	small := meaningOf(t, actions.Spec{Name: "own"})
	require.Equal(t, `{"effect":"mutates","name":"own","parameters":{"reason":{"type":"string"}},"riskFloor":"high","role":"fix","timeout":"5m0s"}`, small,
		"archives hold it: what is not set must stay left out, whatever fields a Spec gets")
}

func TestMeaning_has_no_prose_and_no_spellings(t *testing.T) {
	want := meaningOf(t, meant())
	for name, change := range map[string]func(*actions.Spec){
		"aliases":               func(s *actions.Spec) { s.Aliases = nil },
		"title":                 func(s *actions.Spec) { s.Title = "Other" },
		"category":              func(s *actions.Spec) { s.Category = "other" },
		"does":                  func(s *actions.Spec) { s.Does = "other" },
		"done":                  func(s *actions.Spec) { s.Done = "other" },
		"how it is undone":      func(s *actions.Spec) { s.Undo = "other" },
		"a parameter's words":   func(s *actions.Spec) { parameter(s, "count").Description = "other" },
		"a parameter's alias":   func(s *actions.Spec) { parameter(s, "count").Aliases = nil },
		"a floor's reason":      func(s *actions.Spec) { parameter(s, "count").Floors[0].Reason = "other" },
		"the order of floors":   func(s *actions.Spec) { slices.Reverse(parameter(s, "count").Floors) },
		"the order of an enum":  func(s *actions.Spec) { slices.Reverse(parameter(s, "type").Enum) },
		"the order of refusals": func(s *actions.Spec) { slices.Reverse(parameter(s, "type").Refuse) },
		"the order of words":    func(s *actions.Spec) { slices.Reverse(parameter(s, "count").Words) },
		"the order of rules":    func(s *actions.Spec) { slices.Reverse(s.Rules) },
		"the order in a rule":   func(s *actions.Spec) { slices.Reverse(s.Rules[0].OneOf) },
		"the order of gates":    func(s *actions.Spec) { slices.Reverse(s.GateParameters) },
		"the order of others":   func(s *actions.Spec) { slices.Reverse(s.Parameters[2:]) },
	} {
		s := meant()
		change(&s)
		require.Equal(t, want, meaningOf(t, s), name)
	}
}

func TestMeaning_changes_with_everything_else(t *testing.T) {
	changes := map[string]func(*actions.Spec){
		"Name":              func(s *actions.Spec) { s.Name = "other" },
		"Effect":            func(s *actions.Spec) { s.Effect, s.Notice = actions.Mutates, false },
		"Role":              func(s *actions.Spec) { s.Role = actions.Records },
		"Notice":            func(s *actions.Spec) { s.Notice = false },
		"RiskFloor":         func(s *actions.Spec) { s.RiskFloor = schema.RiskNone },
		"Timeout":           func(s *actions.Spec) { s.Timeout++ },
		"Undo":              func(s *actions.Spec) { s.Undo = "" },
		"Idempotent":        func(s *actions.Spec) { s.Idempotent = false },
		"Rolls":             func(s *actions.Spec) { s.Effect, s.Notice, s.Rolls = actions.Mutates, false, true },
		"Gate":              func(s *actions.Spec) { s.GateParameters, s.Gate = nil, true },
		"GateParameters":    func(s *actions.Spec) { s.GateParameters = s.GateParameters[:1] },
		"Artifact":          func(s *actions.Spec) { s.Artifact = "other" },
		"ArtifactParameter": func(s *actions.Spec) { s.ArtifactParameter = "" },
		"AnyParameters":     func(s *actions.Spec) { s.AnyParameters = false },
		"Rules":             func(s *actions.Spec) { slices.Reverse(s.Rules[3].NotGreater) },
		"Rules.OneOf":       func(s *actions.Spec) { s.Rules = s.Rules[1:] },
		"Rules.AnyOf":       func(s *actions.Spec) { s.Rules[1].AnyOf[0] = "type" },
		"Rules.AtMostOne":   func(s *actions.Spec) { s.Rules[2].AtMostOne[0] = "type" },
		"Parameters":        func(s *actions.Spec) { s.Parameters[0], s.Parameters[1] = s.Parameters[1], s.Parameters[0] },
		"Parameters.Name":   func(s *actions.Spec) { parameter(s, "needed").Name = "wanted" },
		"Parameters.Type":   func(s *actions.Spec) { parameter(s, "needed").Type = actions.Any },
		"Parameters.Required": func(s *actions.Spec) {
			parameter(s, "needed").Required = false
		},
		"Parameters.Kind":    func(s *actions.Spec) { parameter(s, "pod").Kind = "Node" },
		"Parameters.Enum":    func(s *actions.Spec) { parameter(s, "type").Enum[0] = "c" },
		"Parameters.Min":     func(s *actions.Spec) { parameter(s, "count").Min = nil },
		"Parameters.Max":     func(s *actions.Spec) { parameter(s, "count").Max = new(int64(6)) },
		"Parameters.Default": func(s *actions.Spec) { parameter(s, "count").Default = 4 },
		"Parameters.Words":   func(s *actions.Spec) { parameter(s, "count").Words[0] = "last" },
		"Parameters.Refuse":  func(s *actions.Spec) { parameter(s, "type").Refuse[0] = "z" },
		"Parameters.Floors":  func(s *actions.Spec) { parameter(s, "count").Floors[0].Risk = schema.RiskMedium },
		"Parameters.Secret":  func(s *actions.Spec) { parameter(s, "token").Secret = false },
		"a floor's value":    func(s *actions.Spec) { parameter(s, "count").Floors[0].Value = 1 },
		"a secret default":   func(s *actions.Spec) { parameter(s, "token").Default = "hunter3" },
	}
	want := meaningOf(t, meant())
	for name, change := range changes {
		s := meant()
		change(&s)
		require.NotEqual(t, want, meaningOf(t, s), name)
	}

	prose := []string{"Aliases", "Title", "Category", "Does", "Done", "Parameters.Aliases", "Parameters.Description"}
	for prefix, fields := range map[string]reflect.Type{
		"": reflect.TypeFor[actions.Spec](), "Parameters.": reflect.TypeFor[actions.Parameter](), "Rules.": reflect.TypeFor[actions.Rule](),
	} {
		for i := range fields.NumField() {
			name := prefix + fields.Field(i).Name
			require.True(t, name == "Rules.NotGreater" || changes[name] != nil || slices.Contains(prose, name), "a new field is prose or has a meaning: %s", name)
		}
	}
}

// What is sent again after a crash without asking anyone must leave what sending it once leaves.
func TestIdempotent_are_reads_and_what_sets_a_state(t *testing.T) {
	want := []string{
		"audit_logs", "collect_diagnostics", "correlate_alerts", "health_check", "verify_recovery",
		"scale_deployment", "scale_statefulset", "increase_resources", "update_hpa", "patch_config_map", "update_network_policy",
		"cordon_node", "uncordon_node", "untaint_node", // but taint_node refuses a taint that is there
		"silence_alerts",
	}
	var got []string
	for _, s := range actions.Canonical().Specs() {
		if s.Idempotent {
			got = append(got, s.Name)
			require.NotEqual(t, actions.Restarts, s.Role, s.Name)
		}
	}
	require.ElementsMatch(t, want, got)
}
