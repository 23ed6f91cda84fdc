package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/kubefault"
	"github.com/remedykit/remedy/schema"
)

// drain cordons a node and evicts its pods.
type drain struct {
	c      *Cluster
	cordon *edit
}

func (h *drain) BeginsItself() bool { return true }

func (h *drain) rights(t *actions.Task) []Right {
	return slices.Concat(h.cordon.rights(t), rightsTo("list watch", "", "pods", "", ""), rightsTo("create", "", "pods/eviction", "", ""),
		rightsTo("list", "policy", "poddisruptionbudgets", "", ""))
}

// leaving are the pods that have to leave a node; the error names all that must not. version is that of the list.
func (h *drain) leaving(ctx context.Context, req *actions.Request) (pods []*corev1.Pod, version string, err error) {
	selector, err := labels.Parse(req.Parameters.String("podSelector"))
	if err != nil {
		return nil, "", actions.Permanent(fmt.Errorf("podSelector: %w", err))
	}
	var list *corev1.PodList
	err = patiently(ctx, func() (err error) {
		list, err = h.c.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: selector.String(), FieldSelector: fields.OneTermEqualSelector("spec.nodeName", req.Target.Name).String()})
		return explain(err, "list", "pods", req.Target)
	})
	if err != nil {
		return nil, "", err
	}
	var refused []string
	for i := range list.Items {
		p := &list.Items[i]
		owner := metav1.GetControllerOf(p)
		finished := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		name := p.Namespace + "/" + p.Name
		switch {
		case p.Annotations[corev1.MirrorPodAnnotationKey] != "":
			continue // the kubelet's own: nobody can evict it
		case p.DeletionTimestamp != nil: // it leaves anyway
		case !finished && owner != nil && owner.Kind == "DaemonSet":
			if req.Parameters.Bool("ignoreDaemonSets") {
				continue
			}
			refused = append(refused, name+" belongs to a DaemonSet, which would make it again (ignoreDaemonSets)")
		case !finished && owner == nil && !req.Parameters.Bool("force"):
			refused = append(refused, name+" belongs to nothing that would make it again (force)")
		case !finished && hasEmptyDir(p) && !req.Parameters.Bool("deleteEmptyDirData"):
			refused = append(refused, name+" keeps data in an emptyDir (deleteEmptyDirData)")
		case h.c.self.Pod == p.Name && h.c.self.Namespace == p.Namespace:
			refused = append(refused, name+" is the runner itself")
		}
		pods = append(pods, p)
	}
	if refused != nil {
		return nil, "", actions.Permanent(fmt.Errorf("%s cannot be drained: %s", req.Target, strings.Join(refused, "; ")))
	}
	return pods, list.ResourceVersion, nil
}

func hasEmptyDir(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.EmptyDir != nil })
}

func (h *drain) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	live, err := h.cordon.read(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := h.cordon.check(ctx, req, live); err != nil {
		return nil, err
	}
	if _, _, err := h.leaving(ctx, req); err != nil {
		return nil, err
	}
	want := h.cordon.verb.want(req, live)
	before := live.now(want)
	undo := &actions.Undo{Summary: "nothing: it was cordoned before, and evicted pods do not come back", State: map[string]any{"uid": live.uid()}}
	if len(h.cordon.describe(before, want)) > 0 {
		undo = &actions.Undo{Summary: "uncordon " + req.Target.Name + "; evicted pods do not come back", State: state(live, before, want)}
	}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	if _, err := h.cordon.commit(ctx, req, live, before, want, nil); err != nil {
		return nil, err
	}
	pods, version, err := h.leaving(ctx, req) // nothing comes any more
	if err != nil {
		return nil, err
	}
	var held atomic.Int64
	group, groupCtx := errgroup.WithContext(ctx)
	for _, p := range pods {
		group.Go(func() error { return h.evict(groupCtx, req, p, &held) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := h.gone(ctx, req, pods, version); err != nil {
		return nil, err
	}
	message := fmt.Sprintf("%d pods left %s", len(pods), req.Target.Name)
	if n := held.Load(); n > 0 {
		message += fmt.Sprintf("; disruption budgets held %d of them back for a while", n)
	}
	return &actions.Result{Message: message, Outputs: map[string]any{"pods": len(pods)}}, nil
}

// The waits between two tries to evict a pod that a disruption budget holds back.
const (
	firstTry = time.Second
	lastTry  = 10 * time.Second
)

// evict evicts a pod, and waits where a disruption budget does not let it go yet.
func (h *drain) evict(ctx context.Context, req *actions.Request, p *corev1.Pod, held *atomic.Int64) error {
	t := place{pod: p}.target()
	var blocked error // what a budget said last
	for wait := firstTry; ; wait = min(2*wait, lastTry) {
		err := h.c.client.CoreV1().Pods(p.Namespace).EvictV1(ctx, h.eviction(req, p))
		switch {
		case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or another has its name
			return nil
		case ctx.Err() != nil:
		case apierrors.IsTooManyRequests(err):
			if h.left(ctx, p) { // a budget is asked before the UID is looked at, and may hold another pod of that name
				return nil
			}
			if blocked == nil {
				held.Add(1)
			}
			blocked = err
		case apierrors.IsInternalError(err) && strings.Contains(err.Error(), "more than one PodDisruptionBudget"):
			return actions.Permanent(fmt.Errorf("%s cannot be evicted: %s cover it, and only one may: %w", t, h.budgets(ctx, p), err))
		case !kubefault.Passes(err):
			return explain(err, "create", "pods/eviction", t)
		}
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			wait = max(wait, time.Duration(seconds)*time.Second)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return cause
			}
			if blocked != nil {
				return fmt.Errorf("%s was held back until the time was up: %s lets it go when more pods are healthy: %w", t, h.budgets(context.WithoutCancel(ctx), p), context.Cause(ctx))
			}
			return fmt.Errorf("%s could not be evicted: %w", t, err)
		}
	}
}

// left tells whether a pod is gone, or another has its name.
func (h *drain) left(ctx context.Context, p *corev1.Pod) bool {
	list, err := h.c.client.CoreV1().Pods(p.Namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", p.Name).String()})
	return err == nil && !slices.ContainsFunc(list.Items, func(now corev1.Pod) bool { return now.UID == p.UID })
}

func (h *drain) eviction(req *actions.Request, p *corev1.Pod) *policyv1.Eviction {
	o := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}}
	if req.Parameters.Given("gracePeriodSeconds") {
		o.GracePeriodSeconds = new(req.Parameters.Int("gracePeriodSeconds"))
	}
	return &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}, DeleteOptions: o}
}

// budgets names the disruption budgets of a pod.
func (h *drain) budgets(ctx context.Context, p *corev1.Pod) string {
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	list, err := h.c.client.PolicyV1().PodDisruptionBudgets(p.Namespace).List(ctx, metav1.ListOptions{})
	var names []string
	if err == nil {
		for i := range list.Items {
			b := &list.Items[i]
			if s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && s.Matches(labels.Set(p.Labels)) {
				names = append(names, b.Namespace+"/"+b.Name)
			}
		}
	}
	if names == nil {
		return "a PodDisruptionBudget"
	}
	return "PodDisruptionBudget " + strings.Join(names, " and ")
}

// gone returns when pods have left the node. One that comes back under the same name is another.
func (h *drain) gone(ctx context.Context, req *actions.Request, pods []*corev1.Pod, version string) error {
	left := map[types.UID]string{}
	for _, p := range pods {
		left[p.UID] = p.Namespace + "/" + p.Name
	}
	here := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", req.Target.Name).String(), ResourceVersion: version}
	err := patiently(ctx, func() error {
		for len(left) > 0 {
			if here.ResourceVersion == "" {
				list, err := h.c.client.CoreV1().Pods("").List(ctx, here)
				if err != nil {
					return explain(err, "list", "pods", req.Target)
				}
				there := map[types.UID]bool{}
				for i := range list.Items {
					there[list.Items[i].UID] = true
				}
				maps.DeleteFunc(left, func(uid types.UID, _ string) bool { return !there[uid] })
				here.ResourceVersion = list.ResourceVersion
				continue
			}
			w, err := h.c.client.CoreV1().Pods("").Watch(ctx, here)
			here.ResourceVersion = "" // when it ends, what it missed is listed
			if err != nil {
				return explain(err, "watch", "pods", req.Target)
			}
			for e := range w.ResultChan() {
				if p, ok := e.Object.(*corev1.Pod); ok && e.Type == "DELETED" {
					if delete(left, p.UID); len(left) == 0 {
						break
					}
				}
			}
			w.Stop()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		return nil
	})
	if err != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("%d pods have not left %s: %s: %w", len(left), req.Target, strings.Join(slices.Sorted(maps.Values(left))[:min(len(left), 5)], ", "), context.DeadlineExceeded)
	}
	return err
}

// DryRun has the API server check the cordon and every eviction.
func (h *drain) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	p, err := h.cordon.DryRun(ctx, req)
	if err != nil {
		return nil, err
	}
	pods, _, err := h.leaving(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, pod := range pods {
		e := h.eviction(req, pod)
		e.DeleteOptions.DryRun = []string{metav1.DryRunAll}
		line := "evict " + place{pod: pod}.target().String()
		switch err := h.c.client.CoreV1().Pods(pod.Namespace).EvictV1(ctx, e); {
		case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		case apierrors.IsTooManyRequests(err):
			line += ", which " + h.budgets(ctx, pod) + " holds back now"
		case apierrors.IsInternalError(err) && strings.Contains(err.Error(), "more than one PodDisruptionBudget"):
			return nil, actions.Permanent(fmt.Errorf("%s cannot be evicted: %s cover it, and only one may", place{pod: pod}.target(), h.budgets(ctx, pod)))
		default:
			return nil, explain(err, "create", "pods/eviction", place{pod: pod}.target())
		}
		p.Change = append(p.Change, line)
	}
	return p, nil
}

// Probe tells whether the node is empty. Draining goes on where it was left.
func (h *drain) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	live, err := h.cordon.read(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	pods, _, err := h.leaving(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	switch {
	case live.at(unschedulable...) != true:
		return actions.OutcomeDidNotHappen, nil
	case len(pods) > 0:
		return actions.OutcomeUnfinished, nil
	}
	return actions.OutcomeHappened, nil
}

// Compensate uncordons the node, if it was cordoned here.
func (h *drain) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo == nil || undo.State["fields"] == nil {
		return nil
	}
	return h.cordon.Compensate(ctx, req, undo)
}

// Footprint is the node, and what its pods belong to, with how many of its pods leave and how many there are.
func (h *drain) Footprint(ctx context.Context, req *actions.Request) ([]actions.Touch, error) {
	pods, _, err := h.leaving(ctx, req)
	if err != nil {
		return nil, err
	}
	disturbed := map[schema.Target]int{}
	for _, p := range pods {
		t := place{pod: p}.target()
		if owner := metav1.GetControllerOf(p); owner != nil {
			t.Kind, t.Name = owner.Kind, owner.Name
		}
		disturbed[t]++
	}
	touches := []actions.Touch{{Target: req.Target}}
	all := map[string][]corev1.Pod{} // by namespace
	for _, t := range slices.SortedFunc(maps.Keys(disturbed), compareTargets) {
		pods, known := all[t.Namespace]
		if !known {
			list, err := h.c.client.CoreV1().Pods(t.Namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, explain(err, "list", "pods", t)
			}
			pods = list.Items
			all[t.Namespace] = pods
		}
		of := 0
		for i := range pods {
			if owner := metav1.GetControllerOf(&pods[i]); owner != nil && owner.Kind == t.Kind && owner.Name == t.Name {
				of++
			}
		}
		touches = append(touches, actions.Touch{Target: t, Replicas: disturbed[t], Of: of})
	}
	return touches, nil
}
