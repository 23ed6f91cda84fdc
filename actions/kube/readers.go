package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// readers are the workloads of a namespace whose pods read a ConfigMap or a Secret.
func (c *Cluster) readers(ctx context.Context, t schema.Target) ([]schema.Target, error) {
	all, err := c.all(ctx, t.Namespace)
	if err != nil {
		return nil, err
	}
	var readers []schema.Target
	for _, w := range all {
		if reads(&w.template.Spec, t) {
			readers = append(readers, w.target)
		}
	}
	return readers, nil
}

// skew is how far the clocks of the runner and of the cluster may be apart.
const skew = 5 * time.Second

// rollReaders restarts the workloads with pods that have read what is undone now: those with a container that started since it was
// written, be it for the first time or again.
// What is restored is what runs, not only what is written. The runner itself is left to a person, who is told.
func (c *Cluster) rollReaders(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	at, _ := undo.State["at"].(string)
	since, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return nil // nothing was restarted before it was written
	}
	var pods *corev1.PodList
	err = patiently(ctx, func() (err error) {
		pods, err = c.client.CoreV1().Pods(req.Target.Namespace).List(ctx, metav1.ListOptions{})
		return explain(err, "list", "pods", req.Target)
	})
	if err != nil {
		return err
	}
	var stale []schema.Target
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp != nil || !startedSince(p, since.Add(-skew)) || !reads(&p.Spec, req.Target) {
			continue
		}
		owner, err := c.workloadOfPod(ctx, p)
		if err != nil {
			return err
		}
		switch owner.Kind {
		case "Deployment", "StatefulSet", "DaemonSet":
			stale = append(stale, owner)
		}
	}
	slices.SortFunc(stale, compareTargets)
	var spared []error
	stale = slices.DeleteFunc(slices.Compact(stale), func(t schema.Target) bool {
		err := c.spare(ctx, t)
		if err != nil {
			spared = append(spared, fmt.Errorf("%s is as it was, and what has read it has to be restarted by hand: %w", req.Target, err))
		}
		return err != nil
	})
	return errors.Join(append(spared, c.roll(ctx, stale, req.Key()+"/undo", 0))...)
}

// startedSince tells whether a pod, or one of its containers, has started since then: a container reads when it starts, and so
// does one that is started again.
func startedSince(p *corev1.Pod, since time.Time) bool {
	return !p.CreationTimestamp.Time.Before(since) ||
		slices.ContainsFunc(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
			return s.State.Running != nil && !s.State.Running.StartedAt.Time.Before(since)
		})
}

// reads tells whether a pod reads a ConfigMap or a Secret.
func reads(spec *corev1.PodSpec, t schema.Target) bool {
	isMap := t.Kind == "ConfigMap"
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		switch {
		case isMap && v.ConfigMap != nil && v.ConfigMap.Name == t.Name, !isMap && v.Secret != nil && v.Secret.SecretName == t.Name:
			return true
		case v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return isMap && s.ConfigMap != nil && s.ConfigMap.Name == t.Name || !isMap && s.Secret != nil && s.Secret.Name == t.Name
		}):
			return true
		}
	}
	for _, one := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, from := range one.EnvFrom {
			if isMap && from.ConfigMapRef != nil && from.ConfigMapRef.Name == t.Name || !isMap && from.SecretRef != nil && from.SecretRef.Name == t.Name {
				return true
			}
		}
		for _, e := range one.Env {
			from := e.ValueFrom
			if from != nil && (isMap && from.ConfigMapKeyRef != nil && from.ConfigMapKeyRef.Name == t.Name ||
				!isMap && from.SecretKeyRef != nil && from.SecretKeyRef.Name == t.Name) {
				return true
			}
		}
	}
	return false
}
