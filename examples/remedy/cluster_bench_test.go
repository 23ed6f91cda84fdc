package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/internal/controlplane"
)

// A counter counts the requests to an API server, and the bytes of their answers.
type counter struct{ requests, bytes atomic.Int64 }

type counted struct {
	http.ResponseWriter
	c *counter
}

func (w counted) Write(p []byte) (int, error) {
	w.c.bytes.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}
func (w counted) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// counting is a kubeconfig that leads to the cluster through a counter.
func counting(b *testing.B, kubeconfig string) (string, *counter) {
	b.Helper()
	c := &counter{}
	return throughProxy(b, kubeconfig, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.requests.Add(1)
			next.ServeHTTP(counted{w, c}, r)
		})
	}), c
}

// script is the cascading-failure plan as people write it by hand.
const script = `set -euo pipefail
K="kubectl -n production"
{ $K get statefulset fraud-detection-db -o json; $K get pods -l app=fraud-detection-db -o json; $K get events -o json; $K logs fraud-detection-db-0; } > "$DIR/diagnostics"
$K patch configmap fraud-detection-config --type merge -p '{"data":{"DATABASE_POOL_SIZE":"200","DATABASE_POOL_TIMEOUT":"30s"}}'
$K rollout restart deployment/fraud-detection-service
$K rollout status deployment/fraud-detection-service
$K scale deployment/fraud-detection-service --replicas=8
$K rollout status deployment/fraud-detection-service
curl -fsS "$HEALTH/fraud-detection-service/health"
$K rollout restart deployment/checkout-service
$K rollout restart deployment/payment-gateway
$K rollout status deployment/checkout-service
$K rollout status deployment/payment-gateway
for s in checkout-service payment-gateway fraud-detection-service; do curl -fsS "$HEALTH/$s/health"; done
git clone -q --depth 1 "file://$REPOSITORY" "$DIR/clone" && cd "$DIR/clone" && git checkout -qb fix
sed -i 's/"100"/"200"/' production/fraud-detection/config.yaml
git -c user.name=a -c user.email=a@b commit -qam fix && git push -q origin "fix:fix-$RUN"
curl -fsS -X POST -d '{"head":"fix","base":"main"}' "$FORGE/repos/shop/k8s-configs/pulls"
`

// A stable handler is given how long a rollout has to stay complete: 0, which a plan cannot ask for, is as kubectl has it.
type stable struct {
	actions.ActionHandler
	stableFor time.Duration
}

func (s stable) Unwrap() actions.ActionHandler { return s.ActionHandler }

func (s stable) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	parameters := map[string]any{"waitForReady": true, "createPR": true, "expectedStatus": 200, "includeLogs": true, "includeEvents": true, "timeRange": time.Hour}
	for k, v := range req.Parameters.All() {
		parameters[k] = v
	}
	parameters["stableFor"] = s.stableFor
	own, task := *req, *req.Task
	task.Parameters = actions.NewParameters(parameters)
	own.Task = &task
	return s.ActionHandler.Execute(ctx, &own)
}

// A timesheet has how long each step's handler took the last time.
type timesheet struct{ steps sync.Map }

type timed struct {
	actions.ActionHandler
	sheet *timesheet
}

func (t timed) Unwrap() actions.ActionHandler { return t.ActionHandler }

func (t timed) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	began := time.Now()
	defer func() { t.sheet.steps.Store(req.Step, time.Since(began)) }()
	return t.ActionHandler.Execute(ctx, req)
}

// critical is how long the handlers on the longest way through a plan took.
func (t *timesheet) critical(plan *dag.Plan) (longest time.Duration) {
	until := make([]time.Duration, plan.Len())
	for i := range plan.Len() { // the plan has its steps after their dependencies
		for _, before := range plan.Step(i).Dependencies() {
			until[i] = max(until[i], until[before])
		}
		took, _ := t.steps.Load(plan.Step(i).ID())
		until[i] += took.(time.Duration)
		longest = max(longest, until[i])
	}
	return longest
}

// BenchmarkBesideKubectl runs the cascading-failure plan, and the same nine steps as a script of kubectl, curl and git, in turn. It
// reports remedy's wall time, API requests and bytes as shares of the script's, and what a step costs beside its handler.
func BenchmarkBesideKubectl(b *testing.B) {
	for _, stableFor := range []time.Duration{0, 10 * time.Second} {
		b.Run("stableFor="+stableFor.String(), func(b *testing.B) { besideKubectl(b, stableFor) })
	}
}

// The two sides, in the order in which they are measured.
const (
	remedySide = iota
	kubectlSide
	sides
)

func besideKubectl(b *testing.B, stableFor time.Duration) {
	const name = "cascading-failure"
	w := newWorld(b, name)
	programs, err := controlplane.Built()
	require.NoError(b, err)
	kubeconfig, count := counting(b, w.kubeconfig)
	site, err := (&app{}).readSite(b.Context(), w.site)
	require.NoError(b, err)
	services, err := url.Parse(site.HTTP)
	require.NoError(b, err)
	forge := services.Scheme + "://" + services.Host
	data, err := os.ReadFile(w.plan)
	require.NoError(b, err)
	plan, err := dag.Load(data, actions.Canonical())
	require.NoError(b, err)
	c, handlers, err := (&app{}).cluster(b.Context(), &clusterFlags{kubeconfig, w.site}, b.TempDir())
	require.NoError(b, err)
	defer c.Close()
	spent := &timesheet{}
	for action, h := range handlers {
		handlers[action] = timed{stable{h, stableFor}, spent}
	}
	reset := func() {
		_, err := w.client.AppsV1().Deployments("production").Patch(b.Context(), "fraud-detection-service", types.MergePatchType, []byte(`{"spec":{"replicas":5}}`), metav1.PatchOptions{})
		require.NoError(b, err)
		_, err = w.client.CoreV1().ConfigMaps("production").Patch(b.Context(), "fraud-detection-config", types.MergePatchType, []byte(`{"data":{"DATABASE_POOL_SIZE":"100","DATABASE_POOL_TIMEOUT":"10s"}}`), metav1.PatchOptions{})
		require.NoError(b, err)
		w.rolledOut()
	}
	var wall [sides]time.Duration
	var requests, bytes [sides]int64
	measure := func(side int, f func()) {
		reset()
		r, n, began := count.requests.Load(), count.bytes.Load(), time.Now()
		f()
		wall[side] += time.Since(began)
		requests[side] += count.requests.Load() - r
		bytes[side] += count.bytes.Load() - n
	}
	kept, err := journal.Open(b.TempDir(), journal.Options{})
	require.NoError(b, err)
	defer kept.Close()
	ex, err := executor.New(executor.Config{Handlers: handlers, Policy: approval.IncidentTable(), Approver: approval.Auto(), Journal: kept})
	require.NoError(b, err)
	var overhead time.Duration
	home, runs := b.TempDir(), 0
	for b.Loop() {
		measure(remedySide, func() {
			runs++
			r, err := ex.Run(b.Context(), plan, executor.RunOptions{ID: fmt.Sprintf("bench-%d", runs), Confidence: approval.Confidence{Value: 0.85, Given: true}})
			require.NoError(b, err)
			require.Equal(b, executor.RunSucceeded, r.Status(), "%v", r.Err())
			overhead += r.Makespan() - spent.critical(plan)
		})
		measure(kubectlSide, func() {
			dir := b.TempDir()
			cmd := exec.CommandContext(b.Context(), "bash", "-c", script)
			cmd.Env = append(os.Environ(), "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+home, "KUBECONFIG="+kubeconfig, "DIR="+dir,
				"RUN="+filepath.Base(dir)+time.Now().Format("150405.000"), "REPOSITORY="+w.repository, "HEALTH="+forge+"/services/production", "FORGE="+forge)
			out, err := cmd.CombinedOutput()
			require.NoError(b, err, string(out))
		})
	}
	n := float64(b.N)
	b.ReportMetric(wall[remedySide].Seconds()/wall[kubectlSide].Seconds(), "wall/kubectl")
	b.ReportMetric(float64(requests[remedySide])/float64(requests[kubectlSide]), "requests/kubectl")
	b.ReportMetric(float64(bytes[remedySide])/float64(bytes[kubectlSide]), "bytes/kubectl")
	b.ReportMetric(overhead.Seconds()*1000/n/float64(plan.Len()), "overhead-ms/step")
	b.ReportMetric(wall[remedySide].Seconds()/n, "s/remedy")
	b.ReportMetric(wall[kubectlSide].Seconds()/n, "s/kubectl")
	b.ReportMetric(float64(requests[remedySide])/n, "requests/remedy-run")
	b.ReportMetric(float64(requests[kubectlSide])/n, "requests/kubectl-run")
}
