package crd

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

//go:embed manifests.yaml
var manifests string

// Manifests are what a cluster needs, for kubectl apply: the definition of ApprovalRequest, the admission policy with its
// binding, and roles for the runner and for people who decide.
func Manifests() string { return manifests }

// name is that of the definition, the policy and its binding.
const name = "approvalrequests.remedykit.dev"

var resource = schema.GroupVersionResource{Group: "remedykit.dev", Version: "v1alpha1", Resource: "approvalrequests"}

// Options of a Channel.
type Options struct {
	// Namespace is where the objects are. Required.
	Namespace string
	// FieldManager names who writes. Defaults to "remedy".
	FieldManager string
}

// retry is after how long a vote is handed in again that could not be.
const retry = time.Minute

// A Channel asks with objects. It is safe for concurrent use.
type Channel struct {
	namespace string
	manager   string
	client    kubernetes.Interface
	objects   dynamic.ResourceInterface
	informers dynamicinformer.DynamicSharedInformerFactory
	policy    admissionv1.ValidatingAdmissionPolicySpec // as it is shipped
}

var (
	_ approval.Approver = (*Channel)(nil)
	_ approval.Updater  = (*Channel)(nil)
)

// New returns a Channel. It does not speak to the cluster yet. config is copied.
func New(config *rest.Config, o Options) (*Channel, error) {
	switch {
	case config == nil:
		return nil, errors.New("crd: the rest.Config is nil: use rest.InClusterConfig or clientcmd")
	case o.Namespace == "":
		return nil, errors.New("crd: Options.Namespace is empty: say where the ApprovalRequests are to be")
	}
	config = rest.CopyConfig(config)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("crd: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("crd: %w", err)
	}
	c := &Channel{
		namespace: o.Namespace, manager: cmp.Or(o.FieldManager, "remedy"), client: client, objects: objects.Resource(resource).Namespace(o.Namespace),
		informers: dynamicinformer.NewFilteredDynamicSharedInformerFactory(objects, retry, o.Namespace, nil),
	}
	for part := range strings.SplitSeq(manifests, "\n---\n") {
		var p admissionv1.ValidatingAdmissionPolicy
		if err := yaml.Unmarshal([]byte(part), &p); err == nil && p.Kind == "ValidatingAdmissionPolicy" {
			c.policy = p.Spec
		}
	}
	return c, nil
}

// objectName is that of a request's object: the same after a restart.
func objectName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "approval-" + hex.EncodeToString(sum[:10])
}

// Approve makes the object of a request, unless it is there, and answers Pending.
func (c *Channel) Approve(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
	if req == nil || req.Plan == nil || req.Key == "" {
		return nil, errors.New("crd: the request has no plan to show, or no key")
	}
	b := req.Brief(approval.Standing{}, req.AskedAt)
	step := ""
	if req.Step != nil {
		step = req.Step.ID()
	}
	facts := make([]any, len(b.Facts))
	for i, f := range b.Facts {
		facts[i] = map[string]any{"label": f.Label, "lines": f.Lines, "quoted": f.Quoted}
	}
	spec, err := plain(map[string]any{
		"run": req.Run, "step": step, "key": req.Key, "digest": req.Digest, "subject": b.Subject, "heading": b.Heading, "drawing": b.Drawing, "facts": facts,
		"onYes": b.Yes, "onNo": b.No, "onSilence": b.Silence, "askedAt": req.AskedAt.UTC().Format(time.RFC3339), "expiresAt": req.ExpiresAt.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return nil, fmt.Errorf("crd: %w", err)
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": resource.GroupVersion().String(), "kind": "ApprovalRequest",
		"metadata": map[string]any{"name": objectName(req.Key), "labels": map[string]any{"app.kubernetes.io/managed-by": "remedy", "remedykit.dev/run": req.Run}},
		"spec":     spec,
	}}
	_, err = c.objects.Create(ctx, o, metav1.CreateOptions{FieldManager: c.manager, FieldValidation: metav1.FieldValidationStrict})
	if apierrors.IsAlreadyExists(err) {
		var was *unstructured.Unstructured
		if was, err = c.objects.Get(ctx, o.GetName(), metav1.GetOptions{}); err == nil {
			if digest, _, _ := unstructured.NestedString(was.Object, "spec", "digest"); digest != req.Digest {
				return nil, fmt.Errorf("crd: ApprovalRequest %s asks about something else: it was not made by this run", o.GetName())
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("crd: ApprovalRequest %s/%s: %w", c.namespace, o.GetName(), explain(err))
	}
	return &approval.Decision{Verdict: approval.Pending}, nil
}

// explain says what to do about an error of the API server.
func explain(err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: is the namespace there, and were the Manifests applied?", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: bind the ClusterRole remedy-approval-requester to the runner's account", err)
	}
	return err
}

// plain is a value as JSON has it.
func plain(v any) (out any, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(data, &out)
}

// Update writes into the object's status what became of the request. An object that somebody deleted stays deleted.
func (c *Channel) Update(ctx context.Context, req *approval.Request, s approval.Standing) error {
	return c.report(ctx, objectName(req.Key), map[string]any{"state": s.State.String(), "needs": s.Missing, "by": s.By, "reason": s.Reason})
}

func (c *Channel) report(ctx context.Context, object string, status map[string]any) error {
	for field, v := range status {
		if v == "" {
			status[field] = nil // merge patch: none
		}
	}
	data, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = c.objects.Patch(ctx, object, types.MergePatchType, data, metav1.PatchOptions{FieldManager: c.manager}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("crd: ApprovalRequest %s/%s: %w", c.namespace, object, explain(err))
	}
	return nil
}

// A vote is what somebody wrote into an object.
type vote struct {
	Verdict string   `json:"verdict"`
	Reason  string   `json:"reason,omitempty"`
	Digest  string   `json:"digest,omitempty"`
	Groups  []string `json:"groups,omitempty"`
}

// request is an object, as far as votes need it.
type request struct {
	Metadata struct {
		Name string    `json:"name"`
		UID  types.UID `json:"uid"`
	} `json:"metadata"`
	Spec struct {
		Run    string `json:"run"`
		Step   string `json:"step"`
		Key    string `json:"key"`
		Digest string `json:"digest"`
	} `json:"spec"`
	Status struct {
		State   string            `json:"state"`
		Votes   map[string]vote   `json:"votes"`
		Answers map[string]string `json:"answers"`
	} `json:"status"`
}

// Run watches the objects, all with one watch, and hands their votes in until ctx ends. It refuses to begin without the admission policy.
func (c *Channel) Run(ctx context.Context, d approval.Decider) error {
	if err := c.trusted(ctx); err != nil {
		return err
	}
	r := &runner{channel: c, decider: d, heard: map[string]bool{}}
	informer := c.informers.ForResource(resource).Informer()
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { r.look(ctx, o) },
		UpdateFunc: func(_, o any) { r.look(ctx, o) },
	})
	if err != nil {
		return fmt.Errorf("crd: %w", err)
	}
	defer func() { _ = informer.RemoveEventHandler(handler) }()
	var watching sync.WaitGroup
	watching.Go(func() { informer.RunWithContext(ctx) })
	watching.Wait()
	return context.Cause(ctx)
}

// A runner hands votes in, one after another.
type runner struct {
	channel *Channel
	decider approval.Decider
	heard   map[string]bool // votes that were handed in by this process; used by the informer's goroutine only
}

func (r *runner) look(ctx context.Context, o any) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return
	}
	var req request
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &req); err != nil {
		return // not one that the definition lets be
	}
	// Others may make objects, too; only those of their own name are ours.
	if req.Metadata.Name != objectName(req.Spec.Key) || req.Status.State != "" && req.Status.State != "open" {
		return
	}
	for _, by := range slices.Sorted(maps.Keys(req.Status.Votes)) {
		v := req.Status.Votes[by]
		text, _ := json.Marshal(v)
		id := fmt.Sprintf("%s %s %s", req.Metadata.UID, by, text)
		if r.heard[id] || ctx.Err() != nil {
			continue
		}
		answer, final := r.hand(ctx, &req, by, v)
		if final {
			r.heard[id] = true
		}
		if answer != "" && answer != req.Status.Answers[by] {
			_ = r.channel.report(ctx, req.Metadata.Name, map[string]any{"answers": map[string]string{by: answer}}) // a courtesy: the state says the same
		}
	}
}

// hand hands one vote in, and says what became of it; final is false when it is tried again. "" leaves the answer to another
// process, which may have the run.
func (r *runner) hand(ctx context.Context, req *request, by string, v vote) (answer string, final bool) {
	if err := r.channel.trusted(ctx); err != nil {
		return "not counted: " + err.Error(), false
	}
	d := approval.Decision{By: by, Groups: v.Groups, Reason: v.Reason, Digest: cmp.Or(v.Digest, req.Spec.Digest), Verdict: approval.Rejected}
	if v.Verdict == "approved" {
		d.Verdict = approval.Approved
	}
	err := r.decider.Decide(ctx, req.Spec.Run, req.Spec.Step, d)
	switch {
	case err == nil:
		return "counted", true
	case errors.Is(err, approval.ErrVoted):
		return "counted before", true
	}
	for _, refused := range []error{approval.ErrNotAsked, approval.ErrDecided, approval.ErrExpired, approval.ErrDigest, approval.ErrNotApprover} {
		if errors.Is(err, refused) {
			return "not counted: " + wording.Cut(wording.Visible(err.Error()), 900), true
		}
	}
	return "", false
}

// trusted tells whether the API server keeps people from deciding in others' names: the admission policy is there as it is
// shipped, and enforced.
func (c *Channel) trusted(ctx context.Context) error {
	const advice = "apply crd.Manifests, or nobody knows who decides"
	api := c.client.AdmissionregistrationV1()
	p, err := api.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("crd: the admission policy %s: %w: %s", name, err, advice)
	}
	b, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("crd: the binding of the admission policy %s: %w: %s", name, err, advice)
	}
	bound := b.Spec.PolicyName == name && slices.Contains(b.Spec.ValidationActions, admissionv1.Deny) && b.Spec.MatchResources == nil && b.Spec.ParamRef == nil
	if !bound || !c.asShipped(&p.Spec) {
		return fmt.Errorf("crd: the admission policy %s is not as it is shipped, or not enforced: %s", name, advice)
	}
	return nil
}

// asShipped compares a policy with the shipped one, but for defaults of the API server.
func (c *Channel) asShipped(p *admissionv1.ValidatingAdmissionPolicySpec) bool {
	equal := func(a, b any) bool {
		x, errX := json.Marshal(a)
		y, errY := json.Marshal(b)
		return errX == nil && errY == nil && string(x) == string(y)
	}
	if p.FailurePolicy == nil || *p.FailurePolicy != admissionv1.Fail || p.ParamKind != nil || len(p.MatchConditions) > 0 || p.MatchConstraints == nil {
		return false
	}
	m := p.MatchConstraints
	scoped := func(rules []admissionv1.NamedRuleWithOperations) (all []admissionv1.NamedRuleWithOperations) {
		for _, r := range rules {
			if r.Scope != nil && *r.Scope == admissionv1.AllScopes {
				r.Scope = nil
			}
			all = append(all, r)
		}
		return all
	}
	everywhere := func(s *metav1.LabelSelector) bool {
		return s == nil || len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
	}
	return len(m.ExcludeResourceRules) == 0 && everywhere(m.NamespaceSelector) && everywhere(m.ObjectSelector) &&
		equal(scoped(m.ResourceRules), scoped(c.policy.MatchConstraints.ResourceRules)) && equal(p.Variables, c.policy.Variables) && equal(p.Validations, c.policy.Validations)
}
