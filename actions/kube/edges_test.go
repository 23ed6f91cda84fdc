package kube_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

func TestNodesOfTheControlPlaneAreLeftToPeople(t *testing.T) {
	c := newCluster(t)
	c.node("edges-a")
	name := "edges-control-plane"
	c.node(name)
	c.patch("Node", "", name, `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}},"spec":{"unschedulable":true}}`)
	before := c.own(schema.Target{Kind: "Node", Name: name})
	for action, more := range map[string]map[string]any{
		"cordon_node": nil, "uncordon_node": nil, "drain_node": nil, "untaint_node": {"key": "gpu"}, "taint_node": {"key": "gpu", "effect": "NoSchedule"},
	} {
		p := map[string]any{"node": name}
		for k, v := range more {
			p[k] = v
		}
		req, con := c.request(action, p)
		for _, err := range []error{second(c.preview(req)), second(c.execute(req))} {
			require.ErrorContains(t, err, "is a node of the control plane", action)
			require.False(t, actions.IsTransient(err), action)
		}
		require.Zero(t, con.begun, action)
	}
	require.Equal(t, before, c.own(schema.Target{Kind: "Node", Name: name}))
}

// Each of two steps finds the other's node still there, and both are written at one moment.
func TestTwoStepsTakeNotTheLastTwoNodes(t *testing.T) {
	c := newCluster(t)
	c.node("edges-a")
	c.node("edges-b")
	for _, action := range []string{"cordon_node", "drain_node"} {
		req, con := c.request(action, map[string]any{"node": "edges-a"})
		con.before = func() { c.patch("Node", "", "edges-b", `{"spec":{"unschedulable":true}}`) }
		_, err := c.execute(req)
		require.ErrorContains(t, err, "Node edges-a is the last node that pods can be scheduled on", action)
		require.False(t, actions.IsTransient(err))
		require.Nil(t, c.object(req.Target).Object["spec"].(map[string]any)["unschedulable"], action)
		require.NoError(t, c.compensate(req, con.undo), "there is nothing left to undo")
		c.patch("Node", "", "edges-b", `{"spec":{"unschedulable":null}}`)
	}
}

func TestTaintsOfOthersKeepTheirOrder(t *testing.T) {
	c := newCluster(t)
	name := c.made()
	const theirs = `{"key":"z","value":"1","effect":"NoSchedule"},{"key":"a","value":"1","effect":"NoExecute"}`
	c.patch("Node", "", name, `{"spec":{"taints":[`+theirs+`]}}`)
	keys := func() (all []string) {
		for _, taint := range c.own(schema.Target{Kind: "Node", Name: name})["spec"].(map[string]any)["taints"].([]any) {
			all = append(all, taint.(map[string]any)["key"].(string))
		}
		return all
	}
	req, con := c.request("taint_node", map[string]any{"node": name, "key": "gpu", "effect": "NoSchedule"})
	_, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, []string{"z", "a", "gpu"}, keys())
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, []string{"z", "a"}, keys())
}

// What the API server fills in, or leaves out, is neither a change nor drift.
func TestFieldsAsTheServerHasThemAreOurs(t *testing.T) {
	c := newCluster(t)
	c.made()
	c.web()
	_, err := c.client.NetworkingV1().NetworkPolicies(c.namespace).Create(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, PolicyTypes: []networkingv1.PolicyType{"Ingress"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for action, p := range map[string]map[string]any{
		"update_network_policy": {"networkPolicy": "web", "rules": map[string]any{"ingress": []any{map[string]any{"ports": []any{map[string]any{"port": 80}}}}, "egress": []any{}}},
		"enable_debug_mode":     {"deployment": "web", "env": map[string]any{"EMPTY": "", "LEVEL": "debug"}, "stableFor": "1s"},
		"increase_resources":    {"deployment": "web", "memory": "2048Mi", "cpu": "0.5", "stableFor": "1s"},
	} {
		t.Run(action, func(t *testing.T) {
			c := *c
			c.T = t
			p["namespace"] = c.namespace
			req, con := c.request(action, p)
			before := c.own(req.Target)
			_, err := c.execute(req)
			require.NoError(t, err)
			undo := con.undo
			req.Begun = undo
			require.NotEqual(t, actions.OutcomeDidNotHappen, c.probe(req))
			req.Begun = nil
			again, second := c.request(action, p)
			_, err = c.execute(again)
			require.NoError(t, err)
			require.Nil(t, second.undo, "the same once more changes nothing")
			require.NoError(t, c.compensate(req, undo), "and nobody else changed it")
			require.Equal(t, before, c.own(req.Target))
		})
	}
}

func TestARestartThatCannotBeAsAskedIsRefused(t *testing.T) {
	c := newCluster(t)
	c.made()
	c.statefulSet("db", 3)
	c.daemonSet("agent")
	c.deployment("web", 5, "")
	c.settled("web")
	refused := func(action, kind, name, patch, why string) {
		t.Helper()
		c.patch(kind, c.namespace, name, patch)
		p := map[string]any{"namespace": c.namespace, map[string]string{"StatefulSet": "statefulset", "DaemonSet": "daemonset", "Deployment": "deployment"}[kind]: name, "stableFor": "1s"}
		if action == "rolling_restart_pods" {
			p["strategy"] = "one-at-a-time"
		}
		req, _ := c.request(action, p)
		_, err := c.preview(req)
		if why == "" {
			require.NoError(t, err)
			return
		}
		require.ErrorContains(t, err, why)
		before := c.own(req.Target)
		_, err = c.execute(req)
		require.ErrorContains(t, err, why)
		require.Equal(t, before, c.own(req.Target))
	}
	refused("rolling_restart_pods", "DaemonSet", "agent", `{}`, "")
	refused("rolling_restart_pods", "DaemonSet", "agent", `{"spec":{"updateStrategy":{"rollingUpdate":{"maxSurge":2,"maxUnavailable":0}}}}`, "replaces more than one pod at a time (maxSurge 2, maxUnavailable 0")
	refused("rolling_restart_pods", "Deployment", "web", `{}`, `(maxSurge "25%", maxUnavailable "25%" of 5)`)
	refused("rolling_restart_pods", "Deployment", "web", `{"spec":{"replicas":3}}`, "")
	refused("rolling_restart_pods", "Deployment", "web", `{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}`, "replaces more than one pod at a time")
	refused("rolling_restart_pods", "StatefulSet", "db", `{}`, "")
	refused("restart_statefulset", "StatefulSet", "db", `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":3}}}}`, "none of its pods would be restarted")
	refused("restart_statefulset", "StatefulSet", "db", `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}`, "")
}

func TestARolloutThatIsPausedFailsAtOnce(t *testing.T) {
	c := newCluster(t)
	c.made()
	c.deployment("slow", 2, "slow")
	c.settled("slow")
	req, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "slow"})
	done := make(chan error, 1)
	go func() { _, err := c.execute(req); done <- err }()
	require.Eventually(t, func() bool { return len(c.podsOf("slow")) > 2 }, eventually, tick)
	c.patchDeployment("slow", `{"spec":{"paused":true}}`)
	err := <-done
	require.ErrorContains(t, err, "is paused in the middle of its rollout")
	require.False(t, actions.IsTransient(err))
}
