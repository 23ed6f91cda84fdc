package actions_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

func TestOtherSpellingsAreRepairs(t *testing.T) {
	for _, test := range []struct {
		action, params, want string
		repairs              []string
		names                map[string]string
	}{
		{"enable_debug_mode", `{"ns":"a","deployment":"d","debug_flags":["-v"],"auto_revert":false}`,
			`{"autoRevert":false,"debugFlags":["-v"],"deployment":"d","namespace":"a"}`,
			[]string{"repair alias: parameter auto_revert read as autoRevert", "repair alias: parameter debug_flags read as debugFlags", "repair alias: parameter ns read as namespace"},
			map[string]string{"autoRevert": "auto_revert", "debugFlags": "debug_flags", "namespace": "ns"}},
		{"update_hpa", `{"namespace":"a","hpa":"h","target_cpu_utilization":80}`, `{"hpa":"h","namespace":"a","targetCPUUtilization":80}`,
			[]string{"repair alias: parameter target_cpu_utilization read as targetCPUUtilization"}, map[string]string{"targetCPUUtilization": "target_cpu_utilization"}},
		{"update_git_manifests", `{"repository":"r","path":"p","patch":{"a":1},"create_pr":true}`, `{"createPR":true,"patch":{"a":1},"path":"p","repository":"r"}`,
			[]string{"repair alias: parameter create_pr read as createPR"}, map[string]string{"createPR": "create_pr"}},
		{"restart_pod", `{"namespace":"a","resource_name":"d","resource_type":"deployment"}`, `{"deployment":"d","namespace":"a"}`,
			[]string{"repair alias: resource_name and resource_type read as deployment"}, map[string]string{"deployment": "resource_name"}},
		{"restart_pod", `{"namespace":"a","resourceName":"d","resourceType":"StatefulSet"}`, `{"namespace":"a","statefulset":"d"}`,
			[]string{"repair alias: resourceName and resourceType read as statefulset"}, map[string]string{"statefulset": "resourceName"}},
		{"expand_pvc", `{"namespace":"a","kind":"pvc","name":"data","size":"1Gi"}`, `{"namespace":"a","pvc":"data","size":"1Gi"}`,
			[]string{"repair alias: name and kind read as pvc"}, map[string]string{"pvc": "name"}},
		{"expand_pvc", `{"namespace":"a","kind":"persistentvolumeclaim","name":"data","size":"1Gi"}`, `{"namespace":"a","pvc":"data","size":"1Gi"}`,
			[]string{"repair alias: name and kind read as pvc"}, map[string]string{"pvc": "name"}},
		{"cordon_node", `{"name":"n1"}`, `{"node":"n1"}`, []string{"repair alias: name read as node"}, map[string]string{"node": "name"}},
		{"restart_pod", `{"target":{"kind":"Deployment","name":"d","namespace":"a"}}`, `{"deployment":"d","namespace":"a"}`,
			[]string{"repair alias: target read as deployment and namespace"}, map[string]string{"deployment": "target", "namespace": "target"}},
		{"uncordon_node", `{"target_resource":{"kind":"node","name":"n1"}}`, `{"node":"n1"}`,
			[]string{"repair alias: target_resource read as node"}, map[string]string{"node": "target_resource"}},
		{"collect_diagnostics", `{"targetResource":{"kind":"Namespace","name":"a"}}`, `{"namespace":"a"}`,
			[]string{"repair alias: targetResource read as namespace"}, map[string]string{"namespace": "targetResource"}},
	} {
		t.Run(test.action+" "+test.params, func(t *testing.T) {
			res, doc := resolve(t, test.action, test.params, "")
			require.Equal(t, test.repairs, told(doc))
			require.Equal(t, test.want, string(res.Parameters.AppendJSON(nil)))
			require.Equal(t, test.names, res.Names)
		})
	}
}

func TestTargetResourceOfTheOtherDialect(t *testing.T) {
	step := func(action string, target schema.Target, params map[string]any) (actions.Resolution, []string) {
		res, doc := resolveStep(t, schema.Recommendation{ID: "rec-001", Action: action, Target: &target, Parameters: params}, "")
		return res, told(doc)
	}
	res, got := step("scale_deployment", schema.Target{Kind: "Deployment", Namespace: "a", Name: "d"}, map[string]any{"replicas": 2})
	require.Equal(t, []string{"repair alias: targetResource read as deployment and namespace"}, got)
	require.Equal(t, `{"deployment":"d","namespace":"a","replicas":2}`, string(res.Parameters.AppendJSON(nil)))
	require.Nil(t, res.Names, "the parameters have no other spelling")

	_, got = step("scale_deployment", schema.Target{Kind: "Pod", Namespace: "a", Name: "d"}, map[string]any{"replicas": 2})
	require.Equal(t, []string{`error invalid-parameter: targetResource is of kind "Pod"; scale_deployment takes deployment`,
		"error missing-parameter: scale_deployment needs deployment: a name of small letters, digits, hyphens and dots (RFC 1123 subdomain)",
		"repair alias: targetResource read as namespace"}, got)

	_, got = step("restart_pod", schema.Target{Name: "d", Namespace: "a"}, nil)
	require.Equal(t, "error invalid-parameter: targetResource says no kind; name the object as one of pod, deployment, statefulset, daemonset", got[0])

	_, got = step("correlate_alerts", schema.Target{Kind: "Pod", Name: "d"}, map[string]any{"alerts": []any{"A"}})
	require.Equal(t, []string{"error invalid-parameter: targetResource: correlate_alerts takes no target"}, got)

	_, got = step("drain_node", schema.Target{Kind: "Node", Namespace: "a", Name: "n"}, nil)
	require.Equal(t, []string{`error unknown-parameter: drain_node has no parameter "namespace"`, "repair alias: targetResource read as node"}, got)

	_, got = step("notify_only", schema.Target{Kind: "Pod", Namespace: "a", Name: "d"}, nil)
	require.Empty(t, got)

	_, got = step("scale_deployment", schema.Target{Kind: "Deployment", Namespace: "a", Name: "d"}, map[string]any{"replicas": 2, "deployment": "d", "namespace": "a"})
	require.Equal(t, []string{"error duplicate-key: deployment and targetResource both give deployment; keep one",
		"error duplicate-key: namespace and targetResource both give namespace; keep one"}, got)
}

func TestTwoSpellingsOfOneParameterAreRefused(t *testing.T) {
	for params, want := range map[string]string{
		`{"namespace":"a","deployment":"d","debugFlags":["a"],"debug_flags":["a"]}`:              "debugFlags and debug_flags both give debugFlags; keep one",
		`{"namespace":"a","ns":"a","deployment":"d"}`:                                            "namespace and ns both give namespace; keep one",
		`{"namespace":"a","deployment":"d","target":{"kind":"Deployment","name":"d"}}`:           "deployment and target both give deployment; keep one",
		`{"namespace":"a","name":"d","resource_name":"d","resource_type":"Deployment"}`:          "name and resource_name say the same; keep one",
		`{"namespace":"a","kind":"Deployment","resource_name":"d","resource_type":"Deployment"}`: "kind and resource_type say the same; keep one",
	} {
		_, doc := resolve(t, "enable_debug_mode", params, "")
		require.NotEmpty(t, doc.Problems, params)
		require.Equal(t, schema.CodeDuplicateKey, doc.Problems[0].Code, params)
		require.Equal(t, want, doc.Problems[0].Message)
	}
}

func TestTargetsThatCannotBeReadAreRefused(t *testing.T) {
	for params, want := range map[string]string{
		`{"namespace":"a","target":"d"}`:                                    `target is the string "d"; expected an object with kind, name and namespace`,
		`{"namespace":"a","target":{"kind":"Deployment","name":7}}`:         "name of target is 7; expected a string",
		`{"namespace":"a","target":{"kind":"Deployment"}}`:                  `deployment is the string ""; expected a name of small letters, digits, hyphens and dots (RFC 1123 subdomain)`,
		`{"namespace":"a","target":{"kind":"Deployment","name":"d","x":1}}`: `restart_pod has no parameter "x"`,
		`{"namespace":"a","resource_type":"Deployment"}`:                    "resource_type says a kind, but no name goes with it",
		`{"namespace":"a","resource_type":7,"resource_name":"d"}`:           `resource_type is 7; expected a kind such as "Deployment"`,
		`{"namespace":"a","resource_name":7}`:                               "resource_name is 7; expected the name of an object",
		`{"namespace":"a","resource_name":"d"}`:                             "resource_name says no kind; name the object as one of pod, deployment, statefulset, daemonset",
		`{"namespace":"a","kind":"Node","name":"n"}`:                        `name and kind is of kind "Node"; restart_pod takes pod, deployment, statefulset, daemonset`,
	} {
		_, doc := resolve(t, "restart_pod", params, "")
		require.NotEmpty(t, doc.Problems, params)
		require.Equal(t, want, doc.Problems[0].Message)
		require.Equal(t, schema.SeverityError, doc.Problems[0].Severity)
	}
}
