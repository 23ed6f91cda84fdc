package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// rolling restarts workloads that a step does not name itself: find finds them, in stages that follow each other.
type rolling struct {
	c      *Cluster
	find   func(ctx context.Context, req *actions.Request) ([][]schema.Target, error)
	places func(t *actions.Task) []string // the namespaces in which it may restart anything
}

func (r *rolling) BeginsItself() bool { return true }

func (r *rolling) rights(t *actions.Task) []Right {
	var all []Right
	for _, ns := range r.places(t) {
		all = slices.Concat(all, allRights(ns), r.c.selfRights(ns))
	}
	return all
}

// Execute restarts one stage after the other, and waits for each. What an attempt before it began, it goes on with.
func (r *rolling) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	stages, sent, err := r.begun(ctx, req)
	var warnings []string
	if err == nil && !sent {
		stages, warnings, err = r.checked(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, w := range slices.Concat(stages...) {
		names = append(names, w.Target.String())
	}
	// It cannot be undone; what it restarts is kept for who goes on with it.
	undo := &actions.Undo{Summary: fmt.Sprintf("nothing: %d restarts cannot be taken back", len(names)), State: map[string]any{"restarts": stages}}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	for _, stage := range stages {
		if err := r.c.rollThose(ctx, stage, req.Key(), req.Parameters.Duration("stableFor")); err != nil {
			return nil, err
		}
	}
	return &actions.Result{Message: strings.Join(append([]string{fmt.Sprintf("restarted %v", names)}, warnings...), "; ")}, nil
}

// begun are the stages of an attempt before this one, and whether any restart was sent.
func (r *rolling) begun(ctx context.Context, req *actions.Request) (all [][]restarting, sent bool, err error) {
	if req.Begun == nil {
		return nil, false, nil
	}
	data, err := json.Marshal(req.Begun.State["restarts"])
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return nil, false, actions.Permanent(fmt.Errorf("what was kept of the restarts cannot be read: %w", err))
	}
	for _, w := range slices.Concat(all...) {
		err := patiently(ctx, func() error {
			live, err := workloads{}.get(ctx, r.c, w.Target)
			if apierrors.IsNotFound(err) { // which whoever goes on is told
				return nil
			}
			sent = sent || err == nil && live.at(restartedByPath...) == req.Key()
			return explain(err, "get", "workloads", w.Target)
		})
		if err != nil {
			return nil, false, err
		}
	}
	return all, sent, nil
}

// checked are the workloads, in stages, which all can be restarted, and what people should know of them.
func (r *rolling) checked(ctx context.Context, req *actions.Request) (stages [][]restarting, warnings []string, err error) {
	found, err := r.find(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	for _, targets := range found {
		var stage []restarting
		for _, t := range targets {
			if err := r.c.spare(ctx, t); err != nil {
				return nil, nil, err
			}
			live, err := workloads{}.get(ctx, r.c, t)
			if err != nil {
				return nil, nil, explain(err, "get", "workloads", t)
			}
			if err := restartable(t, live); err != nil {
				return nil, nil, err
			}
			stage = append(stage, restarting{t, live.uid()})
			if owner := gitOwner(live); owner != "" {
				warnings = append(warnings, fmt.Sprintf("%s writes %s from git, and may change it back", owner, t))
			}
		}
		stages = append(stages, stage)
	}
	return stages, warnings, nil
}

// DryRun has the API server check the marks.
func (r *rolling) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	stages, warnings, err := r.checked(ctx, req)
	if err != nil {
		return nil, err
	}
	p := &actions.Preview{Verdict: actions.Verified, Basis: map[string]string{}}
	for _, w := range slices.Concat(stages...) {
		t := w.Target
		err := patiently(ctx, func() error {
			live, err := workloads{}.get(ctx, r.c, t)
			if err != nil {
				return explain(err, "get", "workloads", t)
			}
			p.Basis["uid of "+t.String()] = live.uid()
			o := r.c.patchOptions()
			o.DryRun = []string{metav1.DryRunAll}
			_, err = workloads{}.patch(ctx, r.c, t, live, []field{{restartedAtPath, now()}, {restartedByPath, req.Key()}}, o)
			return explain(err, "patch", "workloads", t)
		})
		if err != nil {
			return nil, err
		}
		p.Change = append(p.Change, "restart "+t.String())
	}
	for _, w := range warnings {
		p.Change = append(p.Change, "warning: "+w)
	}
	return p, nil
}

// Probe tells whether any of them was restarted. Whether all are, and run, is for an attempt to see.
func (r *rolling) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	switch _, sent, err := r.begun(ctx, req); {
	case err != nil:
		return actions.OutcomeUnknown, err
	case sent:
		return actions.OutcomeUnfinished, nil
	}
	return actions.OutcomeDidNotHappen, nil
}

// Footprint are the workloads.
func (r *rolling) Footprint(ctx context.Context, req *actions.Request) ([]actions.Touch, error) {
	stages, err := r.find(ctx, req)
	if err != nil {
		return nil, err
	}
	var touches []actions.Touch
	for _, t := range slices.Concat(stages...) {
		touches = append(touches, actions.Touch{Target: t})
	}
	return touches, nil
}

// restartNetwork restarts the workload of a network component.
func (c *Cluster) restartNetwork() handler {
	return &rolling{c, func(ctx context.Context, req *actions.Request) ([][]schema.Target, error) {
		component := req.Parameters.String("component")
		var found []schema.Target
		where := namespaces(req.Task)
		for _, ns := range where {
			all, err := c.all(ctx, ns)
			if err != nil {
				return nil, err
			}
			for _, w := range all {
				labels := w.object.GetLabels()
				if w.target.Name == component || labels["k8s-app"] == component || labels["app.kubernetes.io/name"] == component {
					found = append(found, w.target)
				}
			}
		}
		t, err := oneOf(found, "the workload of network component "+component, where)
		return [][]schema.Target{{t}}, err
	}, namespaces}
}

// A mesh is how a service mesh is found.
type mesh struct {
	name, namespace string
	label, value    string // of the workloads of its control plane; any value when it is ""
	sidecar         string // the container that it adds to pods
}

var meshes = []mesh{
	{"istio", "istio-system", "app", "istiod", "istio-proxy"},
	{"linkerd", "linkerd", "linkerd.io/control-plane-component", "", "linkerd-proxy"},
	{"consul", "consul", "app", "consul", "consul-dataplane"},
}

// resetMesh restarts a mesh's control plane, and then the workloads of a namespace that have its sidecar.
func (c *Cluster) resetMesh() handler {
	return &rolling{c, func(ctx context.Context, req *actions.Request) ([][]schema.Target, error) {
		var pods *corev1.PodList
		err := patiently(ctx, func() (err error) {
			pods, err = c.client.CoreV1().Pods(req.Parameters.String("namespace")).List(ctx, metav1.ListOptions{})
			return explain(err, "list", "pods", req.Target)
		})
		if err != nil {
			return nil, err
		}
		var found []mesh
		for _, m := range meshes {
			if want := req.Parameters.String("meshType"); want == m.name || want == "" && slices.ContainsFunc(pods.Items, m.in) {
				found = append(found, m)
			}
		}
		m, err := oneOf(found, "a service mesh", []string{req.Parameters.String("namespace")})
		if err != nil {
			return nil, err
		}
		all, err := c.all(ctx, m.namespace)
		if err != nil {
			return nil, err
		}
		var control, injected []schema.Target
		for _, w := range all {
			if v, ok := w.object.GetLabels()[m.label]; ok && (m.value == "" || v == m.value) {
				control = append(control, w.target)
			}
		}
		if control == nil {
			return nil, actions.Permanent(fmt.Errorf("%s has no control plane in namespace %s (label %s): say another meshType", m.name, m.namespace, m.label))
		}
		for i := range pods.Items {
			if p := &pods.Items[i]; p.DeletionTimestamp == nil && m.in(*p) {
				owner, err := c.workloadOfPod(ctx, p)
				if err != nil {
					return nil, err
				}
				if owner.Kind != "Pod" && kinds[owner.Kind] != "" {
					injected = append(injected, owner)
				}
			}
		}
		slices.SortFunc(injected, compareTargets)
		return [][]schema.Target{control, slices.Compact(injected)}, nil
	}, func(t *actions.Task) []string {
		all := []string{t.Parameters.String("namespace")}
		for _, m := range meshes {
			if want := t.Parameters.String("meshType"); want == "" || want == m.name {
				all = append(all, m.namespace)
			}
		}
		return all
	}}
}

// in tells whether a pod has the sidecar, which may be one of its init containers.
func (m mesh) in(p corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(p.Spec.InitContainers, p.Spec.Containers), func(c corev1.Container) bool { return c.Name == m.sidecar })
}
