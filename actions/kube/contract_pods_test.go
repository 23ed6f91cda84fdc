package kube_test

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/schema"
)

// A usage is an action that works in pods, or looks at things, on objects that are there; target is the parameter that names one.
type usage struct {
	parameters map[string]any
	target     string
	right      string
	cluster    bool // it has no namespace
}

var usages = map[string]usage{
	"restart_pod":         {parameters: map[string]any{}, target: "pod", right: "delete pods"},
	"quarantine_pod":      {parameters: map[string]any{}, target: "pod", right: "patch pods"},
	"drain_node":          {parameters: map[string]any{}, target: "node", right: "create pods/eviction", cluster: true},
	"expand_pvc":          {parameters: map[string]any{"size": "2Gi"}, target: "pvc", right: "patch persistentvolumeclaims"},
	"cleanup_storage":     {parameters: map[string]any{"path": "/var/cache/remedy-test"}, target: "deployment", right: "create pods/exec"},
	"backup_data":         {parameters: map[string]any{"paths": []any{"/etc/hostname"}}, target: "deployment", right: "create pods/exec"},
	"compact_storage":     {parameters: map[string]any{}, target: "deployment", right: "create pods/exec"},
	"failover_database":   {parameters: map[string]any{"targetReplica": "db-1"}, target: "database", right: "create pods/exec"},
	"repair_database":     {parameters: map[string]any{"repairType": "index", "backupBeforeRepair": false}, target: "database", right: "create pods/exec"},
	"audit_logs":          {parameters: map[string]any{}, target: "deployment", right: "get pods/log"},
	"create_heap_dump":    {parameters: map[string]any{}, target: "deployment", right: "create pods/exec"},
	"collect_diagnostics": {parameters: map[string]any{}, target: "deployment", right: "get pods/log"},
	"optimize_resources":  {parameters: map[string]any{"strategy": "balanced"}, target: "deployment", right: "pods.metrics.k8s.io"},
	"health_check":        {parameters: map[string]any{"expectedStatus": 200}, target: "deployment", right: "get deployments"},
	"verify_recovery":     {parameters: map[string]any{"stableFor": "1s"}, target: "services", right: "get services"},
}

// Each says which right is missing and which object, before anything begins, and nothing is touched by a dry run.
func TestEveryActionInPodsSaysWhatIsMissingBeforeItBegins(t *testing.T) {
	c := newCluster(t)
	node := c.made()
	c.web()
	c.service("web", map[string]string{"app": "web"})
	_, err := c.client.CoreV1().PersistentVolumeClaims(c.namespace).Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": mustQuantity("1Gi")}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	o := kube.Options{Artifacts: artifact.Folder(t.TempDir()), CleanupPaths: []string{"/var/cache/remedy-test"}, Commands: kube.Commands{}}
	for _, name := range []string{"compact_storage", "failover_database", "repair_database.index", "create_heap_dump"} {
		o.Commands[name] = kube.Command{Args: []string{"true"}, Probe: []string{"true"}}
	}
	admin, bob := c.as(controlplane.Admin, o), c.as("bob", o)
	for _, action := range slices.Sorted(maps.Keys(usages)) {
		u := usages[action]
		t.Run(action, func(t *testing.T) {
			ask := func(name string) (*actions.Request, *conductor) {
				p := maps.Clone(u.parameters)
				var value any = name
				if u.target == "services" {
					value = []any{name}
				}
				p[u.target] = value
				if !u.cluster {
					p["namespace"] = c.namespace
				}
				req, con := c.request(action, p)
				if a := actions.Canonical().Lookup(action).Artifact; a != "" {
					req.Task.Artifact = a + "_s"
				}
				return req, con
			}
			there := map[string]string{"pod": c.podsOf("web")[0].Name, "node": node}[u.target]
			if there == "" {
				there = "web"
			}
			req, con := ask(there)
			_, err := bob.preview(req)
			require.ErrorContains(t, err, "the runner lacks rights: ")
			require.ErrorContains(t, err, u.right)
			require.False(t, actions.IsTransient(err))
			all, before := c.namespaceNow(), c.own(schema.Target{Kind: "Node", Name: node})
			_, _ = admin.preview(req) // what it says, other tests look at
			require.Equal(t, all, c.namespaceNow(), "a dry run changes nothing")
			require.Equal(t, before, c.own(schema.Target{Kind: "Node", Name: node}))
			require.Zero(t, con.begun)

			gone, con := ask("nowhere")
			for what, err := range map[string]error{"execute": second(admin.execute(gone)), "preview": second(admin.preview(gone))} {
				looks := !actions.Canonical().Lookup(action).Mutating() || action == "optimize_resources"
				if action == "collect_diagnostics" || looks && what == "preview" {
					continue // what is not there is a finding; and who only looks has nothing to say in advance
				}
				require.Error(t, err, what)
				require.ErrorContains(t, err, "nowhere", what)
				require.False(t, actions.IsTransient(err), what)
			}
			require.Zero(t, con.begun)
		})
	}
}

func TestWhatIsTakenAwayOfAWorkloadIsToldBefore(t *testing.T) {
	c := newCluster(t)
	node := c.made()
	c.deployment("web", 4, "")
	c.settled("web")
	touches := func(action string, parameters map[string]any) []actions.Touch {
		req, _ := c.request(action, parameters)
		f, ok := actions.As[actions.Footprinter](c.handlers[action])
		require.True(t, ok)
		all, err := f.Footprint(t.Context(), req)
		require.NoError(t, err)
		return all
	}
	web := schema.Target{Kind: "Deployment", Namespace: c.namespace, Name: "web"}
	require.Equal(t, []actions.Touch{{Target: web, Replicas: 3, Of: 4}}, touches("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 1}))
	require.Equal(t, []actions.Touch{{Target: web}}, touches("scale_deployment", map[string]any{"namespace": c.namespace, "deployment": "web", "replicas": 5}))
	drained := touches("drain_node", map[string]any{"node": node})
	require.Equal(t, "ReplicaSet", drained[1].Kind)
	require.Equal(t, 4, drained[1].Replicas)
	require.Equal(t, 4, drained[1].Of)
}

// An API server that is away when a step begins is waited for, also by those that work in pods.
func TestNoActionInPodsFailsBecauseTheAPIServerIsAwayForAWhile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	const away = 30 * time.Second
	c := newCluster(t)
	c.made()
	c.web()
	c.service("web", map[string]string{"app": "web"})
	config := configOf(t, controlplane.Admin)
	road := newRoad(t, config)
	cache := t.TempDir()
	k, err := kube.New(config, kube.Options{Artifacts: artifact.Folder(t.TempDir()), CleanupPaths: []string{cache}, Commands: kube.Commands{
		"create_heap_dump": {Args: []string{"echo", "heap"}}, "compact_storage": {Args: []string{"true"}}, "failover_database": {Args: []string{"true"}, Probe: []string{"true"}},
		"repair_database.index": {Args: []string{"true"}},
	}})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	there := *c
	there.handlers = k.Handlers()
	failed := map[string]error{}
	var mu sync.Mutex
	var done sync.WaitGroup
	// Two that are in the middle: one has written nothing yet, and what the other waits for happens while nobody can see it.
	c.volume("data", true)
	c.deployment("used", 1, "")
	c.settled("used")
	c.uses("used", busy)
	grow, _ := there.request("expand_pvc", map[string]any{"namespace": c.namespace, "pvc": "data", "size": "2Gi"})
	fit, fitting := there.request("optimize_resources", map[string]any{"namespace": c.namespace, "deployment": "used", "dryRun": false, "stableFor": "1s"})
	cut, ready := make(chan struct{}), make(chan struct{})
	fitting.before = func() { close(ready); <-cut }
	for _, req := range []*actions.Request{grow, fit} {
		done.Go(func() {
			_, err := there.execute(req)
			mu.Lock()
			defer mu.Unlock()
			failed[req.Action+" in the middle"] = err
		})
	}
	<-ready
	require.Eventually(t, func() bool {
		p, err := c.client.CoreV1().PersistentVolumeClaims(c.namespace).Get(t.Context(), "data", metav1.GetOptions{})
		return err == nil && p.Spec.Resources.Requests.Storage().String() == "2Gi"
	}, eventually, tick)
	road.cut()
	close(cut)
	c.resizer(grown)
	began := time.Now()
	time.AfterFunc(away, func() { road.mend(t) })
	for action, u := range usages {
		switch action {
		case "restart_pod", "quarantine_pod", "drain_node": // which are among the others
			continue
		case "expand_pvc": // which is in the middle
			continue
		}
		p := maps.Clone(u.parameters)
		p["namespace"] = c.namespace
		if p[u.target] = "web"; u.target == "services" {
			p["services"] = []any{"web"}
		}
		if action == "cleanup_storage" {
			p["path"] = cache
		}
		if action == "health_check" {
			delete(p, "expectedStatus")
		}
		req, _ := c.request(action, p)
		if a := actions.Canonical().Lookup(action).Artifact; a != "" {
			req.Task.Artifact = a + "_s"
		}
		done.Go(func() {
			_, err := there.execute(req)
			mu.Lock()
			defer mu.Unlock()
			failed[action] = err
		})
	}
	done.Wait()
	require.GreaterOrEqual(t, time.Since(began), away)
	for action, err := range failed {
		require.NoError(t, err, action)
	}
}
