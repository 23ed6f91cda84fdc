package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/schema"
)

func (c *cluster) spec(name string) appsv1.DeploymentSpec {
	c.Helper()
	d, err := c.client.AppsV1().Deployments(c.namespace).Get(c.Context(), name, metav1.GetOptions{})
	require.NoError(c, err)
	return d.Spec
}

func TestResourcesAreRaisedAndPutBack(t *testing.T) {
	c := newCluster(t)
	c.node("raise-a")
	c.deployment("web", 1, "")
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","resources":{"limits":{"memory":"1Gi"},"requests":{"memory":"512Mi"}}},{"name":"side","image":"nothing"}]}}}}`)
	before := c.settled("web").Spec
	req, con := c.request("increase_resources", map[string]any{"namespace": c.namespace, "deployment": "web", "memory": "2048Mi", "stableFor": "1s"})
	p, err := c.preview(req)
	require.NoError(t, err)
	requirePreview(t, &actions.Preview{Verdict: actions.Verified, Change: []string{`spec.template.spec.containers.main.resources.limits.memory: "1Gi" → "2Gi"`}}, p)
	require.Equal(t, before, c.spec("web"))
	require.Equal(t, actions.OutcomeDidNotHappen, c.probe(req))
	_, err = c.execute(req)
	require.NoError(t, err)
	require.Equal(t, "2Gi", c.spec("web").Template.Spec.Containers[0].Resources.Limits.Memory().String())
	require.Equal(t, "512Mi", c.spec("web").Template.Spec.Containers[0].Resources.Requests.Memory().String())
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeUnfinished, c.probe(req))
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, before, c.spec("web"))

	for want, parameters := range map[string]map[string]any{
		"would lower it":                     {"memory": "512Mi"},
		"several containers and none sets":   {"cpu": "2"},
		"has no container nope: it has":      {"memory": "2Gi", "container": "nope"},
		"would ask for more memory (3Gi)":    {"memoryRequest": "3Gi"},
		"LimitRange most allows a container": {"memory": "64Gi"},
		"ResourceQuota all leaves":           {"memory": "20Gi"},
	} {
		switch want[:5] {
		case "Limit":
			_, err = c.client.CoreV1().LimitRanges(c.namespace).Create(t.Context(), &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "most"},
				Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{"memory": apiresource.MustParse("32Gi")}}}}}, metav1.CreateOptions{})
			require.NoError(t, err)
		case "Resou":
			_, err = c.client.CoreV1().ResourceQuotas(c.namespace).Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "all"},
				Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"limits.memory": apiresource.MustParse("8Gi")}}}, metav1.CreateOptions{})
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				q, err := c.client.CoreV1().ResourceQuotas(c.namespace).Get(t.Context(), "all", metav1.GetOptions{})
				return err == nil && q.Status.Hard != nil
			}, eventually, tick)
		}
		parameters["namespace"], parameters["deployment"] = c.namespace, "web"
		req, con := c.request("increase_resources", parameters)
		_, err := c.execute(req)
		require.ErrorContains(t, err, want)
		require.Zero(t, con.begun)
	}
	require.Equal(t, before, c.spec("web"))
}

func TestADeploymentGoesBackToARevisionAndForwardAgain(t *testing.T) {
	c := newCluster(t)
	c.node("back-a")
	c.deployment("web", 1, "")
	only, _ := c.request("rollback_deployment", map[string]any{"namespace": c.namespace, "deployment": "web"})
	c.settled("web")
	_, err := c.execute(only)
	require.ErrorContains(t, err, "has no revision before 1")
	first := c.spec("web").Template
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"worse","args":["-v"],"env":[{"name":"TOKEN","value":"hunter2"}]}]}}}}`)
	second := c.settled("web").Spec.Template

	req, con := c.request("rollback_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "stableFor": "1s"})
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Equal(t, actions.Verified, p.Verdict)
	require.Contains(t, strings.Join(p.Change, "\n"), "spec.template.spec.containers")
	require.NotContains(t, strings.Join(p.Change, "\n"), "hunter2")
	_, err = c.execute(req)
	require.NoError(t, err)
	require.Equal(t, first, c.spec("web").Template)
	kept, err := json.Marshal(con.undo)
	require.NoError(t, err)
	require.NotContains(t, string(kept), "hunter2")
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeUnfinished, c.probe(req), "although the previous revision is another one now")
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, second, c.spec("web").Template)

	missing, _ := c.request("rollback_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "revision": 99})
	_, err = c.execute(missing)
	require.ErrorContains(t, err, "has no revision 99: there are [3 4]")
	c.patchDeployment("web", `{"spec":{"paused":true}}`)
	_, err = c.execute(req)
	require.ErrorContains(t, err, "is paused")
}

func TestDebuggingIsTurnedOnAndOff(t *testing.T) {
	c := newCluster(t)
	c.node("debug-a")
	c.deployment("web", 1, "")
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","args":["serve"],"env":[{"name":"LEVEL","value":"info"},{"name":"OTHER","value":"x"}]}]}}}}`)
	before := c.settled("web").Spec
	req, con := c.request("enable_debug_mode", map[string]any{"namespace": c.namespace, "deployment": "web", "debugFlags": []any{"--debug"},
		"env": map[string]any{"LEVEL": "debug", "TRACE": "1"}, "duration": "30m", "stableFor": "1s"})
	r, err := c.execute(req)
	require.NoError(t, err)
	require.Contains(t, r.Message, "it is due to be taken away at ")
	main := c.spec("web").Template.Spec.Containers[0]
	require.Equal(t, []string{"serve", "--debug"}, main.Args)
	require.ElementsMatch(t, []corev1.EnvVar{{Name: "LEVEL", Value: "debug"}, {Name: "OTHER", Value: "x"}, {Name: "TRACE", Value: "1"}}, main.Env)
	require.NoError(t, c.compensate(req, con.undo))
	require.Equal(t, before, c.spec("web"))

	c.deployment("bare", 0, "")
	flags, _ := c.request("enable_debug_mode", map[string]any{"namespace": c.namespace, "deployment": "bare", "debugFlags": []any{"--debug"}})
	_, err = c.execute(flags)
	require.ErrorContains(t, err, "takes its arguments from its image")
	nothing, _ := c.request("enable_debug_mode", map[string]any{"namespace": c.namespace, "deployment": "bare"})
	_, err = c.execute(nothing)
	require.ErrorContains(t, err, "give debugFlags or env")
}

func TestANetworkComponentIsRestartedWhereItIs(t *testing.T) {
	c := newCluster(t)
	c.node("network-a")
	c.deployment("coredns", 1, "")
	c.settled("coredns")
	req, con := c.request("restart_network", map[string]any{"component": "coredns", "stableFor": "1s"})
	_, err := c.execute(req)
	require.ErrorContains(t, err, "the step names no namespace, and neither does the plan")
	req.Task.Namespaces = []string{"default", c.namespace}
	p, err := c.preview(req)
	require.NoError(t, err)
	requirePreview(t, &actions.Preview{Verdict: actions.Verified, Change: []string{"restart Deployment " + c.namespace + "/coredns"}}, p)
	before := c.spec("coredns")
	require.Equal(t, actions.OutcomeDidNotHappen, c.probe(req))
	_, err = c.execute(req)
	require.NoError(t, err)
	require.NotEqual(t, before, c.spec("coredns"))
	require.NotNil(t, con.undo, "that it cannot be undone is told")
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeUnfinished, c.probe(req))
	none, _ := c.request("restart_network", map[string]any{"component": "kube-dns", "namespace": c.namespace})
	_, err = c.execute(none)
	require.ErrorContains(t, err, "the workload of network component kube-dns does not exist in ["+c.namespace+"]")
}

func TestAMeshIsResetFromItsControlPlaneDown(t *testing.T) {
	c := newCluster(t)
	c.node("mesh-a")
	_, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	control := *c
	control.namespace = "istio-system"
	control.deployment("istiod", 1, "")
	_, err = c.client.AppsV1().Deployments("istio-system").Patch(t.Context(), "istiod", "application/merge-patch+json", []byte(`{"metadata":{"labels":{"app":"istiod"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	c.deployment("plain", 1, "")
	c.deployment("web", 1, "")
	req, _ := c.request("reset_service_mesh", map[string]any{"namespace": c.namespace, "stableFor": "1s"})
	_, err = c.execute(req)
	require.ErrorContains(t, err, "a service mesh does not exist in ["+c.namespace+"]")
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"istio-proxy","image":"nothing"}]}}}}`)
	c.settled("web")
	control.settled("istiod")
	web, plain := c.spec("web"), c.spec("plain")
	p, err := c.preview(req)
	require.NoError(t, err)
	require.Equal(t, []string{"restart Deployment istio-system/istiod", "restart Deployment " + c.namespace + "/web"}, p.Change)
	_, err = c.execute(req)
	require.NoError(t, err)
	require.NotEqual(t, web, c.spec("web"))
	require.Equal(t, plain, c.spec("plain"))
	wrong, _ := c.request("reset_service_mesh", map[string]any{"namespace": c.namespace, "meshType": "linkerd"})
	_, err = c.execute(wrong)
	require.ErrorContains(t, err, "linkerd has no control plane in namespace linkerd")
}

func TestASecretIsRotatedAndItsReadersWithIt(t *testing.T) {
	c := newCluster(t)
	c.node("secret-a")
	secrets := c.client.CoreV1().Secrets(c.namespace)
	_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, StringData: map[string]string{"password": "hunter2", "user": "shop"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.deployment("web", 1, "")
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}}]}]}}}}`)
	c.settled("web")
	before := c.spec("web")
	req, con := c.request("rotate_secrets", map[string]any{"namespace": c.namespace, "secret": "db", "keys": []any{"password"}})
	_, err = c.execute(req)
	require.ErrorContains(t, err, "rotate_secrets is not configured")
	_, err = c.preview(req)
	require.ErrorContains(t, err, "rotate_secrets is not configured", "found before anything happens")

	made := 0
	rotating := c.as(controlplane.Admin, kube.Options{Generate: func(_ context.Context, s schema.Target, key string) ([]byte, error) {
		made++
		return []byte("correct horse " + key), nil
	}})
	data := func() map[string][]byte {
		s, err := secrets.Get(t.Context(), "db", metav1.GetOptions{})
		require.NoError(t, err)
		return s.Data
	}
	p, err := rotating.preview(req)
	require.NoError(t, err)
	require.Equal(t, []string{"data.password: (hidden) → (hidden)", "restart Deployment " + c.namespace + "/web"}, p.Change)
	require.Equal(t, "hunter2", string(data()["password"]))
	r, err := rotating.execute(req)
	require.NoError(t, err)
	require.Equal(t, "the values are new, and 1 workloads were restarted with them", r.Message)
	require.Equal(t, map[string][]byte{"password": []byte("correct horse password"), "user": []byte("shop")}, data())
	after := c.spec("web")
	require.NotEqual(t, before, after)
	kept, err := json.Marshal(con.undo)
	require.NoError(t, err)
	require.NotContains(t, string(kept), "hunter2")
	require.NotContains(t, string(kept), "aHVudGVyMg")
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeUnfinished, rotating.probe(req))
	require.NoError(t, rotating.compensate(req, con.undo))
	require.Equal(t, "hunter2", string(data()["password"]))
	require.NotEqual(t, after, c.spec("web"), "pods run with the former value again")

	for want, parameters := range map[string]map[string]any{
		`has no key "nope": it has [password user]`: {"secret": "db", "keys": []any{"nope"}},
		"is of type kubernetes.io/tls":              {"secret": "cert"},
	} {
		if parameters["secret"] == "cert" {
			_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cert"}, Type: corev1.SecretTypeTLS,
				StringData: map[string]string{"tls.crt": "", "tls.key": ""}}, metav1.CreateOptions{})
			require.NoError(t, err)
		}
		parameters["namespace"] = c.namespace
		bad, con := c.request("rotate_secrets", parameters)
		_, err := rotating.execute(bad)
		require.ErrorContains(t, err, want)
		require.Zero(t, con.begun)
	}
	gone, forgot := c.request("rotate_secrets", map[string]any{"namespace": c.namespace, "secret": "db", "backupOldSecret": false, "restartPods": false})
	gone.Task.Step = "forget"
	_, err = rotating.execute(gone)
	require.NoError(t, err)
	reference := forgot.undo.State["sealed"].(string)
	kept2, err := secrets.Get(t.Context(), reference[strings.LastIndex(reference, "/")+1:], metav1.GetOptions{})
	require.NoError(t, err)
	require.NotContains(t, string(kept2.Data["state"]), "aHVudGVyMg", "the former values are nowhere")
	require.ErrorContains(t, rotating.compensate(gone, forgot.undo), "were not kept (backupOldSecret is false)")
	failing := c.as(controlplane.Admin, kube.Options{Generate: func(context.Context, schema.Target, string) ([]byte, error) {
		return nil, errors.New("the vault is sealed")
	}})
	_, err = failing.execute(req)
	require.ErrorContains(t, err, "no new value for key password of Secret "+c.namespace+"/db: the vault is sealed")
}

func TestTheOrderOfContainersAndVariablesStaysAsItWas(t *testing.T) {
	c := newCluster(t)
	c.node("order-a")
	c.deployment("web", 1, "")
	require.NoError(t, c.client.AppsV1().Deployments(c.namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	size, labels := int32(1), map[string]string{"app": "web"}
	limits := corev1.ResourceRequirements{Limits: corev1.ResourceList{"memory": apiresource.MustParse("1Gi")}}
	_, err := c.client.AppsV1().Deployments(c.namespace).Create(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &size, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "zoo", Image: "nothing", Resources: limits, Env: []corev1.EnvVar{{Name: "Z", Value: "1"}, {Name: "LEVEL", Value: "info"}, {Name: "A", Value: "$(Z)"}}},
			{Name: "ape", Image: "nothing", Resources: limits}, {Name: "main", Image: "nothing"},
		}}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.patchDeployment("web", `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/default-container":"zoo"}}}}}`)
	before := c.settled("web").Spec
	for action, parameters := range map[string]map[string]any{
		"increase_resources": {"memory": "2Gi"}, "enable_debug_mode": {"env": map[string]any{"LEVEL": "debug", "B": "2"}},
	} {
		parameters["namespace"], parameters["deployment"], parameters["stableFor"] = c.namespace, "web", "1s"
		req, con := c.request(action, parameters)
		_, err := c.execute(req)
		require.NoError(t, err, action)
		var order []string
		for _, container := range c.spec("web").Template.Spec.Containers {
			order = append(order, container.Name)
			for _, e := range container.Env {
				order = append(order, e.Name)
			}
		}
		want := []string{"zoo", "Z", "LEVEL", "A", "ape", "main"}
		if action == "enable_debug_mode" {
			want = []string{"zoo", "Z", "LEVEL", "A", "B", "ape", "main"} // what refers to others stays behind them
		}
		require.Equal(t, want, order, action)
		require.NoError(t, c.compensate(req, con.undo), action)
		require.Equal(t, before, c.spec("web"), action)
	}
	d, err := c.client.AppsV1().Deployments(c.namespace).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	slices.Reverse(d.Spec.Template.Spec.Containers)
	_, err = c.client.AppsV1().Deployments(c.namespace).Update(t.Context(), d, metav1.UpdateOptions{})
	require.NoError(t, err)
	reversed := c.settled("web").Spec
	back, con := c.request("rollback_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "stableFor": "1s"})
	_, err = c.execute(back)
	require.NoError(t, err)
	require.Equal(t, before, c.spec("web"))
	require.NoError(t, c.compensate(back, con.undo))
	require.Equal(t, reversed, c.spec("web"))
}
