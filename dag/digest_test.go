package dag_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// TestDigest_keeps_its_form fails when the form of what is hashed changes: decisions and journals of earlier versions
// would no longer match. It fails too when the registry changes a floor, a time-out or a parameter that these plans use.
func TestDigest_keeps_its_form(t *testing.T) {
	for name, want := range map[string]string{
		"oomkill":           "sha256:0de2b153e45e7c1d2ee5f8451e463083d0361b1f1687bb47b389c1e69bae1636",
		"cascading-failure": "sha256:6e911c92c04f1b9a737e8ab8fe9abf6e4ddaa517226c608a433e7959c90c1000",
		"alert-storm":       "sha256:91c06601946efc0b3d900c279f18777b79cf337ef080c43e7ceb624017a14b32",
		"database-deadlock": "sha256:f2f9839f991a5e8130be2b5819f31c91dc05aed25616976684f9114e78db62e6",
	} {
		require.Equal(t, want, incident(t, name, false).Digest(), name)
	}
}

const digested = `{"recommendations": [
  {"id": "a", "action": "scale_deployment", "description": "d", "rationale": "r", "confidence": 0.9,
   "parameters": {"namespace": "shop", "deployment": "web", "replicas": 3, "waitForReady": true}, "risk": "medium"},
  {"id": "b", "action": "rolling_restart_pods", "parameters": {"namespace": "shop", "deployment": "api"}},
  {"id": "c", "action": "notify_only", "dependencies": ["a", "b"], "timeout": "30s"}
], "estimatedDuration": "4 minutes", "historicalSuccessRate": 0.5}`

func replaced(t *testing.T, old, new string) string {
	t.Helper()
	require.Contains(t, digested, old)
	return strings.Replace(digested, old, new, 1)
}

func TestDigest_does_not_change_with_what_does_not_change_the_plan(t *testing.T) {
	want := load(t, digested)
	for name, text := range map[string]string{
		"white space":     strings.Join(strings.Fields(digested), " "),
		"key order":       replaced(t, `"namespace": "shop", "deployment": "web"`, `"deployment": "web", "namespace": "shop"`),
		"field order":     replaced(t, `"id": "c", "action": "notify_only"`, `"action": "notify_only", "id": "c"`),
		"dependencies":    replaced(t, `["a", "b"]`, `["b", "a"]`),
		"a repeat":        replaced(t, `["a", "b"]`, `["b", "a", "b"]`),
		"a comment":       replaced(t, `"replicas": 3`, `"replicas": 3 /* three */`),
		"trailing commas": replaced(t, `"30s"}`, `"30s",},`),
		"a code fence":    "Here you are:\n```json\n" + digested + "\n```\n",
		"an action alias": replaced(t, "rolling_restart_pods", "rollout_restart"),
		"PascalCase":      replaced(t, "scale_deployment", "ScaleDeployment"),
		"parameter alias": replaced(t, `"waitForReady"`, `"wait_for_ready"`),
		"field alias":     replaced(t, `"parameters"`, `"params"`),
		"an inferred namespace": replaced(t, `{"namespace": "shop", "deployment": "api"}`,
			`{"deployment": "api"}`),
		"prose":             replaced(t, `"description": "d", "rationale": "r"`, `"description": "other", "rationale": "words", "name": "n"`),
		"confidence":        replaced(t, `0.9`, `0.7`),
		"estimate":          replaced(t, `"4 minutes"`, `"5 minutes"`),
		"success rate":      replaced(t, `0.5`, `0.6`),
		"a risk below":      replaced(t, `"id": "b",`, `"id": "b", "risk": "none",`),
		"approval false":    replaced(t, `"id": "b",`, `"id": "b", "requiresApproval": false,`),
		"its own time-out":  replaced(t, `"id": "a",`, `"id": "a", "timeout": "5m",`),
		"another time text": replaced(t, `"30s"`, `"0m30s"`),
	} {
		t.Run(name, func(t *testing.T) {
			got := load(t, text)
			require.Equal(t, want.Digest(), got.Digest())
			for i := range want.Len() {
				require.Equal(t, want.StepDigest(i), got.StepDigest(i))
			}
		})
	}
	t.Run("names of an overlay", func(t *testing.T) {
		got := load(t, digested, dag.WithOverlay(&schema.Overlay{Steps: map[string]schema.StepOverlay{
			"a": {Name: "n", Label: "l", Note: "o", Duration: 1}}}))
		require.Equal(t, want.Digest(), got.Digest())
	})
}

func TestDigest_changes_with_everything_that_it_covers(t *testing.T) {
	seen := map[string]string{load(t, digested).Digest(): "nothing"}
	for name, text := range map[string]string{
		"an id":           strings.NewReplacer(`"a"`, `"z"`).Replace(digested),
		"ids swapped":     strings.NewReplacer(`"a"`, `"b"`, `"b"`, `"a"`).Replace(digested),
		"an action":       replaced(t, "rolling_restart_pods", "restart_pod"),
		"a value":         replaced(t, `"replicas": 3`, `"replicas": 4`),
		"a parameter":     replaced(t, `, "waitForReady": true`, ``),
		"its default":     replaced(t, `"waitForReady": true`, `"waitForReady": false`),
		"a dependency":    replaced(t, `["a", "b"]`, `["a"]`),
		"another":         replaced(t, `["a", "b"]`, `["b"]`),
		"risk":            replaced(t, `"risk": "medium"`, `"risk": "high"`),
		"requested":       replaced(t, `"risk": "medium"`, `"risk": "medium", "requiresApproval": true`),
		"a time-out":      replaced(t, `"30s"`, `"31s"`),
		"order of steps":  `{"recommendations": [{"id": "b", "action": "rolling_restart_pods", "parameters": {"namespace": "shop", "deployment": "api"}}, {"id": "a", "action": "scale_deployment", "parameters": {"namespace": "shop", "deployment": "web", "replicas": 3, "waitForReady": true}, "risk": "medium"}, {"id": "c", "action": "notify_only", "dependencies": ["a", "b"], "timeout": "30s"}]}`,
		"one step more":   replaced(t, "\n], ", `, {"id": "d", "action": "notify_only"}], `),
		"another's field": replaced(t, `"timeout": "30s"`, `"parameters": {"message": "30s"}`),
	} {
		digest := load(t, text).Digest()
		require.Empty(t, seen[digest], "%s hashes like %s", name, seen[digest])
		seen[digest] = name
	}
	digest := load(t, digested, dag.WithOverlay(&schema.Overlay{Actions: map[string]schema.ActionOverlay{"notify_only": {Timeout: 1}}})).Digest()
	require.Empty(t, seen[digest], "an overlay's time-out hashes like %s", seen[digest])
}

func TestStepDigest_covers_its_own_step_only(t *testing.T) {
	one, other := load(t, digested), load(t, replaced(t, `"replicas": 3`, `"replicas": 4`))
	require.NotEqual(t, one.StepDigest(0), other.StepDigest(0))
	require.Equal(t, one.StepDigest(1), other.StepDigest(1))
	require.Equal(t, one.StepDigest(2), other.StepDigest(2))
	require.Regexp(t, `^sha256:[0-9a-f]{64}$`, one.StepDigest(0))
	single := load(t, `[{"id": "a", "action": "notify_only"}]`)
	require.NotEqual(t, single.Digest(), single.StepDigest(0), "a decision about a step is none about the plan")
}

func TestNamespaceOption_is_a_part_of_the_digest(t *testing.T) {
	const text = `[{"id": "a", "action": "restart_pod", "parameters": {"pod": "web-0"}}]`
	shop := load(t, text, dag.Namespace("shop"))
	require.NotEqual(t, shop.Digest(), load(t, text, dag.Namespace("bank")).Digest())
	require.Equal(t, shop.Digest(), load(t, `[{"id": "a", "action": "restart_pod", "parameters": {"pod": "web-0", "namespace": "shop"}}]`).Digest())
	_, err := dag.Load([]byte(text), actions.Canonical())
	require.ErrorContains(t, err, "missing-namespace")
}
