package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// configMaps are ConfigMaps.
type configMaps struct{}

func (configMaps) name(schema.Target) (group, resource string) { return "", "configmaps" }

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
type setKeys struct{}

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

// settle says who reads the config map: it changes nothing for pods that have read it already.
func (setKeys) settle(ctx context.Context, c *Cluster, req *actions.Request, _ object) (string, error) {
	readers, err := c.readers(ctx, req.Target)
	if err != nil {
		return "", err
	}
	if len(readers) == 0 {
		return "its keys are set; no workload reads it", nil
	}
	return "its keys are set; " + strings.Join(readers, ", ") + " read it, and see them once restarted", nil
}

// readers are the workloads of a namespace whose pods read a config map.
func (c *Cluster) readers(ctx context.Context, t schema.Target) ([]string, error) {
	var readers []string
	add := func(kind, name string, spec *corev1.PodSpec) {
		if reads(spec, t.Name) {
			readers = append(readers, kind+" "+name)
		}
	}
	deployments, err := c.client.AppsV1().Deployments(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, explain(err, "list", "deployments", t)
	}
	for i := range deployments.Items {
		add("Deployment", deployments.Items[i].Name, &deployments.Items[i].Spec.Template.Spec)
	}
	sets, err := c.client.AppsV1().StatefulSets(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, explain(err, "list", "statefulsets", t)
	}
	for i := range sets.Items {
		add("StatefulSet", sets.Items[i].Name, &sets.Items[i].Spec.Template.Spec)
	}
	daemons, err := c.client.AppsV1().DaemonSets(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, explain(err, "list", "daemonsets", t)
	}
	for i := range daemons.Items {
		add("DaemonSet", daemons.Items[i].Name, &daemons.Items[i].Spec.Template.Spec)
	}
	return readers, nil
}

// reads tells whether a pod reads a config map.
func reads(spec *corev1.PodSpec, name string) bool {
	for _, v := range spec.Volumes {
		if v.ConfigMap != nil && v.ConfigMap.Name == name {
			return true
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil && s.ConfigMap.Name == name {
					return true
				}
			}
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, from := range c.EnvFrom {
			if from.ConfigMapRef != nil && from.ConfigMapRef.Name == name {
				return true
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil && e.ValueFrom.ConfigMapKeyRef.Name == name {
				return true
			}
		}
	}
	return false
}
