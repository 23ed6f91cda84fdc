package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/remedykit/remedy/actions"
)

// rolledOut watches a workload until all of its replicas are up to date and ready, and have been so for a while. A pod
// that cannot run fails it early.
func (c *Cluster) rolledOut(ctx context.Context, req *actions.Request, stableFor time.Duration) (message string, err error) {
	err = patiently(ctx, func() error {
		message, err = c.watchRollout(ctx, req, stableFor)
		return err
	})
	return message, err
}

// errWatchEnded says that the API server ended a watch, as it does now and then.
var errWatchEnded = errors.New("the watch ended")

func (c *Cluster) watchRollout(ctx context.Context, req *actions.Request, stableFor time.Duration) (string, error) {
	t := req.Target
	// Without a resource version a watch begins with the object as it is.
	o := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", t.Name).String()}
	var w watch.Interface
	var err error
	switch t.Kind {
	case "Deployment":
		w, err = c.client.AppsV1().Deployments(t.Namespace).Watch(ctx, o)
	case "StatefulSet":
		w, err = c.client.AppsV1().StatefulSets(t.Namespace).Watch(ctx, o)
	case "DaemonSet":
		w, err = c.client.AppsV1().DaemonSets(t.Namespace).Watch(ctx, o)
	default:
		return "", noWorkload(t)
	}
	if err != nil {
		return "", explain(err, "watch", "workloads", t)
	}
	defer w.Stop()
	last := "nothing is known of it"
	var pods <-chan watch.Event
	stable := time.NewTimer(stableFor)
	stable.Stop()
	defer stable.Stop()
	settled := false
	for {
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not roll out in time: %s: %w", t, last, context.Cause(ctx))
		case <-stable.C:
			return last, nil
		case e, ok := <-pods:
			if !ok || e.Type == watch.Error {
				return "", actions.Transient(fmt.Errorf("pods of %s: %w", t, errWatchEnded))
			}
			if p, ok := e.Object.(*corev1.Pod); ok && e.Type != watch.Deleted && p.DeletionTimestamp == nil && ours(p, req) {
				if why := cannotRun(p); why != "" {
					return "", actions.Permanent(fmt.Errorf("%s does not roll out: %s", t, why))
				}
			}
		case e, ok := <-w.ResultChan():
			if !ok || e.Type == watch.Error {
				return "", actions.Transient(fmt.Errorf("%s: %w", t, errWatchEnded))
			}
			if e.Type == watch.Deleted {
				return "", actions.Permanent(fmt.Errorf("%s was deleted while it rolled out", t))
			}
			if pods == nil {
				p, err := c.client.CoreV1().Pods(t.Namespace).Watch(ctx, metav1.ListOptions{LabelSelector: selectorOf(e.Object)})
				if err != nil {
					return "", explain(err, "watch", "pods", t)
				}
				defer p.Stop()
				pods = p.ResultChan()
			}
			var done bool
			if last, done, err = progress(e.Object); err != nil {
				return "", err
			}
			switch {
			case done && stableFor <= 0:
				return last, nil
			case done && !settled:
				stable.Reset(stableFor)
			case !done:
				stable.Stop()
			}
			settled = done
		}
	}
}

// ours tells whether a pod is of the rollout that a step began.
func ours(p *corev1.Pod, req *actions.Request) bool {
	return req.Parameters.Given("replicas") || p.Annotations[restartedBy] == req.Key()
}

// hopeless are the reasons of a container that waits in vain.
var hopeless = []string{"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

// cannotRun says why a pod does not run; "" while it may.
func cannotRun(p *corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && slices.Contains(hopeless, w.Reason) {
			return fmt.Sprintf("container %s of pod %s: %s: %s", s.Name, p.Name, w.Reason, w.Message)
		}
	}
	return ""
}

func selectorOf(o any) string {
	switch w := o.(type) {
	case *appsv1.Deployment:
		return metav1.FormatLabelSelector(w.Spec.Selector)
	case *appsv1.StatefulSet:
		return metav1.FormatLabelSelector(w.Spec.Selector)
	case *appsv1.DaemonSet:
		return metav1.FormatLabelSelector(w.Spec.Selector)
	}
	return ""
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
	case *appsv1.DaemonSet:
		want, updated, ready = w.Status.DesiredNumberScheduled, w.Status.UpdatedNumberScheduled, w.Status.NumberAvailable
		observed = w.Status.ObservedGeneration >= w.Generation
	}
	return fmt.Sprintf("%d of %d replicas are ready", ready, want), observed && updated == want && ready == want, nil
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}
