package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// workloadOf is the workload that a pod belongs to; the pod itself when it belongs to none.
func (c *Cluster) workloadOf(ctx context.Context, pod schema.Target) (schema.Target, error) {
	p, err := c.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return pod, explain(err, "get", "pods", pod)
	}
	return c.workloadOfPod(ctx, p)
}

func (c *Cluster) workloadOfPod(ctx context.Context, p *corev1.Pod) (schema.Target, error) {
	t := schema.Target{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return t, nil
	}
	t.Kind, t.Name = owner.Kind, owner.Name
	if owner.Kind != "ReplicaSet" {
		return t, nil
	}
	set, err := c.client.AppsV1().ReplicaSets(p.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	if err != nil {
		return t, explain(err, "get", "replicasets", t)
	}
	if owner := metav1.GetControllerOf(set); owner != nil {
		t.Kind, t.Name = owner.Kind, owner.Name
	}
	return t, nil
}

// A workload is a Deployment, a StatefulSet or a DaemonSet, as far as it matters here.
type workload struct {
	target   schema.Target
	object   metav1.Object
	template *corev1.PodTemplateSpec
}

// all are the workloads of a namespace.
func (c *Cluster) all(ctx context.Context, namespace string) (all []workload, err error) {
	err = patiently(ctx, func() error {
		all = nil
		t := schema.Target{Kind: "workloads", Namespace: namespace}
		deployments, err := c.client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return explain(err, "list", "deployments", t)
		}
		for i := range deployments.Items {
			w := &deployments.Items[i]
			all = append(all, workload{schema.Target{Kind: "Deployment", Namespace: w.Namespace, Name: w.Name}, w, &w.Spec.Template})
		}
		sets, err := c.client.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return explain(err, "list", "statefulsets", t)
		}
		for i := range sets.Items {
			w := &sets.Items[i]
			all = append(all, workload{schema.Target{Kind: "StatefulSet", Namespace: w.Namespace, Name: w.Name}, w, &w.Spec.Template})
		}
		daemons, err := c.client.AppsV1().DaemonSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return explain(err, "list", "daemonsets", t)
		}
		for i := range daemons.Items {
			w := &daemons.Items[i]
			all = append(all, workload{schema.Target{Kind: "DaemonSet", Namespace: w.Namespace, Name: w.Name}, w, &w.Spec.Template})
		}
		return nil
	})
	return all, err
}

// allRights are the rights to list and to restart any workload of a namespace.
func allRights(namespace string) []Right {
	return slices.Concat(workloadRights("get list watch patch", namespace), rightsTo("get", "apps", "replicasets", namespace, ""),
		rightsTo("list watch", "", "pods", namespace, ""))
}

// workloadRights are the rights to do all of verbs with any workload of a namespace.
func workloadRights(verbs, namespace string) []Right {
	var all []Right
	for _, resource := range []string{"deployments", "statefulsets", "daemonsets"} {
		all = append(all, rightsTo(verbs, "apps", resource, namespace, "")...)
	}
	return all
}

// compareTargets orders targets by kind and name.
func compareTargets(a, b schema.Target) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// namespaces are where a task's objects are looked for: its own namespace, or those that the plan names.
func namespaces(t *actions.Task) []string {
	if ns := t.Parameters.String("namespace"); ns != "" {
		return []string{ns}
	}
	return t.Namespaces
}

// oneOf is the only element of found; the error says what was looked for and where.
func oneOf[T any](found []T, what string, where []string) (T, error) {
	var zero T
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(where) == 0:
		return zero, actions.Permanent(fmt.Errorf("%s: the step names no namespace, and neither does the plan: give it one", what))
	case len(found) == 0:
		return zero, actions.Permanent(fmt.Errorf("%s does not exist in %v", what, where))
	}
	return zero, actions.Permanent(fmt.Errorf("%s: %d match in %v: give the step a namespace", what, len(found), where))
}
