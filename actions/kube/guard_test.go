package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/actions/sealed"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/schema"
)

// as is the same cluster under other options, and perhaps as another user.
func (c *cluster) as(user string, o kube.Options) *cluster {
	c.Helper()
	k, err := kube.New(configOf(c.T, user), o)
	require.NoError(c, err)
	c.Cleanup(k.Close)
	other := *c
	other.handlers = k.Handlers()
	return &other
}

func TestAMissingRightIsSaidBeforeAnythingHappens(t *testing.T) {
	c := newCluster(t)
	c.node("rights-a")
	c.deployment("web", 1, "")
	req, con := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 2})
	bob := c.as("bob", kube.Options{})
	_, err := bob.preview(req)
	require.ErrorContains(t, err, "the runner lacks rights: ")
	require.ErrorContains(t, err, "patch deployments/scale.apps/web in namespace "+c.namespace)
	require.ErrorContains(t, err, "list horizontalpodautoscalers.autoscaling in namespace "+c.namespace)
	require.False(t, actions.IsTransient(err))
	require.Zero(t, con.begun)

	role, err := kube.Roles("remedy", kube.Rights(req.Task))
	require.NoError(t, err)
	var r rbacv1.Role
	require.NoError(t, yaml.UnmarshalStrict(role, &r))
	_, err = c.client.RbacV1().Roles(c.namespace).Create(t.Context(), &r, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = c.client.RbacV1().RoleBindings(c.namespace).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "remedy"},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "remedy"}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "bob"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err = bob.preview(req); return err == nil }, eventually, tick, "%v", err)
	_, err = bob.execute(req)
	require.NoError(t, err, "the printed role is enough to carry it out")
	require.NoError(t, bob.compensate(req, con.undo), "and to undo it")
	require.EqualValues(t, 1, c.size("web"))
}

func TestTheRoleOfAPlanHasNothingMore(t *testing.T) {
	scale := &actions.Task{Action: "scale_deployment", Target: schema.Target{Kind: "Deployment", Namespace: "shop", Name: "web"}}
	cordon := &actions.Task{Action: "cordon_node", Target: schema.Target{Kind: "Node", Name: "worker-3"}}
	silence := &actions.Task{Action: "silence_alerts"}
	data, err := kube.Roles("remedy", kube.Rights(scale, cordon, silence, scale))
	require.NoError(t, err)
	require.Equal(t, strings.TrimLeft(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: remedy
rules:
- apiGroups:
  - ""
  resourceNames:
  - worker-3
  resources:
  - nodes
  verbs:
  - get
  - patch
- apiGroups:
  - ""
  resources:
  - nodes
  verbs:
  - list
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: remedy
  namespace: default
rules:
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: remedy
  namespace: shop
rules:
- apiGroups:
  - ""
  resources:
  - pods
  verbs:
  - list
  - watch
- apiGroups:
  - apps
  resourceNames:
  - web
  resources:
  - deployments
  verbs:
  - get
- apiGroups:
  - apps
  resources:
  - deployments
  verbs:
  - list
  - watch
- apiGroups:
  - apps
  resourceNames:
  - web
  resources:
  - deployments/scale
  verbs:
  - patch
- apiGroups:
  - apps
  resources:
  - replicasets
  verbs:
  - get
- apiGroups:
  - autoscaling
  resources:
  - horizontalpodautoscalers
  verbs:
  - list
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
`, "\n"), string(data))
}

// An asker of the site's needs no right of the cluster's.
type siteAsker struct{}

func (siteAsker) Ask(context.Context, string, string, string) (int, error) { return 200, nil }

func TestOnlyTheRightsOfTheWayThatIsSetUpAreNeeded(t *testing.T) {
	c := newCluster(t)
	c.node("way-a")
	c.ready("web")
	c.service("web", map[string]string{"app": "web"})
	req, _ := c.request("health_check", map[string]any{"namespace": c.namespace, "service": "web", "endpoint": "/health"})
	require.Contains(t, fmt.Sprint(kube.Rights(req.Task)), "services/proxy")
	bob := c.as("bob", kube.Options{Asker: siteAsker{}})
	_, err := bob.preview(req)
	require.NoError(t, err, "the site asks in its own way, which needs no right of the cluster")
	ann := c.as("ann", kube.Options{})
	_, err = ann.preview(req)
	require.ErrorContains(t, err, "get services/proxy in namespace "+c.namespace)
	well := c.as(controlplane.Admin, kube.Options{Asker: siteAsker{}})
	r, err := well.execute(req)
	require.NoError(t, err)
	require.Equal(t, true, r.Outputs["healthy"])
}

func TestTheRunnerIsNotHarmed(t *testing.T) {
	c := newCluster(t)
	c.node("self-a")
	c.node("self-b")
	c.deployment("remedy", 1, "")
	up, _ := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "remedy", "replicas": 1})
	_, err := c.execute(up)
	require.NoError(t, err)
	pods, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	own := pods.Items[0]
	environment := map[string]string{"POD_NAMESPACE": c.namespace, "POD_NAME": own.Name, "NODE_NAME": own.Spec.NodeName}
	self := kube.SelfFromEnv(func(name string) string { return environment[name] })
	self.Keep = []schema.Target{{Kind: "ConfigMap", Namespace: c.namespace, Name: "approvals"}}
	runner := c.as(controlplane.Admin, kube.Options{Self: self})
	for action, parameters := range map[string]map[string]any{
		"scale_deployment":     {"namespace": c.namespace, "deployment": "remedy", "replicas": 0},
		"rolling_restart_pods": {"namespace": c.namespace, "deployment": "remedy"},
		"taint_node":           {"node": own.Spec.NodeName, "key": "k", "effect": "NoExecute"},
		"patch_config_map":     {"namespace": c.namespace, "configMap": "approvals", "patch": map[string]any{"a": "b"}},
	} {
		req, con := c.request(action, parameters)
		_, err := runner.execute(req)
		require.Error(t, err, action)
		require.Regexp(t, "the runner itself|to be left alone", err.Error())
		require.False(t, actions.IsTransient(err))
		_, dry := runner.preview(req)
		require.EqualError(t, dry, err.Error(), "the dry run says it first")
		require.Zero(t, con.begun)
	}
	fine, _ := c.request("taint_node", map[string]any{"node": own.Spec.NodeName, "key": "k", "effect": "NoSchedule"})
	_, err = runner.execute(fine)
	require.NoError(t, err)
}

func TestAnEventOnTheObjectTellsWhatWasDone(t *testing.T) {
	c := newCluster(t)
	c.node("event-a")
	d := c.deployment("web", 1, "")
	req, con := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 2})
	_, err := c.execute(req)
	require.NoError(t, err)
	require.NoError(t, c.compensate(req, con.undo))
	list, err := c.client.EventsV1().Events(c.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "regarding.uid=" + string(d.UID) + ",reportingController=remedykit.github.io/remedy"})
	require.NoError(t, err)
	told := map[string]string{}
	for _, e := range list.Items {
		told[e.Reason] = e.Action + ": " + e.Note
	}
	require.Equal(t, map[string]string{
		"Remedied":     "scale_deployment: run r, step s: 2 of 2 replicas are ready",
		"RemedyUndone": "scale_deployment: run r, step s: undone",
	}, told)
}

func TestWhatGitWritesIsChangedThere(t *testing.T) {
	c := newCluster(t)
	c.node("git-a")
	for name, patch := range map[string]string{
		"flux": `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"apps","kustomize.toolkit.fluxcd.io/namespace":"flux-system"}}}`,
		"helm": `{"metadata":{"labels":{"helm.toolkit.fluxcd.io/name":"apps","helm.toolkit.fluxcd.io/namespace":"flux-system"}}}`,
		"argo": `{"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"shop:apps/Deployment:x/argo"}}}`,
	} {
		c.deployment(name, 1, "")
		_, err := c.client.AppsV1().Deployments(c.namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err)
		restart, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": name, "stableFor": "1s"})
		p, err := c.preview(restart)
		require.NoError(t, err)
		require.Contains(t, p.Change[len(p.Change)-1], "writes it from git, and may change it back")
		r, err := c.execute(restart)
		require.NoError(t, err)
		require.Contains(t, r.Message, "may change it back")
	}
	m, err := c.client.CoreV1().ConfigMaps(c.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings",
		Labels: map[string]string{"argocd.argoproj.io/instance": "shop"}}, Data: map[string]string{"a": "b"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	patch, con := c.request("patch_config_map", map[string]any{"namespace": c.namespace, "configMap": "settings", "patch": map[string]any{"a": "c"}})
	_, err = c.execute(patch)
	require.ErrorContains(t, err, "is written from git by Argo CD's Application shop, which would change it back: change it there, as update_git_manifests does")
	require.Zero(t, con.begun)
	m.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps"}
	m.Annotations = map[string]string{"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}
	_, err = c.client.CoreV1().ConfigMaps(c.namespace).Update(t.Context(), m, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = c.execute(patch)
	require.NoError(t, err, "Flux was told to leave it alone")
}

func TestFormerValuesAreSealed(t *testing.T) {
	c := newCluster(t)
	store, err := sealed.Folder(t.TempDir(), []byte(strings.Repeat("k", sealed.KeySize)))
	require.NoError(t, err)
	for name, inCluster := range map[string]*cluster{"secret": c, "folder": c.as(controlplane.Admin, kube.Options{Sealed: store})} {
		configMaps := c.client.CoreV1().ConfigMaps(c.namespace)
		_, err := configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"password": "hunter2"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		req, con := c.request("patch_config_map", map[string]any{"namespace": c.namespace, "configMap": name, "patch": map[string]any{"password": "new"}})
		req.Task.Step = name
		p, err := inCluster.preview(req)
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprint(p.Change), "hunter2")
		_, err = inCluster.execute(req)
		require.NoError(t, err)
		kept, err := json.Marshal(con.undo)
		require.NoError(t, err)
		require.NotContains(t, string(kept), "hunter2", "it goes into the journal")
		var undo actions.Undo
		require.NoError(t, json.Unmarshal(kept, &undo))
		forged := undo
		forged.State = map[string]any{"uid": undo.State["uid"], "sealed": undo.State["sealed"], "sha256": "00"}
		require.ErrorContains(t, inCluster.compensate(req, &forged), "is not what the journal knows")
		require.NoError(t, inCluster.compensate(req, &undo))
		m, err := configMaps.Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, "hunter2", m.Data["password"])
		secrets, err := c.client.CoreV1().Secrets(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=remedy"})
		require.NoError(t, err)
		if name == "secret" {
			require.Len(t, secrets.Items, 1)
			require.Equal(t, m.UID, secrets.Items[0].OwnerReferences[0].UID, "it goes with the config map")
			require.NoError(t, c.client.CoreV1().Secrets(c.namespace).Delete(t.Context(), secrets.Items[0].Name, metav1.DeleteOptions{}))
			require.ErrorContains(t, inCluster.compensate(req, &undo), "does not exist")
		} else {
			require.Empty(t, secrets.Items)
			require.ErrorContains(t, c.compensate(req, &undo), "give the Cluster the Store that it was sealed with")
		}
	}
}

// readers makes a config map and deployments that read it, and returns a request that patches it.
func (c *cluster) readers(names ...string) (patch *actions.Request, con *conductor) {
	c.Helper()
	_, err := c.client.CoreV1().ConfigMaps(c.namespace).Create(c.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"a": "1"}}, metav1.CreateOptions{})
	require.NoError(c, err)
	for _, name := range names {
		c.deployment(name, 1, "")
		c.patchDeployment(name, `{"spec":{"template":{"spec":{"containers":[{"name":"main","envFrom":[{"configMapRef":{"name":"settings"}}]}]}}}}`)
		c.settled(name)
	}
	return c.request("patch_config_map", map[string]any{"namespace": c.namespace, "configMap": "settings", "patch": map[string]any{"a": "2"}})
}

func (c *cluster) template(name string) corev1.PodTemplateSpec {
	c.Helper()
	d, err := c.client.AppsV1().Deployments(c.namespace).Get(c.Context(), name, metav1.GetOptions{})
	require.NoError(c, err)
	return d.Spec.Template
}

func TestUndoingAConfigMapRestartsWhoHasReadIt(t *testing.T) {
	c := newCluster(t)
	c.node("reader-a")
	patch, con := c.readers("reader")
	c.deployment("bystander", 1, "")
	c.settled("bystander")
	_, err := c.execute(patch)
	require.NoError(t, err)
	roll, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "reader", "stableFor": "1s"})
	_, err = c.execute(roll)
	require.NoError(t, err)
	before, other := c.template("reader").Annotations, c.template("bystander")
	require.NoError(t, c.compensate(patch, con.undo))
	require.NotEqual(t, before, c.template("reader").Annotations, "its pods still had the value that was taken back")
	require.Equal(t, other, c.template("bystander"))
	after := c.template("reader")
	require.NoError(t, c.compensate(patch, con.undo))
	require.Equal(t, after, c.template("reader"), "undone twice, restarted once")
}

func TestUndoingAConfigMapLeavesTheRunnerThatReadItToAPerson(t *testing.T) {
	c := newCluster(t)
	c.node("own-reader-a")
	patch, con := c.readers("remedy", "reader")
	runner := c.as(controlplane.Admin, kube.Options{Self: kube.Self{Namespace: c.namespace, Pod: c.podsOf("remedy")[0].Name}})
	_, err := runner.execute(patch)
	require.NoError(t, err)
	own, other := c.template("remedy"), c.template("reader")
	err = runner.compensate(patch, con.undo)
	require.ErrorContains(t, err, "has to be restarted by hand: Deployment "+c.namespace+"/remedy is the runner itself")
	require.False(t, actions.IsTransient(err))
	require.Equal(t, own, c.template("remedy"))
	require.NotEqual(t, other, c.template("reader"), "the others are restarted all the same")
	m, err := c.client.CoreV1().ConfigMaps(c.namespace).Get(t.Context(), "settings", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1"}, m.Data)
}

func TestUndoingAConfigMapRestartsWhoseContainerWasStartedAgain(t *testing.T) {
	c := newCluster(t)
	c.node("again-a")
	patch, con := c.readers("crashed", "steady")
	restarts := func(name string) string { return c.template(name).Annotations["kubectl.kubernetes.io/restartedAt"] }
	_, err := c.execute(patch)
	require.NoError(t, err)
	// As if both pods were made an hour before the patch, and the container of one had ended and was started again after it.
	at, err := time.Parse(time.RFC3339, con.undo.State["at"].(string))
	require.NoError(t, err)
	con.undo.State["at"] = at.Add(time.Hour).Format(time.RFC3339)
	pods, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=crashed"})
	require.NoError(t, err)
	for i := range pods.Items {
		status := fmt.Appendf(nil, `{"status":{"containerStatuses":[{"name":"main","image":"nothing","imageID":"","ready":true,"restartCount":1,"state":{"running":{"startedAt":%q}}}]}}`, at.Add(time.Hour+time.Minute).Format(time.RFC3339))
		_, err := c.client.CoreV1().Pods(c.namespace).Patch(t.Context(), pods.Items[i].Name, types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status")
		require.NoError(t, err)
	}
	require.NoError(t, c.compensate(patch, con.undo))
	require.NotEmpty(t, restarts("crashed"), "it was started again with the value that was taken back")
	require.Empty(t, restarts("steady"))
}

func TestTwoHundredRolloutsShareTheirWatches(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	c := newCluster(t)
	c.node("many-a")
	c.node("many-b")
	config, counted := counting(configOf(t, controlplane.Admin))
	k, err := kube.New(config, kube.Options{QPS: 500, Burst: 1000})
	require.NoError(t, err)
	defer k.Close()
	const n = 200
	for i := range n {
		c.deployment(fmt.Sprintf("web-%d", i), 0, "")
	}
	errs := make(chan error, n)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range n {
		req, _ := c.request("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": fmt.Sprintf("web-%d", i), "replicas": 1})
		go func() {
			_, err := k.Handlers()["scale_deployment"].Execute(ctx, req)
			errs <- err
		}()
	}
	for range n {
		require.NoError(t, <-errs)
	}
	watches := counted.Load()
	require.LessOrEqual(t, watches, int64(4), "deployments and pods, perhaps begun again")
	require.Positive(t, watches)
	t.Logf("%d rollouts, %d watches", n, watches)
}

func TestAClosedClusterWaitsForNothing(t *testing.T) {
	c := newCluster(t)
	c.deployment("web", 0, "")
	k, err := kube.New(configOf(t, controlplane.Admin), kube.Options{})
	require.NoError(t, err)
	k.Close()
	req, _ := c.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "web"})
	_, err = k.Handlers()["rolling_restart_pods"].Execute(t.Context(), req)
	require.ErrorContains(t, err, "the Cluster is closed")
}

func (c *cluster) patchDeployment(name, patch string) {
	c.Helper()
	_, err := c.client.AppsV1().Deployments(c.namespace).Patch(c.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(c, err)
}

// settled waits until a deployment has rolled out.
func (c *cluster) settled(name string) *appsv1.Deployment {
	c.Helper()
	w, err := c.client.AppsV1().Deployments(c.namespace).Watch(c.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(c, err)
	defer w.Stop()
	for e := range w.ResultChan() {
		d := e.Object.(*appsv1.Deployment)
		if s := d.Status; s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == *d.Spec.Replicas && s.AvailableReplicas == *d.Spec.Replicas && s.Replicas == *d.Spec.Replicas {
			return d
		}
	}
	require.NoError(c, errors.Join(context.Cause(c.Context()), errors.New("the watch ended")))
	return nil
}
