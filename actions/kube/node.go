package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// nodes are Nodes.
type nodes struct{}

func (nodes) name(schema.Target) (group, resource string) { return "", "nodes" }

func (nodes) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	n, err := c.client.CoreV1().Nodes().Get(ctx, t.Name, metav1.GetOptions{})
	return nodeObject(n, err)
}

func (nodes) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	plain := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return f.path[1] == "taints" })
	if len(plain) < len(fields) { // the API server knows the whole list only
		order, _ := live.at(orderPath...).([]any)
		after := object(merged(live, fields))
		plain = append(plain, field{taints, listOf(order, after.at(taints...))})
	}
	data, err := patchOf(live, plain)
	if err != nil {
		return nil, err
	}
	n, err := c.client.CoreV1().Nodes().Patch(ctx, t.Name, types.MergePatchType, data, o)
	return nodeObject(n, err)
}

// nodeObject has a node's taints by key and effect, so that each is a field of its own.
func nodeObject(n *corev1.Node, err error) (object, error) {
	o, err := objectOf(n, err)
	if err != nil {
		return nil, err
	}
	byName, order := map[string]any{}, []any{}
	all, _ := o.at(taints...).([]any)
	for _, t := range all {
		m, _ := t.(map[string]any)
		name := fmt.Sprintf("%v:%v", m["key"], m["effect"])
		byName[name], order = m, append(order, name)
	}
	return with(with(o, taints, byName), orderPath, order), nil
}

// listOf are the values of a map in an order, those that it does not have last; nil for none.
func listOf(order []any, v any) any {
	m, _ := v.(map[string]any)
	if len(m) == 0 {
		return nil
	}
	list := []any{}
	for _, name := range order {
		if t, ok := m[name.(string)]; ok {
			list = append(list, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(order, any(name)) {
			list = append(list, m[name])
		}
	}
	return list
}

// objectOf has a typed object as JSON has it.
func objectOf(o runtime.Object, err error) (object, error) {
	if err != nil {
		return nil, err
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(o)
}

// controlPlane is the label of the nodes that a control plane runs on, by kubeadm's convention.
const controlPlane = "node-role.kubernetes.io/control-plane"

var (
	unschedulable = []string{"spec", "unschedulable"}
	taints        = []string{"spec", "taints"}
)

// cordon keeps new pods away from a node.
type cordon struct{}

func (cordon) want(*actions.Request, object) []field { return []field{{unschedulable, true}} }

func (cordon) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	if live.at(unschedulable...) == true {
		return nil
	}
	return c.mustHaveOther(ctx, req)
}

// confirm sees when somebody else took the last other node away at the same moment.
func (cordon) confirm(ctx context.Context, c *Cluster, req *actions.Request) error {
	return c.mustHaveOther(ctx, req)
}

// mustHaveOther refuses to take the last node away from new pods.
func (c *Cluster) mustHaveOther(ctx context.Context, req *actions.Request) error {
	all, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return explain(err, "list", "nodes", req.Target)
	}
	for i := range all.Items {
		if n := &all.Items[i]; n.Name != req.Target.Name && !n.Spec.Unschedulable && ready(n) && !slices.ContainsFunc(n.Spec.Taints, keepsAway) {
			return nil
		}
	}
	return actions.Permanent(fmt.Errorf("%s is the last node that pods can be scheduled on: add or uncordon another one first", req.Target))
}

func (cordon) rights(*actions.Task) []Right { return rightsTo("list", "", "nodes", "", "") }

func (cordon) settle(_ context.Context, _ *Cluster, req *actions.Request, _ object) (string, error) {
	return req.Target.Name + " takes no new pods", nil
}

// uncordon lets new pods onto a node.
type uncordon struct{}

func (uncordon) want(*actions.Request, object) []field { return []field{{unschedulable, nil}} }

func (uncordon) check(ctx context.Context, c *Cluster, req *actions.Request, _ object) error {
	return c.mustBeReady(ctx, req)
}

// mustBeReady refuses a node that is not ready, unless the request does not care.
func (c *Cluster) mustBeReady(ctx context.Context, req *actions.Request) error {
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

func (uncordon) settle(_ context.Context, _ *Cluster, req *actions.Request, _ object) (string, error) {
	return req.Target.Name + " takes new pods", nil
}

// taint puts a taint on a node.
type taint struct{}

func (taint) want(req *actions.Request, _ object) []field {
	p := req.Parameters
	value := map[string]any{"key": p.String("key"), "effect": p.String("effect")}
	if v := p.String("value"); v != "" {
		value["value"] = v
	}
	return []field{{append(slices.Clone(taints), p.String("key")+":"+p.String("effect")), value}}
}

func (v taint) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	want := v.want(req, live)
	if now := live.at(want[0].path...); now != nil && !same(now, want[0].value) && !req.Parameters.Bool("overwrite") {
		return actions.Permanent(fmt.Errorf("%s has the taint already, as %s: set overwrite to replace it", req.Target, show(now)))
	}
	return nil
}

func (taint) settle(_ context.Context, _ *Cluster, req *actions.Request, _ object) (string, error) {
	return req.Target.Name + " has the taint " + req.Parameters.String("key"), nil
}

// untaint removes taints from a node.
type untaint struct{}

func (untaint) want(req *actions.Request, live object) []field {
	var fields []field
	all, _ := live.at(taints...).(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t, _ := all[name].(map[string]any)
		effect := req.Parameters.String("effect")
		if t["key"] == req.Parameters.String("key") && (effect == "" || t["effect"] == effect) {
			fields = append(fields, field{append(slices.Clone(taints), name), nil})
		}
	}
	return fields
}

func (untaint) check(ctx context.Context, c *Cluster, req *actions.Request, _ object) error {
	return c.mustBeReady(ctx, req)
}

func (untaint) settle(_ context.Context, _ *Cluster, req *actions.Request, _ object) (string, error) {
	return req.Target.Name + " has no taint " + req.Parameters.String("key"), nil
}

func ready(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// keepsAway tells whether a taint keeps pods away from a node that say nothing of it. Those of the node's own conditions come and go.
func keepsAway(t corev1.Taint) bool {
	return t.Effect != corev1.TaintEffectPreferNoSchedule && !strings.HasPrefix(t.Key, "node.kubernetes.io/")
}
