package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/httpcheck"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/actions/sealed"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/kubetest"
	"github.com/remedykit/remedy/schema"
)

// A scenario is a step on objects of its own, whose account needs some of the rights that its role has.
type scenario struct {
	// parameters makes the objects too.
	parameters func(c *cluster) map[string]any
	// site changes the options; then the role is not what is printed without them.
	site func(c *cluster, config *rest.Config, o *kube.Options)
	// elsewhere has the plan name another namespace too, and the step none.
	elsewhere bool
	// previewed is what others do after the dry run, begun once the step has begun, and done before it is undone.
	previewed, done func(c *cluster)
	begun           func(c *cluster, r *recorder)
	// fails is what the step fails with, "" when it does not.
	fails string
	// stays is why it cannot be undone, "" when it can.
	stays string
	// died has an attempt before it die just before its effect.
	died bool
	// old is an API server that knows no streaming lists, behind a proxy that knows no SPDY.
	old bool
}

// A recorder writes down what an account asks the API server for.
type recorder struct {
	mu      sync.Mutex
	asked   map[kube.Right]bool
	refused []kube.Right
}

func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		right, ok := askedFor(req)
		resp, err := next.RoundTrip(req)
		r.mu.Lock()
		defer r.mu.Unlock()
		if ok {
			r.asked[right] = true
			if err == nil && resp.StatusCode == http.StatusForbidden {
				r.refused = append(r.refused, right)
			}
		}
		return resp, err
	})
}

// askedFor is the right that the API server looks for; none for the question which rights there are, which everybody may ask.
func askedFor(r *http.Request) (right kube.Right, ok bool) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case path[0] == "api" && len(path) > 2:
		path = path[2:]
	case path[0] == "apis" && len(path) > 3:
		right.Group, path = path[1], path[3:]
	default:
		return right, false
	}
	if path[0] == "namespaces" && len(path) > 2 {
		right.Namespace, path = path[1], path[2:]
	}
	right.Resource = path[0]
	if len(path) > 1 {
		right.Name = path[1]
	}
	if len(path) > 2 {
		right.Resource += "/" + path[2]
	}
	right.Verb = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete", http.MethodGet: "get"}[r.Method]
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		right.Verb = "watch"
	case r.Method == http.MethodGet && right.Name == "":
		right.Verb = "list"
	}
	return right, right.Resource != "selfsubjectaccessreviews"
}

// aged has the API server refuse what old ones do not know, and lose what a proxy without SPDY does not let through.
func aged(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		query := r.URL.Query()
		streamed, spdy := query.Has("sendInitialEvents"), r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/exec")
		if streamed || spdy {
			r = r.Clone(r.Context())
			query.Del("resourceVersionMatch") // without which it is refused
			r.URL.RawQuery = query.Encode()
			if spdy {
				r.Method, r.URL.Path = http.MethodGet, "/readyz"
			}
		}
		return next.RoundTrip(r)
	})
}

// covers tells whether a right allows what was asked for.
func covers(r, asked kube.Right) bool {
	return r.Verb == asked.Verb && r.Group == asked.Group && r.Resource == asked.Resource &&
		(r.Namespace == "" || r.Namespace == asked.Namespace) && (r.Name == "" || r.Name == asked.Name)
}

// accounts differ, so that none has what another was granted.
var accounts atomic.Int64

// grant binds the printed roles to an account.
func (c *cluster) grant(account string, rights []kube.Right) {
	c.Helper()
	data, err := kube.Roles(account, rights)
	require.NoError(c, err)
	subjects := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: account}}
	meta := metav1.ObjectMeta{Name: account}
	rbac := c.client.RbacV1()
	for document := range strings.SplitSeq(string(data), "---\n") {
		var kind metav1.TypeMeta
		require.NoError(c, yaml.Unmarshal([]byte(document), &kind))
		of := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind.Kind, Name: account}
		switch kind.Kind {
		case "ClusterRole":
			var role rbacv1.ClusterRole
			require.NoError(c, yaml.UnmarshalStrict([]byte(document), &role))
			_, err = rbac.ClusterRoles().Create(c.Context(), &role, metav1.CreateOptions{})
			require.NoError(c, err)
			_, err = rbac.ClusterRoleBindings().Create(c.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: of, Subjects: subjects}, metav1.CreateOptions{})
		case "Role":
			var role rbacv1.Role
			require.NoError(c, yaml.UnmarshalStrict([]byte(document), &role))
			_, err = rbac.Roles(role.Namespace).Create(c.Context(), &role, metav1.CreateOptions{})
			require.NoError(c, err)
			_, err = rbac.RoleBindings(role.Namespace).Create(c.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: of, Subjects: subjects}, metav1.CreateOptions{})
			c.Cleanup(func() { // those in the namespace default stay otherwise
				_ = rbac.RoleBindings(role.Namespace).Delete(context.Background(), account, metav1.DeleteOptions{})
				_ = rbac.Roles(role.Namespace).Delete(context.Background(), account, metav1.DeleteOptions{})
			})
		}
		require.NoError(c, err)
	}
	c.Cleanup(func() {
		_ = rbac.ClusterRoleBindings().Delete(context.Background(), account, metav1.DeleteOptions{})
		_ = rbac.ClusterRoles().Delete(context.Background(), account, metav1.DeleteOptions{})
	})
}

// A trial is what came of a scenario.
type trial struct {
	ends    []string // what people saw of it
	task    *actions.Task
	rights  []kube.Right
	asked   map[kube.Right]bool
	refused []kube.Right
}

// plain takes off what differs from one run to the next.
func plain(s string) string {
	for _, p := range []struct{ pattern, word string }{
		{`\btest-\d+\b`, "NAMESPACE"}, {`\bcontract-\d+\b`, "NODE"}, {`\b([a-z]+)-[a-z0-9]{7,10}-[a-z0-9]{5}\b`, "$1-POD"}, {`\bagent-[a-z0-9]{5}\b`, "agent-POD"},
		{`\bremedy-(undo-|quarantine-)?[0-9a-f]{20}\b`, "remedy-$1-HASH"}, {`\d{4}-\d\d-\d\dT[0-9:.]+Z`, "TIME"}, {`\b[0-9a-f]{64}\b`, "SUM"}, {`\b[0-9a-f]{20}\b`, "HASH"},
		{`\b\d+ bytes`, "BYTES"}, {`\b\d+ pods`, "PODS"}, {regexp.QuoteMeta(os.TempDir()) + `/[^\s"]*`, "FILE"}, {strings.Trim(regexp.QuoteMeta(os.TempDir()), "/") + `/[^\s"]*`, "FILE"},
	} {
		s = regexp.MustCompile(p.pattern).ReplaceAllString(s, p.word)
	}
	return s
}

// run carries a scenario out as the admin, or as an account that has the role of the step and nothing more.
func (s scenario) run(t *testing.T, action string, admin bool) trial {
	c := newCluster(t)
	c.made() // pods run somewhere, and no node is the last one
	parameters := s.parameters(c)
	config := configOf(t, controlplane.Admin)
	r := &recorder{asked: map[kube.Right]bool{}}
	account := fmt.Sprintf("account-%d", accounts.Add(1))
	if !admin {
		config.Impersonate.UserName = account
	}
	config.Wrap(r.wrap)
	if s.old {
		config.Wrap(aged)
	}
	asker, err := httpcheck.ServiceProxy(config)
	require.NoError(t, err)
	o := kube.Options{Generate: func(context.Context, schema.Target, string) ([]byte, error) { return []byte("new"), nil }, Asker: asker,
		Artifacts: artifact.Folder(t.TempDir()), CleanupPaths: []string{filepath.Dir(t.TempDir())}, Commands: kube.Commands{}}
	for _, name := range []string{"compact_storage", "failover_database", "repair_database.index", "create_heap_dump", "backup_data", "migrate_workload"} {
		o.Commands[name] = kube.Command{Args: []string{"echo", "done"}, Probe: []string{"true"}}
	}
	if s.site != nil {
		s.site(c, config, &o)
	}
	k, err := kube.New(config, o)
	require.NoError(t, err)
	t.Cleanup(k.Close)
	as := *c
	as.handlers = k.Handlers()
	if s.elsewhere {
		delete(parameters, "namespace")
	}
	req, con := c.request(action, parameters)
	if a := actions.Canonical().Lookup(action).Artifact; a != "" {
		req.Task.Artifact = a + "_s"
	}
	if s.elsewhere {
		req.Task.Namespaces = []string{c.namespace, newCluster(t).namespace}
	}
	rights := k.Rights(req.Task)
	if s.site == nil {
		require.Equal(t, kube.Rights(req.Task), rights, "they are what is printed")
	}
	if !admin {
		c.grant(account, rights)
		require.Eventually(t, func() bool {
			missing, err := k.Missing(t.Context(), rights)
			return err == nil && len(missing) == 0
		}, eventually, tick)
	}
	out := trial{task: req.Task, rights: rights}
	tell := func(what string, lines ...string) {
		for _, l := range lines {
			out.ends = append(out.ends, what+": "+plain(l))
		}
	}
	state := func() any {
		if kindsOf[req.Target.Kind].Resource == "" || req.Target.Kind == "Pod" { // which its owner changes, or ends
			return nil
		}
		o, err := c.objects(req.Target.Kind).Namespace(req.Target.Namespace).Get(t.Context(), req.Target.Name, metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return own(o.Object)
	}
	before := state()
	p, err := as.preview(req)
	if s.fails == "" {
		require.NoError(t, err)
		tell("dry run", fmt.Sprint(p.Verdict))
		tell("dry run", unmarked(p.Change)...)
	}
	if footprinter, ok := actions.As[actions.Footprinter](as.handlers[action]); ok {
		touches, err := footprinter.Footprint(t.Context(), req)
		require.NoError(t, err)
		tell("footprint", fmt.Sprint(touches))
	}
	if s.previewed != nil {
		s.previewed(c)
	}
	if s.died {
		con.refuse = errors.New("the process died")
		_, err = as.execute(req)
		require.ErrorIs(t, err, con.refuse)
		con.refuse = nil
	}
	if s.begun != nil {
		con.before = func() { s.begun(c, r) }
	}
	result, err := as.execute(req)
	if s.fails != "" {
		require.ErrorContains(t, err, s.fails)
		tell("failed", err.Error())
	} else {
		require.NoError(t, err)
		tell("done", result.Message)
		tell("changed", unmarked(changes("", before, state()))...)
		if _, ok := actions.As[actions.Prober](as.handlers[action]); ok {
			req.Begun = con.undo
			tell("probe", fmt.Sprint(as.probe(req)))
			req.Begun = nil
		}
		if s.done != nil {
			s.done(c)
		}
		if as.reversible(req) {
			if err := as.compensate(req, con.undo); s.stays != "" {
				require.ErrorContains(t, err, s.stays)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, before, state(), "it is as it was")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out.asked, out.refused = maps.Clone(r.asked), slices.Clone(r.refused)
	return out
}

// requireRole requires that an account with the printed role comes to the same ends as the admin in all scenarios, and
// asks for nothing more and, taken together, for nothing less.
func requireRole(t *testing.T, action string, scenarios []scenario) {
	used := map[string]bool{} // by right
	for i, s := range scenarios {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			var admin, account trial
			t.Run("admin", func(t *testing.T) { admin = s.run(t, action, true) })
			t.Run("account", func(t *testing.T) { account = s.run(t, action, false) })
			require.False(t, t.Failed())
			require.Equal(t, admin.ends, account.ends)
			require.Empty(t, account.refused, "nothing is refused, not even what fails nothing")
			for asked := range account.asked {
				require.True(t, slices.ContainsFunc(account.rights, func(r kube.Right) bool { return covers(r, asked) }), "%s is asked for, and not printed", asked)
			}
			target := account.task.Target
			for _, r := range account.rights {
				key := strings.ReplaceAll(plain(r.String()), "/"+plain(target.Name), "/TARGET")
				matched, others := false, false
				for asked := range account.asked {
					if covers(r, asked) {
						matched = true
						others = others || asked.Name != target.Name || target.Name == ""
					}
				}
				used[key] = used[key] || matched
				if matched && r.Name == "" && !others && kindsOf[target.Kind].Resource == strings.Split(r.Resource, "/")[0] {
					t.Errorf("%s is for all, and only %s is asked for", r, target)
				}
			}
		})
	}
	for _, right := range slices.Sorted(maps.Keys(used)) {
		require.True(t, used[right], "%s: nothing asks for it: %s", action, right)
	}
}

// in are parameters with the namespace.
func (c *cluster) in(parameters map[string]any) map[string]any {
	all := map[string]any{"namespace": c.namespace}
	maps.Copy(all, parameters)
	return all
}

// crashing makes a deployment whose pods crash.
func (c *cluster) crashing(name string) {
	c.Helper()
	c.deployment(name, 1, "crash")
	require.Eventually(c, func() bool {
		pods := c.podsOf(name)
		return len(pods) == 1 && len(pods[0].Status.ContainerStatuses) == 1 && pods[0].Status.ContainerStatuses[0].State.Waiting != nil
	}, eventually, tick)
}

// onCrashing has a step work on a deployment whose pods crash.
func onCrashing(parameters map[string]any) scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		c.crashing("web")
		p := c.in(parameters)
		p["deployment"] = "web"
		return p
	}, fails: "CrashLoopBackOff", old: true}
}

// everyKind makes a deployment, a stateful set and a daemon set, and has them all patched.
func (c *cluster) everyKind(patch string) {
	c.Helper()
	c.ready("web")
	c.statefulSet("db", 1)
	c.daemonSet("agent")
	if patch == "" {
		return
	}
	for kind, name := range map[string]string{"Deployment": "web", "StatefulSet": "db", "DaemonSet": "agent"} {
		_, err := c.objects(kind).Namespace(c.namespace).Patch(c.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(c, err)
	}
	c.rolledOut()
}

// rolledOut waits until all that everyKind made has rolled out.
func (c *cluster) rolledOut() {
	c.Helper()
	c.settled("web")
	require.Eventually(c, func() bool {
		s, err := c.client.AppsV1().StatefulSets(c.namespace).Get(c.Context(), "db", metav1.GetOptions{})
		d, errD := c.client.AppsV1().DaemonSets(c.namespace).Get(c.Context(), "agent", metav1.GetOptions{})
		return err == nil && errD == nil && s.Status.ObservedGeneration == s.Generation && s.Status.UpdatedReplicas == 1 && s.Status.ReadyReplicas == 1 &&
			s.Status.UpdateRevision == s.Status.CurrentRevision && d.Status.ObservedGeneration == d.Generation && d.Status.DesiredNumberScheduled > 0 &&
			d.Status.UpdatedNumberScheduled == d.Status.DesiredNumberScheduled && d.Status.NumberAvailable == d.Status.DesiredNumberScheduled
	}, eventually, tick)
}

// restarted restarts all that everyKind made.
func restarted(c *cluster) {
	c.Helper()
	for kind, name := range map[string]string{"Deployment": "web", "StatefulSet": "db", "DaemonSet": "agent"} {
		c.patch(kind, c.namespace, name, `{"spec":{"template":{"metadata":{"annotations":{"remedy.test/again":"yes"}}}}}`)
	}
	c.rolledOut()
}

// set has what a contract makes.
func set(action string) scenario { return scenario{parameters: contracts[action].set} }

// aging are a scenario as it is, and with an old API server.
func aging(s scenario) []scenario {
	old := s
	old.old = true
	return []scenario{s, old}
}

// inPodOf has a step work in a pod: in that of a deployment, or in the pod itself.
func inPodOf(target string, parameters func(c *cluster) map[string]any) scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		c.ready("web")
		p := c.in(parameters(c))
		if p[target] = "web"; target == "pod" {
			p[target] = c.podsOf("web")[0].Name
		}
		return p
	}}
}

// usual are the parameters of a usage.
func usual(action string) func(c *cluster) map[string]any {
	return func(*cluster) map[string]any { return usages[action].parameters }
}

// folder is one with an old file, which pods see too.
func folder(c *cluster) map[string]any {
	file := filepath.Join(c.TempDir(), "old")
	require.NoError(c, os.WriteFile(file, []byte("12345"), 0o600))
	require.NoError(c, os.Chtimes(file, time.Now(), time.Now().Add(-30*24*time.Hour)))
	return map[string]any{"path": filepath.Dir(file)}
}

// onDatabase has a step work on a database, which may be of any kind.
func onDatabase(action string) []scenario {
	var all []scenario
	for kind, name := range map[string]string{"Deployment": "web", "StatefulSet": "db", "DaemonSet": "agent"} {
		all = append(all, scenario{old: kind == "DaemonSet", parameters: func(c *cluster) map[string]any {
			c.everyKind("")
			p := c.in(usages[action].parameters)
			if delete(p, "paths"); action == "collect_diagnostics" {
				p["type"] = "heap_dump"
			}
			p["database"] = name
			return p
		}})
	}
	return all
}

// roles are the scenarios of actions, by action and what else the role depends on.
func roles() map[string][]scenario {
	all := map[string][]scenario{
		"scale_deployment":                    {set("scale_deployment"), onCrashing(map[string]any{"replicas": 2})},
		"scale_deployment, forced":            {{parameters: inWeb(map[string]any{"replicas": 2, "force": true, "waitForReady": false})}},
		"scale_statefulset":                   aging(set("scale_statefulset")),
		"rolling_restart_pods":                {set("rolling_restart_pods"), onCrashing(nil)},
		"rolling_restart_pods, and no wait":   {{parameters: inWeb(map[string]any{"waitForReady": false})}},
		"restart_daemonset":                   aging(set("restart_daemonset")),
		"restart_statefulset":                 aging(set("restart_statefulset")),
		"restart_pod, of a deployment":        {{parameters: inWeb(map[string]any{"stableFor": "1s"})}, onCrashing(nil)},
		"restart_pod":                         {inPodOf("pod", usual("restart_pod"))},
		"increase_resources":                  {set("increase_resources"), onCrashing(map[string]any{"memory": "2Gi"})},
		"migrate_workload":                    {set("migrate_workload"), movedAndCrashing()},
		"migrate_workload, elsewhere":         aging(migrated()),
		"rollback_deployment":                 {rolledBack("worse"), rolledBack("crash")},
		"enable_debug_mode":                   {died(set("enable_debug_mode")), onCrashing(map[string]any{"env": map[string]any{"LEVEL": "debug"}})},
		"enable_debug_mode, sealed elsewhere": {sealedElsewhere(set("enable_debug_mode")), sealedElsewhere(onCrashing(map[string]any{"env": map[string]any{"LEVEL": "debug"}}))},
		"patch_config_map":                    {died(read("patch_config_map", `"envFrom":[{"configMapRef":{"name":"settings"}}]`))},
		"rotate_secrets":                      {died(read("rotate_secrets", `"envFrom":[{"secretRef":{"name":"db"}}]`))},
		"drain_node":                          {drained()},
		"quarantine_pod":                      {quarantined("web", true), quarantined("db", true), quarantined("agent", true)},
		"quarantine_pod, in its services":     {quarantined("web", false), quarantined("db", false), quarantined("agent", false)},
		"expand_pvc":                          aging(scenario{parameters: volume(map[string]any{})}),
		"expand_pvc, and no wait":             {{parameters: volume(map[string]any{"waitForExpansion": false})}},
		"cleanup_storage":                     aging(inPodOf("deployment", folder)),
		"cleanup_storage, of a pod":           aging(inPodOf("pod", folder)),
		"backup_data":                         aging(inPodOf("deployment", usual("backup_data"))),
		"backup_data, of a pod":               aging(inPodOf("pod", usual("backup_data"))),
		"backup_data, of a database":          onDatabase("backup_data"),
		"backup_data, of a volume":            {snapshot()},
		"compact_storage":                     aging(inPodOf("deployment", usual("compact_storage"))),
		"failover_database":                   onDatabase("failover_database"),
		"repair_database":                     onDatabase("repair_database"),
		"audit_logs":                          {inPodOf("deployment", usual("audit_logs"))},
		"audit_logs, of a pod":                {inPodOf("pod", usual("audit_logs"))},
		"audit_logs, of a namespace":          {{parameters: func(c *cluster) map[string]any { c.ready("web"); return c.in(nil) }}},
		"create_heap_dump":                    aging(inPodOf("deployment", usual("create_heap_dump"))),
		"create_heap_dump, of a pod":          aging(inPodOf("pod", usual("create_heap_dump"))),
		"collect_diagnostics":                 {inPodOf("deployment", usual("collect_diagnostics"))},
		"collect_diagnostics, of a pod":       {inPodOf("pod", usual("collect_diagnostics"))},
		"collect_diagnostics, of a namespace": {{parameters: func(c *cluster) map[string]any { c.ready("web"); return c.in(nil) }}},
		"collect_diagnostics, of a database":  onDatabase("collect_diagnostics"),
		"collect_diagnostics, but little": {inPodOf("deployment", func(*cluster) map[string]any {
			return map[string]any{"includeLogs": false, "includeEvents": false, "includeMetrics": false}
		})},
		"collect_diagnostics, by a command":        aging(commanded(inPodOf("deployment", func(*cluster) map[string]any { return map[string]any{"type": "lock_graph"} }))),
		"optimize_resources":                       {measured("deployment", true)},
		"optimize_resources, everywhere":           {measured("", true)},
		"optimize_resources, applied":              {measured("deployment", false), measuredCrashing()},
		"health_check":                             {healthy(map[string]any{"service": "web"}, "")},
		"health_check, of services":                {healthy(map[string]any{"services": []any{"web"}}, "")},
		"health_check, of a deployment":            {healthy(map[string]any{"deployment": "web"}, "")},
		"health_check, of a pod":                   {healthy(map[string]any{"pod": "web"}, "")},
		"health_check, somewhere":                  {elsewhere(healthy(map[string]any{"service": "web"}, ""))},
		"health_check, of an endpoint":             {healthy(map[string]any{"service": "web", "endpoint": "/"}, "no endpoints available")},
		"health_check, of a deployment's endpoint": {healthy(map[string]any{"deployment": "web", "expectedStatus": 200}, "no endpoints available")},
		"health_check, of a pod's endpoint":        {healthy(map[string]any{"pod": "web", "endpoint": "/"}, "no endpoints available")},
		"health_check, of a forwarded port":        {forwarded(healthy(map[string]any{"service": "web", "endpoint": "/"}, ""))},
		"health_check, of a pod's forwarded port":  {forwarded(healthy(map[string]any{"deployment": "web", "endpoint": "/"}, ""))},
		"verify_recovery":                          {healthy(map[string]any{"services": []any{"web"}, "stableFor": "1s"}, "")},
		"verify_recovery, of a forwarded port":     {forwarded(healthy(map[string]any{"services": []any{"web"}, "stableFor": "1s", "healthEndpoint": "/"}, ""))},
		"scale_deployment, beside the runner":      {beside(set("scale_deployment")), beside(onCrashing(map[string]any{"replicas": 2}))},
		"rotate_secrets, beside the runner":        {died(beside(read("rotate_secrets", `"envFrom":[{"secretRef":{"name":"db"}}]`)))},
		"restart_network, beside the runner":       {beside(component("web")), beside(component("db")), beside(component("agent")), beside(brokenComponent())},
		"restart_network":                          {component("web"), component("db"), component("agent"), brokenComponent()},
		"reset_service_mesh":                       {mesh(), aging(mesh())[1], brokenMesh()},
	}
	for _, action := range []string{"cordon_node", "uncordon_node", "taint_node", "untaint_node", "update_hpa", "update_network_policy"} {
		all[action] = []scenario{set(action)}
	}
	return all
}

func died(s scenario) scenario      { s.died = true; return s }
func elsewhere(s scenario) scenario { s.elsewhere = true; return s }

// movedAndCrashing moves a deployment whose pods crash since it was changed.
func movedAndCrashing() scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		p := contracts["migrate_workload"].set(c)
		c.patchDeployment("web", crash)
		return p
	}, fails: "CrashLoopBackOff", old: true}
}

// migrated is a deployment that the site's command moves to another cluster.
func migrated() scenario {
	s := inPodOf("deployment", func(*cluster) map[string]any { return map[string]any{"targetCluster": "eu-2"} })
	s.stays = "move it back with that"
	return s
}

// crash is a patch of a workload after which its pods crash.
const crash = `{"spec":{"template":{"metadata":{"annotations":{"remedy.test/pod":"crash"}}}}}`

// rolledBack goes back to a revision whose variables may be secret, and whose pods crash when it is called so.
func rolledBack(kind string) scenario {
	s := scenario{died: true, parameters: func(c *cluster) map[string]any {
		if kind == "crash" {
			c.crashing("web")
		} else {
			c.web()
		}
		c.patchDeployment("web", `{"spec":{"template":{"metadata":{"annotations":{"remedy.test/pod":null}},"spec":{"containers":[{"name":"main","image":"worse","env":[{"name":"TOKEN","value":"hunter2"}]}]}}}}`)
		c.settled("web")
		return c.in(map[string]any{"deployment": "web", "stableFor": "1s"})
	}}
	if kind == "crash" {
		s.fails, s.old = "CrashLoopBackOff", true
	}
	return s
}

// sealedElsewhere keeps former values in files.
func sealedElsewhere(s scenario) scenario {
	s.site = func(c *cluster, _ *rest.Config, o *kube.Options) {
		store, err := sealed.Folder(c.TempDir(), []byte(strings.Repeat("k", sealed.KeySize)))
		require.NoError(c, err)
		o.Sealed = store
	}
	return s
}

// read is a contract about what workloads of every kind read, which are restarted before it is undone.
func read(action, from string) scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		p := contracts[action].set(c)
		c.everyKind(`{"spec":{"template":{"spec":{"containers":[{"name":"main",` + from + `}]}}}}`)
		return p
	}, done: restarted}
}

// drained is a node with a pod that a disruption budget holds back until after the dry run.
func drained() scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		c.ready("web")
		c.budget("web", map[string]string{"app": "web"}, 1)
		c.made() // where it goes
		return map[string]any{"node": c.podsOf("web")[0].Spec.NodeName}
	}, previewed: func(c *cluster) {
		c.patchBudget("web", `{"spec":{"minAvailable":0}}`)
		require.Eventually(c, func() bool {
			b, err := c.client.PolicyV1().PodDisruptionBudgets(c.namespace).Get(c.Context(), "web", metav1.GetOptions{})
			return err == nil && b.Status.ObservedGeneration == b.Generation && b.Status.DisruptionsAllowed > 0
		}, eventually, tick)
	}}
}

// afterwards waits in the background until somebody has asked for something, and then does something else; the test waits for that.
func (c *cluster) afterwards(r *recorder, verb, resource string, then func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), eventually)
	done := make(chan error, 1)
	go func() {
		often := time.NewTicker(tick)
		defer often.Stop()
		for !r.has(verb, resource) && ctx.Err() == nil {
			<-often.C
		}
		done <- then(ctx)
	}()
	c.Cleanup(func() {
		require.NoError(c, <-done)
		cancel()
	})
}

func (r *recorder) has(verb, resource string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for asked := range r.asked {
		if asked.Verb == verb && asked.Resource == resource {
			return true
		}
	}
	return false
}

// quarantined is a pod of a workload that another slice lists until that is watched.
func quarantined(app string, out bool) scenario {
	s := scenario{parameters: func(c *cluster) map[string]any {
		c.everyKind("")
		c.service("web", map[string]string{"app": app})
		return c.in(map[string]any{"pod": c.podsOf(app)[0].Name, "removeFromService": out})
	}}
	if !out {
		return s
	}
	s.begun = func(c *cluster, r *recorder) {
		slices := c.client.DiscoveryV1().EndpointSlices(c.namespace)
		pod := c.podsOf(app)[0]
		_, err := slices.Create(c.Context(), &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "slow"}, AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.2.3"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: c.namespace, Name: pod.Name, UID: pod.UID}}}}, metav1.CreateOptions{})
		require.NoError(c, err)
		c.afterwards(r, "watch", "endpointslices", func(ctx context.Context) error { return slices.Delete(ctx, "slow", metav1.DeleteOptions{}) })
	}
	return s
}

// volume makes a claim whose volume has become larger than it asks for.
func volume(parameters map[string]any) func(c *cluster) map[string]any {
	return func(c *cluster) map[string]any {
		yes, class, size := true, c.namespace, corev1.ResourceList{"storage": mustQuantity("1Gi")}
		_, err := c.client.StorageV1().StorageClasses().Create(c.Context(), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: "test", AllowVolumeExpansion: &yes}, metav1.CreateOptions{})
		require.NoError(c, err)
		_, err = c.client.CoreV1().PersistentVolumes().Create(c.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}, Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, StorageClassName: class, PersistentVolumeReclaimPolicy: "Retain",
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "test", VolumeHandle: "web"}}}}, metav1.CreateOptions{})
		require.NoError(c, err)
		claims := c.client.CoreV1().PersistentVolumeClaims(c.namespace)
		_, err = claims.Create(c.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class,
			VolumeName: c.namespace, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, Resources: corev1.VolumeResourceRequirements{Requests: size}}}, metav1.CreateOptions{})
		require.NoError(c, err)
		require.Eventually(c, func() bool {
			p, err := claims.Get(c.Context(), "web", metav1.GetOptions{})
			return err == nil && p.Status.Phase == corev1.ClaimBound
		}, eventually, tick)
		_, err = claims.Patch(c.Context(), "web", types.MergePatchType, []byte(`{"status":{"capacity":{"storage":"2Gi"}}}`), metav1.PatchOptions{}, "status")
		require.NoError(c, err)
		p := c.in(parameters)
		p["pvc"], p["size"] = "web", "2Gi"
		return p
	}
}

// snapshot copies a volume; the test plays the snapshot controller.
func snapshot() scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		c.snapshotDefinition()
		require.Eventually(c, func() bool {
			_, err := c.dynamic().Namespace(c.namespace).List(c.Context(), metav1.ListOptions{})
			return err == nil
		}, eventually, tick)
		_, err := c.client.CoreV1().PersistentVolumeClaims(c.namespace).Create(c.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": mustQuantity("1Gi")}}}}, metav1.CreateOptions{})
		require.NoError(c, err)
		return c.in(map[string]any{"pvc": "web"})
	}, begun: func(c *cluster, r *recorder) {
		snapshots := c.dynamic().Namespace(c.namespace)
		c.afterwards(r, "watch", volumeSnapshots.Resource, func(ctx context.Context) error {
			list, err := snapshots.List(ctx, metav1.ListOptions{})
			for _, s := range list.Items {
				_, failed := snapshots.Patch(ctx, s.GetName(), types.MergePatchType, []byte(`{"status":{"readyToUse":true}}`), metav1.PatchOptions{}, "status")
				err = errors.Join(err, failed)
			}
			return err
		})
	}}
}

// beside has the runner run in the same namespace.
func beside(s scenario) scenario {
	s.site = func(c *cluster, _ *rest.Config, o *kube.Options) {
		c.ready("runner")
		o.Self = kube.Self{Namespace: c.namespace, Pod: c.podsOf("runner")[0].Name}
	}
	return s
}

// commanded gathers diagnostics with a command of the site.
func commanded(s scenario) scenario {
	s.site = func(_ *cluster, _ *rest.Config, o *kube.Options) {
		o.Commands["collect_diagnostics.lock_graph"] = kube.Command{Args: []string{"echo", "no locks"}}
	}
	return s
}

// measure has the cluster say what the pods of everyKind use.
func (c *cluster) measure() {
	c.Helper()
	c.definition(podMetrics, "PodMetrics", nil)
	metrics := c.resource(podMetrics).Namespace(c.namespace)
	for _, app := range []string{"web", "db", "agent"} {
		require.Eventually(c, func() bool {
			_, err := metrics.Create(c.Context(), &unstructured.Unstructured{Object: map[string]any{"apiVersion": podMetrics.GroupVersion().String(), "kind": "PodMetrics",
				"metadata":   map[string]any{"name": app, "labels": map[string]any{"app": app}},
				"containers": []any{map[string]any{"name": "main", "usage": map[string]any{"cpu": "100m", "memory": "100Mi"}}}}}, metav1.CreateOptions{})
			return err == nil || apierrors.IsAlreadyExists(err)
		}, eventually, tick)
	}
}

func measured(target string, dry bool) scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		c.everyKind("")
		c.measure()
		p := c.in(map[string]any{"dryRun": dry, "stableFor": "1s"})
		if target != "" {
			p[target] = "web"
		}
		return p
	}}
}

func measuredCrashing() scenario {
	s := onCrashing(map[string]any{"dryRun": false})
	makes := s.parameters
	s.parameters = func(c *cluster) map[string]any {
		c.measure()
		return makes(c)
	}
	return s
}

// healthy looks at what is well; an endpoint that fails is one of a service that leads nowhere.
func healthy(parameters map[string]any, fails string) scenario {
	return scenario{fails: fails, parameters: func(c *cluster) map[string]any {
		c.ready("web")
		c.service("web", map[string]string{"app": "web"})
		if fails != "" {
			_, err := c.client.CoreV1().Services(c.namespace).Patch(c.Context(), "web", types.MergePatchType, []byte(`{"spec":{"ports":[{"name":"http","port":80,"targetPort":"nowhere"}]}}`), metav1.PatchOptions{})
			require.NoError(c, err)
		}
		require.Eventually(c, func() bool {
			list, err := c.client.DiscoveryV1().EndpointSlices(c.namespace).List(c.Context(), metav1.ListOptions{})
			return err == nil && len(list.Items) == 1 && (len(list.Items[0].Ports) == 0) == (fails != "") && (fails != "" || len(list.Items[0].Endpoints) == 1)
		}, eventually, tick)
		p := c.in(parameters)
		if p["pod"] != nil {
			p["pod"] = c.podsOf("web")[0].Name
		}
		return p
	}}
}

// forwarded asks endpoints by forwarded ports, which lead to a server here.
func forwarded(s scenario) scenario {
	s.site = func(c *cluster, config *rest.Config, o *kube.Options) {
		l, err := net.Listen("tcp", kubetest.Cluster(c.T).Forward)
		require.NoError(c, err)
		server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })}}
		server.Start()
		c.Cleanup(server.Close)
		o.Asker, err = httpcheck.PortForward(config)
		require.NoError(c, err)
	}
	return s
}

func component(name string) scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		c.everyKind("")
		return c.in(map[string]any{"component": name, "stableFor": "1s"})
	}}
}

func brokenComponent() scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		c.crashing("web")
		return c.in(map[string]any{"component": "web"})
	}, fails: "CrashLoopBackOff", old: true}
}

// mesh is one whose control plane and whose injected workloads are of every kind.
func mesh() scenario {
	return scenario{parameters: func(c *cluster) map[string]any {
		c.everyKind(`{"spec":{"template":{"spec":{"containers":[{"name":"consul-dataplane","image":"nothing"}]}}}}`)
		control := c.control()
		control.everyKind(`{"metadata":{"labels":{"app":"consul"}}}`)
		return c.in(map[string]any{"meshType": "consul", "stableFor": "1s"})
	}}
}

// control is the namespace of a mesh's control plane, which is empty again after the test.
func (c *cluster) control() *cluster {
	c.Helper()
	other := *c
	other.namespace = "consul"
	_, err := c.client.CoreV1().Namespaces().Create(c.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other.namespace}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(c, err)
	}
	c.Cleanup(other.leave)
	return &other
}

func brokenMesh() scenario {
	s := mesh()
	makes := s.parameters
	s.parameters = func(c *cluster) map[string]any {
		p := makes(c)
		other := *c
		other.namespace = "consul"
		other.patchDeployment("web", crash)
		return p
	}
	s.fails, s.old = "CrashLoopBackOff", true
	return s
}

// Every action, as the admin and as an account that has the printed role and nothing more.
func TestThePrintedRoleOfEveryActionIsEnoughAndNothingMore(t *testing.T) {
	all := roles()
	tried := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		action, _, _ := strings.Cut(name, ",")
		tried[action] = true
		t.Run(name, func(t *testing.T) { requireRole(t, action, all[name]) })
	}
	k, err := kube.New(configOf(t, controlplane.Admin), kube.Options{})
	require.NoError(t, err)
	require.ElementsMatch(t, slices.Collect(maps.Keys(k.Handlers())), slices.Collect(maps.Keys(tried)))
}

// Of the meshes only the namespace of the control plane differs, and a step that names none needs the rights for any.
func TestTheRolesOfMeshesDifferByNamespace(t *testing.T) {
	c := &cluster{T: t, namespace: "shop"}
	rights := func(parameters map[string]any) []kube.Right {
		req, _ := c.request("reset_service_mesh", c.in(parameters))
		return kube.Rights(req.Task)
	}
	var together []kube.Right
	for mesh, namespace := range map[string]string{"istio": "istio-system", "linkerd": "linkerd", "consul": "consul"} {
		of := rights(map[string]any{"meshType": mesh})
		together = append(together, of...)
		for i, r := range of {
			if r.Namespace != "shop" {
				require.Equal(t, namespace, r.Namespace)
				of[i].Namespace = "consul"
			}
		}
		require.ElementsMatch(t, rights(map[string]any{"meshType": "consul"}), of)
	}
	for _, r := range rights(nil) {
		require.Contains(t, together, r)
	}
}

// others makes an object of the name web of every kind but some.
func (c *cluster) others(but ...string) {
	c.Helper()
	template := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "web"}}, "spec": map[string]any{"containers": []any{map[string]any{"name": "main", "image": "nothing"}}}}
	workload := map[string]any{"replicas": int64(0), "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}}, "template": template}
	daemons := maps.Clone(workload)
	delete(daemons, "replicas")
	for kind, spec := range map[string]map[string]any{
		"Deployment": workload, "StatefulSet": workload, "DaemonSet": daemons,
		"Pod": {"nodeName": "nowhere", "containers": []any{map[string]any{"name": "main", "image": "nothing"}}}, "ConfigMap": nil, "Secret": nil,
		"HorizontalPodAutoscaler": {"maxReplicas": int64(3), "scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}},
		"NetworkPolicy":           {"podSelector": map[string]any{}},
		"PersistentVolumeClaim":   {"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}},
	} {
		if slices.Contains(but, kind) {
			continue
		}
		o := map[string]any{"apiVersion": kindsOf[kind].GroupVersion().String(), "kind": kind, "metadata": map[string]any{"name": "web"}}
		if spec != nil {
			o["spec"] = spec
		}
		_, err := c.objects(kind).Namespace(c.namespace).Create(c.Context(), &unstructured.Unstructured{Object: o}, metav1.CreateOptions{})
		require.NoError(c, err)
	}
	if !slices.Contains(but, "Service") {
		c.service("web", map[string]string{"app": "web"})
	}
}

// A name that is another object's only is not taken for it.
func TestANameThatOnlyObjectsOfOtherKindsHaveIsNoTarget(t *testing.T) {
	workload := []string{"deployment", "statefulset", "daemonset"}
	orPod := slices.Concat(workload, []string{"pod"})
	targets := map[string][]string{
		"cordon_node": {"node"}, "uncordon_node": {"node"}, "taint_node": {"node"}, "untaint_node": {"node"}, "drain_node": {"node"},
		"scale_deployment": {"deployment"}, "rollback_deployment": {"deployment"}, "scale_statefulset": {"statefulset"}, "restart_statefulset": {"statefulset"}, "restart_daemonset": {"daemonset"},
		"rolling_restart_pods": workload, "increase_resources": workload, "enable_debug_mode": workload, "migrate_workload": workload, "optimize_resources": workload,
		"restart_pod": orPod, "cleanup_storage": orPod, "compact_storage": orPod, "create_heap_dump": orPod, "audit_logs": orPod,
		"backup_data": append(orPod[:4:4], "pvc", "database"), "collect_diagnostics": append(orPod[:4:4], "database"), "health_check": append(orPod[:4:4], "service"),
		"quarantine_pod": {"pod"}, "expand_pvc": {"pvc"}, "patch_config_map": {"configMap"}, "rotate_secrets": {"secret"}, "update_hpa": {"hpa"}, "update_network_policy": {"networkPolicy"},
		"failover_database": {"database"}, "repair_database": {"database"}, "restart_network": {"component"}, "verify_recovery": {"services"}, "reset_service_mesh": {""},
	}
	more := map[string]map[string]any{
		"taint_node": {"key": "gpu", "effect": "NoSchedule"}, "untaint_node": {"key": "gpu"}, "scale_deployment": {"replicas": 3}, "scale_statefulset": {"replicas": 3}, "increase_resources": {"memory": "2Gi"},
		"enable_debug_mode": {"env": map[string]any{"A": "b"}}, "migrate_workload": {"targetNode": "web"}, "optimize_resources": {"dryRun": false}, "update_hpa": {"maxReplicas": 5},
		"update_network_policy": {"rules": map[string]any{"ingress": []any{}}}, "patch_config_map": {"patch": map[string]any{"a": "b"}}, "cleanup_storage": {"path": os.TempDir() + "/web"},
	}
	kinds := map[string]string{"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet", "pod": "Pod", "pvc": "PersistentVolumeClaim", "configMap": "ConfigMap", "secret": "Secret",
		"hpa": "HorizontalPodAutoscaler", "networkPolicy": "NetworkPolicy", "service": "Service", "services": "Service", "node": "Node"}
	where := map[string]*cluster{} // by the parameter that names what is missing there
	for _, parameter := range slices.Concat(slices.Collect(maps.Keys(kinds)), []string{"database"}) {
		where[parameter] = newCluster(t)
		if parameter == "database" { // which may be a workload or a pod
			where[parameter].others("Deployment", "StatefulSet", "DaemonSet", "Pod")
		} else {
			where[parameter].others(kinds[parameter])
		}
	}
	where["component"], where[""] = where["database"], where["database"]
	where["database"].snapshotDefinition()
	asker, err := httpcheck.ServiceProxy(configOf(t, controlplane.Admin))
	require.NoError(t, err)
	o := kube.Options{Generate: func(context.Context, schema.Target, string) ([]byte, error) { return []byte("new"), nil }, Asker: asker, Artifacts: artifact.Folder(t.TempDir()),
		CleanupPaths: []string{os.TempDir()}, Commands: kube.Commands{}}
	for _, name := range []string{"compact_storage", "failover_database", "repair_database.index", "create_heap_dump", "backup_data"} {
		o.Commands[name] = kube.Command{Args: []string{"true"}, Probe: []string{"true"}}
	}
	as := where[""].as(controlplane.Admin, o)
	require.ElementsMatch(t, slices.Collect(maps.Keys(as.handlers)), slices.Collect(maps.Keys(targets)))
	for action, parameters := range targets {
		for _, parameter := range parameters {
			t.Run(action+" "+parameter, func(t *testing.T) {
				c := *where[parameter]
				c.T, c.handlers = t, as.handlers
				p := maps.Clone(usages[action].parameters)
				if p == nil {
					p = map[string]any{}
				}
				maps.Copy(p, more[action])
				if parameter != "" {
					p[parameter] = "web"
				}
				if parameter == "services" {
					p[parameter] = []any{"web"}
				}
				if parameter != "node" {
					p = c.in(p)
				}
				req, con := c.request(action, p)
				if a := actions.Canonical().Lookup(action).Artifact; a != "" {
					req.Task.Artifact = a + "_s"
				}
				want := fmt.Sprintf("%s %s/web does not exist", kinds[parameter], c.namespace)
				switch parameter {
				case "node":
					want = "Node web does not exist"
				case "service", "services":
					want = strings.TrimPrefix(want, "S") // it may be the asker who says it
				case "database", "component":
					want = fmt.Sprintf(" web does not exist in [%s]", c.namespace)
				case "":
					want = fmt.Sprintf("a service mesh does not exist in [%s]", c.namespace)
				}
				before := c.namespaceNow()
				attempts := map[string]error{"execute": second(c.execute(req))}
				if actions.Canonical().Lookup(action).Mutating() {
					attempts["preview"] = second(c.preview(req))
				}
				for what, err := range attempts {
					require.ErrorContains(t, err, want, what)
					require.False(t, actions.IsTransient(err), what)
				}
				require.Zero(t, con.begun)
				require.Equal(t, before, c.namespaceNow())
			})
		}
	}
}
