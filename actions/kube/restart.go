package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// workloads are Deployments, StatefulSets and DaemonSets.
type workloads struct{}

func (workloads) name(t schema.Target) (group, resource string) {
	return "apps", strings.ToLower(t.Kind) + "s"
}

func (workloads) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	apps := c.client.AppsV1()
	switch t.Kind {
	case "Deployment":
		w, err := apps.Deployments(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		return workloadObject(w, err)
	case "StatefulSet":
		w, err := apps.StatefulSets(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		return workloadObject(w, err)
	case "DaemonSet":
		w, err := apps.DaemonSets(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		return workloadObject(w, err)
	}
	return nil, noWorkload(t)
}

func (workloads) seen(c *Cluster, t schema.Target) object {
	_, resource := workloads{}.name(t)
	o := c.seen(resource, t.Namespace, t.Name)
	if o == nil {
		return nil
	}
	live, err := workloadObject(o, nil)
	if err != nil {
		return nil
	}
	return live
}

func (workloads) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	data, err := strategic(live, fields)
	if err != nil {
		return nil, err
	}
	apps := c.client.AppsV1()
	switch t.Kind {
	case "Deployment":
		w, err := apps.Deployments(t.Namespace).Patch(ctx, t.Name, types.StrategicMergePatchType, data, o)
		return workloadObject(w, err)
	case "StatefulSet":
		w, err := apps.StatefulSets(t.Namespace).Patch(ctx, t.Name, types.StrategicMergePatchType, data, o)
		return workloadObject(w, err)
	case "DaemonSet":
		w, err := apps.DaemonSets(t.Namespace).Patch(ctx, t.Name, types.StrategicMergePatchType, data, o)
		return workloadObject(w, err)
	}
	return nil, noWorkload(t)
}

func noWorkload(t schema.Target) error {
	return actions.Permanent(fmt.Errorf("%s is no workload: name a deployment, a statefulset or a daemonset", t))
}

// The annotations that restart marks a pod template with: kubectl's, and which step did, for who asks after a crash.
const (
	restartedAt = "kubectl.kubernetes.io/restartedAt"
	restartedBy = "remedy/restarted-by"
)

var (
	template        = []string{"spec", "template", "metadata", "annotations"}
	restartedAtPath = append(template[:4:4], restartedAt)
	restartedByPath = append(template[:4:4], restartedBy)
)

// now is what a restart is marked with: two within one second are two restarts.
func now() any { return time.Now().UTC().Format(time.RFC3339Nano) }

// restart rolls the pods of a workload.
type restart struct{}

func (restart) want(req *actions.Request, live object) []field {
	mark := now()
	if live.at(restartedByPath...) == req.Key() {
		mark = live.at(restartedAtPath...)
	}
	return []field{{restartedAtPath, mark}, {restartedByPath, req.Key()}}
}

// restartable refuses a workload that does not replace its pods when its template changes.
func restartable(t schema.Target, live object) error {
	if live.at("spec", "paused") == true {
		return actions.Permanent(fmt.Errorf("%s is paused, so its pods would not be restarted: resume it first", t))
	}
	if live.at("spec", "updateStrategy", "type") == "OnDelete" {
		return actions.Permanent(fmt.Errorf("%s has the update strategy OnDelete, which restarts nothing: restart its pods one by one", t))
	}
	if n := live.count("spec", "updateStrategy", "rollingUpdate", "partition"); n > 0 && n >= live.count("spec", "replicas") {
		return actions.Permanent(fmt.Errorf("%s is partitioned at %d, so none of its pods would be restarted: lower the partition first", t, n))
	}
	return nil
}

// oneAtATime refuses a workload that replaces more than one pod at a time.
func oneAtATime(t schema.Target, live object) error {
	strategy, size := "strategy", live.count("spec", "replicas")
	switch t.Kind {
	case "StatefulSet": // which makes no more than there are, and takes one away unless it is told otherwise
		if down := scaled(live.at("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"), size, false); down > 1 {
			return actions.Permanent(fmt.Errorf("%s replaces %d pods at a time: set its maxUnavailable to 1, or leave the strategy out", t, down))
		}
		return nil
	case "DaemonSet":
		strategy, size = "updateStrategy", live.count("status", "desiredNumberScheduled")
	}
	surge, down := live.at("spec", strategy, "rollingUpdate", "maxSurge"), live.at("spec", strategy, "rollingUpdate", "maxUnavailable")
	// As controllers round them; where both come to nothing one is taken away.
	if more, fewer := scaled(surge, size, true), scaled(down, size, t.Kind == "DaemonSet"); more+fewer > 1 || live.at("spec", strategy, "type") == "Recreate" && size > 1 {
		return actions.Permanent(fmt.Errorf("%s replaces more than one pod at a time (maxSurge %s, maxUnavailable %s of %d): set these to 1 and 0, or leave the strategy out",
			t, show(surge), show(down), size))
	}
	return nil
}

// scaled is a number of pods, or a share of all of them.
func scaled(v any, size int64, up bool) int {
	data, err := json.Marshal(v)
	if err != nil || v == nil {
		return 0
	}
	var n intstr.IntOrString
	if err := json.Unmarshal(data, &n); err != nil {
		return 0
	}
	pods, err := intstr.GetScaledValueFromIntOrPercent(&n, int(size), up)
	if err != nil {
		return 0
	}
	return pods
}

func (restart) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	if err := restartable(req.Target, live); err != nil {
		return err
	}
	if req.Parameters.String("strategy") == "one-at-a-time" {
		return oneAtATime(req.Target, live)
	}
	return nil
}

// lenient: the marks of a restart are nobody's.
func (restart) lenient() {}

func (restart) rights(t *actions.Task) []Right { return rolloutRights(t) }

func (restart) waits(req *actions.Request) bool {
	return !req.Parameters.Given("waitForReady") || req.Parameters.Bool("waitForReady")
}

func (v restart) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	if !v.waits(req) {
		return "the restart has begun; it was not waited for", nil
	}
	return c.rolledOut(ctx, rollout{target: req.Target, written: live, stableFor: req.Parameters.Duration("stableFor")})
}
