package kube_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/remedykit/remedy/actions"
)

func (c *cluster) podsOf(app string) []corev1.Pod {
	c.Helper()
	list, err := c.client.CoreV1().Pods(c.namespace).List(c.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	require.NoError(c, err)
	var alive []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			alive = append(alive, p)
		}
	}
	return alive
}

func (c *cluster) statefulSet(name string, size int32) {
	c.Helper()
	labels := map[string]string{"app": name}
	_, err := c.client.AppsV1().StatefulSets(c.namespace).Create(c.Context(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.StatefulSetSpec{Replicas: &size, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}}}, metav1.CreateOptions{})
	require.NoError(c, err)
	up, _ := c.request("scale_statefulset", map[string]any{"namespace": c.namespace, "statefulset": name, "replicas": size})
	_, err = c.execute(up)
	require.NoError(c, err)
}

func (c *cluster) service(name string, selector map[string]string) {
	c.Helper()
	_, err := c.client.CoreV1().Services(c.namespace).Create(c.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}, metav1.CreateOptions{})
	require.NoError(c, err)
}

func TestAPodIsRestartedByItsOwner(t *testing.T) {
	c := newCluster(t)
	c.node("pod-a")
	c.ready("web")
	c.statefulSet("db", 1)
	for _, app := range []string{"web", "db"} {
		old := c.podsOf(app)[0]
		req, con := c.request("restart_pod", map[string]any{"namespace": c.namespace, "pod": old.Name, "gracePeriodSeconds": 1})
		p, err := c.preview(req)
		require.NoError(t, err)
		require.Equal(t, actions.Verified, p.Verdict)
		require.Equal(t, old.UID, c.podsOf(app)[0].UID)
		r, err := c.execute(req)
		require.NoError(t, err)
		fresh := c.podsOf(app)[0]
		require.NotEqual(t, old.UID, fresh.UID)
		require.Equal(t, "pod "+fresh.Name+" is ready in its place", r.Message)
		req.Begun = con.undo
		require.Equal(t, actions.OutcomeUnfinished, c.probe(req), "also where the new one has the same name")
		req.Begun = &actions.Undo{State: map[string]any{"uid": string(fresh.UID)}}
		if app == "db" {
			require.Equal(t, actions.OutcomeDidNotHappen, c.probe(req))
		}
		req.Begun = nil
		require.Equal(t, actions.OutcomeDidNotHappen, c.probe(req))
	}
	rolling, _ := c.request("restart_pod", map[string]any{"namespace": c.namespace, "deployment": "web", "stableFor": "1s"})
	old := c.podsOf("web")[0].UID
	_, err := c.execute(rolling)
	require.NoError(t, err)
	require.NotEqual(t, old, c.podsOf("web")[0].UID, "with a workload all of its pods are restarted")

	_, err = c.client.CoreV1().Pods(c.namespace).Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	bare, con := c.request("restart_pod", map[string]any{"namespace": c.namespace, "pod": "bare"})
	_, err = c.execute(bare)
	require.ErrorContains(t, err, "belongs to nothing that would make it again")
	require.Zero(t, con.begun)
	missing, _ := c.request("restart_pod", map[string]any{"namespace": c.namespace, "pod": "none"})
	_, err = c.execute(missing)
	require.ErrorContains(t, err, "does not exist")

	c.deployment("bad", 1, "")
	c.settled("bad")
	c.patchDeployment("bad", `{"spec":{"paused":true}}`)
	victim := c.podsOf("bad")[0]
	sets, err := c.client.AppsV1().ReplicaSets(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=bad"})
	require.NoError(t, err)
	_, err = c.client.AppsV1().ReplicaSets(c.namespace).Patch(t.Context(), sets.Items[0].Name, types.MergePatchType, []byte(`{"spec":{"template":{"metadata":{"annotations":{"remedy.test/pod":"crash"}}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	req, _ := c.request("restart_pod", map[string]any{"namespace": c.namespace, "pod": victim.Name, "gracePeriodSeconds": 1})
	_, err = c.execute(req)
	require.ErrorContains(t, err, "what replaces it cannot run")
	require.ErrorContains(t, err, "CrashLoopBackOff")
}

func (c *cluster) budget(name string, labels map[string]string, atLeast int) {
	c.Helper()
	n := intstr.FromInt32(int32(atLeast))
	_, err := c.client.PolicyV1().PodDisruptionBudgets(c.namespace).Create(c.Context(), &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &n, Selector: &metav1.LabelSelector{MatchLabels: labels}}}, metav1.CreateOptions{})
	require.NoError(c, err)
	require.Eventually(c, func() bool {
		b, err := c.client.PolicyV1().PodDisruptionBudgets(c.namespace).Get(c.Context(), name, metav1.GetOptions{})
		return err == nil && b.Status.ObservedGeneration == b.Generation && b.Status.ExpectedPods > 0
	}, eventually, tick)
}

func (c *cluster) cordonedNode(name string) bool {
	c.Helper()
	n, err := c.client.CoreV1().Nodes().Get(c.Context(), name, metav1.GetOptions{})
	require.NoError(c, err)
	return n.Spec.Unschedulable
}

func TestANodeIsDrainedAndUncordonedAgain(t *testing.T) {
	c := newCluster(t)
	c.node("drain-a")
	c.deployment("web", 3, "")
	c.settled("web")
	c.statefulSet("db", 1)
	c.node("drain-b") // where they go
	req, con := c.request("drain_node", map[string]any{"node": "drain-a"})
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Equal(t, actions.Verified, p.Verdict)
	require.Len(t, p.Change, 5, p.Change)
	require.False(t, c.cordonedNode("drain-a"))
	r, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, "4 pods left drain-a", r.Message)
	require.True(t, c.cordonedNode("drain-a"))
	for _, pod := range append(c.podsOf("web"), c.podsOf("db")...) {
		require.NotEqual(t, "drain-a", pod.Spec.NodeName)
	}
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeHappened, c.probe(req))
	again, second := c.request("drain_node", map[string]any{"node": "drain-a"})
	again.Task.Step = "another"
	_, err = c.execute(again)
	require.NoError(t, err)
	require.NoError(t, c.compensate(again, second.undo))
	require.True(t, c.cordonedNode("drain-a"), "somebody else had cordoned it")
	require.NoError(t, c.compensate(req, con.undo))
	require.False(t, c.cordonedNode("drain-a"))
}

func TestADisruptionBudgetIsWaitedForAndNamed(t *testing.T) {
	c := newCluster(t)
	c.node("budget-a")
	c.deployment("web", 2, "")
	c.settled("web")
	c.node("budget-b")
	c.budget("keep-two", map[string]string{"app": "web"}, 2)
	req, con := c.request("drain_node", map[string]any{"node": "budget-a"})
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Contains(t, strings.Join(p.Change, "\n"), "which PodDisruptionBudget "+c.namespace+"/keep-two holds back now")
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	_, err = c.handlers["drain_node"].Execute(ctx, req)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "PodDisruptionBudget "+c.namespace+"/keep-two lets it go when more pods are healthy")
	require.True(t, c.cordonedNode("budget-a"))
	require.Len(t, c.podsOf("web"), 2)
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeUnfinished, c.probe(req), "draining can go on")

	done := make(chan error, 1)
	go func() { _, err := c.execute(req); done <- err }()
	c.patchBudget("keep-two", `{"spec":{"minAvailable":1}}`)
	require.NoError(t, <-done)
	for _, pod := range c.podsOf("web") {
		require.Equal(t, "budget-b", pod.Spec.NodeName)
	}
	back, _ := c.request("uncordon_node", map[string]any{"node": "budget-a"})
	_, err = c.execute(back)
	require.NoError(t, err)
	c.budget("another", map[string]string{"app": "web"}, 1)
	other, none := c.request("drain_node", map[string]any{"node": "budget-b"})
	_, err = c.preview(other)
	require.ErrorContains(t, err, "another and "+c.namespace+"/keep-two cover it, and only one may")
	require.Zero(t, none.begun)
	_, err = c.execute(other)
	require.ErrorContains(t, err, "cover it, and only one may")
}

func (c *cluster) patchBudget(name, patch string) {
	c.Helper()
	_, err := c.client.PolicyV1().PodDisruptionBudgets(c.namespace).Patch(c.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(c, err)
}

func TestPodsThatMustNotLeaveAreNamedTogether(t *testing.T) {
	c := newCluster(t)
	c.node("stay-a")
	spec := corev1.PodSpec{NodeName: "stay-a", Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}
	_, err := c.client.CoreV1().Pods(c.namespace).Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare"}, Spec: spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.deployment("keeps", 1, "")
	c.patchDeployment("keeps", `{"spec":{"template":{"spec":{"volumes":[{"name":"v","emptyDir":{}}]}}}}`)
	c.settled("keeps")
	labels := map[string]string{"app": "agent"}
	_, err = c.client.AppsV1().DaemonSets(c.namespace).Create(t.Context(), &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "agent"}, Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: spec.Containers}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(c.podsOf("agent")) == 1 }, eventually, tick)
	c.node("stay-b")
	req, con := c.request("drain_node", map[string]any{"node": "stay-a", "ignoreDaemonSets": false})
	_, err = c.execute(req)
	for _, want := range []string{"/bare belongs to nothing that would make it again (force)", "keeps data in an emptyDir (deleteEmptyDirData)", "belongs to a DaemonSet"} {
		require.ErrorContains(t, err, want)
	}
	require.Zero(t, con.begun)
	require.False(t, c.cordonedNode("stay-a"))
	forced, _ := c.request("drain_node", map[string]any{"node": "stay-a", "force": true, "deleteEmptyDirData": true})
	r, err := c.execute(forced)
	require.NoError(t, err)
	require.Equal(t, "2 pods left stay-a", r.Message)
	require.NotEmpty(t, c.podsOf("agent"), "the daemon set's stays")
	bad, _ := c.request("drain_node", map[string]any{"node": "stay-a", "podSelector": "a in (b"})
	_, err = c.execute(bad)
	require.ErrorContains(t, err, "podSelector: ")
}

func TestThousandPodsLeaveTheirNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	c := newCluster(t)
	const nodes, each = 20, 50
	for i := range nodes {
		c.node(fmt.Sprintf("many-%02d", i))
	}
	c.deployment("web", nodes*each, "")
	c.settled("web")
	on := map[string]int{}
	for _, p := range c.podsOf("web") {
		on[p.Spec.NodeName]++
	}
	began := time.Now()
	errs := make(chan error, nodes/2)
	for i := range nodes / 2 {
		req, _ := c.request("drain_node", map[string]any{"node": fmt.Sprintf("many-%02d", i)})
		go func() { _, err := c.execute(req); errs <- err }()
	}
	for range nodes / 2 {
		require.NoError(t, <-errs)
	}
	t.Logf("half of %d pods left their nodes in %v", nodes*each, time.Since(began))
	c.settled("web")
	for _, p := range c.podsOf("web") {
		require.GreaterOrEqual(t, p.Spec.NodeName, "many-10")
	}
}

func TestAPodIsKeptApartAndReleased(t *testing.T) {
	c := newCluster(t)
	c.node("apart-a")
	c.ready("web")
	c.service("web", map[string]string{"app": "web"})
	pod := c.podsOf("web")[0]
	inService := func() bool {
		list, err := c.client.DiscoveryV1().EndpointSlices(c.namespace).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, s := range list.Items {
			for _, e := range s.Endpoints {
				if e.TargetRef != nil && e.TargetRef.UID == pod.UID {
					return true
				}
			}
		}
		return false
	}
	require.Eventually(t, inService, eventually, tick)
	req, con := c.request("quarantine_pod", map[string]any{"namespace": c.namespace, "pod": pod.Name})
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Contains(t, strings.Join(p.Change, "\n"), `metadata.labels.app: "web" → unset`)
	require.True(t, inService())
	r, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, pod.Name+" is in quarantine, and out of its services", r.Message)
	require.False(t, inService())
	policies, err := c.client.NetworkingV1().NetworkPolicies(c.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, policies.Items, 1)
	require.Equal(t, pod.UID, policies.Items[0].OwnerReferences[0].UID)
	require.Eventually(t, func() bool { return len(c.podsOf("web")) == 1 && c.podsOf("web")[0].UID != pod.UID }, eventually, tick, "its owner makes another")
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeUnfinished, c.probe(req))
	require.NoError(t, c.compensate(req, con.undo))
	policies, err = c.client.NetworkingV1().NetworkPolicies(c.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, policies.Items)
	require.Eventually(t, func() bool { return len(c.podsOf("web")) == 1 }, eventually, tick, "of the two, one is too many")
}

func TestAVolumeGrows(t *testing.T) {
	c := newCluster(t)
	yes := true
	for name, allow := range map[string]*bool{c.namespace + "-grows": &yes, c.namespace + "-fixed": nil} {
		_, err := c.client.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: "test", AllowVolumeExpansion: allow}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	claims := c.client.CoreV1().PersistentVolumeClaims(c.namespace)
	claim := func(name, class string) {
		size := corev1.ResourceList{"storage": mustQuantity("1Gi")}
		_, err := c.client.CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: c.namespace + "-" + name}, Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, StorageClassName: class, PersistentVolumeReclaimPolicy: "Retain",
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "test", VolumeHandle: name}}}}, metav1.CreateOptions{})
		require.NoError(t, err)
		_, err = claims.Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class,
			VolumeName: c.namespace + "-" + name, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, Resources: corev1.VolumeResourceRequirements{Requests: size}}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			p, err := claims.Get(t.Context(), name, metav1.GetOptions{})
			return err == nil && p.Status.Phase == corev1.ClaimBound
		}, eventually, tick)
	}
	claim("data", c.namespace+"-grows")
	claim("stuck", c.namespace+"-fixed")
	req, con := c.request("expand_pvc", map[string]any{"namespace": c.namespace, "pvc": "data", "size": "2048Mi"})
	p, err := c.preview(req)
	require.NoError(t, err)
	requirePreview(t, &actions.Preview{Verdict: actions.Verified, Change: []string{`spec.resources.requests.storage: "1Gi" → "2Gi"`}}, p)
	done := make(chan error, 1)
	go func() { _, err := c.execute(req); done <- err }()
	// The test plays the CSI resizer.
	require.Eventually(t, func() bool {
		p, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
		return err == nil && p.Spec.Resources.Requests.Storage().String() == "2Gi"
	}, eventually, tick)
	status := func(patch string) {
		_, err := claims.Patch(t.Context(), "data", types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
	}
	status(`{"status":{"capacity":{"storage":"2Gi"},"conditions":[{"type":"FileSystemResizePending","status":"True"}]}}`)
	select {
	case err := <-done:
		t.Fatal("the file system has not grown yet", err)
	case <-time.After(300 * time.Millisecond):
	}
	status(`{"status":{"conditions":null}}`)
	require.NoError(t, <-done)
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeUnfinished, c.probe(req))
	for want, parameters := range map[string]map[string]any{"cannot shrink to 1Gi": {"pvc": "data", "size": "1Gi"}, "does not allow expansion": {"pvc": "stuck", "size": "2Gi"}} {
		parameters["namespace"] = c.namespace
		bad, con := c.request("expand_pvc", parameters)
		_, err := c.execute(bad)
		require.ErrorContains(t, err, want)
		require.Zero(t, con.begun)
	}
}

func TestAWorkloadIsMovedToANodeAndFreedAgain(t *testing.T) {
	c := newCluster(t)
	c.node("move-a")
	c.deployment("web", 2, "")
	before := c.settled("web").Spec
	c.node("move-b")
	req, con := c.request("migrate_workload", map[string]any{"namespace": c.namespace, "deployment": "web", "targetNode": "move-b", "stableFor": "1s"})
	var err error
	require.Eventually(t, func() bool { _, err = c.preview(req); return err == nil }, eventually, tick, "a new node has a taint for a while: %v", err)
	require.Equal(t, before, c.spec("web"))
	r, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, "2 of 2 replicas are ready on move-b", r.Message)
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, before, c.spec("web"))

	taint, _ := c.request("taint_node", map[string]any{"node": "move-b", "key": "gpu", "effect": "NoSchedule"})
	for want, parameters := range map[string]map[string]any{
		"drain_node": {"targetNode": "move-b", "drainSource": true}, "Node nowhere does not exist": {"targetNode": "nowhere"},
		"has the taint gpu:NoSchedule": {"targetNode": "move-b"}, "migrate_workload is not configured": {"targetCluster": "eu-2"},
	} {
		if strings.HasPrefix(want, "has the taint") {
			_, err := c.execute(taint)
			require.NoError(t, err)
		}
		parameters["namespace"], parameters["deployment"] = c.namespace, "web"
		bad, con := c.request("migrate_workload", parameters)
		_, err := c.execute(bad)
		require.ErrorContains(t, err, want)
		require.Zero(t, con.begun)
	}
}

func TestHealthIsReportedAndAsAGateRequired(t *testing.T) {
	c := newCluster(t)
	c.node("health-a")
	c.ready("web")
	c.deployment("bad", 1, "crash")
	c.service("web", map[string]string{"app": "web"})
	c.service("bad", map[string]string{"app": "bad"})
	check := func(parameters map[string]any) (*actions.Result, error) {
		if _, given := parameters["namespace"]; !given {
			parameters["namespace"] = c.namespace
		}
		req, _ := c.request("health_check", parameters)
		req.Task.Namespaces = []string{c.namespace}
		return c.execute(req)
	}
	for _, well := range []map[string]any{{"deployment": "web"}, {"service": "web"}, {"pod": c.podsOf("web")[0].Name}, {"services": []any{"web"}}} {
		require.Eventually(t, func() bool {
			r, err := check(well)
			return err == nil && r.Outputs["healthy"] == true
		}, eventually, tick, "%v", well)
	}
	require.Eventually(t, func() bool {
		r, err := check(map[string]any{"deployment": "bad"})
		return err == nil && r.Outputs["healthy"] == false
	}, eventually, tick, "a diagnosis reports")
	require.Eventually(t, func() bool {
		r, err := check(map[string]any{"pod": c.podsOf("bad")[0].Name})
		return err == nil && strings.Contains(r.Message, "CrashLoopBackOff")
	}, eventually, tick)
	_, err := check(map[string]any{"service": "none"})
	require.ErrorContains(t, err, "does not exist")
	_, err = check(map[string]any{"deployment": "web", "endpoint": "/health"})
	require.ErrorContains(t, err, "kube.Options.Asker says how")

	verify, _ := c.request("verify_recovery", map[string]any{"namespace": c.namespace, "services": []any{"web"}, "stableFor": "2s"})
	began := time.Now()
	_, err = c.execute(verify)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	never, _ := c.request("verify_recovery", map[string]any{"namespace": c.namespace, "services": []any{"web", "bad"}, "stableFor": "1s"})
	_, err = c.handlers["verify_recovery"].Execute(ctx, never)
	require.ErrorContains(t, err, "Service "+c.namespace+"/bad: 0 of ")
}
