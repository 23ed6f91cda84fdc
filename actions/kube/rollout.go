package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// The rights to watch the rollout of a task's target and to name the reason of a pod that cannot run; none when it is not waited for.
func rolloutRights(t *actions.Task) []Right {
	if t.Parameters.Given("waitForReady") && !t.Parameters.Bool("waitForReady") {
		return nil
	}
	_, resource := workloads{}.name(t.Target)
	ns := t.Target.Namespace
	all := slices.Concat(rightsTo("list watch", "apps", resource, ns, ""), rightsTo("list watch", "", "pods", ns, ""))
	if t.Target.Kind == "Deployment" { // the others say themselves of which revision a pod is
		all = append(all, rightsTo("get", "apps", "replicasets", ns, "")...)
	}
	return all
}

// A rollout is a workload whose pods are being replaced.
type rollout struct {
	target schema.Target
	// written is the workload as it was written: what is older is not looked at.
	written object
	// stableFor is how long it must stay complete.
	stableFor time.Duration
	// sized tells that only its size was written, which a paused one follows as well.
	sized bool
	// judge says why a pod lets the rollout fail; "" while it does not. Defaults to cannotRun.
	judge func(*corev1.Pod) string
}

// A sight is what is seen of a rollout.
type sight struct {
	mu       sync.Mutex // guards what follows
	workload runtime.Object
	gone     bool
	failure  error
	selector labels.Selector
	sick     map[types.UID]*corev1.Pod
	changed  chan struct{} // capacity 1
}

func (s *sight) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// rolledOut watches a workload until all of its replicas are up to date and ready, and have been so for a while. A pod of
// the newest revision that cannot run fails it early.
func (c *Cluster) rolledOut(ctx context.Context, r rollout) (message string, err error) {
	if r.judge == nil {
		r.judge = cannotRun
	}
	s := &sight{changed: make(chan struct{}, 1), sick: map[types.UID]*corev1.Pod{}}
	fail := func(err error) {
		s.mu.Lock()
		s.failure = err
		s.mu.Unlock()
		s.poke()
	}
	_, resource := workloads{}.name(r.target)
	leave, err := c.follow(ctx, resource, r.target.Namespace, &follower{look: func(o runtime.Object, gone bool) { s.seeWorkload(&r, o, gone) }, failed: fail})
	if err != nil {
		return "", err
	}
	defer leave()
	stable := time.NewTimer(r.stableFor)
	stable.Stop()
	defer stable.Stop()
	last, settled, podsSeen := "nothing is known of it", false, false
	for {
		s.mu.Lock()
		workload, gone, failure, sick := s.workload, s.gone, s.failure, slices.Collect(maps.Values(s.sick))
		if workload != nil && s.selector == nil {
			s.selector, err = selectorOf(workload)
		}
		s.mu.Unlock()
		switch {
		case err != nil:
			return "", err
		case failure != nil && !actions.IsTransient(failure):
			return "", failure
		case gone:
			return "", actions.Permanent(fmt.Errorf("%s was deleted while it rolled out", r.target))
		}
		if workload != nil && !podsSeen {
			podsSeen = true
			leavePods, err := c.follow(ctx, "pods", r.target.Namespace, &follower{look: func(o runtime.Object, gone bool) { s.seePod(&r, o, gone) }, failed: fail})
			if err != nil {
				return "", err
			}
			defer leavePods()
		}
		if workload != nil {
			now, err := progress(workload)
			if err != nil {
				return "", fmt.Errorf("%s: %w", r.target, err)
			}
			if now.observed {
				for _, p := range sick {
					if why := r.judge(p); why != "" && c.isNewest(ctx, workload, p) {
						return "", actions.Permanent(fmt.Errorf("%s does not roll out: %s", r.target, why))
					}
				}
			}
			if d, ok := workload.(*appsv1.Deployment); ok && d.Spec.Paused && !r.sized && !now.done {
				return "", actions.Permanent(fmt.Errorf("%s is paused in the middle of its rollout (%s): resume it first", r.target, now.message))
			}
			last = now.message
			switch {
			case now.done && r.stableFor <= 0:
				return last, nil
			case now.done && !settled:
				stable.Reset(r.stableFor)
			case !now.done:
				stable.Stop()
			}
			settled = now.done
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(fmt.Errorf("%s did not roll out in time: %s: %w", r.target, last, context.Cause(ctx)), failure)
		case <-stable.C:
			return last, nil
		case <-s.changed:
		}
	}
}

// seeWorkload takes note of the workload in the version that was written, or a later one.
func (s *sight) seeWorkload(r *rollout, o runtime.Object, gone bool) {
	m, ok := o.(metav1.Object)
	if !ok || m.GetName() != r.target.Name {
		return
	}
	if order, err := resourceversion.CompareResourceVersion(m.GetResourceVersion(), r.written.version()); err == nil && order < 0 {
		return
	}
	gone = gone || string(m.GetUID()) != r.written.uid()
	s.mu.Lock()
	s.workload, s.gone, s.failure = o, gone, nil
	s.mu.Unlock()
	s.poke()
}

// seePod takes note of a pod that cannot run, and pokes for no other.
func (s *sight) seePod(r *rollout, o runtime.Object, gone bool) {
	p, ok := o.(*corev1.Pod)
	if !ok || !s.selector.Matches(labels.Set(p.Labels)) {
		return
	}
	sick := !gone && p.DeletionTimestamp == nil && r.judge(p) != ""
	s.mu.Lock()
	_, was := s.sick[p.UID]
	if sick {
		s.sick[p.UID] = p
	} else {
		delete(s.sick, p.UID)
	}
	s.mu.Unlock()
	if sick != was {
		s.poke()
	}
}

// revision is where a Deployment and its ReplicaSets have the number of their template.
const revision = "deployment.kubernetes.io/revision"

// isNewest tells whether a pod is of the newest revision of its workload. One of which that cannot be found out is not.
func (c *Cluster) isNewest(ctx context.Context, workload runtime.Object, p *corev1.Pod) bool {
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return false
	}
	switch w := workload.(type) {
	case *appsv1.Deployment:
		set, err := c.client.AppsV1().ReplicaSets(p.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
		return err == nil && metav1.IsControlledBy(set, w) && set.Annotations[revision] == w.Annotations[revision]
	case *appsv1.StatefulSet:
		return owner.UID == w.UID && p.Labels[appsv1.ControllerRevisionHashLabelKey] == w.Status.UpdateRevision
	case *appsv1.DaemonSet:
		return owner.UID == w.UID && p.Labels["pod-template-generation"] == templateGeneration(w)
	}
	return false
}

// templateGeneration is the generation of a DaemonSet's template, as its pods have it for a label.
func templateGeneration(w *appsv1.DaemonSet) string {
	if g, ok := w.Annotations[appsv1.DeprecatedTemplateGeneration]; ok {
		return g
	}
	return strconv.FormatInt(w.Generation, 10)
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

// outOfMemory is cannotRun that also says when a container was killed for lack of memory.
func outOfMemory(p *corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		for _, state := range []corev1.ContainerState{s.State, s.LastTerminationState} {
			if state.Terminated != nil && state.Terminated.Reason == "OOMKilled" {
				return fmt.Sprintf("container %s of pod %s was killed for lack of memory again", s.Name, p.Name)
			}
		}
	}
	return cannotRun(p)
}

func selectorOf(o runtime.Object) (labels.Selector, error) {
	var s *metav1.LabelSelector
	switch w := o.(type) {
	case *appsv1.Deployment:
		s = w.Spec.Selector
	case *appsv1.StatefulSet:
		s = w.Spec.Selector
	case *appsv1.DaemonSet:
		s = w.Spec.Selector
	}
	return metav1.LabelSelectorAsSelector(s)
}

// A state is how far a rollout is.
type rolloutState struct {
	message        string
	observed, done bool // the controller knows the workload as it is; all of its replicas are up to date and ready
}

// progress says how far a rollout is, by the rules of kubectl rollout status.
func progress(o runtime.Object) (s rolloutState, err error) {
	var want, updated, ready int32
	current := true
	switch w := o.(type) {
	case *appsv1.Deployment:
		want, updated, ready = replicas(w.Spec.Replicas), w.Status.UpdatedReplicas, w.Status.AvailableReplicas
		s.observed, current = w.Status.ObservedGeneration >= w.Generation, w.Status.Replicas == want
		for _, c := range w.Status.Conditions {
			if s.observed && c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" {
				return s, actions.Permanent(fmt.Errorf("the rollout passed its progress deadline: %s", c.Message))
			}
		}
	case *appsv1.StatefulSet:
		want, updated, ready = replicas(w.Spec.Replicas), w.Status.UpdatedReplicas, w.Status.ReadyReplicas
		s.observed, current = w.Status.ObservedGeneration >= w.Generation, w.Status.Replicas == want
		if u := w.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil && updated >= want-*u.Partition {
			updated = want // those below the partition stay as they are
		}
	case *appsv1.DaemonSet:
		want, updated, ready = w.Status.DesiredNumberScheduled, w.Status.UpdatedNumberScheduled, w.Status.NumberAvailable
		s.observed = w.Status.ObservedGeneration >= w.Generation
	}
	s.message = fmt.Sprintf("%d of %d replicas are ready", ready, want)
	s.done = s.observed && current && updated == want && ready == want
	return s, nil
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// roll restarts workloads, all at once, and waits until they have rolled out. One that carries the mark has been restarted
// already.
func (c *Cluster) roll(ctx context.Context, all []schema.Target, mark string, stableFor time.Duration) error {
	those := make([]restarting, len(all))
	for i, t := range all {
		those[i].Target = t
	}
	return c.rollThose(ctx, those, mark, stableFor)
}

// A restarting workload was looked at before it is restarted: another one of the same name is refused. An empty UID refuses none.
type restarting struct {
	Target schema.Target `json:"target"`
	UID    string        `json:"uid"`
}

// rollThose is roll for workloads that were looked at before.
func (c *Cluster) rollThose(ctx context.Context, all []restarting, mark string, stableFor time.Duration) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range all {
		group.Go(func() error {
			written, err := c.mark(ctx, w.Target, w.UID, mark)
			if err != nil {
				return err
			}
			_, err = c.rolledOut(ctx, rollout{target: w.Target, written: written, stableFor: stableFor})
			return err
		})
	}
	return group.Wait()
}

// mark marks the pod template of a workload, which restarts its pods, and returns it as it is then. With a uid it has to be that one.
func (c *Cluster) mark(ctx context.Context, t schema.Target, uid, mark string) (written object, err error) {
	err = patiently(ctx, func() error {
		live, err := workloads{}.get(ctx, c, t)
		if err != nil {
			return explain(err, "get", "workloads", t)
		}
		if uid != "" && live.uid() != uid {
			return actions.Permanent(fmt.Errorf("%s was deleted and made again meanwhile", t))
		}
		if written = live; live.at(restartedByPath...) == mark {
			return nil
		}
		if err := restartable(t, live); err != nil {
			return err
		}
		written, err = workloads{}.patch(ctx, c, t, live, []field{{restartedAtPath, now()}, {restartedByPath, mark}}, c.patchOptions())
		return explain(err, "patch", "workloads", t)
	})
	if err == nil {
		_, resource := workloads{}.name(t)
		c.wrote(resource, t, written)
	}
	return written, err
}
