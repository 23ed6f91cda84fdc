package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

func nameOf(req *actions.Request) string { return req.Action }

// migrate moves a workload to a node by affinity, and to another cluster by the site's command.
type migrate struct {
	c     *Cluster
	other command
}

func (h *migrate) edit() *edit { return &edit{h.c, workloads{}, move{}} }

// elsewhere tells whether the step is about another cluster.
func elsewhere(p actions.Parameters) bool { return p.Given("targetCluster") }

func (h *migrate) BeginsItself() bool { return true }

func (h *migrate) rights(t *actions.Task) []Right {
	if elsewhere(t.Parameters) {
		return h.other.rights(t)
	}
	return h.edit().rights(t)
}

func (h *migrate) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if elsewhere(req.Parameters) {
		return h.other.Execute(ctx, req)
	}
	return h.edit().Execute(ctx, req)
}

func (h *migrate) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if elsewhere(req.Parameters) {
		return h.other.DryRun(ctx, req)
	}
	return h.edit().DryRun(ctx, req)
}

func (h *migrate) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if elsewhere(req.Parameters) {
		return h.other.Probe(ctx, req)
	}
	return h.edit().Probe(ctx, req)
}

// Compensate brings the former affinity back. What the site's command did, nobody here can take back.
func (h *migrate) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo != nil && elsewhere(req.Parameters) {
		return actions.Permanent(fmt.Errorf("%s was moved to another cluster by the site's command: move it back with that", req.Target))
	}
	return (&edit{h.c, workloads{}, moveBack{}}).Compensate(ctx, req, undo)
}

func (h *migrate) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}

// move has a workload's pods run on one node.
type move struct{}

var affinityPath = append(podSpec[:3:3], "affinity")

const required = "requiredDuringSchedulingIgnoredDuringExecution"

func (move) want(req *actions.Request, live object) []field {
	only := map[string]any{"key": "metadata.name", "operator": "In", "values": []any{req.Parameters.String("targetNode")}}
	terms, _ := live.at(append(affinityPath[:4:4], "nodeAffinity", required, "nodeSelectorTerms")...).([]any)
	if len(terms) == 0 {
		terms = []any{map[string]any{}}
	}
	var narrowed []any
	for _, t := range terms {
		term, _ := t.(map[string]any)
		term = maps.Clone(term)
		all, _ := term["matchFields"].([]any)
		all = slices.DeleteFunc(slices.Clone(all), func(f any) bool { m, _ := f.(map[string]any); return m["key"] == "metadata.name" })
		term["matchFields"] = append(all, only)
		narrowed = append(narrowed, term)
	}
	affinity, _ := live.at(affinityPath...).(map[string]any)
	return []field{{affinityPath, with(affinity, []string{"nodeAffinity", required, "nodeSelectorTerms"}, narrowed)}}
}

func (move) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	if req.Target.Kind == "DaemonSet" {
		return actions.Permanent(fmt.Errorf("%s runs on every node: it cannot be moved to one", req.Target))
	}
	if req.Parameters.Bool("drainSource") {
		return actions.Permanent(fmt.Errorf("%s: drain the node that it leaves with a step of its own (drain_node), which is asked for and undone by itself", req.Target))
	}
	if err := restartable(req.Target, live); err != nil {
		return err
	}
	name := req.Parameters.String("targetNode")
	t := schema.Target{Kind: "Node", Name: name}
	n, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return explain(err, "get", "nodes", t)
	}
	if !ready(n) || n.Spec.Unschedulable {
		return actions.Permanent(fmt.Errorf("%s takes no pods: it is not ready, or cordoned", t))
	}
	_, template, err := c.workload(ctx, req.Target)
	if err != nil {
		return err
	}
	spec := template.Spec
	for _, taint := range n.Spec.Taints {
		if taint.Effect != corev1.TaintEffectPreferNoSchedule && !slices.ContainsFunc(spec.Tolerations, func(one corev1.Toleration) bool { return tolerates(one, taint) }) {
			return actions.Permanent(fmt.Errorf("%s has the taint %s, which %s does not tolerate", t, taint.ToString(), req.Target))
		}
	}
	return c.fits(ctx, req, live, n, &spec)
}

func tolerates(one corev1.Toleration, taint corev1.Taint) bool {
	return (one.Effect == "" || one.Effect == taint.Effect) &&
		(one.Key == taint.Key && (one.Operator == corev1.TolerationOpExists || one.Value == taint.Value) || one.Key == "" && one.Operator == corev1.TolerationOpExists)
}

// fits looks whether a node has room for what all replicas ask for.
func (c *Cluster) fits(ctx context.Context, req *actions.Request, live object, n *corev1.Node, spec *corev1.PodSpec) error {
	list, err := c.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", n.Name).String()})
	if err != nil {
		return explain(err, "list", "pods", req.Target)
	}
	size, ok := live.at("spec", "replicas").(int64)
	if !ok {
		size = 1
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		left := n.Status.Allocatable[name]
		for i := range list.Items {
			left.Sub(requested(&list.Items[i].Spec, name))
		}
		need := requested(spec, name)
		need.Mul(size)
		if need.Cmp(left) > 0 {
			return actions.Permanent(fmt.Errorf("%s has %s of %s left, and %d replicas of %s ask for %s", schema.Target{Kind: "Node", Name: n.Name}, left.String(), name, size, req.Target, need.String()))
		}
	}
	return nil
}

// requested is what the containers of a pod ask for of a resource.
func requested(spec *corev1.PodSpec, name corev1.ResourceName) quantity.Quantity {
	var total quantity.Quantity
	for i := range spec.Containers {
		if q, ok := spec.Containers[i].Resources.Requests[name]; ok {
			total.Add(q)
		}
	}
	return total
}

func (move) rights(t *actions.Task) []Right {
	return slices.Concat(rolloutRights(t), rightsTo("get", "", "nodes", "", t.Parameters.String("targetNode")), rightsTo("list", "", "pods", "", ""))
}

func (move) waits(*actions.Request) bool { return true }

// settle waits for the rollout, and sees that the pods are where they belong.
func (move) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	message, err := c.rolledOut(ctx, rollout{target: req.Target, written: live, stableFor: req.Parameters.Duration("stableFor")})
	if err != nil {
		return "", err
	}
	_, all, err := c.podsOf(ctx, req)
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if p.DeletionTimestamp == nil && p.Spec.NodeName != req.Parameters.String("targetNode") {
			return "", actions.Permanent(fmt.Errorf("pod %s of %s runs on %s", p.Name, req.Target, p.Spec.NodeName))
		}
	}
	return message + " on " + req.Parameters.String("targetNode"), nil
}

// moveBack is what an undo settles: the pods may run anywhere again.
type moveBack struct{ move }

func (moveBack) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	return c.rolledOut(ctx, rollout{target: req.Target, written: live})
}
