package kube

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/remedykit/remedy/actions"
)

// Facts are what people want to know of a task's target before they decide: how many replicas it has, who scales it, what holds
// evictions back, who writes it from git. A line each; none for what is no workload, autoscaler or node.
func (c *Cluster) Facts(ctx context.Context, task *actions.Task) ([]string, error) {
	t := task.Target
	switch t.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
	case "HorizontalPodAutoscaler":
		h, err := autoscalers{}.get(ctx, c, t)
		if err != nil {
			return nil, explain(err, "get", "horizontalpodautoscalers", t)
		}
		return []string{fmt.Sprintf("scales %v %v from %v to %v replicas; %v now", h.at("spec", "scaleTargetRef", "kind"), h.at("spec", "scaleTargetRef", "name"),
			show(h.at("spec", "minReplicas")), show(h.at("spec", "maxReplicas")), show(h.at("status", "currentReplicas")))}, nil
	case "Node":
		n, err := c.client.CoreV1().Nodes().Get(ctx, t.Name, metav1.GetOptions{})
		if err != nil {
			return nil, explain(err, "get", "nodes", t)
		}
		fact := map[bool]string{true: "ready", false: "not ready"}[ready(n)]
		if n.Spec.Unschedulable {
			fact += ", cordoned"
		}
		return []string{fact}, nil
	default:
		return nil, nil
	}
	t, err := c.located(ctx, task, t)
	if err != nil {
		return nil, err
	}
	o, template, err := c.workload(ctx, t)
	if err != nil {
		return nil, err
	}
	s, err := progress(o)
	facts := []string{s.message}
	if err != nil {
		facts = []string{err.Error()}
	}
	hpas, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return facts, explain(err, "list", "horizontalpodautoscalers", t)
	}
	for i := range hpas.Items {
		h := &hpas.Items[i]
		if h.Spec.ScaleTargetRef.Kind == t.Kind && h.Spec.ScaleTargetRef.Name == t.Name {
			facts = append(facts, fmt.Sprintf("scaled by HorizontalPodAutoscaler %s from %d to %d", h.Name, replicas(h.Spec.MinReplicas), h.Spec.MaxReplicas))
		}
	}
	budgets, err := c.client.PolicyV1().PodDisruptionBudgets(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return facts, explain(err, "list", "poddisruptionbudgets", t)
	}
	for i := range budgets.Items {
		b := &budgets.Items[i]
		if sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && sel.Matches(labels.Set(template.Labels)) {
			facts = append(facts, fmt.Sprintf("PodDisruptionBudget %s lets %d pods go now", b.Name, b.Status.DisruptionsAllowed))
		}
	}
	live, err := objectOf(o, nil)
	if err != nil {
		return facts, err
	}
	if owner := gitOwner(live); owner != "" {
		facts = append(facts, owner+" writes it from git")
	}
	return slices.Clip(facts), nil
}
