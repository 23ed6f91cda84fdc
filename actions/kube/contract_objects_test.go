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
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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

var podMetrics = apischema.GroupVersionResource{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}

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
	claims := c.client.CoreV1().PersistentVolumeClaims(c.namespace)
	_, err = claims.Create(c.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class,
		VolumeName: class, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, Resources: corev1.VolumeResourceRequirements{Requests: size}}}, metav1.CreateOptions{})
	require.NoError(c, err)
	require.Eventually(c, func() bool {
		p, err := claims.Get(c.Context(), name, metav1.GetOptions{})
		return err == nil && p.Status.Phase == corev1.ClaimBound
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
	}{
		{"quarantine_pod", map[string]any{"pod": pod.Name}, http.MethodPatch, pods},
		{"expand_pvc", map[string]any{"pvc": "data", "size": "2Gi"}, http.MethodPatch, "/persistentvolumeclaims/data"},
		{"optimize_resources", map[string]any{"deployment": "web", "dryRun": false, "stableFor": "1s"}, http.MethodPatch, "/deployments/web"},
		{"restart_network", map[string]any{"component": "coredns", "stableFor": "1s"}, http.MethodPatch, "/deployments/coredns"},
		{"restart_pod", map[string]any{"pod": "db-0", "gracePeriodSeconds": 1}, http.MethodDelete, pods},
		{"rotate_secrets", map[string]any{"secret": "key"}, http.MethodPatch, "/secrets/key"},
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
			req.Begun = con.undo
			require.Equal(t, actions.OutcomeHappened, one.probe(req), "it died after the effect")
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
		require.Equal(t, actions.OutcomeDidNotHappen, one.probe(req), "pods are still there")
		req.Begun, req.Attempt = nil, 2
		one.patchBudget("keep", `{"spec":{"minAvailable":0}}`)
		_, err := one.execute(req)
		require.NoError(t, err)
		require.NoError(t, one.compensate(req, con.undo), "what the second attempt kept is all that a rollback has")
		require.False(t, one.cordonedNode(other), "the step had cordoned it, if not this attempt")
		require.NotContains(t, fmt.Sprint(one.own(req.Target)["metadata"]), "cordoned-by")
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
			t.Run("drift is reported", func(t *testing.T) {
				if !k.reversible {
					t.Skip("there is no undo by the table")
				}
				c, req, con := start(t)
				_, err := c.execute(req)
				require.NoError(t, err)
				theirs(c, req)
				require.ErrorIs(t, c.compensate(req, con.undo), actions.ErrDrift)
				for _, line := range changes("", mapOf(t, k.theirs), c.own(req.Target)) {
					require.True(t, strings.Contains(line, ": unset →") || strings.Contains(line, "image"), "what they set stays: %s", line)
				}
			})
			t.Run("another object of the same name is not touched", func(t *testing.T) {
				c, req, con := start(t)
				con.before = func() { c.remade(req.Target) }
				_, err := c.execute(req)
				require.ErrorContains(t, err, "deleted and made again")
				require.False(t, actions.IsTransient(err))
				con.before = nil
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
					`"annotations":{"argocd.argoproj.io/tracking-id":"shop:x"}`:                                                   "Argo CD (shop:x)",
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

var _ = io.EOF
var _ autoscalingv2.MetricSpec
var _ networkingv1.NetworkPolicy
var _ kube.Options
var _ schema.Target
var _ time.Time
