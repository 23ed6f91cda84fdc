package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/schema"
)

// A contract is what every action that changes an object keeps, tried with one object on the real API server.
type contract struct {
	// set makes the object, and all that the action needs, and returns the parameters.
	set func(c *cluster) map[string]any
	// theirs is a merge patch of the object, by which somebody else sets what the action sets, to something else. Empty where there is
	// nothing else that it could be: a node is cordoned, or it is not.
	theirs string
	// reads is the verb and resource of a right without which the dry run says that it is missing.
	right string
	// named tells that the dry run names fields otherwise than the object does.
	named bool
	// git tells that the action is refused where the object is written from git; else a warning says so.
	git bool
}

// kindsOf are the API resources of the kinds of targets.
var kindsOf = map[string]apischema.GroupVersionResource{
	"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"}, "StatefulSet": {Group: "apps", Version: "v1", Resource: "statefulsets"},
	"DaemonSet": {Group: "apps", Version: "v1", Resource: "daemonsets"}, "Pod": {Version: "v1", Resource: "pods"}, "Node": {Version: "v1", Resource: "nodes"},
	"ConfigMap": {Version: "v1", Resource: "configmaps"}, "Secret": {Version: "v1", Resource: "secrets"},
	"HorizontalPodAutoscaler": {Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	"NetworkPolicy":           {Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
	"PersistentVolumeClaim":   {Version: "v1", Resource: "persistentvolumeclaims"},
}

// web makes a deployment with settings that actions change.
func (c *cluster) web() {
	c.Helper()
	c.deployment("web", 1, "")
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","args":["serve"],"resources":{"limits":{"memory":"1Gi"},"requests":{"memory":"512Mi"}}}]}}}}`)
	c.settled("web")
}

func inWeb(more map[string]any) func(c *cluster) map[string]any {
	return func(c *cluster) map[string]any {
		c.web()
		p := map[string]any{"namespace": c.namespace, "deployment": "web"}
		maps.Copy(p, more)
		return p
	}
}

// nodeNames differ, for nodes are the whole cluster's.
var nodeNames atomic.Int64

// made makes a node, and returns its name.
func (c *cluster) made() string {
	c.Helper()
	name := fmt.Sprintf("contract-%d", nodeNames.Add(1))
	c.node(name)
	return name
}

func taint(value string) string {
	return `{"spec":{"taints":[{"key":"gpu","value":"` + value + `","effect":"NoSchedule"}]}}`
}

var contracts = map[string]contract{
	"cordon_node": {set: func(c *cluster) map[string]any { return map[string]any{"node": c.made()} }, right: "patch nodes"},
	"uncordon_node": {set: func(c *cluster) map[string]any {
		name := c.made()
		c.patch("Node", "", name, `{"spec":{"unschedulable":true}}`)
		return map[string]any{"node": name}
	}, right: "patch nodes"},
	"taint_node": {set: func(c *cluster) map[string]any {
		return map[string]any{"node": c.made(), "key": "gpu", "value": "yes", "effect": "NoSchedule"}
	}, theirs: taint("no"), right: "patch nodes", named: true},
	"untaint_node": {set: func(c *cluster) map[string]any {
		name := c.made()
		c.patch("Node", "", name, taint("yes"))
		return map[string]any{"node": name, "key": "gpu"}
	}, theirs: taint("no"), right: "patch nodes", named: true},
	"scale_deployment": {set: inWeb(map[string]any{"replicas": 3}), theirs: `{"spec":{"replicas":2}}`, right: "patch deployments/scale.apps/web", git: true},
	"scale_statefulset": {set: func(c *cluster) map[string]any {
		c.statefulSet("db", 1)
		return map[string]any{"namespace": c.namespace, "statefulset": "db", "replicas": 3}
	}, theirs: `{"spec":{"replicas":2}}`, right: "patch statefulsets/scale.apps/db", git: true},
	"rolling_restart_pods": {set: inWeb(map[string]any{"stableFor": "1s"}), right: "patch deployments.apps/web"},
	"restart_daemonset": {set: func(c *cluster) map[string]any {
		c.daemonSet("agent")
		return map[string]any{"namespace": c.namespace, "daemonset": "agent", "stableFor": "1s"}
	}, right: "patch daemonsets.apps/agent"},
	"restart_statefulset": {set: func(c *cluster) map[string]any {
		c.statefulSet("db", 1)
		return map[string]any{"namespace": c.namespace, "statefulset": "db", "stableFor": "1s"}
	}, right: "patch statefulsets.apps/db"},
	"increase_resources": {set: inWeb(map[string]any{"memory": "2Gi", "stableFor": "1s"}), right: "patch deployments.apps/web", git: true,
		theirs: `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"nothing","args":["serve"],"resources":{"limits":{"memory":"3Gi"},"requests":{"memory":"512Mi"}}}]}}}}`},
	"rollback_deployment": {set: inWeb(map[string]any{"stableFor": "1s"}), right: "patch deployments.apps/web", git: true,
		theirs: `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"theirs"}]}}}}`},
	"enable_debug_mode": {set: inWeb(map[string]any{"env": map[string]any{"LEVEL": "debug"}, "debugFlags": []any{"-v"}, "stableFor": "1s"}), right: "patch deployments.apps/web", git: true,
		theirs: `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"nothing","args":["serve","-vv"],"env":[{"name":"LEVEL","value":"trace"}]}]}}}}`},
	"rotate_secrets": {set: func(c *cluster) map[string]any {
		_, err := c.client.CoreV1().Secrets(c.namespace).Create(c.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, StringData: map[string]string{"password": "hunter2", "user": "shop"}}, metav1.CreateOptions{})
		require.NoError(c, err)
		return map[string]any{"namespace": c.namespace, "secret": "db", "keys": []any{"password"}}
	}, theirs: `{"data":{"password":"dGhlaXJz"}}`, right: "patch secrets/db", git: true},
	"patch_config_map": {set: func(c *cluster) map[string]any {
		_, err := c.client.CoreV1().ConfigMaps(c.namespace).Create(c.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"a": "1", "b": "2"}}, metav1.CreateOptions{})
		require.NoError(c, err)
		return map[string]any{"namespace": c.namespace, "configMap": "settings", "patch": map[string]any{"a": "3", "new": "4"}}
	}, theirs: `{"data":{"a":"theirs"}}`, right: "patch configmaps/settings", git: true},
	"update_hpa": {set: func(c *cluster) map[string]any {
		least := int32(1)
		_, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(c.namespace).Create(c.Context(), &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "auto"},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: &least, MaxReplicas: 5, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}}}, metav1.CreateOptions{})
		require.NoError(c, err)
		return map[string]any{"namespace": c.namespace, "hpa": "auto", "minReplicas": 2, "maxReplicas": 8}
	}, theirs: `{"spec":{"maxReplicas":9}}`, right: "patch horizontalpodautoscalers.autoscaling/auto", git: true},
	"update_network_policy": {set: func(c *cluster) map[string]any {
		_, err := c.client.NetworkingV1().NetworkPolicies(c.namespace).Create(c.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, PolicyTypes: []networkingv1.PolicyType{"Ingress"}}}, metav1.CreateOptions{})
		require.NoError(c, err)
		return map[string]any{"namespace": c.namespace, "networkPolicy": "web", "rules": map[string]any{"podSelector": map[string]any{"matchLabels": map[string]any{"app": "api"}}}}
	}, theirs: `{"spec":{"podSelector":{"matchLabels":{"app":"theirs"}}}}`, right: "patch networkpolicies.networking.k8s.io/web", git: true},
	"migrate_workload": {set: func(c *cluster) map[string]any {
		name := c.made()
		p := inWeb(map[string]any{"targetNode": name, "stableFor": "1s"})(c)
		// A new node has a taint for a while.
		require.Eventually(c, func() bool {
			n, err := c.client.CoreV1().Nodes().Get(c.Context(), name, metav1.GetOptions{})
			return err == nil && len(n.Spec.Taints) == 0
		}, eventually, tick)
		return p
	}, right: "patch deployments.apps/web", git: true, named: true,
		theirs: `{"spec":{"template":{"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"NotIn","values":["nowhere"]}]}]}}}}}}}`},
}

func (c *cluster) daemonSet(name string) {
	c.Helper()
	labels := map[string]string{"app": name}
	sets := c.client.AppsV1().DaemonSets(c.namespace)
	_, err := sets.Create(c.Context(), &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}}}, metav1.CreateOptions{})
	require.NoError(c, err)
	require.Eventually(c, func() bool {
		d, err := sets.Get(c.Context(), name, metav1.GetOptions{})
		return err == nil && d.Status.DesiredNumberScheduled > 0 && d.Status.NumberAvailable == d.Status.DesiredNumberScheduled
	}, eventually, tick)
}

func (c *cluster) objects(kind string) dynamic.NamespaceableResourceInterface {
	c.Helper()
	client, err := dynamic.NewForConfig(configOf(c.T, controlplane.Admin))
	require.NoError(c, err)
	return client.Resource(kindsOf[kind])
}

func (c *cluster) object(t schema.Target) *unstructured.Unstructured {
	c.Helper()
	o, err := c.objects(t.Kind).Namespace(t.Namespace).Get(c.Context(), t.Name, metav1.GetOptions{})
	require.NoError(c, err)
	return o
}

func (c *cluster) patch(kind, namespace, name, patch string) {
	c.Helper()
	_, err := c.objects(kind).Namespace(namespace).Patch(c.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "somebody"})
	require.NoError(c, err)
}

// again deletes an object and makes another one of the same name and content.
func (c *cluster) again(t schema.Target) {
	c.Helper()
	o := c.object(t)
	api := c.objects(t.Kind).Namespace(t.Namespace)
	require.NoError(c, api.Delete(c.Context(), t.Name, metav1.DeleteOptions{}))
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	_, err := api.Create(c.Context(), o, metav1.CreateOptions{})
	require.NoError(c, err)
}

// own is an object but for what controllers write into it, and the marks of restarts.
func (c *cluster) own(t schema.Target) map[string]any {
	c.Helper()
	return own(c.object(t).Object)
}

func own(o map[string]any) map[string]any {
	delete(o, "status")
	for _, field := range []string{"resourceVersion", "managedFields", "generation"} {
		unstructured.RemoveNestedField(o, "metadata", field)
	}
	for _, at := range [][]string{{"metadata", "annotations"}, {"spec", "template", "metadata", "annotations"}} {
		annotations, ok, _ := unstructured.NestedMap(o, at...)
		maps.DeleteFunc(annotations, func(k string, _ any) bool {
			return strings.Contains(k, "deployment.kubernetes.io/") || strings.HasPrefix(k, "deprecated.daemonset") || strings.Contains(k, "node.alpha")
		})
		if ok && len(annotations) == 0 {
			unstructured.RemoveNestedField(o, at...)
		} else if ok {
			_ = unstructured.SetNestedMap(o, annotations, at...)
		}
	}
	taints, _, _ := unstructured.NestedSlice(o, "spec", "taints")
	taints = slices.DeleteFunc(taints, func(t any) bool { return strings.HasPrefix(t.(map[string]any)["key"].(string), "node.kubernetes.io/") })
	if unstructured.RemoveNestedField(o, "spec", "taints"); len(taints) > 0 {
		_ = unstructured.SetNestedSlice(o, taints, "spec", "taints")
	}
	return o
}

// namespaceNow are all objects of the namespace but for what controllers write into them, which a dry run must not touch.
func (c *cluster) namespaceNow() map[string]any {
	c.Helper()
	all := map[string]any{}
	for kind := range kindsOf {
		if kind == "Node" {
			continue
		}
		list, err := c.objects(kind).Namespace(c.namespace).List(c.Context(), metav1.ListOptions{})
		require.NoError(c, err)
		for _, o := range list.Items {
			if o.GetName() != "kube-root-ca.crt" { // which every namespace gets at some time
				all[kind+" "+o.GetName()] = own(o.Object)
			}
		}
	}
	return all
}

// changes are the differences of two objects as a dry run words them.
func changes(path string, before, after any) (lines []string) {
	a, b := named(before), named(after)
	if a == nil && before == nil && b != nil {
		a = map[string]any{}
	}
	if b == nil && after == nil && a != nil {
		b = map[string]any{}
	}
	if a == nil || b == nil {
		x, y := wording(before), wording(after)
		if x != y {
			return []string{path + ": " + x + " → " + y}
		}
		return nil
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, changes(strings.TrimPrefix(path+"."+k, "."), a[k], b[k])...)
	}
	return lines
}

// named are the parts of an object, or of a list of objects with names.
func named(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case []any:
		all := map[string]any{}
		for _, e := range v {
			m, ok := e.(map[string]any)
			name, isName := m["name"].(string)
			if !ok || !isName {
				return nil
			}
			all[name] = m
		}
		return all
	}
	return nil
}

func wording(v any) string {
	if v == nil {
		return "unset"
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// generating is the cluster with what a site has to say.
func (c *cluster) generating(user string, wrap func(*rest.Config)) *cluster {
	c.Helper()
	config := configOf(c.T, user)
	if wrap != nil {
		wrap(config)
	}
	k, err := kube.New(config, kube.Options{Generate: func(context.Context, schema.Target, string) ([]byte, error) { return []byte("new"), nil }})
	require.NoError(c, err)
	c.Cleanup(k.Close)
	other := *c
	other.handlers = k.Handlers()
	return &other
}

// one is a request of a contract, on a cluster of its own.
func (k contract) one(t *testing.T, action string) (*cluster, *actions.Request, *conductor) {
	c := newCluster(t)
	c.made() // pods run somewhere, and no node is the last one
	parameters := k.set(c)
	if action == "rollback_deployment" {
		c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"worse"}]}}}}`)
		c.settled("web")
	}
	c = c.generating(controlplane.Admin, nil)
	req, con := c.request(action, parameters)
	return c, req, con
}

func (c *cluster) reversible(req *actions.Request) bool {
	_, ok := actions.As[actions.Compensator](c.handlers[req.Action])
	return ok && actions.Canonical().Lookup(req.Action).Reversible()
}

func TestEveryActionKeepsTheContract(t *testing.T) {
	for _, action := range slices.Sorted(maps.Keys(contracts)) {
		k := contracts[action]
		t.Run(action, func(t *testing.T) {
			t.Run("a missing right is said first", func(t *testing.T) {
				c, req, con := k.one(t, action)
				bob := c.generating("bob", nil)
				_, err := bob.preview(req)
				require.ErrorContains(t, err, "the runner lacks rights: ")
				require.ErrorContains(t, err, k.right)
				require.ErrorContains(t, err, "remedy rbac prints the role")
				require.False(t, actions.IsTransient(err))
				_, err = bob.execute(req)
				require.ErrorContains(t, err, "give its account that right")
				require.False(t, actions.IsTransient(err))
				require.Zero(t, con.begun)
			})
			t.Run("what is predicted happens once and is undone", func(t *testing.T) {
				c, req, con := k.one(t, action)
				before, all := c.own(req.Target), c.namespaceNow()
				p, err := c.preview(req)
				require.NoError(t, err)
				require.Equal(t, actions.Verified, p.Verdict)
				require.Equal(t, before, c.own(req.Target), "a dry run changes nothing")
				require.Equal(t, all, c.namespaceNow(), "and nothing else")
				require.NotEmpty(t, p.Basis)

				con.refuse = errors.New("the process died")
				_, err = c.execute(req)
				require.ErrorIs(t, err, con.refuse)
				require.Equal(t, before, c.own(req.Target))
				req.Begun = con.undo
				require.Equal(t, actions.OutcomeDidNotHappen, c.probe(req), "it died before the effect")
				con.refuse, req.Begun = nil, nil

				con.before = func() { // what somebody else does to other parts of it is no conflict
					c.patch(req.Target.Kind, req.Target.Namespace, req.Target.Name, `{"metadata":{"labels":{"remedy.test/other":"yes"}}}`)
				}
				_, err = c.execute(req)
				require.NoError(t, err)
				con.before = nil
				after := c.own(req.Target)
				unstructured.RemoveNestedField(after, "metadata", "labels", "remedy.test/other")
				if labels, _, _ := unstructured.NestedMap(after, "metadata", "labels"); len(labels) == 0 {
					unstructured.RemoveNestedField(after, "metadata", "labels")
				}
				require.NotEqual(t, before, after)
				if !k.named {
					require.Equal(t, unmarked(changes("", before, after)), unmarked(p.Change), "what the dry run said is what happened")
				}
				first := con.undo
				req.Begun = first
				written := c.own(req.Target)
				if kindsOf[req.Target.Kind].Group == "apps" || action == "rotate_secrets" { // which restarts who reads them
					require.Equal(t, actions.OutcomeUnfinished, c.probe(req), "it died after the effect, and nobody has seen that its pods run")
				} else {
					require.Equal(t, actions.OutcomeHappened, c.probe(req), "it died after the effect")
				}
				_, err = c.execute(req)
				require.NoError(t, err)
				require.Nil(t, con.undo, "what goes on after a crash sends nothing again")
				require.Equal(t, written, c.own(req.Target))
				req.Begun = nil
				if action != "rollback_deployment" && action != "rotate_secrets" { // which go further back, and make other values
					again, second := c.request(action, k.parameters(req))
					_, err = c.execute(again)
					require.NoError(t, err)
					require.Nil(t, second.undo, "the same step does it once")
				}
				if !c.reversible(req) {
					return
				}
				for range 2 { // undone again, after a crash say, it is no error
					require.NoError(t, c.compensate(req, first))
					now := c.own(req.Target)
					unstructured.RemoveNestedField(now, "metadata", "labels", "remedy.test/other")
					if labels, _, _ := unstructured.NestedMap(now, "metadata", "labels"); len(labels) == 0 {
						unstructured.RemoveNestedField(now, "metadata", "labels")
					}
					require.Equal(t, before, now)
				}
			})
			if k.theirs != "" {
				t.Run("what others set is not overwritten", func(t *testing.T) {
					c, req, con := k.one(t, action)
					con.before = func() { c.patch(req.Target.Kind, req.Target.Namespace, req.Target.Name, k.theirs) }
					_, err := c.execute(req)
					require.ErrorContains(t, err, "was changed meanwhile")
					require.False(t, actions.IsTransient(err))
					theirs := c.own(req.Target)
					if !c.reversible(req) {
						return
					}
					c.again(req.Target)
					if req.Target.Kind == "Deployment" {
						c.settled(req.Target.Name)
					}
					require.ErrorIs(t, c.compensate(req, con.undo), actions.ErrDrift, "and neither is another object of the same name")
					now := c.own(req.Target)
					for _, o := range []map[string]any{theirs, now} {
						for _, field := range []string{"uid", "creationTimestamp"} {
							unstructured.RemoveNestedField(o, "metadata", field)
						}
					}
					require.Equal(t, theirs, now)
				})
				t.Run("drift is reported", func(t *testing.T) {
					c, req, con := k.one(t, action)
					if !c.reversible(req) { // there is no undo by the table
						return
					}
					_, err := c.execute(req)
					require.NoError(t, err)
					c.patch(req.Target.Kind, req.Target.Namespace, req.Target.Name, k.theirs)
					theirs := c.own(req.Target)
					err = c.compensate(req, con.undo)
					require.ErrorIs(t, err, actions.ErrDrift)
					if action != "patch_config_map" && action != "enable_debug_mode" && action != "update_hpa" { // of which the other field is put back
						require.Equal(t, theirs, c.own(req.Target))
					}
				})
			}
			t.Run("another object of the same name is not touched, and a missing one is said", func(t *testing.T) {
				c, req, con := k.one(t, action)
				con.before = func() { c.again(req.Target) }
				_, err := c.execute(req)
				require.ErrorContains(t, err, "deleted and made again")
				require.False(t, actions.IsTransient(err))
				con.before = nil
				begun := con.begun
				require.NoError(t, c.objects(req.Target.Kind).Namespace(req.Target.Namespace).Delete(t.Context(), req.Target.Name, metav1.DeleteOptions{}))
				require.Eventually(t, func() bool {
					_, err := c.objects(req.Target.Kind).Namespace(req.Target.Namespace).Get(t.Context(), req.Target.Name, metav1.GetOptions{})
					return apierrors.IsNotFound(err)
				}, eventually, tick)
				for _, err := range []error{second(c.execute(req)), second(c.preview(req))} {
					require.ErrorContains(t, err, req.Target.String()+" does not exist")
					require.False(t, actions.IsTransient(err))
				}
				require.Equal(t, begun, con.begun)
			})
			t.Run("an answer that is lost is looked into", func(t *testing.T) {
				c, req, con := k.one(t, action)
				var lost atomic.Int64
				unlucky := c.generating(controlplane.Admin, func(config *rest.Config) {
					config.Wrap(func(next http.RoundTripper) http.RoundTripper {
						return roundTripper(func(r *http.Request) (*http.Response, error) {
							resp, err := next.RoundTrip(r)
							if err == nil && r.Method == http.MethodPatch && r.URL.Query().Get("dryRun") == "" && con.begun > 0 && lost.Add(1) == 1 {
								_, _ = io.Copy(io.Discard, resp.Body)
								resp.Body.Close()
								return nil, io.ErrUnexpectedEOF
							}
							return resp, err
						})
					})
				})
				_, err := unlucky.execute(req)
				require.NoError(t, err)
				require.Equal(t, 1, con.begun)
				require.NotZero(t, lost.Load())
			})
			t.Run("who writes it from git is named", func(t *testing.T) {
				c, req, con := k.one(t, action)
				if req.Target.Kind == "Node" {
					t.Skip("nodes are not written from git")
				}
				c.patch(req.Target.Kind, req.Target.Namespace, req.Target.Name, `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"apps","kustomize.toolkit.fluxcd.io/namespace":"flux-system"}}}`)
				p, dry := c.preview(req)
				if k.git {
					require.ErrorContains(t, dry, "is written from git by Flux's Kustomization flux-system/apps")
					_, err := c.execute(req)
					require.ErrorContains(t, err, "is written from git by Flux's Kustomization flux-system/apps")
					require.Zero(t, con.begun)
					return
				}
				require.NoError(t, dry)
				require.Contains(t, p.Change[len(p.Change)-1], "Flux's Kustomization flux-system/apps")
			})
		})
	}
}

func second[T any](_ T, err error) error { return err }

// parameters are those of a request, to ask for the same again.
func (contract) parameters(req *actions.Request) map[string]any {
	all := map[string]any{}
	for name, v := range req.Parameters.All() {
		if req.Parameters.Given(name) {
			if d, ok := v.(time.Duration); ok {
				v = d.String()
			}
			all[name] = v
		}
	}
	return all
}

// unmarked leaves out what cannot be known before, when a restart is, and what may be secret.
func unmarked(lines []string) []string {
	var all []string
	for _, l := range lines {
		path, _, _ := strings.Cut(l, ": ")
		if strings.Contains(l, "restartedAt") || strings.Contains(l, "(hidden)") || strings.HasPrefix(path, "data.") || strings.Contains(path, ".env.") {
			l = strings.TrimSuffix(strings.TrimSuffix(path, ".name"), ".value")
			path = l
		}
		if strings.Contains(l, " → ") || l == path {
			all = append(all, l)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// All actions at once, and the API server away for 30 s just before each sends its effect.
func TestNoActionFailsBecauseTheAPIServerIsAwayForAWhile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	const away = 30 * time.Second
	config := configOf(t, controlplane.Admin)
	road := newRoad(t, config)
	k, err := kube.New(config, kube.Options{Generate: func(context.Context, schema.Target, string) ([]byte, error) { return []byte("new"), nil }})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	type attempt struct {
		c   *cluster
		req *actions.Request
	}
	var all []attempt
	var ready sync.WaitGroup
	cut := make(chan struct{})
	tried := maps.Clone(contracts)
	maps.Copy(tried, map[string]contract{ // which have contracts of their own, elsewhere
		"restart_pod": {set: func(c *cluster) map[string]any {
			c.web()
			return map[string]any{"namespace": c.namespace, "pod": c.podsOf("web")[0].Name}
		}},
		"quarantine_pod": {set: func(c *cluster) map[string]any {
			c.web()
			return map[string]any{"namespace": c.namespace, "pod": c.podsOf("web")[0].Name}
		}},
		"drain_node": {set: func(c *cluster) map[string]any {
			name := c.made()
			c.web()
			return map[string]any{"node": name}
		}},
	})
	for _, action := range slices.Sorted(maps.Keys(tried)) {
		c, req, con := tried[action].one(t, action)
		c.handlers = k.Handlers()
		ready.Add(1)
		con.before = func() {
			ready.Done()
			<-cut
		}
		all = append(all, attempt{c, req})
	}
	failed := make([]error, len(all))
	var done sync.WaitGroup
	for i, a := range all {
		done.Go(func() {
			_, failed[i] = a.c.execute(a.req)
		})
	}
	ready.Wait()
	began := time.Now()
	road.cut()
	time.AfterFunc(away, func() { road.mend(t) })
	close(cut)
	done.Wait()
	require.GreaterOrEqual(t, time.Since(began), away)
	for i, err := range failed {
		require.NoError(t, err, all[i].req.Action)
	}
}
