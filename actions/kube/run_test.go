package kube_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/schema"
)

// document is an incident of a deployment that needs another setting and more replicas; its last step fails where the
// node is missing.
func (c *cluster) document(node string) *schema.Document {
	return &schema.Document{Recommendations: []schema.Recommendation{
		{ID: "set", Action: "patch_config_map", Parameters: map[string]any{"namespace": c.namespace, "configMap": "settings", "patch": map[string]any{"level": "debug"}}},
		{ID: "scale", Action: "scale_deployment", Parameters: map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 4}},
		{ID: "more", Action: "scale_deployment", Dependencies: []string{"scale"},
			Parameters: map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 5}},
		{ID: "roll", Action: "rolling_restart_pods", Dependencies: []string{"set", "more"},
			Parameters: map[string]any{"namespace": c.namespace, "deployment": "web", "stableFor": "1s"}},
		{ID: "cordon", Action: "cordon_node", Dependencies: []string{"roll"}, Parameters: map[string]any{"node": node}},
	}}
}

// state is what a rollback brings back.
func (c *cluster) state() string {
	c.Helper()
	m, err := c.client.CoreV1().ConfigMaps(c.namespace).Get(c.Context(), "settings", metav1.GetOptions{})
	require.NoError(c, err)
	data, err := json.Marshal(map[string]any{"data": m.Data, "size": c.size("web")})
	require.NoError(c, err)
	return string(data)
}

func (c *cluster) executor(config executor.Config) *executor.Executor {
	c.Helper()
	config.Handlers, config.DryRunFirst = c.handlers, true
	config.Policy = &approval.Policy{Table: []approval.Row{{}}}
	config.Approver = approval.Auto()
	ex, err := executor.New(config)
	require.NoError(c, err)
	return ex
}

func TestAPlanRunsAndIsRolledBackOnARealCluster(t *testing.T) {
	c := newCluster(t)
	c.node("run-a")
	c.node("run-b")
	c.deployment("web", 2, "")
	_, err := c.client.CoreV1().ConfigMaps(c.namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"level": "info"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	before := c.state()
	plan := func(node string) *dag.Plan {
		p, err := dag.Build(c.document(node), actions.Canonical())
		require.NoError(t, err)
		return p
	}

	schedulable := func(yes bool) {
		_, err := c.client.CoreV1().Nodes().Patch(t.Context(), "run-b", types.MergePatchType, fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, !yes), metav1.PatchOptions{})
		if err != nil {
			t.Error(err)
		}
	}

	rehearsed, err := c.executor(executor.Config{}).Run(t.Context(), plan("missing"), executor.RunOptions{})
	require.NoError(t, err)
	require.Equal(t, executor.RunFailed, rehearsed.Status())
	require.Equal(t, executor.ReasonDryRun, rehearsed.Step(4).Reason, "the dry run finds it before anything happens")
	require.Equal(t, before, c.state())

	j := journal.NewMemory()
	late := plan("run-a")
	ex := c.executor(executor.Config{Journal: j, Observers: []executor.Observer{executor.ObserverFunc(func(e executor.Event) {
		if e.Kind == executor.EventStepStarted && e.Step == "roll" { // somebody cordons the other node, so the last step must fail
			schedulable(false)
		}
	})}})
	failed, err := ex.Run(t.Context(), late, executor.RunOptions{ID: "r"})
	require.NoError(t, err)
	require.Equal(t, executor.RunRolledBack, failed.Status(), failed)
	require.Equal(t, before, c.state())
	require.ErrorContains(t, failed.Step(4).Err, "the last node that pods can be scheduled on")

	schedulable(true)
	done, err := c.executor(executor.Config{}).Run(t.Context(), late, executor.RunOptions{})
	require.NoError(t, err)
	require.Equal(t, executor.RunSucceeded, done.Status(), done)
	require.JSONEq(t, `{"data": {"level": "debug"}, "size": 5}`, c.state())
}
