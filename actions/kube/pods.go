package kube

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/schema"
)

// podHandlers are the handlers of single pods, volumes and whole nodes.
func (c *Cluster) podHandlers() map[string]handler {
	return map[string]handler{
		"restart_pod":        &restartPod{c, &edit{c, workloads{}, restart{}}},
		"drain_node":         &drain{c, &edit{c, nodes{}, markedCordon{}}},
		"quarantine_pod":     &quarantine{c},
		"expand_pvc":         &edit{c, claims{}, expand{}},
		"migrate_workload":   &migrate{c, command{c, nameOf}},
		"optimize_resources": &optimize{c},
	}
}

// pods are Pods.
type pods struct{}

func (pods) name(schema.Target) (group, resource string) { return "", "pods" }

func (pods) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	p, err := c.client.CoreV1().Pods(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	return objectOf(p, err)
}

func (pods) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	data, err := patchOf(live, fields)
	if err != nil {
		return nil, err
	}
	p, err := c.client.CoreV1().Pods(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, data, o)
	return objectOf(p, err)
}
