package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// selected are Pods with the labels by which their owner and services select them.
type selected struct{ pods }

// byOwner and byServices are where an object has these labels.
const (
	byOwner    = "selectedByOwner"
	byServices = "selectedByServices"
)

func (selected) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	p, err := c.client.CoreV1().Pods(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	o, err := objectOf(p, err)
	if err != nil {
		return nil, err
	}
	owner, services := map[string]any{}, map[string]any{}
	if ref := metav1.GetControllerOf(p); ref != nil {
		var selector *metav1.LabelSelector
		switch ref.Kind {
		case "ReplicaSet":
			set, err := c.client.AppsV1().ReplicaSets(t.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			selector = set.Spec.Selector
		case "StatefulSet", "DaemonSet":
			live, err := workloads{}.get(ctx, c, schema.Target{Kind: ref.Kind, Namespace: t.Namespace, Name: ref.Name})
			if err != nil {
				return nil, err
			}
			selector = &metav1.LabelSelector{}
			if m, ok := live.at("spec", "selector").(map[string]any); ok {
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, selector); err != nil {
					return nil, err
				}
			}
		}
		if selector != nil {
			for k := range selector.MatchLabels {
				owner[k] = true
			}
			for _, e := range selector.MatchExpressions {
				owner[e.Key] = true
			}
		}
	}
	all, err := c.client.CoreV1().Services(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range all.Items {
		if s := all.Items[i].Spec.Selector; len(s) > 0 && labels.SelectorFromSet(s).Matches(labels.Set(p.Labels)) {
			for k := range s {
				services[k] = true
			}
		}
	}
	return with(with(o, []string{byOwner}, owner), []string{byServices}, services), nil
}

func (selected) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	return pods{}.patch(ctx, c, t, live, fields, o)
}

// isolate marks a pod and takes away what selects it.
type isolate struct{}

// quarantined is the label of a pod in quarantine that names none.
const quarantined = "remedy/quarantined"

func quarantineLabel(req *actions.Request) (key, value string) {
	key, value, _ = strings.Cut(req.Parameters.String("quarantineLabel"), "=")
	if key == "" {
		key = quarantined
	}
	if value == "" { // unique, so that the network policy is for this pod alone
		sum := sha256.Sum256([]byte(req.Target.String()))
		value = hex.EncodeToString(sum[:10])
	}
	return key, value
}

func (isolate) want(req *actions.Request, live object) []field {
	key, value := quarantineLabel(req)
	have, _ := live.at("metadata", "labels").(map[string]any)
	drop, _ := live.at(byOwner).(map[string]any)
	drop = maps.Clone(drop)
	if services, ok := live.at(byServices).(map[string]any); ok && req.Parameters.Bool("removeFromService") {
		if drop == nil {
			drop = map[string]any{}
		}
		maps.Copy(drop, services)
	}
	fields := []field{{[]string{"metadata", "labels", key}, value}}
	for _, k := range slices.Sorted(maps.Keys(drop)) {
		if have[k] != nil && k != key {
			fields = append(fields, field{[]string{"metadata", "labels", k}, nil})
		}
	}
	return fields
}

func (isolate) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	if live.at("metadata", "deletionTimestamp") != nil {
		return actions.Permanent(fmt.Errorf("%s is being deleted: there is nothing to keep apart", req.Target))
	}
	return nil
}

// settle cuts the pod off, and waits until no service sends it anything.
func (isolate) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	key, value := quarantineLabel(req)
	err := patiently(ctx, func() error {
		_, err := c.client.NetworkingV1().NetworkPolicies(req.Target.Namespace).Create(ctx, &networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: policyName(req.Target), Labels: map[string]string{"app.kubernetes.io/managed-by": "remedy"}, Annotations: map[string]string{"remedy/step": req.Key()},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: req.Target.Name, UID: types.UID(live.uid())}}},
			Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{key: value}},
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}},
		}, metav1.CreateOptions{FieldManager: c.fieldManager})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return explain(err, "create", "networkpolicies", req.Target)
	})
	if err != nil || !req.Parameters.Bool("removeFromService") {
		return req.Target.Name + " is in quarantine; its services still know it", err
	}
	if err := c.outOfServices(ctx, req.Target, types.UID(live.uid())); err != nil {
		return "", err
	}
	return req.Target.Name + " is in quarantine, and out of its services", nil
}

// outOfServices returns when a pod is in no EndpointSlice.
func (c *Cluster) outOfServices(ctx context.Context, pod schema.Target, uid types.UID) error {
	has := func(s *discoveryv1.EndpointSlice) bool {
		return slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.TargetRef != nil && e.TargetRef.UID == uid })
	}
	return patiently(ctx, func() error {
		all := c.client.DiscoveryV1().EndpointSlices(pod.Namespace)
		list, err := all.List(ctx, metav1.ListOptions{})
		if err != nil {
			return explain(err, "list", "endpointslices", pod)
		}
		in := map[string]bool{}
		for i := range list.Items {
			if has(&list.Items[i]) {
				in[list.Items[i].Name] = true
			}
		}
		if len(in) == 0 {
			return nil
		}
		w, err := all.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			return explain(err, "watch", "endpointslices", pod)
		}
		defer w.Stop()
		for e := range w.ResultChan() {
			s, ok := e.Object.(*discoveryv1.EndpointSlice)
			if !ok {
				break
			}
			if e.Type == watch.Deleted || !has(s) {
				if delete(in, s.Name); len(in) == 0 {
					return nil
				}
			}
		}
		return actions.Transient(fmt.Errorf("%s is still in %v: %w", pod, slices.Sorted(maps.Keys(in)), context.Cause(ctx)))
	})
}

func policyName(pod schema.Target) string {
	sum := sha256.Sum256([]byte(pod.String()))
	return "remedy-quarantine-" + hex.EncodeToString(sum[:10])
}

// quarantine keeps a pod apart.
type quarantine struct{ c *Cluster }

func (h *quarantine) edit() *edit { return &edit{h.c, selected{}, isolate{}} }

func (h *quarantine) BeginsItself() bool { return true }

func (h *quarantine) rights(t *actions.Task) []Right {
	ns := t.Target.Namespace
	all := slices.Concat(rightsTo("get patch", "", "pods", ns, t.Target.Name), rightsTo("list", "", "services", ns, ""), rightsTo("get", "apps", "replicasets", ns, ""),
		rightsTo("get", "apps", "statefulsets", ns, ""), rightsTo("get", "apps", "daemonsets", ns, ""), rightsTo("create", "networking.k8s.io", "networkpolicies", ns, ""),
		rightsTo("get delete", "networking.k8s.io", "networkpolicies", ns, policyName(t.Target)))
	if !t.Parameters.Given("removeFromService") || t.Parameters.Bool("removeFromService") {
		all = append(all, rightsTo("list watch", "discovery.k8s.io", "endpointslices", ns, "")...)
	}
	return all
}

func (h *quarantine) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	return h.edit().Execute(ctx, req)
}

func (h *quarantine) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	p, err := h.edit().DryRun(ctx, req)
	if err == nil {
		p.Change = append(p.Change, "create NetworkPolicy "+req.Target.Namespace+"/"+policyName(req.Target)+", which lets nothing in or out")
	}
	return p, err
}

// Probe tells whether the pod is cut off.
func (h *quarantine) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	outcome, err := h.edit().Probe(ctx, req)
	if outcome != actions.OutcomeHappened {
		return outcome, err
	}
	_, err = h.c.client.NetworkingV1().NetworkPolicies(req.Target.Namespace).Get(ctx, policyName(req.Target), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return actions.OutcomeDidNotHappen, nil // a second try makes it
	case err != nil:
		return actions.OutcomeUnknown, explain(err, "get", "networkpolicies", req.Target)
	}
	return actions.OutcomeHappened, nil
}

// released is what an undo settles: the labels are back, and so is the pod.
type released struct{ isolate }

func (released) settle(context.Context, *Cluster, *actions.Request, object) (string, error) {
	return "", nil
}

// Compensate takes the policy away and brings the labels back. Its owner then has a pod more than it wants, and ends one.
func (h *quarantine) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo == nil {
		return nil
	}
	policies := h.c.client.NetworkingV1().NetworkPolicies(req.Target.Namespace)
	err := patiently(ctx, func() error {
		p, err := policies.Get(ctx, policyName(req.Target), metav1.GetOptions{})
		if err == nil && slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return string(o.UID) == undo.State["uid"] }) {
			err = policies.Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return explain(err, "delete", "networkpolicies", req.Target)
	})
	if err != nil {
		return err
	}
	return (&edit{h.c, selected{}, released{}}).Compensate(ctx, req, undo)
}

func (h *quarantine) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}
