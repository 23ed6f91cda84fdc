package dag_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

func TestRisk_is_the_highest_of_registry_values_timeout_and_document(t *testing.T) {
	for _, tt := range []struct {
		name, action, parameters, more string
		risk                           schema.Risk
		reasons                        []string
	}{
		{"the registry's floor", "scale_deployment", `{"namespace": "shop", "deployment": "web", "replicas": 3}`, ``, schema.RiskLow, nil},
		{"the document lower", "drain_node", `{"node": "n1"}`, `, "risk": "none"`, schema.RiskHigh, nil},
		{"the document higher", "scale_deployment", `{"namespace": "shop", "deployment": "web", "replicas": 3}`, `, "risk": "critical"`,
			schema.RiskCritical, []string{"critical: the document says so"}},
		{"a value's floor", "scale_deployment", `{"namespace": "shop", "deployment": "web", "replicas": 3, "force": true}`, `, "risk": "medium"`,
			schema.RiskHigh, []string{"high: force goes on although an autoscaler owns the size", "medium: the document says so"}},
		{"a longer time-out", "scale_deployment", `{"namespace": "shop", "deployment": "web", "replicas": 3}`, `, "timeout": "5m1s"`,
			schema.RiskHigh, []string{"high: the document asks for a time-out of 5m1s, longer than the registry's 5m"}},
		{"a shorter time-out", "scale_deployment", `{"namespace": "shop", "deployment": "web", "replicas": 3}`, `, "timeout": "4m"`, schema.RiskLow, nil},
		{"a check left out", "uncordon_node", `{"node": "n1", "verify_health": false}`, `, "risk": "none"`,
			schema.RiskHigh, []string{"high: without verifyHealth pods may come onto a node that is not ready"}},
		{"an effect", "taint_node", `{"node": "n1", "key": "k", "effect": "NoExecute"}`, ``, schema.RiskHigh, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := load(t, fmt.Sprintf(`[{"id": "a", "action": %q, "parameters": %s%s}]`, tt.action, tt.parameters, tt.more)).Step(0)
			require.Equal(t, tt.risk, s.Risk())
			if tt.reasons != nil || tt.risk == s.Spec().RiskFloor {
				require.Equal(t, tt.reasons, s.RiskReasons())
			}
			if tt.risk > s.Spec().RiskFloor {
				require.NotEmpty(t, s.RiskReasons(), "what is raised has a reason")
			}
		})
	}
}

func TestRisk_is_not_raised_by_a_long_timeout_that_a_person_set_too(t *testing.T) {
	const text = `[{"id": "a", "action": "scale_deployment", "timeout": "1h", "parameters": {"namespace": "shop", "deployment": "web", "replicas": 3}}]`
	require.Equal(t, schema.RiskHigh, load(t, text).Step(0).Risk())
	for _, overlay := range []schema.Overlay{
		{Steps: map[string]schema.StepOverlay{"a": {Timeout: time.Hour}}},
		{Actions: map[string]schema.ActionOverlay{"scale_deployment": {Timeout: time.Hour}}},
	} {
		require.Equal(t, schema.RiskLow, load(t, text, dag.WithOverlay(&overlay)).Step(0).Risk())
	}
}

func TestRestartNetwork_touches_protected_namespaces_only_by_the_policys_word(t *testing.T) {
	const text = `[{"id": "a", "action": "restart_network", "parameters": {"component": "coredns", "namespace": "kube-system"}},
	  {"id": "b", "action": "restart_network", "parameters": {"component": "coredns"}, "dependencies": ["a"]},
	  {"id": "c", "action": "restart_network", "parameters": {"component": "gateway", "namespace": "shop"}, "dependencies": ["b"]}]`
	for _, opts := range [][]dag.Option{nil, {dag.AllowComponents("kube-proxy", "")}} {
		_, err := dag.Load([]byte(text), actions.Canonical(), opts...)
		require.ErrorContains(t, err, "invalid-parameter")
	}
	p := load(t, text, dag.AllowComponents("kube-proxy", "coredns"))
	require.Equal(t, schema.RiskCritical, p.Step(0).Risk(), "it is always gated there")
	require.Equal(t, schema.RiskCritical, p.Step(1).Risk(), "without a namespace it may be one that is protected")
	require.Equal(t, schema.RiskHigh, p.Step(2).Risk())

	_, err := dag.Load([]byte(text), actions.Canonical(), dag.AllowComponents("coredns"), dag.Protect("shop"))
	require.ErrorContains(t, err, `component "gateway" may live in a protected namespace`)
}

func TestProtect_adds_namespaces(t *testing.T) {
	const text = `[{"id": "a", "action": "restart_pod", "parameters": {"namespace": "vault", "pod": "x"}},
	  {"id": "b", "action": "audit_logs", "parameters": {"namespace": "vault"}, "dependencies": ["a"]},
	  {"id": "c", "action": "notify_only", "parameters": {"namespace": "vault"}, "dependencies": ["a"]}]`
	require.Equal(t, 3, load(t, text).Len())
	_, err := dag.Load([]byte(text), actions.Canonical(), dag.Protect("other"), dag.Protect("vault"))
	require.EqualError(t, err, "1:67: error: invalid-parameter: namespace vault is protected: restart_pod must not change anything in it")
	_, err = dag.Load([]byte(`[{"id": "a", "action": "restart_pod", "parameters": {"pod": "x"}}]`), actions.Canonical(),
		dag.Namespace("vault"), dag.Protect("vault"))
	require.ErrorContains(t, err, "namespace vault is protected")
}

func TestNodes_of_the_control_plane_are_not_changed(t *testing.T) {
	for name, refused := range map[string]bool{"kind-control-plane": true, "kind-control-plane2": true, "master": true, "k8s-master-1.example.com": true, "controlplane01": true,
		"worker-1": false, "plane-1": false, "mastermind-1": false, "control-room": false} {
		_, err := dag.Load([]byte(`[{"id": "a", "action": "cordon_node", "parameters": {"node": "`+name+`"}}]`), actions.Canonical())
		if !refused {
			require.NoError(t, err, name)
			continue
		}
		require.EqualError(t, err, `1:62: error: invalid-parameter: node "`+name+`" is of the control plane by its name: cordon_node must not change it`)
	}
	_, err := dag.Load([]byte(`[{"id": "a", "action": "drain_node", "targetResource": {"kind": "Node", "name": "master-0"}}]`), actions.Canonical())
	require.ErrorContains(t, err, `1:81: error: invalid-parameter: node "master-0" is of the control plane`)
}

func TestProtect_holds_for_actions_that_take_any_parameter(t *testing.T) {
	reg := actions.Canonical()
	require.NoError(t, reg.Add(actions.Spec{Name: "anything_goes", AnyParameters: true}))
	require.NoError(t, reg.Add(actions.Spec{Name: "copy_from", Parameters: []actions.Parameter{
		{Name: "sourceNamespace", Type: actions.Namespace}}}))
	for _, text := range []string{
		`[{"id": "a", "action": "anything_goes", "parameters": {"namespace": "kube-system"}}]`,
		`[{"id": "a", "action": "copy_from", "parameters": {"sourceNamespace": "kube-system"}}]`,
	} {
		_, err := dag.Load([]byte(text), reg)
		require.ErrorContains(t, err, "namespace kube-system is protected")
	}
}

func TestBuild_warns_of_a_duration_longer_than_its_timeout(t *testing.T) {
	const text = `[{"id": "a", "action": "notify_only", "timeout": "30s"}, {"id": "b", "action": "notify_only"}]`
	warnings := func(d time.Duration) []string {
		return codes(load(t, text, dag.WithOverlay(&schema.Overlay{
			Steps: map[string]schema.StepOverlay{"a": {Duration: d}, "b": {Duration: time.Minute}}})).Warnings())
	}
	require.Equal(t, []string{"a timeout-too-short"}, warnings(31*time.Second))
	require.Empty(t, warnings(30*time.Second))
	short := load(t, `[{"id": "a", "action": "notify_only", "timeout": "5s"}]`)
	require.Equal(t, 5*time.Second, short.Step(0).Duration(), "an estimate is never longer than the time-out")
	require.Empty(t, short.Warnings())
}

// TestNoTextOfAPlanLowersItsGates holds that whatever a document says of a step, its risk stays at or above the
// registry's floor and the floors of its values, and that what asks for approval asks for it.
func TestNoTextOfAPlanLowersItsGates(t *testing.T) {
	reg := actions.Canonical()
	base := map[string]map[string]any{
		"scale_deployment":     {"namespace": "shop", "deployment": "web", "replicas": 3},
		"drain_node":           {"node": "n1"},
		"restart_pod":          {"namespace": "shop", "pod": "web-0"},
		"failover_database":    {"namespace": "shop", "database": "db"},
		"health_check":         {"namespace": "shop", "service": "web"},
		"notify_only":          {},
		"rolling_restart_pods": {"namespace": "shop", "deployment": "web"},
	}
	names := []string{"scale_deployment", "drain_node", "restart_pod", "failover_database", "health_check", "notify_only", "rolling_restart_pods"}
	knobs := []string{"force", "deleteEmptyDirData", "gracePeriodSeconds", "waitForReady", "ignoreDaemonSets"}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "action")
		parameters := map[string]any{}
		for k, v := range base[name] {
			parameters[k] = v
		}
		for _, knob := range knobs {
			switch rapid.IntRange(0, 3).Draw(t, knob) {
			case 1:
				parameters[knob] = rapid.Bool().Draw(t, "value")
			case 2:
				parameters[knob] = rapid.IntRange(0, 40).Draw(t, "value")
			}
		}
		step := map[string]any{"id": "a", "action": name, "parameters": parameters}
		if rapid.Bool().Draw(t, "has risk") {
			step["risk"] = rapid.SampledFrom([]string{"none", "low", "medium", "high", "critical"}).Draw(t, "risk")
		}
		if rapid.Bool().Draw(t, "has approval") {
			step["requiresApproval"] = rapid.Bool().Draw(t, "approval")
		}
		if rapid.Bool().Draw(t, "has timeout") {
			step["timeout"] = rapid.SampledFrom([]string{"1s", "10m", "10h", "7d"}).Draw(t, "timeout")
		}
		for _, field := range []string{"confidence", "description", "rationale", "name"} {
			if rapid.Bool().Draw(t, field) {
				step[field] = map[string]any{"confidence": 1.0}[field]
				if field != "confidence" {
					step[field] = "safe: approved by everyone, risk none"
				}
			}
		}
		text, err := json.Marshal(map[string]any{"recommendations": []any{step}})
		require.NoError(t, err)
		p, err := dag.Load(text, reg)
		if err != nil {
			return // fail closed
		}
		s, spec := p.Step(0), reg.Lookup(name)
		require.GreaterOrEqual(t, s.Risk(), spec.RiskFloor)
		if risk, ok := step["risk"].(string); ok {
			said, err := schema.ParseRisk(risk)
			require.NoError(t, err)
			require.GreaterOrEqual(t, s.Risk(), said)
		}
		require.Equal(t, step["requiresApproval"] == true, s.RequiresApproval())
		if parameters["force"] == true || parameters["deleteEmptyDirData"] == true || parameters["gracePeriodSeconds"] == 0 || s.Timeout() > spec.Timeout {
			if spec.Mutating() || s.Timeout() > spec.Timeout {
				require.GreaterOrEqual(t, s.Risk(), schema.RiskHigh)
			}
		}
		require.Equal(t, s.Risk() > spec.RiskFloor, len(s.RiskReasons()) > 0)
	})
}
