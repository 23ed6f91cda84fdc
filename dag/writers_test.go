package dag_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

func TestWriters_are_the_groups_with_a_pair_that_no_path_orders(t *testing.T) {
	reg := actions.Canonical()
	rapid.Check(t, func(t *rapid.T) {
		p, err := dag.Build(drawPlan(t, 40), reg, dag.Namespace("shop"))
		require.NoError(t, err)
		byTarget := map[schema.Target][]int{}
		var targets []schema.Target
		for i := range p.Len() {
			if s := p.Step(i); s.Mutating() && s.Target() != (schema.Target{}) {
				if byTarget[s.Target()] == nil {
					targets = append(targets, s.Target())
				}
				byTarget[s.Target()] = append(byTarget[s.Target()], i)
			}
		}
		var want [][]int
		pairs := 0
		for _, target := range targets {
			unordered := 0
			for k, b := range byTarget[target] {
				for _, a := range byTarget[target][:k] {
					if !p.Graph().Reaches(a, b) && !p.Graph().Reaches(b, a) {
						unordered++
					}
				}
			}
			if pairs += unordered; unordered > 0 {
				want = append(want, byTarget[target])
			}
		}
		require.Equal(t, want, p.Writers())
		warned := 0
		for _, w := range p.Warnings() {
			if w.Code == schema.CodeWriteConflict {
				warned++
			}
		}
		require.LessOrEqual(t, warned, pairs)
		require.Equal(t, pairs > 0, warned > 0)
	})
}

func TestWriters_of_a_small_group_are_warned_of_pair_by_pair(t *testing.T) {
	const restart = `"action": "restart_pod", "parameters": {"namespace": "shop", "pod": "web-0"}}`
	p := load(t, `[{"id": "a", `+restart+`, {"id": "b", `+restart+`, {"id": "c", `+restart+`]`)
	require.Equal(t, []string{"b write-conflict", "c write-conflict", "c write-conflict"}, codes(p.Warnings()))
}

func TestWriters_of_a_huge_group_are_warned_of_in_bounds(t *testing.T) {
	doc := &schema.Document{}
	for i := range 200 {
		doc.Recommendations = append(doc.Recommendations, schema.Recommendation{ID: fmt.Sprint("s", i), Action: "restart_pod",
			Parameters: map[string]any{"namespace": "shop", "pod": "web-0"}})
	}
	p, err := dag.Build(doc, actions.Canonical())
	require.NoError(t, err)
	require.Len(t, p.Writers(), 1)
	require.Len(t, p.Writers()[0], 200)
	require.Len(t, p.Warnings(), 199)
}

func TestRestart_is_redundant_only_when_nothing_between_would_be_picked_up(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []string
		want  []string
	}{
		{"right after", []string{"web: restart", "w: verify after web"}, nil},
		{"a fix on the way", []string{"web: restart", "f: fix after web", "v: verify after f"}, nil},
	} {
		require.Equal(t, tt.want, codes(sketch(t, tt.steps...).Warnings()), tt.name)
	}
	const roll = `"action": "rolling_restart_pods", "parameters": {"namespace": "shop", "deployment": "web"}`
	between := func(action string) []string {
		return codes(load(t, `[{"id": "a", `+roll+`}, {"id": "m", `+action+`, "dependencies": ["a"]}, {"id": "z", `+roll+`, "dependencies": ["m"]}]`).Warnings())
	}
	redundant := []string{"z redundant-step"}
	require.Nil(t, between(`"action": "rotate_secrets", "parameters": {"namespace": "shop", "secret": "s"}`))
	require.Nil(t, between(`"action": "repair_database", "parameters": {"namespace": "shop", "database": "d", "repairType": "index"}`))
	require.Equal(t, redundant, between(`"action": "rotate_secrets", "parameters": {"namespace": "bank", "secret": "s"}`))
	require.Equal(t, redundant, between(`"action": "scale_deployment", "parameters": {"namespace": "shop", "deployment": "web", "replicas": 3}`))
	require.Equal(t, redundant, between(`"action": "health_check", "parameters": {"namespace": "shop", "deployment": "web"}`))
	require.Equal(t, redundant, between(`"action": "rolling_restart_pods", "parameters": {"namespace": "shop", "deployment": "api"}`))

	parallel := load(t, `[{"id": "a", `+roll+`},
	  {"id": "m", "action": "patch_config_map", "parameters": {"namespace": "shop", "configMap": "c", "patch": {"A": "1"}}},
	  {"id": "z", `+roll+`, "dependencies": ["a", "m"]}]`)
	require.Equal(t, redundant, codes(parallel.Warnings()), "the change need not come after the first restart")
	gated := load(t, `[{"id": "a", `+roll+`, "requiresApproval": true}, {"id": "z", `+roll+`, "dependencies": ["a"], "requiresApproval": true}]`)
	require.NotContains(t, gated.Warnings()[0].Message, "too late", "the first restart was asked for as well")
}

// Small graphs and large ones are searched in different ways.
func TestWriters_are_found_in_plans_of_any_size(t *testing.T) {
	for _, n := range []int{100, 5000} {
		doc := &schema.Document{}
		for i := range n {
			r := schema.Recommendation{ID: fmt.Sprint(i), Action: "notify_only"}
			if i > 0 && i != n/2 {
				r.Dependencies = []string{fmt.Sprint(i - 1)}
			}
			if i == 0 || i == n/2-1 || i == n-1 {
				r.Action, r.Parameters = "cordon_node", map[string]any{"node": "a"}
			}
			doc.Recommendations = append(doc.Recommendations, r)
		}
		p, err := dag.Build(doc, actions.Canonical())
		require.NoError(t, err)
		require.Equal(t, [][]int{{0, n/2 - 1, n - 1}}, p.Writers())
		require.Len(t, p.Warnings(), 2)
		for _, w := range p.Warnings() {
			require.Equal(t, fmt.Sprint(n-1), w.Step, "the first two are ordered")
		}
	}
}
