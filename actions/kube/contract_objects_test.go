package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
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

// uses has the metrics server say what the containers of an app's pod use. The test plays it, with objects of the same form.
func (c *cluster) uses(app string, containers map[string]map[string]any) {
	c.Helper()
	client, err := dynamic.NewForConfig(configOf(c.T, controlplane.Admin))
	require.NoError(c, err)
	_, err = client.Resource(apischema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(c.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "pods.metrics.k8s.io", "annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"}},
		"spec": map[string]any{"group": podMetrics.Group, "scope": "Namespaced", "names": map[string]any{"kind": "PodMetrics", "plural": "pods"},
			"versions": []any{map[string]any{"name": "v1beta1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
	}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(c, err)
	}
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(containers)) {
		list = append(list, map[string]any{"name": name, "usage": containers[name]})
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
		"metadata": map[string]any{"name": app, "labels": map[string]any{"app": app}}, "containers": list}}
	require.Eventually(c, func() bool {
		_, err = client.Resource(podMetrics).Namespace(c.namespace).Create(c.Context(), o, metav1.CreateOptions{})
		return err == nil
	}, eventually, tick, "%v", err)
}

// busy is what a container uses whose recommendation is not what it has.
var busy = map[string]map[string]any{"main": {"cpu": "100m", "memory": "100Mi"}}

// volume makes a claim that is bound to a volume of 1Gi, of a class of its own that may allow expansion.
func (c *cluster) volume(name string, grows bool) {
	c.Helper()
	size, class := corev1.ResourceList{"storage": mustQuantity("1Gi")}, c.namespace+"-"+name
	_, err := c.client.StorageV1().StorageClasses().Create(c.Context(), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: "test", AllowVolumeExpansion: &grows}, metav1.CreateOptions{})
	require.NoError(c, err)
	_, err = c.client.CoreV1().PersistentVolumes().Create(c.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: class}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, StorageClassName: class, PersistentVolumeReclaimPolicy: "Retain",
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "test", VolumeHandle: class}}}}, metav1.CreateOptions{})
	require.NoError(c, err)
	c.available(class)
	claims := c.client.CoreV1().PersistentVolumeClaims(c.namespace)
	_, err = claims.Create(c.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class,
		VolumeName: class, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, Resources: corev1.VolumeResourceRequirements{Requests: size}}}, metav1.CreateOptions{})
	require.NoError(c, err)
	require.Eventually(c, func() bool {
		p, err := claims.Get(c.Context(), name, metav1.GetOptions{})
		return err == nil && p.Status.Phase == corev1.ClaimBound
	}, eventually, tick)
}

// available waits for a volume: a claim that asks for one which its controller does not know yet is looked at again much later.
func (c *cluster) available(volume string) {
	c.Helper()
	require.Eventually(c, func() bool {
		v, err := c.client.CoreV1().PersistentVolumes().Get(c.Context(), volume, metav1.GetOptions{})
		return err == nil && v.Status.Phase == corev1.VolumeAvailable
	}, eventually, tick)
}

// resizer plays the CSI resizer until the test ends: say is the status of a claim that asks for more than it has.
func (c *cluster) resizer(say func(wanted string) string) {
	c.Helper()
	claims := c.client.CoreV1().PersistentVolumeClaims(c.namespace)
	w, err := claims.Watch(c.Context(), metav1.ListOptions{})
	require.NoError(c, err)
	ended := make(chan struct{})
	c.Cleanup(func() { w.Stop(); <-ended })
	go func() {
		defer close(ended)
		told := map[string]bool{}
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.PersistentVolumeClaim)
			if !ok {
				continue
			}
			wanted, has := p.Spec.Resources.Requests.Storage(), p.Status.Capacity.Storage()
			if key := string(p.UID) + wanted.String(); wanted.Cmp(*has) > 0 && p.Status.Phase == corev1.ClaimBound && !told[key] {
				told[key] = true
				_, _ = claims.Patch(context.Background(), p.Name, types.MergePatchType, []byte(say(wanted.String())), metav1.PatchOptions{}, "status")
			}
		}
	}()
}

func grown(wanted string) string { return `{"status":{"capacity":{"storage":"` + wanted + `"}}}` }

// served makes a deployment behind a service, and returns its pod, which its owner would rather keep.
func (c *cluster) served() corev1.Pod {
	c.Helper()
	c.web()
	c.service("web", map[string]string{"app": "web"})
	pod := c.podsOf("web")[0]
	c.patch("Pod", c.namespace, pod.Name, `{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"100"}}}`)
	require.Eventually(c, func() bool { return c.inService(pod.UID) }, eventually, tick)
	return pod
}

func (c *cluster) inService(pod types.UID) bool {
	c.Helper()
	list, err := c.client.DiscoveryV1().EndpointSlices(c.namespace).List(c.Context(), metav1.ListOptions{})
	require.NoError(c, err)
	return slices.ContainsFunc(list.Items, func(s discoveryv1.EndpointSlice) bool {
		return slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.TargetRef != nil && e.TargetRef.UID == pod })
	})
}

// during has something happen right after a request of the handlers was answered, once, and before they see the answer.
func (c *cluster) during(method, path string, happen func()) *cluster {
	c.Helper()
	var done atomic.Bool
	return c.generating(controlplane.Admin, func(config *rest.Config) {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				dry := strings.Contains(r.URL.RawQuery, "dryRun")
				if err == nil && r.Method == method && strings.Contains(r.URL.Path, path) && !dry && done.CompareAndSwap(false, true) {
					happen()
				}
				return resp, err
			})
		})
	})
}

// dies carries a request out in a process that dies right after its effect.
func (c *cluster) dies(req *actions.Request, method, path string) {
	c.Helper()
	ctx, die := context.WithCancelCause(c.Context())
	defer die(nil)
	errDied := errors.New("the process died")
	dying := c.during(method, path, func() { die(errDied) })
	_, err := dying.handlers[req.Action].Execute(ctx, req)
	require.Error(c, err)
	require.ErrorIs(c, context.Cause(ctx), errDied, "%v", err)
}

// remade deletes an object, with all that holds it back, and makes another one of the same name and content.
func (c *cluster) remade(t schema.Target) {
	c.Helper()
	o := c.object(t)
	api, now := c.objects(t.Kind).Namespace(t.Namespace), int64(0)
	c.patch(t.Kind, t.Namespace, t.Name, `{"metadata":{"finalizers":null}}`)
	require.NoError(c, api.Delete(c.Context(), t.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "generateName", "ownerReferences"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	require.Eventually(c, func() bool { _, err := api.Create(c.Context(), o, metav1.CreateOptions{}); return err == nil }, eventually, tick)
}

// Who asks after a crash is told what happened, just before the effect and just after it, and the next attempt can be undone as the first.
func TestWhatHappenedBeforeACrashIsTold(t *testing.T) {
	c := newCluster(t)
	c.made()
	node := c.made()
	pod := c.served()
	c.uses("web", busy)
	c.volume("data", true)
	c.resizer(grown)
	c.deployment("coredns", 1, "")
	c.settled("coredns")
	c.statefulSet("db", 1)
	secrets := c.client.CoreV1().Secrets(c.namespace)
	_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "key"}, StringData: map[string]string{"password": "hunter2"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	pods := "/namespaces/" + c.namespace + "/pods"
	for _, k := range []struct {
		action       string
		parameters   map[string]any
		method, path string
		outcome      actions.Outcome
	}{
		{"quarantine_pod", map[string]any{"pod": pod.Name}, http.MethodPatch, pods, actions.OutcomeUnfinished},
		{"expand_pvc", map[string]any{"pvc": "data", "size": "2Gi"}, http.MethodPatch, "/persistentvolumeclaims/data", actions.OutcomeUnfinished},
		{"optimize_resources", map[string]any{"deployment": "web", "dryRun": false, "stableFor": "1s"}, http.MethodPatch, "/deployments/web", actions.OutcomeUnfinished},
		{"restart_network", map[string]any{"component": "coredns", "stableFor": "1s"}, http.MethodPatch, "/deployments/coredns", actions.OutcomeUnfinished},
		{"restart_pod", map[string]any{"pod": "db-0", "gracePeriodSeconds": 1}, http.MethodDelete, pods, actions.OutcomeUnfinished},
		{"rotate_secrets", map[string]any{"secret": "key"}, http.MethodPatch, "/secrets/key", actions.OutcomeUnfinished},
	} {
		t.Run(k.action, func(t *testing.T) {
			one := *c
			one.T = t
			k.parameters["namespace"] = c.namespace
			req, con := one.request(k.action, k.parameters)
			req.Task.Step = k.action
			con.refuse = errors.New("the process died")
			target := req.Target
			if k.action == "restart_network" {
				target = schema.Target{Kind: "Deployment", Namespace: c.namespace, Name: "coredns"}
			}
			before := one.own(target)
			_, err := one.generating(controlplane.Admin, nil).execute(req)
			require.ErrorIs(t, err, con.refuse)
			require.Equal(t, before, one.own(target))
			con.refuse, req.Begun = nil, con.undo
			require.Equal(t, actions.OutcomeDidNotHappen, one.probe(req), "it died before the effect")
			req.Begun, req.Attempt = nil, 2
			one.dies(req, k.method, k.path)
			req.Begun, req.Attempt = con.undo, 3
			require.Equal(t, k.outcome, one.probe(req), "it died after the effect")
			var after map[string]any
			if k.action != "restart_pod" { // which is gone just now
				after = one.own(target)
			}
			_, err = one.generating(controlplane.Admin, nil).execute(req)
			require.NoError(t, err, "the next attempt goes on")
			if k.action == "restart_pod" {
				var again *actions.Result
				made := one.object(target).GetUID()
				again, err = one.execute(req)
				require.NoError(t, err)
				require.Equal(t, "pod db-0 is ready in its place", again.Message)
				require.Equal(t, made, one.object(target).GetUID(), "what replaced it stays")
				return
			}
			if k.action != "quarantine_pod" { // which had a second object to make
				require.Equal(t, after, one.own(target), "nothing is sent twice")
			}
		})
	}
	t.Run("drain_node", func(t *testing.T) { // which is not done with the first effect, and goes on
		one := *c
		one.T = t
		c.budget("keep", map[string]string{"app": "web"}, 1)
		other := c.podsOf("web")[0].Spec.NodeName
		req, con := one.request("drain_node", map[string]any{"node": other, "force": true}) // a pod in quarantine has no owner
		one.dies(req, http.MethodPatch, "/nodes/"+other)
		require.True(t, one.cordonedNode(other))
		req.Begun = con.undo
		require.Equal(t, actions.OutcomeUnfinished, one.probe(req), "pods are still there")
		begun := con.undo
		req.Attempt = 2
		one.patchBudget("keep", `{"spec":{"minAvailable":0}}`)
		_, err := one.execute(req)
		require.NoError(t, err)
		require.NoError(t, one.compensate(req, begun), "what the first attempt kept is what a rollback has")
		require.False(t, one.cordonedNode(other), "the step had cordoned it, if not this attempt")
		_ = node
	})
}

// What the actions on objects of others have in common, tried with each of them.
func TestActionsOnObjectsKeepTheContract(t *testing.T) {
	for _, k := range []struct {
		action     string
		kind       string
		set        func(c *cluster) map[string]any
		theirs     string // sets what the action sets to something else
		other      string // an object of another kind by its name, or none
		reversible bool
		git        bool // refused where it is written from git
	}{
		{action: "quarantine_pod", set: func(c *cluster) map[string]any { return map[string]any{"pod": c.served().Name} }, theirs: `{"metadata":{"labels":{"app":"theirs"}}}`, other: "web", reversible: true, git: true},
		{action: "expand_pvc", set: func(c *cluster) map[string]any {
			c.volume("data", true)
			c.resizer(grown)
			return map[string]any{"pvc": "data", "size": "3Gi"}
		}, theirs: `{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`, other: "web", git: true},
		{action: "optimize_resources", set: func(c *cluster) map[string]any {
			c.web()
			c.uses("web", busy)
			return map[string]any{"deployment": "web", "dryRun": false, "stableFor": "1s"}
		}, theirs: contracts["increase_resources"].theirs, other: "data", reversible: true, git: true},
	} {
		t.Run(k.action, func(t *testing.T) {
			start := func(t *testing.T) (*cluster, *actions.Request, *conductor) {
				c := newCluster(t)
				c.made()
				p := k.set(c)
				p["namespace"] = c.namespace
				req, con := c.request(k.action, p)
				return c, req, con
			}
			theirs := func(c *cluster, req *actions.Request) {
				c.patch(req.Target.Kind, req.Target.Namespace, req.Target.Name, k.theirs)
			}
			t.Run("what is predicted happens once and is undone", func(t *testing.T) {
				c, req, con := start(t)
				before, all := c.own(req.Target), c.namespaceNow()
				p, err := c.preview(req)
				require.NoError(t, err)
				require.Equal(t, actions.Verified, p.Verdict)
				require.NotEmpty(t, p.Basis)
				require.Equal(t, all, c.namespaceNow(), "a dry run changes nothing")
				con.before = func() {
					c.patch(req.Target.Kind, req.Target.Namespace, req.Target.Name, `{"metadata":{"annotations":{"remedy.test/other":"yes"}}}`)
				}
				_, err = c.execute(req)
				require.NoError(t, err, "what somebody else does to other parts of it is no conflict")
				con.before = nil
				after := c.own(req.Target)
				for _, o := range []map[string]any{before, after} { // its owner lets go of a pod
					unstructured.RemoveNestedField(o, "metadata", "ownerReferences")
					unstructured.RemoveNestedField(o, "metadata", "annotations")
				}
				want := slices.DeleteFunc(slices.Clone(p.Change), func(l string) bool { return strings.HasPrefix(l, "create NetworkPolicy") })
				require.Equal(t, unmarked(changes("", before, after)), unmarked(want))
				first := con.undo
				again, second := c.request(k.action, contract{}.parameters(req))
				_, err = c.execute(again)
				require.NoError(t, err)
				require.Nil(t, second.undo, "the same step does it once")
				if !k.reversible {
					require.False(t, c.reversible(req))
					return
				}
				for range 2 {
					require.NoError(t, c.compensate(req, first))
					now := c.own(req.Target)
					unstructured.RemoveNestedField(now, "metadata", "ownerReferences")
					unstructured.RemoveNestedField(now, "metadata", "annotations")
					require.Equal(t, before, now)
				}
			})
			t.Run("what others set is not overwritten", func(t *testing.T) {
				c, req, con := start(t)
				con.before = func() { theirs(c, req) }
				_, err := c.execute(req)
				require.ErrorContains(t, err, "was changed meanwhile")
				require.False(t, actions.IsTransient(err))
			})
			if k.reversible {
				t.Run("drift is reported", func(t *testing.T) {
					c, req, con := start(t)
					_, err := c.execute(req)
					require.NoError(t, err)
					theirs(c, req)
					require.ErrorIs(t, c.compensate(req, con.undo), actions.ErrDrift)
					for _, line := range changes("", mapOf(t, k.theirs), c.own(req.Target)) {
						require.True(t, strings.Contains(line, ": unset →") || strings.Contains(line, "image"), "what they set stays: %s", line)
					}
				})
			}
			t.Run("another object of the same name is not touched", func(t *testing.T) {
				c, req, con := start(t)
				con.before = func() { c.remade(req.Target) }
				_, err := c.execute(req)
				require.Error(t, err)
				require.False(t, actions.IsTransient(err))
				con.before = nil
				if req.Target.Kind == "Pod" && strings.Contains(err.Error(), req.Target.String()+" does not exist") {
					return // its ReplicaSet was quick to take it for one too many
				}
				require.ErrorContains(t, err, "deleted and made again")
				if k.reversible {
					now := c.own(req.Target)
					require.ErrorIs(t, c.compensate(req, con.undo), actions.ErrDrift)
					require.Equal(t, now, c.own(req.Target))
				}
			})
			t.Run("who writes it from git, and a wrong name, are said first", func(t *testing.T) {
				c, req, con := start(t)
				for label, owner := range map[string]string{
					`"labels":{"kustomize.toolkit.fluxcd.io/name":"apps","kustomize.toolkit.fluxcd.io/namespace":"flux-system"}`: "Flux's Kustomization flux-system/apps",
					`"annotations":{"argocd.argoproj.io/tracking-id":"shop:x"}`:                                                  "Argo CD (shop:x)",
				} {
					c.patch(req.Target.Kind, req.Target.Namespace, req.Target.Name, `{"metadata":{`+label+`}}`)
					for _, err := range []error{second(c.preview(req)), second(c.execute(req))} {
						require.ErrorContains(t, err, "is written from git by "+owner)
					}
					c.patch(req.Target.Kind, req.Target.Namespace, req.Target.Name, `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":null}}}`)
				}
				p := contract{}.parameters(req)
				for name, v := range p {
					if v == req.Target.Name {
						p[name] = k.other
					}
				}
				wrong, none := c.request(k.action, p)
				for _, err := range []error{second(c.preview(wrong)), second(c.execute(wrong))} {
					require.ErrorContains(t, err, wrong.Target.String()+" does not exist")
					require.False(t, actions.IsTransient(err))
				}
				require.Zero(t, con.begun+none.begun)
			})
		})
	}
}

func mapOf(t *testing.T, text string) (m map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &m))
	return m
}

// both are the errors of a dry run and of an attempt, of which neither begins anything.
func (c *cluster) both(action string, parameters map[string]any) map[string]error {
	c.Helper()
	parameters["namespace"] = c.namespace
	req, con := c.request(action, parameters)
	all := map[string]error{"dry run": second(c.preview(req)), "attempt": second(c.execute(req))}
	require.Zero(c, con.begun)
	for what, err := range all {
		require.Error(c, err, what)
		require.False(c, actions.IsTransient(err), what)
	}
	return all
}

func TestAVolumeThatCannotGrowIsSaid(t *testing.T) {
	c := newCluster(t)
	c.volume("data", true)
	c.volume("fixed", false)
	claims := c.client.CoreV1().PersistentVolumeClaims(c.namespace)
	none := ""
	_, err := claims.Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "unbound"}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &none,
		AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": mustQuantity("1Gi")}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = c.client.CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}, Spec: corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{"storage": mustQuantity("1Gi")}, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "test", VolumeHandle: "classless"}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.available(c.namespace)
	_, err = claims.Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "classless"}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &none, VolumeName: c.namespace,
		AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": mustQuantity("1Gi")}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		p, err := claims.Get(t.Context(), "classless", metav1.GetOptions{})
		return err == nil && p.Status.Phase == corev1.ClaimBound
	}, eventually, tick)
	for want, parameters := range map[string]map[string]any{
		"does not allow expansion (allowVolumeExpansion)":        {"pvc": "fixed", "size": "2Gi"},
		"has no storage class that would allow expansion":        {"pvc": "classless", "size": "2Gi"},
		"is 1Gi already, and a volume cannot shrink to 900Mi":    {"pvc": "data", "size": "900Mi"},
		"is not bound to a volume yet":                           {"pvc": "unbound", "size": "2Gi"},
		"PersistentVolumeClaim " + c.namespace + "/nowhere does": {"pvc": "nowhere", "size": "2Gi"},
	} {
		for what, err := range c.both("expand_pvc", parameters) {
			require.ErrorContains(t, err, want, what)
		}
	}
	same, con := c.request("expand_pvc", map[string]any{"namespace": c.namespace, "pvc": "data", "size": "1073741824"})
	p, err := c.preview(same)
	require.NoError(t, err)
	require.Empty(t, p.Change, "it is the same in other words")
	_, err = c.execute(same)
	require.NoError(t, err)
	require.Nil(t, con.undo)

	// A driver that has given up fails it early, one that tries on until the time is up, and both say why.
	condition := func(kind, message string) string {
		return `"conditions":[{"type":"` + kind + `","status":"True","message":"` + message + `"}]`
	}
	status := `{"status":{"allocatedResources":{"storage":"2Gi"},"allocatedResourceStatuses":{"storage":"ControllerResizeInProgress"},` + condition("ControllerResizeError", "the backend is busy") + `}}`
	c.resizer(func(wanted string) string { return strings.ReplaceAll(status, "2Gi", wanted) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	slow, _ := c.request("expand_pvc", map[string]any{"namespace": c.namespace, "pvc": "data", "size": "2Gi"})
	_, err = c.handlers["expand_pvc"].Execute(ctx, slow)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "was to have 2Gi, and has 1Gi; ControllerResizeError: the backend is busy")
	status = `{"status":{"allocatedResources":{"storage":"2Gi"},"allocatedResourceStatuses":{"storage":"ControllerResizeInfeasible"},` + condition("ControllerResizeError", "out of space") + `}}`
	never, _ := c.request("expand_pvc", map[string]any{"namespace": c.namespace, "pvc": "data", "size": "4Gi"})
	began := time.Now()
	_, err = c.execute(never)
	require.ErrorContains(t, err, "was to have 4Gi, and has 1Gi; ControllerResizeError: out of space: its driver has given up")
	require.Less(t, time.Since(began), eventually)

	gone, _ := c.request("expand_pvc", map[string]any{"namespace": c.namespace, "pvc": "data", "size": "5Gi"})
	status = `{"status":{"allocatedResourceStatuses":null,"conditions":null}}`
	late := c.during(http.MethodPatch, "/persistentvolumeclaims/data", func() { c.remade(gone.Target) })
	_, err = late.execute(gone)
	require.ErrorContains(t, err, "was deleted while it grew")
}

func (c *cluster) policies() []networkingv1.NetworkPolicy {
	c.Helper()
	list, err := c.client.NetworkingV1().NetworkPolicies(c.namespace).List(c.Context(), metav1.ListOptions{})
	require.NoError(c, err)
	return list.Items
}

// labelsOf are the labels of a pod.
func (c *cluster) labelsOf(pod string) map[string]string {
	c.Helper()
	p, err := c.client.CoreV1().Pods(c.namespace).Get(c.Context(), pod, metav1.GetOptions{})
	require.NoError(c, err)
	return p.Labels
}

func TestOnlyThePodThatIsMeantIsCutOff(t *testing.T) {
	c := newCluster(t)
	c.made()
	pod := c.served()
	quarantine := func(step string, parameters map[string]any) (*actions.Request, *conductor) {
		parameters["namespace"] = c.namespace
		req, con := c.request("quarantine_pod", parameters)
		req.Task.Step = step
		return req, con
	}
	for what, err := range c.both("quarantine_pod", map[string]any{"pod": pod.Name, "quarantineLabel": "app=web"}) {
		require.ErrorContains(t, err, "has the label app=web, by which it is selected now: name another quarantineLabel", what)
	}
	c.both("quarantine_pod", map[string]any{"pod": pod.Name, "quarantineLabel": "remedy/quarantined=yes"})

	// A label that others have as well marks it, and cuts nobody else off.
	c.deployment("other", 1, "")
	c.patchDeployment("other", `{"spec":{"template":{"metadata":{"labels":{"tier":"front"}}}}}`)
	c.settled("other")
	before := c.labelsOf(pod.Name)
	marked, con := quarantine("marked", map[string]any{"pod": pod.Name, "quarantineLabel": "tier=front"})
	_, err := c.execute(marked)
	require.NoError(t, err)
	require.False(t, c.inService(pod.UID))
	all := c.policies()
	require.Len(t, all, 1)
	selector, err := metav1.LabelSelectorAsSelector(&all[0].Spec.PodSelector)
	require.NoError(t, err)
	list, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector.String()})
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	require.Equal(t, pod.UID, list.Items[0].UID)
	require.Equal(t, "front", list.Items[0].Labels["tier"])
	require.Equal(t, []networkingv1.PolicyType{"Ingress", "Egress"}, all[0].Spec.PolicyTypes)
	require.Empty(t, all[0].Spec.Ingress)
	require.Empty(t, all[0].Spec.Egress)

	// Another step finds it so, and its undo leaves what the first one did.
	twice, con2 := quarantine("twice", map[string]any{"pod": pod.Name, "quarantineLabel": "found=again"})
	_, err = c.execute(twice)
	require.NoError(t, err)
	require.NoError(t, c.compensate(twice, con2.undo))
	require.Len(t, c.policies(), 1)
	require.Equal(t, "front", c.labelsOf(pod.Name)["tier"])

	surplus := metav1.GetControllerOf(&pod).Name + " then has a pod too many, and ends one"
	require.Contains(t, con.undo.Summary, surplus)
	require.NoError(t, c.compensate(marked, con.undo))
	require.Equal(t, before, c.labelsOf(pod.Name))
	require.Empty(t, c.policies())
	events, err := c.client.EventsV1().Events(c.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "regarding.uid=" + string(pod.UID) + ",reason=RemedyUndone"})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool { return strings.HasSuffix(e.Note, "undone; ReplicaSet "+surplus) }), "%v", events.Items)

	require.Eventually(t, func() bool { return c.inService(pod.UID) && len(c.podsOf("web")) == 1 }, eventually, tick)
	stays, _ := quarantine("stays", map[string]any{"pod": pod.Name, "removeFromService": false})
	r, err := c.execute(stays)
	require.NoError(t, err)
	require.Equal(t, pod.Name+" is in quarantine; its services still know it", r.Message)
	require.Equal(t, "web", c.labelsOf(pod.Name)["app"])
	require.Eventually(t, func() bool { return len(c.podsOf("web")) == 2 }, eventually, tick, "its owner makes another all the same")
	require.True(t, c.inService(pod.UID))
}

func TestAPodIsCutOffThoughAnotherOfItsNameWas(t *testing.T) {
	c := newCluster(t)
	c.made()
	c.statefulSet("db", 1)
	quarantine := func() (*actions.Request, *conductor) {
		return c.request("quarantine_pod", map[string]any{"namespace": c.namespace, "pod": "db-0"})
	}
	req, con := quarantine()
	first := c.podsOf("db")[0]
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Contains(t, p.Change, "warning: StatefulSet db makes no other pod while there is one of that name")
	_, err = c.execute(req)
	require.NoError(t, err)
	// As a garbage collector that is behind leaves it: the policy of the former pod is still there.
	former := c.policies()[0]
	former.Finalizers = []string{"remedy.test/behind"}
	_, err = c.client.NetworkingV1().NetworkPolicies(c.namespace).Update(t.Context(), &former, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, c.client.CoreV1().Pods(c.namespace).Delete(t.Context(), "db-0", metav1.DeleteOptions{}))
	var second corev1.Pod
	require.Eventually(t, func() bool {
		pods := c.podsOf("db")
		if len(pods) == 1 {
			second = pods[0]
		}
		return second.UID != "" && second.UID != first.UID && second.Status.Phase == corev1.PodRunning
	}, eventually, tick)
	time.AfterFunc(time.Second, func() {
		_, _ = c.client.NetworkingV1().NetworkPolicies(c.namespace).Patch(context.Background(), former.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	})
	other, con2 := quarantine()
	other.Task.Step = "other"
	_, err = c.execute(other)
	require.NoError(t, err)
	all := c.policies()
	require.Len(t, all, 1)
	require.Equal(t, second.UID, all[0].OwnerReferences[0].UID, "it would go with the former pod")
	require.ErrorIs(t, c.compensate(req, con.undo), actions.ErrDrift, "that pod is gone")
	require.Len(t, c.policies(), 1)
	require.NoError(t, c.client.NetworkingV1().NetworkPolicies(c.namespace).Delete(t.Context(), all[0].Name, metav1.DeleteOptions{}))
	other.Begun = con2.undo
	require.Equal(t, actions.OutcomeUnfinished, c.probe(other), "labels alone cut nothing off")
	require.NoError(t, c.compensate(other, con2.undo))
	require.Equal(t, second.Labels, c.labelsOf("db-0"))
}

func TestADrainDoesNotWaitForAPodThatCameBackElsewhere(t *testing.T) {
	c := newCluster(t)
	from := c.made()
	c.statefulSet("db", 1)
	c.made()
	c.budget("keep", map[string]string{"app": "db"}, 1)
	req, _ := c.request("drain_node", map[string]any{"node": from})
	held := make(chan struct{})
	k := c.during(http.MethodPost, "/eviction", func() { close(held) })
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), eventually)
	defer cancel()
	go func() { _, err := k.handlers["drain_node"].Execute(ctx, req); done <- err }()
	<-held
	now := int64(0)
	require.NoError(t, c.client.CoreV1().Pods(c.namespace).Delete(t.Context(), "db-0", metav1.DeleteOptions{GracePeriodSeconds: &now}))
	require.NoError(t, <-done, "its budget holds the other pod of that name, which is not on the node")
	require.NotEqual(t, from, c.podsOf("db")[0].Spec.NodeName)
}

func TestEveryPodThatIsHeldBackUntilTheEndSaysByWhat(t *testing.T) {
	c := newCluster(t)
	from := c.made()
	c.deployment("web", 1, "")
	c.settled("web")
	bare := func(name string) {
		_, err := c.client.CoreV1().Pods(c.namespace).Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: []string{"remedy.test/hold"}},
			Spec: corev1.PodSpec{NodeName: from, Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	bare("leaving")
	require.NoError(t, c.client.CoreV1().Pods(c.namespace).Delete(t.Context(), "leaving", metav1.DeleteOptions{}))
	c.made()
	t.Cleanup(func() { // before its namespace is emptied
		_, _ = c.client.CoreV1().Pods(c.namespace).Patch(context.Background(), "leaving", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	})
	c.budget("keep", map[string]string{"app": "web"}, 1)
	req, con := c.request("drain_node", map[string]any{"node": from})
	var cut atomic.Bool
	k := c.generating(controlplane.Admin, func(config *rest.Config) { // the API server goes away after the budget has spoken
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				eviction := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/eviction") && strings.Contains(r.URL.Path, "/web-")
				if eviction && cut.Load() {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				resp, err := next.RoundTrip(r)
				if eviction {
					cut.Store(true)
				}
				return resp, err
			})
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := k.handlers["drain_node"].Execute(ctx, req)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "PodDisruptionBudget "+c.namespace+"/keep lets it go when more pods are healthy")
	require.Equal(t, 1, con.begun, "a pod that leaves anyway holds nothing up")
	require.NoError(t, c.compensate(req, con.undo))
	require.False(t, c.cordonedNode(from))
}

func TestWhatAWorkloadUsesDecidesWhatItGets(t *testing.T) {
	c := newCluster(t)
	c.made()
	c.web()
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","resources":{"limits":{"cpu":"150m"}}},{"name":"idle","image":"nothing"}]}}}}`)
	c.settled("web")
	c.uses("web", map[string]map[string]any{"main": {"cpu": "200m", "memory": "100Mi"}, "idle": {"cpu": "0"}, "istio-proxy": {"cpu": "10m", "memory": "40Mi"}})
	c.deployment("asleep", 0, "")
	ask := func(parameters map[string]any) (*actions.Request, *conductor) {
		parameters["namespace"] = c.namespace
		return c.request("optimize_resources", parameters)
	}
	main := func(request, limit string) map[string]any {
		return map[string]any{"main.limits.memory": limit, "main.requests.cpu": "150m", "main.requests.memory": request}
	}
	all := c.namespaceNow()
	for strategy, want := range map[string]map[string]any{"cost": main("110Mi", "130Mi"), "balanced": main("130Mi", "170Mi"), "performance": main("170Mi", "250Mi")} {
		req, con := ask(map[string]any{"strategy": strategy})
		r, err := c.execute(req)
		require.NoError(t, err)
		require.Equal(t, "1 workloads have a recommendation; nothing was changed; there are no metrics of 1 others", r.Message)
		require.Equal(t, map[string]any{"Deployment " + c.namespace + "/web": want}, r.Outputs, "of its own containers, within the limit of their CPU")
		require.Nil(t, con.undo)
	}
	require.Equal(t, all, c.namespaceNow(), "a recommendation changes nothing")
	for what, err := range c.both("optimize_resources", map[string]any{"deployment": "asleep", "dryRun": false}) {
		require.ErrorContains(t, err, "there are no metrics of Deployment "+c.namespace+"/asleep yet", what)
	}
	for what, err := range c.both("optimize_resources", map[string]any{"dryRun": false}) {
		require.ErrorContains(t, err, "one workload at a time: name a deployment", what)
	}

	share := int32(50)
	_, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(c.namespace).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "auto"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 1, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu",
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &share}}}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	req, con := ask(map[string]any{"deployment": "web", "dryRun": false, "stableFor": "1s"})
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Equal(t, []string{
		`spec.template.spec.containers.main.resources.limits.memory: "1Gi" → "170Mi"`,
		`spec.template.spec.containers.main.resources.requests.cpu: unset → "150m"`,
		`spec.template.spec.containers.main.resources.requests.memory: "512Mi" → "130Mi"`,
		"warning: HorizontalPodAutoscaler auto scales it by a share of its requests, and gives it another size when these change",
	}, p.Change)
	before := c.spec("web")
	_, err = c.execute(req)
	require.NoError(t, err)
	require.Len(t, c.spec("web").Template.Spec.Containers, 2)
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, before, c.spec("web"))

	c.patchDeployment("web", `{"spec":{"paused":true}}`)
	for what, err := range c.both("optimize_resources", map[string]any{"deployment": "web", "dryRun": false}) {
		require.ErrorContains(t, err, "is paused", what)
	}
	c.patchDeployment("web", `{"spec":{"paused":false}}`)
	_, err = c.client.CoreV1().LimitRanges(c.namespace).Create(t.Context(), &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "most"},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{"memory": mustQuantity("64Mi")}}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for what, err := range c.both("optimize_resources", map[string]any{"deployment": "web", "dryRun": false}) {
		require.ErrorContains(t, err, "LimitRange most allows a container memory of 64Mi", what)
	}
}

// A secret's readers are looked at before it is written, its generator is asked for no rehearsal, and another attempt makes no other values.
func TestASecretIsRotatedOnceHoweverOftenItIsTried(t *testing.T) {
	c := newCluster(t)
	c.made()
	secrets := c.client.CoreV1().Secrets(c.namespace)
	_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "key"}, StringData: map[string]string{"password": "hunter2"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.deployment("web", 1, "")
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","envFrom":[{"secretRef":{"name":"key"}}]}]}}}}`)
	c.settled("web")
	made := 0
	k := c.as(controlplane.Admin, kube.Options{Generate: func(context.Context, schema.Target, string) ([]byte, error) {
		made++
		return fmt.Appendf(nil, "value %d", made), nil
	}})
	value := func() string {
		s, err := secrets.Get(t.Context(), "key", metav1.GetOptions{})
		require.NoError(t, err)
		return string(s.Data["password"])
	}
	c.patchDeployment("web", `{"spec":{"paused":true}}`)
	for what, err := range k.both("rotate_secrets", map[string]any{"secret": "key"}) {
		require.ErrorContains(t, err, "Deployment "+c.namespace+"/web is paused", what)
	}
	c.patchDeployment("web", `{"spec":{"paused":false}}`)
	req, con := k.request("rotate_secrets", map[string]any{"namespace": c.namespace, "secret": "key"})
	_, err = k.preview(req)
	require.NoError(t, err)
	require.Zero(t, made, "a rehearsal has no value made")
	require.Equal(t, "hunter2", value())

	con.refuse = errors.New("the process died")
	_, err = k.execute(req)
	require.ErrorIs(t, err, con.refuse)
	first := con.undo
	con.refuse, req.Attempt = nil, 2
	_, err = k.execute(req)
	require.NoError(t, err)
	require.Equal(t, "value 1", value(), "what the first attempt sealed")
	restarts := c.spec("web").Template.Annotations
	require.NotEmpty(t, restarts)
	third := *req
	third.Attempt = 3
	_, err = k.execute(&third)
	require.NoError(t, err)
	require.Equal(t, "value 1", value())
	require.Equal(t, restarts, c.spec("web").Template.Annotations, "and neither are its readers restarted again")
	require.NoError(t, k.compensate(req, first), "what the first attempt kept still undoes it")
	require.Equal(t, "hunter2", value())

	c.patchDeployment("web", `{"spec":{"template":{"metadata":{"annotations":{"remedy.test/pod":"crash"}}}}}`)
	bad, begun := k.request("rotate_secrets", map[string]any{"namespace": c.namespace, "secret": "key"})
	bad.Task.Step = "bad"
	_, err = k.execute(bad)
	require.ErrorContains(t, err, "Deployment "+c.namespace+"/web does not roll out: container main of pod web-")
	require.ErrorContains(t, err, "CrashLoopBackOff")
	require.NotContains(t, err.Error(), "value 2")
	bad.Begun = begun.undo
	require.Equal(t, actions.OutcomeUnfinished, k.probe(bad), "it was written, and its readers do not run")
}

// A pod that has ended was replaced when it did, and one that is another by now is left alone.
func TestAPodIsRestartedAsItWasFound(t *testing.T) {
	c := newCluster(t)
	c.made()
	c.web()
	ended := c.podsOf("web")[0]
	_, err := c.client.CoreV1().Pods(c.namespace).Patch(t.Context(), ended.Name, types.MergePatchType, []byte(`{"status":{"phase":"Failed","reason":"Evicted","conditions":null}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(c.podsOf("web")) == 2 }, eventually, tick)
	c.settled("web")
	req, _ := c.request("restart_pod", map[string]any{"namespace": c.namespace, "pod": ended.Name})
	ctx, cancel := context.WithTimeout(t.Context(), eventually)
	defer cancel()
	r, err := c.handlers["restart_pod"].Execute(ctx, req)
	require.NoError(t, err)
	left := c.podsOf("web")
	require.Len(t, left, 1)
	require.Equal(t, "pod "+left[0].Name+" is ready in its place", r.Message)

	c.statefulSet("db", 1)
	again, con := c.request("restart_pod", map[string]any{"namespace": c.namespace, "pod": "db-0"})
	found := c.podsOf("db")[0].UID
	var other types.UID
	con.before = func() {
		now := int64(0)
		require.NoError(t, c.client.CoreV1().Pods(c.namespace).Delete(t.Context(), "db-0", metav1.DeleteOptions{GracePeriodSeconds: &now}))
		require.Eventually(t, func() bool {
			pods := c.podsOf("db")
			if len(pods) == 1 && pods[0].UID != found {
				other = pods[0].UID
			}
			return other != ""
		}, eventually, tick)
	}
	_, err = c.execute(again)
	require.NoError(t, err)
	require.Equal(t, other, c.podsOf("db")[0].UID, "the one that somebody else's restart made stays")

	_, err = c.client.CoreV1().Pods(c.namespace).Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.both("restart_pod", map[string]any{"pod": "bare"})
	forced, _ := c.request("restart_pod", map[string]any{"namespace": c.namespace, "pod": "bare", "force": true, "gracePeriodSeconds": 0})
	_, err = c.preview(forced)
	require.NoError(t, err)
	_, err = c.execute(forced)
	require.NoError(t, err)
	_, err = c.client.CoreV1().Pods(c.namespace).Get(t.Context(), "bare", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))
	for what, err := range c.both("restart_pod", map[string]any{"pod": "web"}) {
		require.ErrorContains(t, err, "Pod "+c.namespace+"/web does not exist", what)
	}
}

// What is restarted by another name is held to what holds for workloads that are named.
func TestComponentsAreRestartedAsWorkloadsAre(t *testing.T) {
	c := newCluster(t)
	c.made()
	for _, name := range []string{"coredns", "web"} {
		c.deployment(name, 1, "")
		c.settled(name)
	}
	mesh := *c
	mesh.namespace = "linkerd"
	_, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "linkerd"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(mesh.leave)
	mesh.deployment("linkerd-destination", 1, "")
	mesh.patch("Deployment", "linkerd", "linkerd-destination", `{"metadata":{"labels":{"linkerd.io/control-plane-component":"destination"}}}`)
	mesh.settled("linkerd-destination")
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"initContainers":[{"name":"linkerd-proxy","image":"nothing"}]}}}}`)
	c.settled("web")
	steps := map[string]map[string]any{"restart_network": {"component": "coredns"}, "reset_service_mesh": {}}
	last := map[string]string{"restart_network": "coredns", "reset_service_mesh": "web"}
	ask := func(action, step string) (*actions.Request, *conductor) {
		p := maps.Clone(steps[action])
		p["namespace"], p["stableFor"] = c.namespace, "1s"
		req, con := c.request(action, p)
		req.Task.Step = action + step
		return req, con
	}
	for action, name := range last {
		t.Run(action, func(t *testing.T) {
			target := schema.Target{Kind: "Deployment", Namespace: c.namespace, Name: name}
			c.patch("Deployment", c.namespace, name, `{"metadata":{"labels":{"helm.toolkit.fluxcd.io/name":"apps","helm.toolkit.fluxcd.io/namespace":"flux-system"}}}`)
			req, con := ask(action, "")
			all := c.namespaceNow()
			p, err := c.preview(req)
			require.NoError(t, err)
			warning := "Flux's HelmRelease flux-system/apps writes " + target.String() + " from git, and may change it back"
			require.Equal(t, []string{"restart " + target.String(), "warning: " + warning}, p.Change[len(p.Change)-2:])
			require.Equal(t, all, c.namespaceNow(), "a dry run changes nothing")
			r, err := c.execute(req)
			require.NoError(t, err)
			require.Contains(t, r.Message, warning)
			req.Begun = con.undo
			require.NotEqual(t, actions.OutcomeDidNotHappen, c.probe(req))
			marks := c.spec(name).Template.Annotations
			_, err = c.execute(req)
			require.NoError(t, err)
			require.Equal(t, marks, c.spec(name).Template.Annotations, "the same step restarts once")

			other, con := ask(action, "-other")
			con.before = func() { c.again(target) }
			_, err = c.execute(other)
			require.ErrorContains(t, err, target.String()+" was deleted and made again meanwhile")
			require.False(t, actions.IsTransient(err))
			c.settled(name)

			c.patchDeployment(name, `{"spec":{"paused":true}}`)
			paused, none := ask(action, "-paused")
			for _, err := range []error{second(c.preview(paused)), second(c.execute(paused))} {
				require.ErrorContains(t, err, target.String()+" is paused")
			}
			require.Zero(t, none.begun)
			c.patchDeployment(name, `{"spec":{"paused":false,"progressDeadlineSeconds":600,"template":{"metadata":{"annotations":{"remedy.test/pod":"crash"}}}}}`)
			crashing, _ := ask(action, "-crashing")
			_, err = c.execute(crashing)
			require.ErrorContains(t, err, "CrashLoopBackOff")
			require.ErrorContains(t, err, "container main of pod "+name)
		})
	}
	marks := mesh.spec("linkerd-destination").Template.Annotations
	require.Equal(t, "r/reset_service_mesh-crashing", marks["remedy/restarted-by"], "the control plane comes first")
	c.deployment("late", 1, "never")
	c.uses("late", busy)
	slow, _ := c.request("optimize_resources", map[string]any{"namespace": c.namespace, "deployment": "late", "dryRun": false, "stableFor": "1s"})
	_, err = c.execute(slow)
	require.ErrorContains(t, err, "the rollout passed its progress deadline")
}
