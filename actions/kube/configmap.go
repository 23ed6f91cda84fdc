package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// configMaps are ConfigMaps.
type configMaps struct{}

func (configMaps) name(schema.Target) (group, resource string) { return "", "configmaps" }

// hides the former values: only the new ones are the plan's.
func (configMaps) hides([]string) (former, latter bool) { return true, false }

func (configMaps) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	m, err := c.client.CoreV1().ConfigMaps(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	return objectOf(m, err)
}

func (configMaps) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	data, err := patchOf(live, fields)
	if err != nil {
		return nil, err
	}
	m, err := c.client.CoreV1().ConfigMaps(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, data, o)
	return objectOf(m, err)
}

// setKeys writes keys of a config map.
type setKeys struct{ c *Cluster }

func (setKeys) want(req *actions.Request, _ object) []field {
	var fields []field
	patch, _ := req.Parameters.Get("patch").(map[string]string)
	for _, key := range slices.Sorted(maps.Keys(patch)) {
		fields = append(fields, field{[]string{"data", key}, patch[key]})
	}
	return fields
}

func (setKeys) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	if live.at("immutable") == true {
		return actions.Permanent(fmt.Errorf("%s is immutable: make a new one and have its readers use that", req.Target))
	}
	return nil
}

func (v setKeys) rights(t *actions.Task) []Right {
	return append(allRights(t.Target.Namespace), v.c.selfRights(t.Target.Namespace)...) // an undo spares its own readers
}

func (setKeys) seals() {}

// settle says who reads the config map: it changes nothing for pods that have read it already.
func (setKeys) settle(ctx context.Context, c *Cluster, req *actions.Request, _ object) (string, error) {
	readers, err := c.readers(ctx, req.Target)
	if err != nil {
		return "", err
	}
	names := make([]string, len(readers))
	for i, t := range readers {
		names[i] = t.Kind + " " + t.Name
	}
	if len(names) == 0 {
		return "its keys are set; no workload reads it", nil
	}
	return "its keys are set, and seen after a restart by " + strings.Join(names, ", "), nil
}
