package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
)

// nodes are Nodes.
type nodes struct{}

func (nodes) name() string { return "nodes" }

func (nodes) get(ctx context.Context, c *Cluster, _, name string) (object, error) {
	n, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	return objectOf(n, err)
}

func (nodes) patch(ctx context.Context, c *Cluster, _, name string, data []byte, o metav1.PatchOptions) (object, error) {
	n, err := c.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, data, o)
	return objectOf(n, err)
}

// objectOf has a typed object as JSON has it.
func objectOf(o runtime.Object, err error) (object, error) {
	if err != nil {
		return nil, err
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(o)
}

var unschedulable = []string{"spec", "unschedulable"}

// cordon keeps new pods away from a node.
type cordon struct{}

func (cordon) want(*actions.Request) []field { return []field{{unschedulable, true}} }

func (cordon) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	if live.at(unschedulable...) == true {
		return nil
	}
	all, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return explain(err, "list", "nodes", req.Target)
	}
	for i := range all.Items {
		if n := &all.Items[i]; n.Name != req.Target.Name && !n.Spec.Unschedulable && ready(n) {
			return nil
		}
	}
	return actions.Permanent(fmt.Errorf("%s is the last node that pods can be scheduled on: add or uncordon another one first", req.Target))
}

func (cordon) settle(_ context.Context, _ *Cluster, req *actions.Request) (string, error) {
	return req.Target.Name + " takes no new pods", nil
}

// uncordon lets new pods onto a node.
type uncordon struct{}

func (uncordon) want(*actions.Request) []field { return []field{{unschedulable, nil}} }

func (uncordon) check(ctx context.Context, c *Cluster, req *actions.Request, _ object) error {
	if !req.Parameters.Bool("verifyHealth") {
		return nil
	}
	n, err := c.client.CoreV1().Nodes().Get(ctx, req.Target.Name, metav1.GetOptions{})
	if err != nil {
		return explain(err, "get", "nodes", req.Target)
	}
	if !ready(n) {
		return actions.Permanent(fmt.Errorf("%s is not ready: mend it first, or set verifyHealth to false", req.Target))
	}
	return nil
}

func (uncordon) settle(_ context.Context, _ *Cluster, req *actions.Request) (string, error) {
	return req.Target.Name + " takes new pods", nil
}

func ready(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
