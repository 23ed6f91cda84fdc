package kube

import (
	"context"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// scales are the scale subresources of a resource of apps/v1. They are read with their object, which also says who owns it.
type scales string

func (s scales) name(schema.Target) (group, resource string) { return "apps", string(s) + "/scale" }

// get is the workload itself, which says more than its scale: who else writes it, and whether it is paused.
func (scales) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	return workloads{}.get(ctx, c, t)
}

func (scales) seen(c *Cluster, t schema.Target) object { return workloads{}.seen(c, t) }

func (s scales) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	data, err := patchOf(live, fields)
	if err != nil {
		return nil, err
	}
	after := &autoscalingv1.Scale{}
	err = c.client.AppsV1().RESTClient().Patch(types.MergePatchType).Namespace(t.Namespace).Resource(string(s)).Name(t.Name).SubResource("scale").
		VersionedParams(&o, scheme.ParameterCodec).Body(data).Do(ctx).Into(after)
	if err != nil {
		return nil, err
	}
	return merged(live, []field{{[]string{"metadata", "resourceVersion"}, after.ResourceVersion}, {[]string{"spec", "replicas"}, int64(after.Spec.Replicas)}}), nil
}

// scale sets the size of a workload.
type scale struct{}

func (scale) want(req *actions.Request, _ object) []field {
	return []field{{[]string{"spec", "replicas"}, req.Parameters.Int("replicas")}}
}

// disturbs says how many replicas of those that there are are taken away.
func (scale) disturbs(req *actions.Request, live object) (replicas, of int) {
	now, want := int(live.count("spec", "replicas")), int(req.Parameters.Int("replicas"))
	if want >= now {
		return 0, 0
	}
	return now - want, now
}

func (scale) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	if live.at("spec", "paused") == true && req.Parameters.Bool("waitForReady") && live.count("status", "updatedReplicas") != live.count("status", "replicas") {
		return actions.Permanent(fmt.Errorf("%s is paused in the middle of a rollout, so its replicas would never all be up to date: resume it first, or set waitForReady to false", req.Target))
	}
	if req.Parameters.Bool("force") {
		return nil
	}
	all, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(req.Target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return explain(err, "list", "horizontalpodautoscalers", req.Target)
	}
	for i := range all.Items {
		hpa := &all.Items[i]
		if of := hpa.Spec.ScaleTargetRef; of.Kind == req.Target.Kind && of.Name == req.Target.Name {
			return actions.Permanent(fmt.Errorf("%s is scaled by HorizontalPodAutoscaler %s, which would undo it: change that with update_hpa, or set force",
				req.Target, hpa.Name))
		}
	}
	return nil
}

func (scale) rights(t *actions.Task) []Right {
	all := rolloutRights(t)
	if !t.Parameters.Bool("force") {
		all = append(all, rightsTo("list", "autoscaling", "horizontalpodautoscalers", t.Target.Namespace, "")...)
	}
	return all
}

func (scale) waits(req *actions.Request) bool { return req.Parameters.Bool("waitForReady") }

func (v scale) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	if !v.waits(req) {
		return "the size is set; its pods were not waited for", nil
	}
	return c.rolledOut(ctx, rollout{target: req.Target, written: live, sized: true})
}
