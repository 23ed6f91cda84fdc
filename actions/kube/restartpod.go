package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
)

// restartPod deletes a pod, so that its owner makes another; of a workload it restarts all pods.
type restartPod struct {
	c        *Cluster
	workload *edit
}

func (h *restartPod) BeginsItself() bool { return true }

func (h *restartPod) rights(t *actions.Task) []Right {
	if t.Target.Kind != "Pod" {
		return h.workload.rights(t)
	}
	ns := t.Target.Namespace
	return slices.Concat(rightsTo("get delete", "", "pods", ns, t.Target.Name), rightsTo("list watch", "", "pods", ns, ""))
}

// pod is the pod, if it may be deleted.
func (h *restartPod) pod(ctx context.Context, req *actions.Request) (p *corev1.Pod, err error) {
	err = patiently(ctx, func() error {
		p, err = h.c.client.CoreV1().Pods(req.Target.Namespace).Get(ctx, req.Target.Name, metav1.GetOptions{})
		return explain(err, "get", "pods", req.Target)
	})
	switch {
	case err != nil:
		return nil, err
	case p.DeletionTimestamp != nil:
		return nil, actions.Permanent(fmt.Errorf("%s is being deleted already", req.Target))
	case p.Annotations[corev1.MirrorPodAnnotationKey] != "":
		return nil, actions.Permanent(fmt.Errorf("%s is the kubelet's own, which restarts it by itself only", req.Target))
	case metav1.GetControllerOf(p) == nil && !req.Parameters.Bool("force"):
		return nil, actions.Permanent(fmt.Errorf("%s belongs to nothing that would make it again: set force to delete it all the same", req.Target))
	}
	return p, nil
}

func (h *restartPod) options(p *corev1.Pod, req *actions.Request) metav1.DeleteOptions {
	grace := req.Parameters.Int("gracePeriodSeconds")
	return metav1.DeleteOptions{GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &p.UID}}
}

func (h *restartPod) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if req.Target.Kind != "Pod" {
		return h.workload.Execute(ctx, req)
	}
	p, err := h.pod(ctx, req)
	if err != nil {
		return nil, err
	}
	before, err := h.c.siblings(ctx, p)
	if err != nil {
		return nil, err
	}
	undo := &actions.Undo{Summary: "nothing: a deleted pod does not come back", State: map[string]any{"uid": string(p.UID)}}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	err = patiently(ctx, func() error { // it is the same pod however often it is asked
		err := h.c.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, h.options(p, req))
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // it is gone, and perhaps another has its name
			return nil
		}
		return explain(err, "delete", "pods", req.Target)
	})
	if err != nil {
		return nil, err
	}
	owner := metav1.GetControllerOf(p)
	if !req.Parameters.Bool("waitForReady") || owner == nil {
		return &actions.Result{Message: req.Target.Name + " is deleted"}, nil
	}
	name := ""
	err = h.c.await(ctx, "pods", p.Namespace, func(o runtime.Object, gone bool) (bool, error) {
		other := o.(*corev1.Pod)
		if gone || other.DeletionTimestamp != nil || before[other.UID] || !ownedBy(other, owner) {
			return false, nil
		}
		if why := cannotRun(other); why != "" {
			return false, actions.Permanent(fmt.Errorf("%s was deleted, and what replaces it cannot run: %s", req.Target, why))
		}
		name = other.Name
		return podReady(other), nil
	})
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s was deleted, and nothing that replaces it is ready: %w", req.Target, err)
	}
	if err != nil {
		return nil, err
	}
	return &actions.Result{Message: "pod " + name + " is ready in its place"}, nil
}

// siblings are the pods of the same owner, and the pod itself. One that has ended was replaced when it did: any other may be the one.
func (c *Cluster) siblings(ctx context.Context, p *corev1.Pod) (map[types.UID]bool, error) {
	known := map[types.UID]bool{p.UID: true}
	owner := metav1.GetControllerOf(p)
	if owner == nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		return known, nil
	}
	var list *corev1.PodList
	err := patiently(ctx, func() (err error) {
		list, err = c.client.CoreV1().Pods(p.Namespace).List(ctx, metav1.ListOptions{})
		return explain(err, "list", "pods", place{pod: p}.target())
	})
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if ownedBy(&list.Items[i], owner) {
			known[list.Items[i].UID] = true
		}
	}
	return known, nil
}

func ownedBy(p *corev1.Pod, owner *metav1.OwnerReference) bool {
	own := metav1.GetControllerOf(p)
	return own != nil && own.UID == owner.UID
}

// DryRun has the API server check the deletion.
func (h *restartPod) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if req.Target.Kind != "Pod" {
		return h.workload.DryRun(ctx, req)
	}
	p, err := h.pod(ctx, req)
	if err != nil {
		return nil, err
	}
	o := h.options(p, req)
	o.DryRun = []string{metav1.DryRunAll}
	if err := h.c.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, o); err != nil {
		return nil, explain(err, "delete", "pods", req.Target)
	}
	return &actions.Preview{Verdict: actions.Verified, Change: []string{"delete " + req.Target.String() + ", which its owner replaces"}}, nil
}

// Probe tells whether the pod that was there is gone.
func (h *restartPod) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if req.Target.Kind != "Pod" {
		return h.workload.Probe(ctx, req)
	}
	if req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	p, err := h.c.client.CoreV1().Pods(req.Target.Namespace).Get(ctx, req.Target.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return actions.OutcomeHappened, nil
	case err != nil:
		return actions.OutcomeUnknown, explain(err, "get", "pods", req.Target)
	case string(p.UID) != req.Begun.State["uid"] || p.DeletionTimestamp != nil:
		return actions.OutcomeHappened, nil
	}
	return actions.OutcomeDidNotHappen, nil
}

func (h *restartPod) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}
