package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// autoscalers are HorizontalPodAutoscalers, with the utilization that they aim for by resource, as fields of their own.
type autoscalers struct{}

// utilization is where an autoscaler has what it aims for.
var utilization = []string{"utilization"}

func (autoscalers) name(schema.Target) (group, resource string) {
	return "autoscaling", "horizontalpodautoscalers"
}

func (autoscalers) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	h, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	return autoscaler(h, err)
}

func autoscaler(h *autoscalingv2.HorizontalPodAutoscaler, err error) (object, error) {
	o, err := objectOf(h, err)
	if err != nil {
		return nil, err
	}
	aims := map[string]any{}
	for _, m := range h.Spec.Metrics {
		if m.Resource != nil && m.Resource.Target.AverageUtilization != nil {
			aims[string(m.Resource.Name)] = int64(*m.Resource.Target.AverageUtilization)
		}
	}
	return with(o, utilization, aims), nil
}

func (autoscalers) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	var plain []field
	metrics, _ := live.at("spec", "metrics").([]any)
	changed := false
	for _, f := range fields {
		if f.path[0] != utilization[0] {
			plain = append(plain, f)
			continue
		}
		metrics, changed = aimed(metrics, f.path[1], f.value), true
	}
	if changed { // the API server knows the whole list only
		plain = append(plain, field{[]string{"spec", "metrics"}, metrics})
	}
	data, err := patchOf(live, plain)
	if err != nil {
		return nil, err
	}
	h, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, data, o)
	return autoscaler(h, err)
}

// aimed are metrics with the utilization of a resource set, or removed.
func aimed(metrics []any, resource string, value any) []any {
	want := map[string]any{"type": "Resource", "resource": map[string]any{
		"name": resource, "target": map[string]any{"type": "Utilization", "averageUtilization": value}}}
	var out []any
	found := false
	for _, m := range metrics {
		o, _ := m.(map[string]any)
		if object(o).at("resource", "name") != resource || object(o).at("resource", "target", "averageUtilization") == nil {
			out = append(out, m)
			continue
		}
		if found = true; value != nil {
			out = append(out, want)
		}
	}
	if !found && value != nil {
		out = append(out, want)
	}
	return out
}

// setBounds writes the given fields of an autoscaler.
type setBounds struct{}

func (setBounds) want(req *actions.Request, _ object) []field {
	var fields []field
	for _, f := range []struct {
		parameter string
		path      []string
	}{
		{"minReplicas", []string{"spec", "minReplicas"}}, {"maxReplicas", []string{"spec", "maxReplicas"}},
		{"targetCPUUtilization", []string{utilization[0], "cpu"}}, {"targetMemoryUtilization", []string{utilization[0], "memory"}},
	} {
		if req.Parameters.Given(f.parameter) {
			fields = append(fields, field{f.path, req.Parameters.Int(f.parameter)})
		}
	}
	return fields
}

func (v setBounds) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	after := object(merged(live, v.want(req, live)))
	least, okMin := after.at("spec", "minReplicas").(int64)
	greatest, okMax := after.at("spec", "maxReplicas").(int64)
	if okMin && okMax && least > greatest {
		return actions.Permanent(fmt.Errorf("%s would have at least %d and at most %d replicas: give minReplicas and maxReplicas together", req.Target, least, greatest))
	}
	return nil
}

func (setBounds) settle(_ context.Context, _ *Cluster, req *actions.Request, _ object) (string, error) {
	return "the autoscaler " + req.Target.Name + " has the values", nil
}
