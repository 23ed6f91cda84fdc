package kube

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// rolledOut watches a workload until all of its replicas are up to date and ready.
func (c *Cluster) rolledOut(ctx context.Context, t schema.Target) (message string, err error) {
	err = patiently(ctx, func() error {
		message, err = c.watchRollout(ctx, t)
		return err
	})
	return message, err
}

// errWatchEnded says that the API server ended a watch, as it does now and then.
var errWatchEnded = errors.New("the watch ended")

func (c *Cluster) watchRollout(ctx context.Context, t schema.Target) (string, error) {
	// Without a resource version a watch begins with the object as it is.
	o := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", t.Name).String()}
	var w watch.Interface
	var err error
	switch t.Kind {
	case "Deployment":
		w, err = c.client.AppsV1().Deployments(t.Namespace).Watch(ctx, o)
	case "StatefulSet":
		w, err = c.client.AppsV1().StatefulSets(t.Namespace).Watch(ctx, o)
	default:
		return "", actions.Permanent(fmt.Errorf("%s has no rollout", t))
	}
	if err != nil {
		return "", explain(err, "watch", "workloads", t)
	}
	defer w.Stop()
	last := "nothing is known of it"
	for {
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not roll out in time: %s: %w", t, last, context.Cause(ctx))
		case e, ok := <-w.ResultChan():
			if !ok || e.Type == watch.Error {
				return "", actions.Transient(fmt.Errorf("%s: %w", t, errWatchEnded))
			}
			if e.Type == watch.Deleted {
				return "", actions.Permanent(fmt.Errorf("%s was deleted while it rolled out", t))
			}
			var done bool
			if last, done, err = progress(e.Object); done || err != nil {
				return last, err
			}
		}
	}
}

// progress says how far a rollout is.
func progress(o any) (message string, done bool, err error) {
	var want, updated, ready int32
	observed := false
	switch w := o.(type) {
	case *appsv1.Deployment:
		want, updated, ready = replicas(w.Spec.Replicas), w.Status.UpdatedReplicas, w.Status.ReadyReplicas
		observed = w.Status.ObservedGeneration >= w.Generation && w.Status.Replicas == want
		for _, c := range w.Status.Conditions {
			if observed && c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" {
				return "", false, actions.Permanent(fmt.Errorf("the rollout passed its progress deadline: %s", c.Message))
			}
		}
	case *appsv1.StatefulSet:
		want, updated, ready = replicas(w.Spec.Replicas), w.Status.UpdatedReplicas, w.Status.ReadyReplicas
		observed = w.Status.ObservedGeneration >= w.Generation && w.Status.Replicas == want
	}
	return fmt.Sprintf("%d of %d replicas are ready", ready, want), observed && updated == want && ready == want, nil
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}
