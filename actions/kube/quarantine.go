package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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

// selected are Pods with the labels by which their owner and services select them, for a request to keep one apart.
type selected struct {
	pods
	req *actions.Request
}

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
			if apierrors.IsNotFound(err) { // it selects nothing any more
				break
			}
			if err != nil {
				return nil, err
			}
			selector = set.Spec.Selector
		case "StatefulSet", "DaemonSet":
			live, err := workloads{}.get(ctx, c, schema.Target{Kind: ref.Kind, Namespace: t.Namespace, Name: ref.Name})
			if apierrors.IsNotFound(err) {
				break
			}
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

// patch writes the labels once the policy waits for them: so the pod is cut off at once, and one that has the labels is.
func (s selected) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	if len(o.DryRun) == 0 {
		if err := c.cutOff(ctx, s.req, types.UID(live.uid())); err != nil {
			return nil, err
		}
	}
	return pods{}.patch(ctx, c, t, live, fields, o)
}

// isolate marks a pod and takes away what selects it.
type isolate struct{}

// quarantined is the label of a pod in quarantine. Its value is for this pod alone, and so is the network policy.
const quarantined = "remedy/quarantined"

// apart names what belongs to a pod in quarantine.
func apart(pod schema.Target) string {
	sum := sha256.Sum256([]byte(pod.String()))
	return hex.EncodeToString(sum[:10])
}

// quarantineLabel is the label that the step marks the pod with besides; the key is "" when it names none.
func quarantineLabel(req *actions.Request) (key, value string) {
	key, value, _ = strings.Cut(req.Parameters.String("quarantineLabel"), "=")
	if value == "" {
		value = apart(req.Target)
	}
	return key, value
}

// selecting are the labels that have to go.
func (isolate) selecting(req *actions.Request, live object) map[string]any {
	drop, _ := live.at(byOwner).(map[string]any)
	services, _ := live.at(byServices).(map[string]any)
	if drop = maps.Clone(drop); drop == nil {
		drop = map[string]any{}
	}
	if req.Parameters.Bool("removeFromService") {
		maps.Copy(drop, services)
		return drop
	}
	maps.DeleteFunc(drop, func(k string, _ any) bool { return services[k] != nil })
	return drop
}

func (v isolate) want(req *actions.Request, live object) []field {
	fields := []field{{[]string{"metadata", "labels", quarantined}, apart(req.Target)}}
	key, value := quarantineLabel(req)
	if key != "" {
		fields = append(fields, field{[]string{"metadata", "labels", key}, value})
	}
	have, _ := live.at("metadata", "labels").(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(v.selecting(req, live))) {
		if have[k] != nil && k != key {
			fields = append(fields, field{[]string{"metadata", "labels", k}, nil})
		}
	}
	return fields
}

func (v isolate) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	if live.at("metadata", "deletionTimestamp") != nil {
		return actions.Permanent(fmt.Errorf("%s is being deleted: there is nothing to keep apart", req.Target))
	}
	key, value := quarantineLabel(req)
	switch {
	case key == quarantined && value != apart(req.Target):
		return actions.Permanent(fmt.Errorf("the label %s of %s is for the runner: name another quarantineLabel, or none", key, req.Target))
	case v.selecting(req, live)[key] != nil && live.at("metadata", "labels", key) == value:
		return actions.Permanent(fmt.Errorf("%s has the label %s=%s, by which it is selected now: name another quarantineLabel", req.Target, key, value))
	}
	return nil
}

// caveats are what people should know who keep a pod apart.
func (isolate) caveats(req *actions.Request, live object) []string {
	var all []string
	if live.at("spec", "hostNetwork") == true {
		all = append(all, req.Target.Name+" uses the network of its node, from which no NetworkPolicy cuts it off")
	}
	kind, name := ownerOf(live)
	switch kind {
	case "", "ReplicaSet", "DaemonSet":
	case "StatefulSet":
		all = append(all, "StatefulSet "+name+" makes no other pod while there is one of that name")
	default:
		all = append(all, kind+" "+name+" may still count it as its own")
	}
	return all
}

// ownerOf is what an object belongs to; "" for nothing.
func ownerOf(live object) (kind, name string) {
	refs, _ := live.at("metadata", "ownerReferences").([]any)
	for _, r := range refs {
		if m, _ := r.(map[string]any); m["controller"] == true {
			kind, _ = m["kind"].(string)
			name, _ = m["name"].(string)
		}
	}
	return kind, name
}

// aftermath says who is surplus once the pod is back.
func (isolate) aftermath(live object) string {
	if kind, name := ownerOf(live); kind == "ReplicaSet" || kind == "DaemonSet" {
		return kind + " " + name + " then has a pod too many, and ends one"
	}
	return ""
}

func (isolate) waits(*actions.Request) bool { return true }

// settle cuts the pod off, and waits until no service sends it anything.
func (v isolate) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	message := req.Target.Name + " is in quarantine; its services still know it"
	if err := c.cutOff(ctx, req, types.UID(live.uid())); err != nil {
		return "", err
	}
	if req.Parameters.Bool("removeFromService") {
		if err := c.outOfServices(ctx, req.Target, types.UID(live.uid())); err != nil {
			return "", err
		}
		message = req.Target.Name + " is in quarantine, and out of its services"
	}
	return strings.Join(append([]string{message}, v.caveats(req, live)...), "; "), nil
}

// cutOff makes the policy that lets nothing in or out of the pod, if it has none yet.
func (c *Cluster) cutOff(ctx context.Context, req *actions.Request, uid types.UID) error {
	policies := c.client.NetworkingV1().NetworkPolicies(req.Target.Namespace)
	t := schema.Target{Kind: "NetworkPolicy", Namespace: req.Target.Namespace, Name: policyName(req.Target)}
	return patiently(ctx, func() error {
		p, err := policies.Get(ctx, t.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			_, err = policies.Create(ctx, denyAll(req, uid), metav1.CreateOptions{FieldManager: c.fieldManager})
			if apierrors.IsAlreadyExists(err) {
				return actions.Transient(fmt.Errorf("create %s: %w", t, err))
			}
			return explain(err, "create", "networkpolicies", t)
		case err != nil:
			return explain(err, "get", "networkpolicies", t)
		case cutsOff(p, uid):
			return nil
		case p.Labels[managedBy] != "remedy":
			return actions.Permanent(fmt.Errorf("%s is somebody else's: rename it, for it has the name of the policy that cuts %s off", t, req.Target))
		}
		// It is that of a pod which had the name before, and would go with it.
		err = policies.Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return explain(err, "delete", "networkpolicies", t)
		}
		return actions.Transient(fmt.Errorf("%s of a pod that is gone is in the way", t))
	})
}

const (
	managedBy = "app.kubernetes.io/managed-by"
	madeBy    = "remedy/step"
)

func denyAll(req *actions.Request, uid types.UID) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: policyName(req.Target), Labels: map[string]string{managedBy: "remedy"}, Annotations: map[string]string{madeBy: req.Key()},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: req.Target.Name, UID: uid}}},
		Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{quarantined: apart(req.Target)}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}},
	}
}

// cutsOff tells whether a policy is that of a pod.
func cutsOff(p *networkingv1.NetworkPolicy, pod types.UID) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == pod })
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

func policyName(pod schema.Target) string { return "remedy-quarantine-" + apart(pod) }

// quarantine keeps a pod apart.
type quarantine struct{ c *Cluster }

func (h *quarantine) edit(req *actions.Request) *edit {
	return &edit{h.c, selected{req: req}, isolate{}}
}

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
	return h.edit(req).Execute(ctx, req)
}

func (h *quarantine) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	e := h.edit(req)
	p, err := e.DryRun(ctx, req)
	if err != nil {
		return nil, err
	}
	live, err := e.read(ctx, req)
	if err != nil {
		return nil, err
	}
	p.Change = append(p.Change, "create NetworkPolicy "+req.Target.Namespace+"/"+policyName(req.Target)+", which lets nothing in or out")
	for _, w := range (isolate{}).caveats(req, live) {
		p.Change = append(p.Change, "warning: "+w)
	}
	return p, nil
}

// Probe tells whether the pod has its labels no more. Whether it is cut off is for an attempt to see to.
func (h *quarantine) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	return h.edit(req).Probe(ctx, req)
}

// released is what an undo settles: the labels are back, and so is the pod.
type released struct{ isolate }

func (released) settle(context.Context, *Cluster, *actions.Request, object) (string, error) {
	return "", nil
}

// Compensate brings the labels back and takes the step's policy away. The pod's owner then has one more than it wants, and ends one.
func (h *quarantine) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo == nil {
		return nil
	}
	back := (&edit{h.c, pods{}, released{}}).Compensate(ctx, req, undo)
	if back != nil && !errors.Is(back, actions.ErrDrift) {
		return back
	}
	policies := h.c.client.NetworkingV1().NetworkPolicies(req.Target.Namespace)
	uid, _ := undo.State["uid"].(string)
	err := patiently(ctx, func() error {
		p, err := policies.Get(ctx, policyName(req.Target), metav1.GetOptions{})
		if err == nil && cutsOff(p, types.UID(uid)) && p.Annotations[madeBy] == req.Key() {
			err = policies.Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return explain(err, "delete", "networkpolicies", req.Target)
	})
	return errors.Join(back, err)
}

func (h *quarantine) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}
