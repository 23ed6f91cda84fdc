package kube

import (
	"context"
	"encoding/json"
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

func (h *restartPod) options(uid types.UID, req *actions.Request) metav1.DeleteOptions {
	grace := req.Parameters.Int("gracePeriodSeconds")
	return metav1.DeleteOptions{GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &uid}}
}

func (h *restartPod) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if req.Target.Kind != "Pod" {
		return h.workload.Execute(ctx, req)
	}
	deleted, err := h.deleted(ctx, req)
	if err != nil {
		return nil, err
	}
	undo := req.Begun
	if !deleted {
		p, err := h.pod(ctx, req)
		if err != nil {
			return nil, err
		}
		if undo, err = h.c.deletion(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	if !deleted {
		err := patiently(ctx, func() error { // it is the same pod however often it is asked
			err := h.c.client.CoreV1().Pods(req.Target.Namespace).Delete(ctx, req.Target.Name, h.options(uidOf(undo), req))
			if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // it is gone, and perhaps another has its name
				return nil
			}
			return explain(err, "delete", "pods", req.Target)
		})
		if err != nil {
			return nil, err
		}
	}
	if !h.waits(req, undo) {
		return &actions.Result{Message: req.Target.Name + " is deleted"}, nil
	}
	return h.replaced(ctx, req, undo)
}

// replaced waits until another pod of the same owner is ready.
func (h *restartPod) replaced(ctx context.Context, req *actions.Request, undo *actions.Undo) (*actions.Result, error) {
	data, err := json.Marshal(undo.State["known"])
	if err != nil {
		return nil, actions.Permanent(err)
	}
	var known []types.UID
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, actions.Permanent(fmt.Errorf("what was kept of the pods beside %s cannot be read: %w", req.Target, err))
	}
	name := ""
	err = h.c.await(ctx, "pods", req.Target.Namespace, func(o runtime.Object, gone bool) (bool, error) {
		other := o.(*corev1.Pod)
		owner := metav1.GetControllerOf(other)
		if gone || other.DeletionTimestamp != nil || slices.Contains(known, other.UID) || owner == nil || string(owner.UID) != undo.State["owner"] {
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

// waits tells whether there is something to wait for once the pod is deleted.
func (h *restartPod) waits(req *actions.Request, undo *actions.Undo) bool {
	return req.Parameters.Bool("waitForReady") && undo.State["owner"] != nil
}

func uidOf(undo *actions.Undo) types.UID {
	uid, _ := undo.State["uid"].(string)
	return types.UID(uid)
}

// deletion is what there is to know of a pod when it is gone: its owner, and the pods that cannot have replaced it, which are all
// of its owner. One that has ended was replaced when it did: any other may be the one.
func (c *Cluster) deletion(ctx context.Context, p *corev1.Pod) (*actions.Undo, error) {
	state := map[string]any{"uid": string(p.UID)}
	undo := &actions.Undo{Summary: "nothing: a deleted pod does not come back", State: state}
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return undo, nil
	}
	known := []any{string(p.UID)}
	if p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
		var list *corev1.PodList
		err := patiently(ctx, func() (err error) {
			list, err = c.client.CoreV1().Pods(p.Namespace).List(ctx, metav1.ListOptions{})
			return explain(err, "list", "pods", place{pod: p}.target())
		})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			if other := &list.Items[i]; other.UID != p.UID && ownedBy(other, owner) {
				known = append(known, string(other.UID))
			}
		}
	}
	state["owner"], state["known"] = string(owner.UID), known
	return undo, nil
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
	o := h.options(p.UID, req)
	o.DryRun = []string{metav1.DryRunAll}
	if err := h.c.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, o); err != nil {
		return nil, explain(err, "delete", "pods", req.Target)
	}
	return &actions.Preview{Verdict: actions.Verified, Change: []string{"delete " + req.Target.String() + ", which its owner replaces"}}, nil
}

// Probe tells whether the pod that was there is gone. Whether another is ready in its place is for an attempt to see.
func (h *restartPod) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if req.Target.Kind != "Pod" {
		return h.workload.Probe(ctx, req)
	}
	deleted, err := h.deleted(ctx, req)
	switch {
	case err != nil:
		return actions.OutcomeUnknown, err
	case !deleted:
		return actions.OutcomeDidNotHappen, nil
	case h.waits(req, req.Begun):
		return actions.OutcomeUnfinished, nil
	}
	return actions.OutcomeHappened, nil
}

// deleted tells whether the pod is gone, or about to go, that an attempt before this one began to delete.
func (h *restartPod) deleted(ctx context.Context, req *actions.Request) (deleted bool, err error) {
	if req.Begun == nil {
		return false, nil
	}
	err = patiently(ctx, func() error {
		p, err := h.c.client.CoreV1().Pods(req.Target.Namespace).Get(ctx, req.Target.Name, metav1.GetOptions{})
		if deleted = apierrors.IsNotFound(err); deleted {
			return nil
		}
		deleted = err == nil && (p.UID != uidOf(req.Begun) || p.DeletionTimestamp != nil)
		return explain(err, "get", "pods", req.Target)
	})
	return deleted, err
}

func (h *restartPod) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}
