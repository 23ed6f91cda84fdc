package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remedykit/remedy/actions"
)

// raise sets limits and requests of containers, and never lowers one.
type raise struct{}

// amounts are the parameters and where their values belong.
var amounts = []struct{ parameter, list, resource string }{
	{"memory", "limits", "memory"}, {"cpu", "limits", "cpu"}, {"memoryRequest", "requests", "memory"}, {"cpuRequest", "requests", "cpu"},
}

func (raise) want(req *actions.Request, live object) []field {
	var fields []field
	for _, a := range amounts {
		if !req.Parameters.Given(a.parameter) {
			continue
		}
		for _, name := range containersOf(req, live, a.list, a.resource) {
			fields = append(fields, field{container(name, "resources", a.list, a.resource), canonical(req.Parameters.String(a.parameter))})
		}
	}
	return fields
}

// containersOf are the containers whose amount is set: the one that is named, else all that have it, else the only one.
func containersOf(req *actions.Request, live object, list, resource string) []string {
	all, _ := live.at(containersPath...).(map[string]any)
	if name := req.Parameters.String("container"); name != "" {
		return []string{name}
	}
	var have []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if live.at(container(name, "resources", list, resource)...) != nil {
			have = append(have, name)
		}
	}
	if have == nil && len(all) == 1 {
		return slices.Collect(maps.Keys(all))
	}
	return have
}

// canonical is a quantity as the API server writes it, so that what was written is found again.
func canonical(s string) string {
	q, err := quantity.ParseQuantity(s)
	if err != nil {
		return s
	}
	return q.String()
}

func (v raise) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	all, _ := live.at(containersPath...).(map[string]any)
	if name := req.Parameters.String("container"); name != "" && all[name] == nil {
		return actions.Permanent(fmt.Errorf("%s has no container %s: it has %v", req.Target, name, slices.Sorted(maps.Keys(all))))
	}
	fields := v.want(req, live)
	for _, a := range amounts {
		if req.Parameters.Given(a.parameter) && containersOf(req, live, a.list, a.resource) == nil {
			return actions.Permanent(fmt.Errorf("%s has several containers and none sets %s: name one with container", req.Target, a.parameter))
		}
	}
	for _, f := range fields {
		if now, ok := live.at(f.path...).(string); ok && less(f.value.(string), now) {
			return actions.Permanent(fmt.Errorf("%s of %s is %s already: %s would lower it", f.path[len(f.path)-1], req.Target, now, f.value))
		}
	}
	after := object(merged(live, fields))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, r := range []string{"memory", "cpu"} {
			request, _ := after.at(container(name, "resources", "requests", r)...).(string)
			limit, _ := after.at(container(name, "resources", "limits", r)...).(string)
			if request != "" && limit != "" && less(limit, request) {
				return actions.Permanent(fmt.Errorf("container %s of %s would ask for more %s (%s) than its limit (%s): raise the limit too", name, req.Target, r, request, limit))
			}
		}
	}
	if err := c.withinRanges(ctx, req, after); err != nil {
		return err
	}
	return c.withinQuota(ctx, req, live, after)
}

func less(a, b string) bool {
	x, errX := quantity.ParseQuantity(a)
	y, errY := quantity.ParseQuantity(b)
	return errX == nil && errY == nil && x.Cmp(y) < 0
}

// withinRanges looks at the LimitRanges of the namespace, which refuse pods and not workloads.
func (c *Cluster) withinRanges(ctx context.Context, req *actions.Request, after object) error {
	ranges, err := c.client.CoreV1().LimitRanges(req.Target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return explain(err, "list", "limitranges", req.Target)
	}
	all, _ := after.at(containersPath...).(map[string]any)
	for i := range ranges.Items {
		for _, item := range ranges.Items[i].Spec.Limits {
			if item.Type != corev1.LimitTypeContainer {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(all)) {
				for r, most := range item.Max {
					if limit, ok := after.at(container(name, "resources", "limits", string(r))...).(string); ok && less(most.String(), limit) {
						return actions.Permanent(fmt.Errorf("LimitRange %s allows a container %s of %s, not %s: its pods would be refused", ranges.Items[i].Name, r, most.String(), limit))
					}
				}
			}
		}
	}
	return nil
}

// withinQuota looks whether the namespace's ResourceQuotas have room for what all replicas ask for more.
func (c *Cluster) withinQuota(ctx context.Context, req *actions.Request, live, after object) error {
	quotas, err := c.client.CoreV1().ResourceQuotas(req.Target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return explain(err, "list", "resourcequotas", req.Target)
	}
	n, ok := live.at("spec", "replicas").(int64)
	if !ok {
		n, _ = live.at("status", "desiredNumberScheduled").(int64)
	}
	for i := range quotas.Items {
		q := &quotas.Items[i]
		for name, hard := range q.Status.Hard {
			list, r := "requests", string(name)
			switch name {
			case corev1.ResourceLimitsMemory, corev1.ResourceLimitsCPU:
				list, r = "limits", r[len("limits."):]
			case corev1.ResourceRequestsMemory, corev1.ResourceRequestsCPU:
				r = r[len("requests."):]
			case corev1.ResourceMemory, corev1.ResourceCPU:
			default:
				continue
			}
			need := sum(after, list, r)
			need.Sub(sum(live, list, r))
			need.Mul(n)
			used := q.Status.Used[name]
			left := hard.DeepCopy()
			left.Sub(used)
			if need.Sign() > 0 && need.Cmp(left) > 0 {
				return actions.Permanent(fmt.Errorf("ResourceQuota %s leaves %s of %s, and %d replicas would need %s more: its pods would be refused", q.Name, left.String(), name, n, need.String()))
			}
		}
	}
	return nil
}

// sum is what all containers of a workload's pod have of a resource.
func sum(o object, list, name string) quantity.Quantity {
	var total quantity.Quantity
	all, _ := o.at(containersPath...).(map[string]any)
	for c := range all {
		if s, ok := o.at(container(c, "resources", list, name)...).(string); ok {
			if q, err := quantity.ParseQuantity(s); err == nil {
				total.Add(q)
			}
		}
	}
	return total
}

func (raise) rights(t *actions.Task) []Right {
	return slices.Concat(rolloutRights(t), rightsTo("list", "", "limitranges", t.Target.Namespace, ""), rightsTo("list", "", "resourcequotas", t.Target.Namespace, ""))
}

func (raise) waits(*actions.Request) bool { return true }

func (raise) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	return c.rolledOut(ctx, rollout{target: req.Target, written: live, stableFor: req.Parameters.Duration("stableFor"), judge: outOfMemory})
}
