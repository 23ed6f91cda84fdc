package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/kubetest"
	"github.com/remedykit/remedy/internal/controlplane/seed"
)

// confidences are the plans with that of their analysis.
var confidences = map[string]string{"oomkill": "0.725", "cascading-failure": "0.85", "alert-storm": "0.90", "database-deadlock": "0.92"}

// A world is a cluster in which a plan's objects are, and all else that it acts on.
type world struct {
	testing.TB
	client           kubernetes.Interface
	kubeconfig, site string
	plan             string // a file
	repository       string
	alertmanager     *controlplane.Alertmanager
	history          *history
	mu               sync.Mutex
	told             int
	pulls            []map[string]any
}

// newWorld makes the world of a plan. between stands before the services and the forge.
func newWorld(t testing.TB, name string, between ...func(http.Handler) http.Handler) *world {
	t.Helper()
	w := &world{TB: t}
	var err error
	w.kubeconfig, err = kubetest.Cluster(t).Kubeconfig(controlplane.Admin)
	require.NoError(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", w.kubeconfig)
	require.NoError(t, err)
	config.QPS = -1
	w.client, err = kubernetes.NewForConfig(config)
	require.NoError(t, err)
	w.clear()
	w.record()
	require.NoError(t, seed.Apply(t.Context(), config, name))
	w.plan = w.quick(name)
	if name == "oomkill" { // commands in pods run on this machine
		if err := os.MkdirAll("/var/log/payments", 0o755); err != nil {
			t.Skip("the plan copies /var/log/payments, which cannot be made here: ", err)
		}
		t.Cleanup(func() { _ = os.Remove("/var/log/payments") })
	}
	w.alertmanager, err = controlplane.StartAlertmanager(t.Context())
	require.NoError(t, err)
	t.Cleanup(w.alertmanager.Stop)
	w.makeRepository()
	var handler http.Handler = w
	for _, f := range between {
		handler = f(handler)
	}
	services := httptest.NewServer(handler)
	t.Cleanup(services.Close)
	t.Setenv("REMEDY_TEST_TOKEN", "t0ken")
	w.site = filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(w.site, fmt.Appendf(nil, `
commands:
  create_heap_dump: {args: [echo, heap]}
  backup_data: {args: [echo, dump]}
  psql: {args: ["true"]}
artifacts: %s
http: %s/services/{namespace}/{service}
alertmanager: {url: %s}
repositories:
  k8s-configs: {url: %s, github: shop/k8s-configs, githubUrl: %s, tokenEnv: REMEDY_TEST_TOKEN}
notify:
  default: {webhook: %s/told}
`, t.TempDir(), services.URL, w.alertmanager.URL, w.repository, services.URL, services.URL), 0o600))
	w.rolledOut()
	return w
}

// clear removes what an earlier test has left: a plan whose effects are there already would have none.
func (w *world) clear() {
	w.Helper()
	for _, ns := range planNamespaces {
		ctx, all := w.Context(), metav1.ListOptions{}
		require.NoError(w, w.client.AutoscalingV2().HorizontalPodAutoscalers(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, all))
		require.NoError(w, w.client.AppsV1().Deployments(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, all))
		require.NoError(w, w.client.AppsV1().StatefulSets(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, all))
		require.NoError(w, w.client.CoreV1().ConfigMaps(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, all))
		require.Eventually(w, func() bool {
			pods, err := w.client.CoreV1().Pods(ns).List(ctx, all)
			return err == nil && len(pods.Items) == 0
		}, eventually, tick, "pods stay")
	}
}

// quick is a plan whose rollouts need not stay complete for long.
func (w *world) quick(name string) string {
	w.Helper()
	text, err := os.ReadFile("../plans/" + name + ".json")
	require.NoError(w, err)
	text = bytes.ReplaceAll(text, []byte("  # Auto-approved at 90%"), nil)
	text = bytes.ReplaceAll(text, []byte(`, "..."`), nil)
	var doc map[string]any
	require.NoError(w, json.Unmarshal(text, &doc))
	for _, s := range doc["recommendations"].([]any) {
		step := s.(map[string]any)
		switch step["action"] {
		case "rolling_restart_pods", "restart_pod", "restart_statefulset", "increase_resources", "enable_debug_mode", "verify_recovery":
			step["parameters"].(map[string]any)["stableFor"] = "1s"
		}
	}
	data, err := json.Marshal(doc)
	require.NoError(w, err)
	file := filepath.Join(w.TempDir(), name+".json")
	require.NoError(w, os.WriteFile(file, data, 0o600))
	return file
}

func (w *world) git(dir string, args ...string) string {
	w.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(w, err, string(out))
	return strings.TrimSpace(string(out))
}

func (w *world) makeRepository() {
	w.Helper()
	dir := w.TempDir()
	work := filepath.Join(dir, "work")
	require.NoError(w, os.MkdirAll(filepath.Join(work, "production", "fraud-detection"), 0o755))
	require.NoError(w, os.WriteFile(filepath.Join(work, "production", "fraud-detection", "config.yaml"),
		[]byte("apiVersion: v1\nkind: ConfigMap\ndata:\n  DATABASE_POOL_SIZE: \"100\"\n"), 0o600))
	w.git(work, "init", "-q", "-b", "main")
	w.git(work, "add", ".")
	w.git(work, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
	w.repository = filepath.Join(dir, "bare.git")
	w.git(dir, "clone", "-q", "--bare", work, w.repository)
}

// ServeHTTP is healthy, takes messages, and keeps pull requests as GitHub does.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const pulls = "/repos/shop/k8s-configs/pulls"
	switch {
	case strings.HasPrefix(r.URL.Path, "/services/"):
	case r.URL.Path == "/told":
		w.told++
	case r.Method == http.MethodGet && r.URL.Path == pulls:
		found := []map[string]any{}
		asked := r.URL.Query()
		for _, p := range w.pulls {
			head, base := p["head"].(map[string]any)["label"], p["base"].(map[string]any)["ref"]
			if (!asked.Has("head") || asked.Get("head") == head) && (!asked.Has("base") || asked.Get("base") == base) &&
				(asked.Get("state") == "all" || p["state"] == "open") {
				found = append(found, p)
			}
		}
		_ = json.NewEncoder(rw).Encode(found)
	case r.Method == http.MethodPost && r.URL.Path == pulls:
		var opened struct{ Head, Base string }
		_ = json.NewDecoder(r.Body).Decode(&opened)
		p := map[string]any{
			"number": len(w.pulls) + 1, "state": "open", "html_url": "https://github.com/shop/k8s-configs/pull/1",
			"head": map[string]any{"ref": opened.Head, "label": "shop:" + opened.Head}, "base": map[string]any{"ref": opened.Base},
		}
		w.pulls = append(w.pulls, p)
		_ = json.NewEncoder(rw).Encode(p)
	case r.Method == http.MethodPatch:
		number := 0
		_, _ = fmt.Sscanf(r.URL.Path, pulls+"/%d", &number)
		w.pulls[number-1]["state"] = "closed"
		_ = json.NewEncoder(rw).Encode(w.pulls[number-1])
	default:
		rw.WriteHeader(http.StatusNotFound)
	}
}

func (w *world) openPulls() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pulls {
		if p["state"] == "open" {
			n++
		}
	}
	return n
}

// namespaces are those of the plans.
var planNamespaces = []string{"production", "infrastructure"}

// rolledOut waits until all deployments have their replicas.
func (w *world) rolledOut() {
	w.Helper()
	for _, ns := range planNamespaces {
		list, err := w.client.AppsV1().Deployments(ns).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		for _, d := range list.Items {
			require.Eventually(w, func() bool {
				now, err := w.client.AppsV1().Deployments(ns).Get(w.Context(), d.Name, metav1.GetOptions{})
				return err == nil && now.Status.ObservedGeneration >= now.Generation && now.Status.Replicas == *now.Spec.Replicas &&
					now.Status.AvailableReplicas == *now.Spec.Replicas && now.Status.UpdatedReplicas == *now.Spec.Replicas
			}, eventually, tick, d.Name)
		}
		sets, err := w.client.AppsV1().StatefulSets(ns).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		for _, s := range sets.Items {
			require.Eventually(w, func() bool {
				now, err := w.client.AppsV1().StatefulSets(ns).Get(w.Context(), s.Name, metav1.GetOptions{})
				return err == nil && now.Status.ObservedGeneration >= now.Generation && now.Status.ReadyReplicas == *now.Spec.Replicas && now.Status.CurrentRevision == now.Status.UpdateRevision
			}, eventually, tick, s.Name)
		}
	}
}

// state is all that a rollback has to bring back: specs, data, what the running pods see of them, silences, pull requests. That
// pods were restarted is not.
func (w *world) state() string {
	w.Helper()
	w.rolledOut()
	all := map[string]any{"pods": w.seenByPods()}
	restarts := func(annotations map[string]string) map[string]string {
		m := maps.Clone(annotations)
		maps.DeleteFunc(m, func(k, _ string) bool { return k == "kubectl.kubernetes.io/restartedAt" || k == "remedy/restarted-by" })
		if len(m) == 0 {
			return nil
		}
		return m
	}
	for _, ns := range planNamespaces {
		deployments, err := w.client.AppsV1().Deployments(ns).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		for _, d := range deployments.Items {
			d.Spec.Template.Annotations = restarts(d.Spec.Template.Annotations)
			all["deployment "+d.Name] = d.Spec
		}
		sets, err := w.client.AppsV1().StatefulSets(ns).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		for _, s := range sets.Items {
			s.Spec.Template.Annotations = restarts(s.Spec.Template.Annotations)
			all["statefulset "+s.Name] = s.Spec
		}
		configMaps, err := w.client.CoreV1().ConfigMaps(ns).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		for _, m := range configMaps.Items {
			all["configmap "+m.Name] = m.Data
		}
		hpas, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(ns).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		for _, h := range hpas.Items {
			all["hpa "+h.Name] = h.Spec
		}
	}
	var silences []struct{ Status struct{ State string } }
	resp, err := http.Get(w.alertmanager.URL + "/api/v2/silences")
	require.NoError(w, err)
	defer resp.Body.Close()
	require.NoError(w, json.NewDecoder(resp.Body).Decode(&silences))
	active := 0
	for _, s := range silences {
		if s.Status.State == "active" {
			active++
		}
	}
	all["silences"], all["pulls"], all["branches"] = active, w.openPulls(), w.git(w.repository, "branch", "--list")
	data, err := json.MarshalIndent(all, "", " ")
	require.NoError(w, err)
	return string(data)
}

// flags are those of every command that acts on the cluster.
func (w *world) flags(name string, more ...string) []string {
	return append([]string{"--kubeconfig", w.kubeconfig, "--site", w.site, "--confidence", confidences[name]}, more...)
}

func TestTheFourPlansRunOnACluster(t *testing.T) {
	for name := range confidences {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, name)
			before := w.state()
			dry := ok(t, append([]string{"run", w.plan, "--handlers", "kube", "--dry-run"}, w.flags(name)...)...)
			require.Contains(t, dry, ": verified")
			plan := ok(t, append([]string{"plan", w.plan}, w.flags(name)...)...)
			require.Contains(t, plan, "On the cluster")
			require.Contains(t, plan, "replicas are ready")
			require.Equal(t, before, w.state(), "looking changes nothing")
			gated := gatedSteps(t, append([]string{"plan", w.plan, "-o", "json"}, "--confidence", confidences[name])...)
			role := ok(t, "rbac", w.plan, "--confidence", confidences[name])
			require.Contains(t, role, "kind: Role")

			refused := remedy(t.Context(), strings.NewReader(""), append([]string{"run", w.plan, "--handlers", "kube", "--approve", "auto"}, w.flags(name)...)...)
			require.Equal(t, exitUsage, refused.code)
			require.Contains(t, refused.stderr, "say --yes as well")

			journal := filepath.Join(t.TempDir(), "journal")
			done := remedy(t.Context(), strings.NewReader(""), append([]string{"run", w.plan, "--handlers", "kube", "--journal", journal, "--id", "e2e-" + name}, w.flags(name)...)...)
			decided := 0
			for ; done.code == exitParked; decided++ {
				_, hint, _ := strings.Cut(done.stdout, "to decide: remedy approve ")
				words := strings.Fields(hint)
				require.NotEmpty(t, words, done.stdout)
				require.Contains(t, gated, words[1])
				ok(t, "approve", words[0], words[1], "--by", "ann", "--journal", journal)
				done = remedy(t.Context(), strings.NewReader(""), "resume", "e2e-"+name, "--handlers", "kube", "--kubeconfig", w.kubeconfig, "--site", w.site, "--journal", journal)
			}
			require.Equal(t, exitOK, done.code, "%s%s", done.stdout, done.stderr)
			require.Contains(t, done.stdout, "succeeded after")
			require.Equal(t, len(gated), decided, "a person decided each gate")
			if decided > 0 {
				require.Contains(t, w.git(journal, "grep", "--no-index", "-ho", `"by":"[a-z]*"`), `"ann"`)
			}
			if name != "database-deadlock" { // which only restarts pods
				require.NotEqual(t, before, w.state())
			}
			if strings.Contains(plan, "notify_only") {
				require.Equal(t, 1, w.told)
			}
			if name == "cascading-failure" {
				require.Equal(t, 1, w.openPulls())
				scaled, err := w.client.AppsV1().Deployments("production").Get(t.Context(), "fraud-detection-service", metav1.GetOptions{})
				require.NoError(t, err)
				require.EqualValues(t, 8, scaled.Status.ReadyReplicas)
				pods := w.seenByPods()["fraud-detection-service"]
				require.Len(t, pods, 8)
				for _, p := range pods {
					seen := fmt.Sprint(p)
					require.Contains(t, seen, "DATABASE_POOL_SIZE:200")
					require.Contains(t, seen, "POOL:200")
					require.Contains(t, seen, "/etc/pool-size:200")
					require.Contains(t, seen, "/etc/fraud/DATABASE_POOL_TIMEOUT:30s")
				}
			}
		})
	}
}

// gatedSteps are the steps that plan says a person has to approve.
func gatedSteps(t *testing.T, args ...string) []string {
	t.Helper()
	var plan planOutput
	require.NoError(t, json.Unmarshal([]byte(ok(t, args...)), &plan))
	var gated []string
	for _, s := range plan.Steps {
		if s.Gate == "approval" {
			gated = append(gated, s.ID)
		}
	}
	return gated
}

func TestTheExampleOfASiteIsRead(t *testing.T) {
	s, err := (&app{}).readSite(t.Context(), "../plans/site.yaml")
	require.NoError(t, err)
	require.Equal(t, []string{"patronictl", "failover", "--force", "--candidate", "{targetReplica}"}, s.Commands["failover_database"].Args)
	t.Setenv("GITHUB_TOKEN", "x")
	_, err = s.handlers(nil)
	require.ErrorContains(t, err, "notify jira: the environment variable JIRA_HOOK_KEY is not set")
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("comands: {}"), 0o600))
	_, err = (&app{}).readSite(t.Context(), bad)
	require.ErrorContains(t, err, "line 1: field comands not found")
}

// A failing handler carries a step out, and then says that it failed.
type failing struct {
	actions.ActionHandler
	step string
}

func (f failing) Unwrap() actions.ActionHandler { return f.ActionHandler }

func (f failing) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	r, err := f.ActionHandler.Execute(ctx, req)
	if err == nil && req.Step == f.step {
		return nil, actions.Permanent(fmt.Errorf("step %s was made to fail", f.step))
	}
	return r, err
}

func TestAFailureAtAnyStepLeavesTheClusterAsItWas(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	for name, confidence := range confidences {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, name)
			a := &app{}
			c, handlers, err := a.cluster(t.Context(), &clusterFlags{w.kubeconfig, w.site}, t.TempDir())
			require.NoError(t, err)
			defer c.Close()
			data, err := os.ReadFile(w.plan)
			require.NoError(t, err)
			plan, err := dag.Load(data, actions.Canonical())
			require.NoError(t, err)
			var value float64
			_, _ = fmt.Sscan(confidence, &value)
			ann := approval.ApproverFunc(func(context.Context, *approval.Request) (*approval.Decision, error) {
				return &approval.Decision{Verdict: approval.Approved, By: "ann"}, nil
			})
			var irreversible []string // as plan lists them
			for i := range plan.Len() {
				if s := plan.Step(i); s.Mutating() && !s.Reversible() {
					irreversible = append(irreversible, s.ID())
				}
			}
			for i := range plan.Len() {
				step := plan.Step(i).ID()
				before := w.state()
				broken := actions.Handlers{}
				for action, h := range handlers {
					broken[action] = failing{h, step}
				}
				ex, err := executor.New(executor.Config{Handlers: broken, Policy: approval.IncidentTable(), Approver: ann, Journal: journal.NewMemory(), DryRunFirst: true})
				require.NoError(t, err)
				r, err := ex.Run(t.Context(), plan, executor.RunOptions{ID: "broken-" + name + "-" + step, Confidence: approval.Confidence{Value: value, Given: true}})
				require.NoError(t, err)
				if r.Status() == executor.RunSucceededWithWarnings { // a notice or a diagnosis undoes nothing
					require.False(t, plan.Step(i).Gate(), step)
					undo, err := ex.Rollback(t.Context(), plan, r.Run())
					require.NoError(t, err)
					_, err = undo.Wait(t.Context())
					require.NoError(t, err)
				} else {
					require.NotEqual(t, executor.RunSucceeded, r.Status(), step)
					require.NotEqual(t, executor.RunRollbackFailed, r.Status(), "%s: %v", step, r)
				}
				require.Equal(t, before, w.state(), step)
				require.Subset(t, irreversible, r.Irreversible(), step)
				for s := range r.Steps() { // what can be undone was
					if p := plan.Step(s.Number - 1); p.Mutating() && p.Reversible() && r.Status() != executor.RunSucceededWithWarnings {
						require.NotContains(t, []executor.Status{executor.Succeeded, executor.Failed, executor.RollbackFailed, executor.Unknown}, s.Status, "%s: %s", step, s.ID)
					}
				}
			}
		})
	}
}

// A killer stands between a runner and the cluster, the services and the forge. It lets the request that is a step's effect
// through, kills the runner before that hears of it, and counts how often each effect got through.
type killer struct {
	mu      sync.Mutex // guards what follows
	victim  *os.Process
	request string // with which the victim is killed; "" for none
	sent    map[string]int
}

// effects are the requests of the steps of cascading-failure by which others know of them, in order.
var effects = []string{
	"GET /api/v1/namespaces/production/pods/fraud-detection-db-0/log",
	"PATCH /api/v1/namespaces/production/configmaps/fraud-detection-config",
	"PATCH /apis/apps/v1/namespaces/production/deployments/fraud-detection-service",
	"PATCH /apis/apps/v1/namespaces/production/deployments/fraud-detection-service/scale",
	"GET /services/production/fraud-detection-service/health",
	"PATCH /apis/apps/v1/namespaces/production/deployments/checkout-service",
	"PATCH /apis/apps/v1/namespaces/production/deployments/payment-gateway",
	"GET /services/production/payment-gateway/health",
	"POST /repos/shop/k8s-configs/pulls",
}

func (k *killer) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := r.Method + " " + r.URL.Path
		if r.URL.Query().Get("dryRun") != "" || !slices.Contains(effects, request) {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		k.mu.Lock()
		defer k.mu.Unlock()
		if answer.Code < 300 {
			k.sent[request]++
		}
		if k.victim != nil && request == k.request {
			_ = k.victim.Kill()
			k.victim = nil
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

func TestARunThatIsKilledInAnyStepEndsTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	const name = "cascading-failure"
	k := &killer{}
	w := newWorld(t, name, k.before)
	w.kubeconfig = throughProxy(t, w.kubeconfig, k.before)
	exe, err := os.Executable()
	require.NoError(t, err)
	start := w.state()
	var want string
	type death struct {
		step  int // 0 for none
		after bool
	}
	deaths := []death{{}}
	for step := 1; step <= len(effects); step++ {
		deaths = append(deaths, death{step, false}, death{step, true})
	}
	for _, d := range deaths {
		dir, id := t.TempDir(), fmt.Sprintf("killed-%d-%v", d.step, d.after)
		flags := w.flags(name, "--handlers", "kube", "--approve", "auto", "--yes", "--journal", filepath.Join(dir, "journal"), "-o", "json")
		cmd := exec.CommandContext(t.Context(), exe, append([]string{"run", w.plan, "--id", id}, flags...)...)
		cmd.Env = append(os.Environ(), "REMEDY_TEST_MAIN=1")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		k.mu.Lock()
		k.sent, k.request, k.victim = map[string]int{}, "", nil
		require.NoError(t, cmd.Start())
		if d.after {
			k.request, k.victim = effects[d.step-1], cmd.Process
		}
		k.mu.Unlock()
		step := fmt.Sprintf("rec-%03d", d.step)
		started, ended := false, false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e struct{ Kind, Step string }
			if json.Unmarshal(lines.Bytes(), &e) != nil || e.Step != step {
				continue
			}
			started, ended = started || e.Kind == "stepStarted", ended || e.Kind == "stepFinished"
			if started && !d.after {
				_ = cmd.Process.Kill()
			}
		}
		err = cmd.Wait()
		if d.step > 0 {
			require.ErrorContains(t, err, "signal: killed", id)
			require.True(t, started, id)
			require.False(t, ended && d.after, "%s: it was killed within the step", id)
		}
		resume := exec.CommandContext(t.Context(), exe, append([]string{"resume", id}, w.resumeFlags(filepath.Join(dir, "journal"))...)...)
		resume.Env = cmd.Env
		said, err := resume.CombinedOutput()
		require.NoError(t, err, "%s: %s", id, said)
		k.mu.Lock()
		for _, effect := range effects {
			if !strings.HasPrefix(effect, "GET ") {
				require.Equal(t, 1, k.sent[effect], "%s: %s", id, effect)
			}
		}
		k.mu.Unlock()
		end := strings.ReplaceAll(w.state(), "remedy/"+id+"/", "remedy/run/")
		if d.step == 0 {
			want = end
		}
		require.Equal(t, want, end, id)
		back := exec.CommandContext(t.Context(), exe, append([]string{"rollback", id}, w.resumeFlags(filepath.Join(dir, "journal"))...)...)
		back.Env = cmd.Env
		said, _ = back.CombinedOutput()
		require.Equal(t, start, w.state(), "%s: %s", id, said)
	}
}

func (w *world) resumeFlags(dir string) []string {
	return []string{"--handlers", "kube", "--approve", "auto", "--yes", "--kubeconfig", w.kubeconfig, "--site", w.site, "--journal", dir}
}

// How long a controller may take to notice something, and how often a test looks.
const (
	eventually = 20 * time.Second
	tick       = 20 * time.Millisecond
)
