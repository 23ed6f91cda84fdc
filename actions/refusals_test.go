package actions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// anyWorkload are the targets that most actions take.
const anyWorkload = "deployment, statefulset, daemonset"

// targetsOf is written by hand: which targets an action takes, as its refusals say it, and parameters with which it is complete
// but for its target and its namespace.
var targetsOf = map[string]struct{ takes, others string }{
	"scale_deployment":      {"deployment", `"replicas": 3`},
	"restart_pod":           {"pod, " + anyWorkload, ``},
	"increase_resources":    {anyWorkload, `"memory": "2Gi"`},
	"rollback_deployment":   {"deployment", ``},
	"expand_pvc":            {"pvc", `"size": "20Gi"`},
	"drain_node":            {"node", ``},
	"cordon_node":           {"node", ``},
	"uncordon_node":         {"node", ``},
	"taint_node":            {"node", `"key": "gpu", "effect": "NoSchedule"`},
	"untaint_node":          {"node", `"key": "gpu"`},
	"quarantine_pod":        {"pod", ``},
	"cleanup_storage":       {"pod, " + anyWorkload, `"path": "/var/cache"`},
	"backup_data":           {anyWorkload + ", pvc, pod, database", ``},
	"compact_storage":       {"pod, " + anyWorkload + ", volume", ``},
	"update_hpa":            {"hpa", `"maxReplicas": 9`},
	"restart_daemonset":     {"daemonset", ``},
	"scale_statefulset":     {"statefulset", `"replicas": 3`},
	"restart_statefulset":   {"statefulset", ``},
	"rolling_restart_pods":  {anyWorkload, ``},
	"patch_config_map":      {"configMap", `"patch": {"a": "b"}`},
	"rotate_secrets":        {"secret", ``},
	"audit_logs":            {anyWorkload + ", pod", ``},
	"update_network_policy": {"networkPolicy", `"rules": {"ingress": []}`},
	"restart_network":       {"component", ``},
	"reset_service_mesh":    {"", ``},
	"failover_database":     {"database", ``},
	"repair_database":       {"database", `"repairType": "index"`},
	"enable_debug_mode":     {anyWorkload, `"env": {"LEVEL": "debug"}`},
	"create_heap_dump":      {"pod, " + anyWorkload, ``},
	"collect_diagnostics":   {anyWorkload + ", pod, database", ``},
	"optimize_resources":    {anyWorkload, ``},
	"migrate_workload":      {anyWorkload, `"targetNode": "worker-3"`},
	"health_check":          {anyWorkload + ", service, pod", ``},
	"verify_recovery":       {"", `"services": ["web"]`},
	"correlate_alerts":      {"", `"alerts": ["Down"]`},
	"silence_alerts":        {"", `"alerts": ["Down"], "duration": "1h"`},
	"update_git_manifests":  {"repository, path", `"patch": {"a": "b"}`},
	"notify_only":           {"", ``},
}

// kindOf are the kinds of objects by the parameters that name them.
var kindOf = map[string]string{
	"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet", "pod": "Pod", "node": "Node", "pvc": "PersistentVolumeClaim",
	"hpa": "HorizontalPodAutoscaler", "configMap": "ConfigMap", "secret": "Secret", "networkPolicy": "NetworkPolicy", "component": "Component",
	"database": "Database", "service": "Service", "repository": "Repository",
}

// takes tells whether an action takes an object of a kind.
func takes(action, kind string) bool {
	return slices.ContainsFunc(strings.Split(targetsOf[action].takes, ", "), func(name string) bool {
		return kindOf[name] == kind || name == "volume" && kind == "PersistentVolumeClaim"
	})
}

// plan builds the plan of one step.
func plan(action, parameters, beside string, opts ...dag.Option) (*dag.Plan, []schema.Problem) {
	text := fmt.Sprintf(`[{"id": "s", "action": %q, "parameters": {%s}%s}]`, action, parameters, beside)
	if !json.Valid([]byte(text)) {
		panic(text)
	}
	p, err := dag.Load([]byte(text), actions.Canonical(), opts...)
	if refused, ok := errors.AsType[*schema.Error](err); ok {
		return nil, refused.Problems
	}
	if err != nil {
		panic(err)
	}
	return p, nil
}

// list joins what is given of some parameters.
func list(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// refused finds what is refused at a pointer.
func refused(problems []schema.Problem, pointer string) schema.Problem {
	for _, p := range problems {
		if p.Severity == schema.SeverityError && p.Pointer == pointer {
			return p
		}
	}
	return schema.Problem{}
}

// unknown requires that an action says of a parameter that it has none of that name: a reading one goes on without it.
func unknown(t *testing.T, spec *actions.Spec, parameters, name string) {
	t.Helper()
	p, problems := plan(spec.Name, parameters, "")
	severity := schema.SeverityError
	if !spec.Mutating() {
		severity = schema.SeverityWarning
	}
	if p != nil {
		problems = p.Warnings()
		require.Empty(t, p.Step(0).Task().Target, "it is about nothing but what it takes")
	}
	i := slices.IndexFunc(problems, func(p schema.Problem) bool { return p.Pointer == "/0/parameters/"+name })
	require.NotEqual(t, -1, i, problems)
	require.Equal(t, schema.CodeUnknownParameter, problems[i].Code)
	require.Equal(t, severity, problems[i].Severity)
	require.Equal(t, fmt.Sprintf("%s has no parameter %q", spec.Name, name), problems[i].Message)
}

func TestTargetsOfAnotherKindAreRefusedByEveryAction(t *testing.T) {
	registry := actions.Canonical()
	require.Len(t, targetsOf, 38)
	for _, action := range slices.Sorted(maps.Keys(targetsOf)) {
		of, spec := targetsOf[action], registry.Lookup(action)
		namespace := ""
		if slices.ContainsFunc(spec.Parameters, func(p actions.Parameter) bool { return p.Name == "namespace" }) {
			namespace = `"namespace": "shop"`
		}
		for _, name := range slices.Sorted(maps.Keys(kindOf)) {
			kind := kindOf[name]
			beside := fmt.Sprintf(`, "targetResource": {"kind": %q, "name": "web"}`, kind)
			within := fmt.Sprintf(`"target": {"kind": %q, "name": "web"}`, kind)
			loose := fmt.Sprintf(`"resourceType": %q, "resourceName": "web"`, kind)
			own := fmt.Sprintf(`%q: "web"`, name)
			t.Run(action+" "+kind, func(t *testing.T) {
				if action == "notify_only" {
					for _, given := range []string{within, loose, own} {
						p, problems := plan(action, given, "")
						require.NotNil(t, p, problems)
					}
					return
				}
				if takes(action, kind) {
					others := of.others
					if kind == "Repository" {
						others = list(others, `"path": "apps/web.yaml"`)
					}
					p, problems := plan(action, list(namespace, others), beside)
					require.NotNil(t, p, problems)
					require.Equal(t, kind, p.Step(0).Task().Target.Kind)
					return
				}
				_, problems := plan(action, list(namespace, of.others), beside)
				found := refused(problems, "/0/targetResource")
				require.Equal(t, schema.CodeInvalidParameter, found.Code, problems)
				if of.takes == "" {
					require.Equal(t, "targetResource: "+action+" takes no target", found.Message)
					unknown(t, spec, list(namespace, of.others, within), "target")
					unknown(t, spec, list(namespace, of.others, loose), "resourceName")
					unknown(t, spec, list(namespace, of.others, own), name)
					return
				}
				want := fmt.Sprintf(" is of kind %q; %s takes %s", kind, action, of.takes)
				require.Equal(t, "targetResource"+want, found.Message)
				for spelt, given := range map[string]string{"target": within, "resourceName and resourceType": loose} {
					parameter, _, _ := strings.Cut(spelt, " ")
					_, problems := plan(action, list(namespace, of.others, given), "")
					found := refused(problems, "/0/parameters/"+parameter)
					require.Equal(t, schema.CodeInvalidParameter, found.Code, problems)
					require.Equal(t, spelt+want, found.Message)
				}
				unknown(t, spec, list(namespace, of.others, own), name)
			})
		}
	}
}

func TestNothingIsChangedInProtectedNamespacesByAnyAction(t *testing.T) {
	registry := actions.Canonical()
	for _, action := range slices.Sorted(maps.Keys(targetsOf)) {
		of, spec := targetsOf[action], registry.Lookup(action)
		takesNamespace := slices.ContainsFunc(spec.Parameters, func(p actions.Parameter) bool { return p.Name == "namespace" })
		name, _, _ := strings.Cut(of.takes, ",")
		target, others := "", of.others
		switch {
		case name == "repository":
			target, others = `"repository": "configs"`, list(others, `"path": "apps/web.yaml"`)
		case name != "":
			target = fmt.Sprintf(`%q: "web"`, name)
		}
		for _, ns := range []string{"kube-system", "kube-public", "kube-node-lease"} {
			in := fmt.Sprintf(`"namespace": %q`, ns)
			t.Run(action+" in "+ns, func(t *testing.T) {
				p, problems := plan(action, list(target, others, in), "")
				switch {
				case !spec.Mutating():
					require.NotNil(t, p, "it only looks, or tells: %v", problems)
					return
				case !takesNamespace: // it is in none
					found := refused(problems, "/0/parameters/namespace")
					require.Equal(t, schema.CodeUnknownParameter, found.Code, problems)
					require.Equal(t, action+` has no parameter "namespace"`, found.Message)
					return
				case action == "restart_network":
					found := refused(problems, "/0/parameters/component")
					require.Equal(t, schema.CodeInvalidParameter, found.Code, problems)
					require.Contains(t, found.Message, `component "web" may live in a protected namespace and the policy does not allow to restart it`)
					_, problems = plan(action, list(target, others, in), "", dag.AllowComponents("coredns"))
					require.Equal(t, found, refused(problems, "/0/parameters/component"), "another component is not this one")
					p, problems = plan(action, list(target, others, in), "", dag.AllowComponents("web"))
					require.NotNil(t, p, problems)
					require.Equal(t, schema.RiskCritical, p.Step(0).Risk(), "it is always gated there")
					return
				}
				want := fmt.Sprintf("namespace %s is protected: %s must not change anything in it", ns, action)
				found := refused(problems, "/0/parameters/namespace")
				require.Equal(t, schema.CodeInvalidParameter, found.Code, problems)
				require.Equal(t, want, found.Message)
				_, problems = plan(action, list(target, others, in), "", dag.AllowComponents("web", action))
				require.Equal(t, want, refused(problems, "/0/parameters/namespace").Message, "what the policy lists is for restart_network only")
				_, problems = plan(action, list(target, others), "", dag.Namespace(ns))
				require.True(t, slices.ContainsFunc(problems, func(p schema.Problem) bool {
					return p.Code == schema.CodeInvalidParameter && p.Message == want
				}), "nor is it by the caller's default: %v", problems)
				if name == "" {
					return
				}
				_, problems = plan(action, others, fmt.Sprintf(`, "targetResource": {"kind": %q, "name": "web", "namespace": %q}`, kindOf[name], ns))
				found = refused(problems, "/0/targetResource/namespace")
				require.Equal(t, schema.CodeInvalidParameter, found.Code, problems)
				require.Equal(t, want, found.Message)
			})
		}
	}
}
