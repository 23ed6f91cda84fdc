package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/kubetest"
	"github.com/remedykit/remedy/schema"
)

// A cluster is a namespace of the real one, and handlers for it.
type cluster struct {
	*testing.T
	client    kubernetes.Interface
	handlers  actions.Handlers
	namespace string
}

var namespaces atomic.Int64

// configs guards the files with the configurations, which every call writes.
var configs sync.Mutex

func configOf(t *testing.T, user string) *rest.Config {
	t.Helper()
	configs.Lock()
	defer configs.Unlock()
	name, err := kubetest.Cluster(t).Kubeconfig(user)
	require.NoError(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", name)
	require.NoError(t, err)
	return config
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	config := configOf(t, controlplane.Admin)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	k, err := kube.New(config, kube.Options{})
	require.NoError(t, err)
	c := &cluster{t, client, k.Handlers(), fmt.Sprintf("test-%d", namespaces.Add(1))}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return c
}

// node makes a node that is removed after the test.
func (c *cluster) node(name string) {
	c.Helper()
	room := corev1.ResourceList{"cpu": apiresource.MustParse("64"), "memory": apiresource.MustParse("256Gi"), "pods": apiresource.MustParse("250")}
	nodes := c.client.CoreV1().Nodes()
	_, err := nodes.Create(c.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{Allocatable: room, Capacity: room}}, metav1.CreateOptions{})
	require.NoError(c, err)
	c.Cleanup(func() {
		c.leave()
		_ = nodes.Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	w, err := nodes.Watch(c.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(c, err)
	defer w.Stop()
	for e := range w.ResultChan() {
		for _, condition := range e.Object.(*corev1.Node).Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return
			}
		}
	}
	c.Fatal("the node does not get ready")
}

// leave removes what runs in the namespace while there are nodes that can end it: it would move to those of the next test.
func (c *cluster) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	apps, all := c.client.AppsV1(), metav1.ListOptions{}
	_ = apps.Deployments(c.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	_ = apps.StatefulSets(c.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	_ = apps.DaemonSets(c.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	_ = apps.ReplicaSets(c.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	now := int64(0)
	_ = c.client.CoreV1().Pods(c.namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, all)
	for ctx.Err() == nil {
		pods, err := c.client.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil && len(pods.Items) == 0 {
			return
		}
		select {
		case <-time.After(tick):
		case <-ctx.Done():
		}
	}
}

func (c *cluster) deployment(name string, size int32, kind string) *appsv1.Deployment {
	c.Helper()
	labels := map[string]string{"app": name}
	var annotations map[string]string
	if kind != "" {
		annotations = map[string]string{"remedy.test/pod": kind}
	}
	deadline := int32(600)
	if kind == "never" {
		deadline = 2
	}
	d, err := c.client.AppsV1().Deployments(c.namespace).Create(c.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &size, Selector: &metav1.LabelSelector{MatchLabels: labels}, ProgressDeadlineSeconds: &deadline,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}},
		},
	}, metav1.CreateOptions{})
	require.NoError(c, err)
	return d
}

func (c *cluster) size(name string) int32 {
	c.Helper()
	d, err := c.client.AppsV1().Deployments(c.namespace).Get(c.Context(), name, metav1.GetOptions{})
	require.NoError(c, err)
	return *d.Spec.Replicas
}

// conductor keeps what a handler begins.
type conductor struct {
	begun  int
	undo   *actions.Undo
	world  actions.World
	refuse error
	before func() // is called before the effect may be sent
}

func (c *conductor) Begin(_ context.Context, _ *actions.Request, undo *actions.Undo) error {
	c.begun++
	c.undo = undo
	if c.before != nil {
		c.before()
	}
	return c.refuse
}

func (c *conductor) World() *actions.World { return &c.world }

func (c *cluster) request(action string, parameters map[string]any) (*actions.Request, *conductor) {
	c.Helper()
	doc := &schema.Document{Recommendations: []schema.Recommendation{{ID: "s", Action: action, Parameters: parameters}}}
	r := actions.Canonical().Lookup(action).Resolve(doc, 0, "")
	require.Empty(c, doc.Problems)
	con := &conductor{}
	return &actions.Request{Task: &actions.Task{Step: "s", Number: 1, Action: action, Parameters: r.Parameters, Target: r.Target}, Run: "r", Attempt: 1, Conductor: con}, con
}

func (c *cluster) execute(req *actions.Request) (*actions.Result, error) {
	return c.handlers[req.Action].Execute(c.Context(), req)
}

func (c *cluster) preview(req *actions.Request) (*actions.Preview, error) {
	dry, ok := actions.As[actions.DryRunner](c.handlers[req.Action])
	require.True(c, ok)
	return dry.DryRun(c.Context(), req)
}

func (c *cluster) probe(req *actions.Request) actions.Outcome {
	prober, ok := actions.As[actions.Prober](c.handlers[req.Action])
	require.True(c, ok)
	o, err := prober.Probe(c.Context(), req)
	require.NoError(c, err)
	return o
}

func (c *cluster) compensate(req *actions.Request, undo *actions.Undo) error {
	compensator, ok := actions.As[actions.Compensator](c.handlers[req.Action])
	require.True(c, ok)
	return compensator.Compensate(c.Context(), req, undo)
}

func TestANodeIsCordonedAndLetGo(t *testing.T) {
	c := newCluster(t)
	c.node("cordon-a")
	c.node("cordon-b")
	unschedulable := func() bool {
		n, err := c.client.CoreV1().Nodes().Get(t.Context(), "cordon-a", metav1.GetOptions{})
		require.NoError(t, err)
		return n.Spec.Unschedulable
	}
	req, con := c.request("cordon_node", map[string]any{"node": "cordon-a"})
	p, err := c.preview(req)
	require.NoError(t, err)
	requirePreview(t, &actions.Preview{Verdict: actions.Verified, Change: []string{"spec.unschedulable: unset → true"}}, p)
	require.False(t, unschedulable(), "a dry run changes nothing")
	require.Equal(t, actions.OutcomeDidNotHappen, c.probe(req))

	_, err = c.execute(req)
	require.NoError(t, err)
	require.True(t, unschedulable())
	require.Equal(t, actions.OutcomeHappened, c.probe(req))
	require.Equal(t, `put spec.unschedulable: true → unset back on Node cordon-a`, con.undo.Summary)

	again, second := c.request("cordon_node", map[string]any{"node": "cordon-a"})
	_, err = c.execute(again)
	require.NoError(t, err)
	require.Equal(t, 1, second.begun)
	require.Nil(t, second.undo, "there is nothing to undo where nothing was changed")

	back, third := c.request("uncordon_node", map[string]any{"node": "cordon-a"})
	_, err = c.execute(back)
	require.NoError(t, err)
	require.False(t, unschedulable())
	require.NoError(t, c.compensate(back, third.undo))
	require.True(t, unschedulable(), "the undo of an uncordon cordons")
	require.NoError(t, c.compensate(req, con.undo))
	require.False(t, unschedulable())
	require.NoError(t, c.compensate(req, con.undo), "undoing twice is no error")
}

func TestTheLastSchedulableNodeIsNotCordoned(t *testing.T) {
	c := newCluster(t)
	c.node("only")
	req, con := c.request("cordon_node", map[string]any{"node": "only"})
	_, err := c.execute(req)
	require.ErrorContains(t, err, "Node only is the last node that pods can be scheduled on")
	require.False(t, actions.IsTransient(err))
	require.Zero(t, con.begun)
	_, err = c.preview(req)
	require.ErrorContains(t, err, "the last node")
	c.node("special")
	c.patch("Node", "", "special", taint("yes"))
	_, err = c.execute(req)
	require.ErrorContains(t, err, "the last node", "the other one keeps pods away")
}

func TestADeploymentIsScaledAndScaledBack(t *testing.T) {
	c := newCluster(t)
	c.node("scale-a")
	c.deployment("web", 2, "")
	req, con := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 5})
	p, err := c.preview(req)
	require.NoError(t, err)
	requirePreview(t, &actions.Preview{Verdict: actions.Verified, Change: []string{"spec.replicas: 2 → 5"}}, p)
	require.EqualValues(t, 2, c.size("web"))
	later, _ := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 7})
	later.Conductor = con
	p, err = c.preview(later)
	require.NoError(t, err)
	requirePreview(t, &actions.Preview{Verdict: actions.Simulated, Change: []string{"spec.replicas: 5 → 7"}}, p, "a later step sees what this one would have done")

	r, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, "5 of 5 replicas are ready", r.Message)
	d, err := c.client.AppsV1().Deployments(c.namespace).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 5, d.Status.ReadyReplicas)
	managers := ""
	for _, m := range d.ManagedFields {
		managers += m.Manager + " "
	}
	require.Contains(t, managers, kube.DefaultFieldManager)
	require.NoError(t, c.compensate(req, con.undo))
	require.EqualValues(t, 2, c.size("web"))
}

func TestWhatSomebodyElseChangedIsNotOverwritten(t *testing.T) {
	c := newCluster(t)
	c.node("drift-a")
	scaleTo := func(n int32) {
		_, err := c.client.AppsV1().Deployments(c.namespace).Patch(t.Context(), "web", "application/merge-patch+json",
			fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	c.deployment("web", 1, "")
	req, con := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 3})
	con.before = func() { scaleTo(2) } // between the read and the write
	_, err := c.execute(req)
	require.ErrorContains(t, err, "was changed meanwhile: spec.replicas: 1 → 2")
	require.EqualValues(t, 2, c.size("web"))

	con.before = func() { // something else of it changes: that is no conflict
		_, err := c.client.AppsV1().Deployments(c.namespace).Patch(t.Context(), "web", "application/merge-patch+json",
			[]byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	_, err = c.execute(req)
	require.NoError(t, err)
	require.EqualValues(t, 3, c.size("web"))

	scaleTo(4)
	err = c.compensate(req, con.undo)
	require.ErrorIs(t, err, actions.ErrDrift)
	require.ErrorContains(t, err, "spec.replicas is 4, not 3")
	require.EqualValues(t, 4, c.size("web"))

	require.NoError(t, c.client.AppsV1().Deployments(c.namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	require.ErrorIs(t, c.compensate(req, con.undo), actions.ErrDrift, "it is gone")
	c.deployment("web", 3, "")
	require.ErrorContains(t, c.compensate(req, con.undo), "was deleted and made again")
}

func TestAScaleThatCannotBeIsRefused(t *testing.T) {
	c := newCluster(t)
	c.node("refuse-a")
	c.deployment("web", 1, "")
	missing, _ := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "none", "replicas": 3})
	_, err := c.execute(missing)
	require.ErrorContains(t, err, "Deployment "+c.namespace+"/none does not exist")
	require.False(t, actions.IsTransient(err))

	req, con := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 3})
	con.refuse = errors.New("the budget is used up")
	_, err = c.execute(req)
	require.ErrorIs(t, err, con.refuse)
	require.EqualValues(t, 1, c.size("web"))
	con.refuse = nil

	_, err = c.client.AutoscalingV2().HorizontalPodAutoscalers(c.namespace).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "auto"},
		Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 5, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = c.execute(req)
	require.ErrorContains(t, err, "is scaled by HorizontalPodAutoscaler auto")
	forced, _ := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 3, "force": true})
	_, err = c.execute(forced)
	require.NoError(t, err)

	eve, err := kube.New(configOf(t, "eve"), kube.Options{})
	require.NoError(t, err)
	_, err = eve.Handlers()["scale_deployment"].Execute(t.Context(), req)
	require.ErrorContains(t, err, "the runner may not get deployments in namespace "+c.namespace)
	require.False(t, actions.IsTransient(err))
}

func TestARolloutThatHangsFailsEarlyOrWithItsTime(t *testing.T) {
	c := newCluster(t)
	c.node("hang-a")
	c.deployment("stuck", 1, "never")
	req, _ := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "stuck", "replicas": 2})
	_, err := c.execute(req)
	require.ErrorContains(t, err, "the rollout passed its progress deadline")

	set, err := c.client.AppsV1().StatefulSets(c.namespace).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "db"}, Annotations: map[string]string{"remedy.test/pod": "never"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	up, _ := c.request("scale_statefulset", map[string]any{"namespace": c.namespace, "statefulset": set.Name, "replicas": 2})
	_, err = c.handlers["scale_statefulset"].Execute(ctx, up)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "0 of 2 replicas are ready")
	noWait, _ := c.request("scale_statefulset", map[string]any{"namespace": c.namespace, "statefulset": set.Name, "replicas": 3, "waitForReady": false})
	r, err := c.execute(noWait)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(r.Message, "the size is set"))
}

func TestTaintsAreSetAndRemovedOneByOne(t *testing.T) {
	c := newCluster(t)
	c.node("taint-a")
	have := func() []string {
		n, err := c.client.CoreV1().Nodes().Get(t.Context(), "taint-a", metav1.GetOptions{})
		require.NoError(t, err)
		all := []string{}
		for _, x := range n.Spec.Taints {
			if x.Key != corev1.TaintNodeNotReady { // which a controller takes away when it gets to it
				all = append(all, x.ToString())
			}
		}
		return all
	}
	put := func(parameters map[string]any) (*actions.Request, *conductor, error) {
		parameters["node"] = "taint-a"
		req, con := c.request("taint_node", parameters)
		_, err := c.execute(req)
		return req, con, err
	}
	gpu, con, err := put(map[string]any{"key": "gpu", "effect": "NoSchedule", "value": "yes"})
	require.NoError(t, err)
	_, _, err = put(map[string]any{"key": "team", "effect": "PreferNoSchedule"})
	require.NoError(t, err)
	require.Equal(t, []string{"gpu=yes:NoSchedule", "team:PreferNoSchedule"}, have())
	_, _, err = put(map[string]any{"key": "gpu", "effect": "NoSchedule", "value": "no"})
	require.ErrorContains(t, err, "set overwrite to replace it")
	over, second, err := put(map[string]any{"key": "gpu", "effect": "NoSchedule", "value": "no", "overwrite": true})
	require.NoError(t, err)
	require.ErrorIs(t, c.compensate(gpu, con.undo), actions.ErrDrift, "somebody gave it another value")
	require.NoError(t, c.compensate(over, second.undo))
	require.Equal(t, []string{"gpu=yes:NoSchedule", "team:PreferNoSchedule"}, have())

	off, third := c.request("untaint_node", map[string]any{"node": "taint-a", "key": "gpu"})
	p, err := c.preview(off)
	require.NoError(t, err)
	require.Equal(t, []string{`spec.taints.gpu:NoSchedule: {"effect":"NoSchedule","key":"gpu","value":"yes"} → unset`}, p.Change)
	_, err = c.execute(off)
	require.NoError(t, err)
	require.Equal(t, []string{"team:PreferNoSchedule"}, have())
	require.Equal(t, actions.OutcomeHappened, c.probe(off))
	require.NoError(t, c.compensate(off, third.undo))
	require.Equal(t, []string{"team:PreferNoSchedule", "gpu=yes:NoSchedule"}, have(), "what others set stays, where it is")
}

func TestAWorkloadIsRestartedOnceForAStep(t *testing.T) {
	c := newCluster(t)
	c.node("restart-a")
	c.deployment("web", 2, "")
	up, _ := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 2})
	_, err := c.execute(up)
	require.NoError(t, err)
	pods := func() (uids []string) {
		list, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		require.NoError(t, err)
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil {
				uids = append(uids, string(p.UID))
			}
		}
		return uids
	}
	before := pods()
	req, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "web", "stableFor": "1s"})
	require.Equal(t, actions.OutcomeDidNotHappen, c.probe(req))
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Equal(t, actions.Verified, p.Verdict)
	began := time.Now()
	r, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, "2 of 2 replicas are ready", r.Message)
	require.GreaterOrEqual(t, time.Since(began), time.Second, "it has to stay so")
	require.Equal(t, actions.OutcomeUnfinished, c.probe(req))
	after := pods()
	require.NotContains(t, after, before[0])
	require.NotContains(t, after, before[1])
	again, con := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "web", "stableFor": "1s"})
	_, err = c.execute(again)
	require.NoError(t, err)
	require.Nil(t, con.undo, "the same step restarts once")
	require.ElementsMatch(t, after, pods())

	c.patchDeployment("web", `{"spec":{"strategy":{"rollingUpdate":{"maxSurge":2}}}}`)
	one, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "web", "strategy": "one-at-a-time"})
	_, err = c.execute(one)
	require.ErrorContains(t, err, "replaces more than one pod at a time")
	_, err = c.client.AppsV1().Deployments(c.namespace).Patch(t.Context(), "web", "application/merge-patch+json", []byte(`{"spec":{"paused":true}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	one, _ = c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "web"})
	_, err = c.execute(one)
	require.ErrorContains(t, err, "is paused")
}

func TestARestartThatCrashLoopsFailsEarlyWithThePodsReason(t *testing.T) {
	c := newCluster(t)
	c.node("crash-a")
	c.deployment("bad", 1, "crash")
	req, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "bad"})
	began := time.Now()
	_, err := c.execute(req)
	require.ErrorContains(t, err, "container main of pod bad-")
	require.ErrorContains(t, err, "CrashLoopBackOff")
	require.Less(t, time.Since(began), 30*time.Second)
}

func TestADaemonSetIsRestartedAndOnDeleteIsRefused(t *testing.T) {
	c := newCluster(t)
	c.node("daemon-a")
	labels := map[string]string{"app": "agent"}
	spec := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}
	_, err := c.client.AppsV1().DaemonSets(c.namespace).Create(t.Context(), &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: spec}}, metav1.CreateOptions{})
	require.NoError(t, err)
	req, _ := c.request("restart_daemonset", map[string]any{"namespace": c.namespace, "daemonset": "agent", "stableFor": "1s"})
	r, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, "1 of 1 replicas are ready", r.Message)
	_, err = c.client.AppsV1().StatefulSets(c.namespace).Create(t.Context(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: spec,
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	set, _ := c.request("restart_statefulset", map[string]any{"namespace": c.namespace, "statefulset": "db"})
	_, err = c.execute(set)
	require.ErrorContains(t, err, "OnDelete")
}

func TestAConfigMapIsPatchedAndPutBack(t *testing.T) {
	c := newCluster(t)
	maps := c.client.CoreV1().ConfigMaps(c.namespace)
	former := map[string]string{"level": "info", "other": "stays", "a.properties": "x=1\ny=2\n"}
	_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: former}, metav1.CreateOptions{})
	require.NoError(t, err)
	d := c.deployment("reader", 0, "")
	d.Spec.Template.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
	d.ResourceVersion = ""
	_, err = c.client.AppsV1().Deployments(c.namespace).Update(t.Context(), d, metav1.UpdateOptions{})
	require.NoError(t, err)
	data := func() map[string]string {
		m, err := maps.Get(t.Context(), "settings", metav1.GetOptions{})
		require.NoError(t, err)
		return m.Data
	}
	req, con := c.request("patch_config_map", map[string]any{"namespace": c.namespace, "configMap": "settings", "patch": map[string]any{"level": "debug", "new.key": "1"}})
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Equal(t, []string{`data.level: (hidden) → "debug"`, `data.new.key: unset → "1"`}, p.Change)
	require.Equal(t, former, data())
	r, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, "its keys are set, and seen after a restart by Deployment reader", r.Message)
	require.Equal(t, map[string]string{"level": "debug", "other": "stays", "a.properties": "x=1\ny=2\n", "new.key": "1"}, data())
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, former, data(), "byte for byte")

	yes := true
	_, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "fixed"}, Immutable: &yes}, metav1.CreateOptions{})
	require.NoError(t, err)
	fixed, _ := c.request("patch_config_map", map[string]any{"namespace": c.namespace, "configMap": "fixed", "patch": map[string]any{"a": "b"}})
	_, err = c.execute(fixed)
	require.ErrorContains(t, err, "is immutable")
}

func TestAnAutoscalerGetsOnlyTheGivenFields(t *testing.T) {
	c := newCluster(t)
	cpu, least := int32(80), int32(2)
	hpas := c.client.AutoscalingV2().HorizontalPodAutoscalers(c.namespace)
	made, err := hpas.Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "auto"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: &least, MaxReplicas: 5,
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu",
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &cpu}}}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	spec := func() autoscalingv2.HorizontalPodAutoscalerSpec {
		h, err := hpas.Get(t.Context(), "auto", metav1.GetOptions{})
		require.NoError(t, err)
		return h.Spec
	}
	req, con := c.request("update_hpa", map[string]any{"namespace": c.namespace, "hpa": "auto", "maxReplicas": 8, "targetCPUUtilization": 60, "targetMemoryUtilization": 70})
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Equal(t, []string{"spec.maxReplicas: 5 → 8", "utilization.cpu: 80 → 60", "utilization.memory: unset → 70"}, p.Change)
	require.Equal(t, made.Spec, spec())
	_, err = c.execute(req)
	require.NoError(t, err)
	require.EqualValues(t, 8, spec().MaxReplicas)
	require.EqualValues(t, 2, *spec().MinReplicas)
	require.Len(t, spec().Metrics, 2)
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, made.Spec, spec())
	low, _ := c.request("update_hpa", map[string]any{"namespace": c.namespace, "hpa": "auto", "minReplicas": 9})
	_, err = c.execute(low)
	require.ErrorContains(t, err, "at least 9 and at most 5 replicas")
}

func TestPartsOfANetworkPolicyAreReplaced(t *testing.T) {
	c := newCluster(t)
	policies := c.client.NetworkingV1().NetworkPolicies(c.namespace)
	made, err := policies.Create(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web", "tier": "front"}},
			PolicyTypes: []networkingv1.PolicyType{"Ingress"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	spec := func() networkingv1.NetworkPolicySpec {
		p, err := policies.Get(t.Context(), "web", metav1.GetOptions{})
		require.NoError(t, err)
		return p.Spec
	}
	rules := map[string]any{"podSelector": map[string]any{"matchLabels": map[string]any{"app": "api"}},
		"ingress": []any{map[string]any{"from": []any{map[string]any{"podSelector": map[string]any{}}}}}}
	req, con := c.request("update_network_policy", map[string]any{"namespace": c.namespace, "networkPolicy": "web", "rules": rules})
	_, err = c.preview(req)
	require.NoError(t, err)
	require.Equal(t, made.Spec, spec())
	_, err = c.execute(req)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"app": "api"}, spec().PodSelector.MatchLabels, "replaced, not merged")
	require.Len(t, spec().Ingress, 1)
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, made.Spec, spec())

	for _, wrong := range []map[string]any{{"spec": "x"}, {"ingress": []any{map[string]any{"form": []any{}}}}} {
		bad, begun := c.request("update_network_policy", map[string]any{"namespace": c.namespace, "networkPolicy": "web", "rules": wrong})
		_, err = c.preview(bad)
		require.Error(t, err, "%v", wrong)
		require.False(t, actions.IsTransient(err))
		require.Zero(t, begun.begun)
	}
	require.Equal(t, made.Spec, spec())
}

func TestAWorkloadThatChangedAMomentAgoIsCheckedAgain(t *testing.T) {
	c := newCluster(t)
	c.node("moment-a")
	for i := range 3 { // whether the watch that the first restart opened is behind is a matter of luck
		name := fmt.Sprintf("web-%d", i)
		c.deployment(name, 1, "")
		first, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": name, "stableFor": "1s"})
		_, err := c.execute(first)
		require.NoError(t, err)
		c.patchDeployment(name, `{"spec":{"paused":true}}`)
		again, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": name, "stableFor": "1s"})
		again.Task.Step = "again"
		_, err = c.execute(again)
		require.ErrorContains(t, err, "is paused")
		require.False(t, actions.IsTransient(err))
	}
}

func TestAWatchThatIsOpenIsNotAskedTwice(t *testing.T) {
	c := newCluster(t)
	c.node("twice-a")
	c.deployment("web", 1, "")
	config := configOf(t, controlplane.Admin)
	var gets atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/deployments/web") {
				gets.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	k, err := kube.New(config, kube.Options{})
	require.NoError(t, err)
	defer k.Close()
	restart, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "web", "stableFor": "1s"})
	_, err = k.Handlers()["rolling_restart_pods"].Execute(t.Context(), restart)
	require.NoError(t, err)
	asked := gets.Load()
	up, con := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 2})
	_, err = k.Handlers()["scale_deployment"].Execute(t.Context(), up)
	require.NoError(t, err)
	require.Equal(t, asked, gets.Load(), "the watch of the restart shows it")
	require.EqualValues(t, 2, c.size("web"))
	require.NoError(t, k.Handlers()["scale_deployment"].(actions.Compensator).Compensate(t.Context(), up, con.undo))
	require.EqualValues(t, 1, c.size("web"), "what was written a moment ago is taken back, whatever the watch shows")
}
