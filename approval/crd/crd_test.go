package crd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/crd"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

const (
	eventually = 15 * time.Second
	tick       = 20 * time.Millisecond
)

// A place is a namespace in which ann may ask, bob and ann may decide, and eve may look.
type place struct {
	*testing.T
	admin     kubernetes.Interface
	namespace string
}

var places atomic.Int64

func configOf(t *testing.T, user string) *rest.Config {
	t.Helper()
	name, err := kubetest.Cluster(t).Kubeconfig(user)
	require.NoError(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", name)
	require.NoError(t, err)
	config.QPS = -1
	return config
}

// apply creates what Manifests has, of a kind or all of it.
func apply(t *testing.T, kinds ...string) {
	t.Helper()
	client, err := dynamic.NewForConfig(configOf(t, controlplane.Admin))
	require.NoError(t, err)
	for part := range strings.SplitSeq(crd.Manifests(), "\n---\n") {
		var o unstructured.Unstructured
		require.NoError(t, yaml.Unmarshal([]byte(part), &o.Object))
		if len(kinds) > 0 && !strings.Contains(strings.Join(kinds, " "), o.GetKind()) {
			continue
		}
		resource := strings.ToLower(o.GetKind()) + "s"
		if strings.HasSuffix(resource, "ys") {
			resource = strings.TrimSuffix(resource, "ys") + "ies"
		}
		_, err := client.Resource(o.GroupVersionKind().GroupVersion().WithResource(resource)).Create(context.Background(), &o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
		if !apierrors.IsAlreadyExists(err) {
			require.NoError(t, err, o.GetKind())
		}
	}
}

func newPlace(t *testing.T) *place {
	t.Helper()
	admin, err := kubernetes.NewForConfig(configOf(t, controlplane.Admin))
	require.NoError(t, err)
	p := &place{t, admin, fmt.Sprintf("approvals-%d", places.Add(1))}
	apply(t)
	_, err = admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.namespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	// The runner is a user as well, with the roles that the manifests have for it.
	p.bind("remedy-approval-requester", "runner")
	p.bind("remedy-approver", "ann", "bob")
	p.bind("view-approvals", "eve")
	_, err = admin.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "view-approvals"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"remedykit.dev"}, Resources: []string{"approvalrequests"}, Verbs: []string{"get", "list", "watch"}}}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	_, err = admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "runner-reads-policy"},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "remedy-approval-policy-reader"}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "runner"}}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	// RBAC is eventually known to the API server, and so are a definition and a policy.
	require.Eventually(t, func() bool {
		_, err := p.objects("runner").List(t.Context(), metav1.ListOptions{})
		return err == nil
	}, eventually, tick)
	require.Eventually(t, func() bool {
		err := p.make("runner", "canary")
		return err != nil && strings.Contains(err.Error(), "the admission policy is enforced")
	}, eventually, tick)
	return p
}

// make tries to make an object, without effect.
func (p *place) make(user, name string) error {
	p.Helper()
	_, err := p.objects(user).Create(p.Context(), &unstructured.Unstructured{Object: map[string]any{"apiVersion": "remedykit.dev/v1alpha1", "kind": "ApprovalRequest",
		"metadata": map[string]any{"name": name}, "spec": map[string]any{"run": "r", "key": "k", "digest": "d", "guard": "g", "subject": "s", "onYes": "y", "onNo": "n", "onSilence": "s", "askedAt": time.Now().UTC().Format(time.RFC3339)}}},
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

func (p *place) bind(role string, users ...string) {
	p.Helper()
	b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}
	for _, u := range users {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: u})
	}
	_, err := p.admin.RbacV1().RoleBindings(p.namespace).Create(p.Context(), b, metav1.CreateOptions{})
	require.NoError(p, err)
}

func (p *place) objects(user string) dynamic.ResourceInterface {
	p.Helper()
	client, err := dynamic.NewForConfig(configOf(p.T, user))
	require.NoError(p, err)
	return client.Resource(schema.GroupVersionResource{Group: "remedykit.dev", Version: "v1alpha1", Resource: "approvalrequests"}).Namespace(p.namespace)
}

// vote is kubectl patch approvalrequest NAME --subresource=status --type=merge.
func (p *place) vote(user, object string, votes map[string]any) error {
	p.Helper()
	data, err := json.Marshal(map[string]any{"status": map[string]any{"votes": votes}})
	require.NoError(p, err)
	_, err = p.objects(user).Patch(p.Context(), object, types.MergePatchType, data, metav1.PatchOptions{}, "status")
	return err
}

func (p *place) channel() *crd.Channel {
	p.Helper()
	c, err := crd.New(configOf(p.T, "runner"), crd.Options{Namespace: p.namespace})
	require.NoError(p, err)
	return c
}

func planOf(t *testing.T) *dag.Plan {
	t.Helper()
	data, err := os.ReadFile("../../examples/plans/oomkill.json")
	require.NoError(t, err)
	plan, err := dag.Load(data, actions.Canonical())
	require.NoError(t, err)
	return plan
}

// run starts a run that asks through the channel, and runs the channel.
func (p *place) run(c *crd.Channel, policy *approval.Policy, j journal.Journal) (run *executor.Run, ex *executor.Executor, stop func()) {
	p.Helper()
	ex, err := executor.New(executor.Config{Handlers: simulated.New(simulated.Options{Scale: 0.0001}).Handlers(actions.Canonical()), Policy: policy,
		Approver: approval.Broadcast(nil, approval.Channel{Name: "crd", Approver: c}), Journal: j})
	require.NoError(p, err)
	ctx, cancel := context.WithCancel(p.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, ex) }()
	run, err = ex.Start(ctx, planOf(p.T), executor.RunOptions{ID: p.namespace, Author: "model", Confidence: approval.Confidence{Value: 0.725, Given: true}})
	require.NoError(p, err)
	stop = func() {
		cancel()
		require.ErrorIs(p, <-ended, context.Canceled)
	}
	p.Cleanup(cancel)
	return run, ex, stop
}

// asked is the object of the question that waits.
func (p *place) asked() (object *unstructured.Unstructured) {
	p.Helper()
	require.Eventually(p, func() bool {
		list, err := p.objects("eve").List(p.Context(), metav1.ListOptions{})
		require.NoError(p, err)
		if len(list.Items) == 0 {
			return false
		}
		object = &list.Items[0]
		return true
	}, eventually, tick)
	return object
}

func (p *place) status(object string, path ...string) string {
	p.Helper()
	o, err := p.objects("eve").Get(p.Context(), object, metav1.GetOptions{})
	require.NoError(p, err)
	s, _, _ := unstructured.NestedString(o.Object, append([]string{"status"}, path...)...)
	return s
}

func (p *place) becomes(object, want string, path ...string) {
	p.Helper()
	require.Eventually(p, func() bool { return strings.Contains(p.status(object, path...), want) }, eventually, tick, "%s: %v is %q, not %q", object, path, p.status(object, path...), want)
}

func TestWhoeverMayDecidesInTheirOwnNameAndInNoOther(t *testing.T) {
	p := newPlace(t)
	run, _, _ := p.run(p.channel(), approval.IncidentTable(), journal.NewMemory())
	o := p.asked()
	subject, _, _ := unstructured.NestedString(o.Object, "spec", "subject")
	require.Equal(t, "step 4, restart_pod", subject)

	err := p.vote("eve", o.GetName(), map[string]any{"eve": map[string]any{"verdict": "approved"}})
	require.True(t, apierrors.IsForbidden(err), "who may only look: %v", err)
	for _, votes := range []map[string]any{
		{"ann": map[string]any{"verdict": "approved"}},
		{"bob": map[string]any{"verdict": "approved"}, "ann": map[string]any{"verdict": "approved"}},
	} {
		err = p.vote("bob", o.GetName(), votes)
		require.True(t, apierrors.IsForbidden(err), "%v", err)
		require.ErrorContains(t, err, "you are bob")
	}
	err = p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved", "groups": []string{"sre"}}})
	require.ErrorContains(t, err, "groups are those that you are in")
	err = p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "maybe"}})
	require.True(t, apierrors.IsInvalid(err), "%v", err)
	_, err = p.objects("bob").Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(`{"status":{"state":"granted","by":"ann"}}`), metav1.PatchOptions{}, "status")
	require.ErrorContains(t, err, "only the runner says what became of a request")
	_, err = p.objects(controlplane.Admin).Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(`{"spec":{"digest":"sha256:0"}}`), metav1.PatchOptions{})
	require.ErrorContains(t, err, "what was asked does not change")
	require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(3).Status)

	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved", "reason": "looked at it"}}))
	<-run.Done()
	require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
	require.Equal(t, "bob", run.Snapshot().Step(3).Gate.By)
	p.becomes(o.GetName(), "granted", "state")
	p.becomes(o.GetName(), "counted: approved", "answers", "bob")
	require.Equal(t, "looked at it", p.status(o.GetName(), "reason"))
	err = p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "rejected"}})
	require.ErrorContains(t, err, "this request is closed")
	err = p.vote("bob", o.GetName(), map[string]any{"bob": nil})
	require.ErrorContains(t, err, "a vote cannot be taken away")
}

func TestAVoteThatDoesNotCountSaysWhy(t *testing.T) {
	p := newPlace(t)
	policy := approval.IncidentTable()
	policy.Approvers.People = []string{"ann"}
	run, ex, _ := p.run(p.channel(), policy, journal.NewMemory())
	o := p.asked()
	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved"}}))
	p.becomes(o.GetName(), "this identity may not decide: it takes 1 of ann", "answers", "bob")
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved", "digest": "sha256:other"}}))
	p.becomes(o.GetName(), "answers something else", "answers", "ann")
	require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(3).Status)
	require.NoError(t, ex.Cancel(t.Context(), run.ID(), "enough"))
	<-run.Done()
	p.becomes(o.GetName(), "withdrawn", "state")
}

func TestTwoDecideAndARestartInBetweenLosesNothing(t *testing.T) {
	p := newPlace(t)
	policy := approval.IncidentTable()
	policy.Quorum = 2
	j := journal.NewMemory()
	run, _, stop := p.run(p.channel(), policy, j)
	o := p.asked()
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved"}}))
	p.becomes(o.GetName(), "1 of anybody", "needs")
	stop()
	<-run.Done()
	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved"}}), "while nobody runs it")
	run, _, _ = p.run(p.channel(), policy, j)
	<-run.Done()
	require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
	require.Len(t, run.Snapshot().Step(3).Gate.Votes, 2)
	p.becomes(o.GetName(), "granted", "state")
	list, err := p.objects("eve").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Items, 1, "it is asked once")
}

func TestNoIsSaidWithOnePatch(t *testing.T) {
	p := newPlace(t)
	run, _, _ := p.run(p.channel(), approval.IncidentTable(), journal.NewMemory())
	o := p.asked()
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "rejected", "reason": "not during the sale"}}))
	<-run.Done()
	require.Equal(t, executor.RunRejected, run.Snapshot().Status())
	p.becomes(o.GetName(), "denied", "state")
}

// Without the policy anybody who may patch could write a vote in anybody's name.
func TestNothingIsTrustedWithoutTheAdmissionPolicy(t *testing.T) {
	p := newPlace(t)
	policies := p.admin.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	bindings := p.admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	const name = "approvalrequests.remedykit.dev"
	t.Cleanup(func() { apply(t, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding") })
	run, _, stop := p.run(p.channel(), approval.IncidentTable(), journal.NewMemory())
	o := p.asked()
	_, err := bindings.Patch(t.Context(), name, types.MergePatchType, []byte(`{"spec":{"validationActions":["Audit"]}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { // until the API server has noticed
		return p.vote("bob", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved"}}) == nil
	}, eventually, tick)
	p.becomes(o.GetName(), "is not as it is shipped, or not enforced: apply crd.Manifests", "answers", "ann")
	require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(3).Status)
	stop()
	require.ErrorContains(t, p.channel().Run(t.Context(), nil), "not enforced")
	require.NoError(t, bindings.Delete(t.Context(), name, metav1.DeleteOptions{}))
	require.ErrorContains(t, p.channel().Run(t.Context(), nil), "the binding of the admission policy")
	apply(t, "ValidatingAdmissionPolicyBinding")
	weaker, err := policies.Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	weaker.Spec.Validations = weaker.Spec.Validations[1:]
	_, err = policies.Update(t.Context(), weaker, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.ErrorContains(t, p.channel().Run(t.Context(), nil), "not as it is shipped")
	require.NoError(t, policies.Delete(t.Context(), name, metav1.DeleteOptions{}))
	require.ErrorContains(t, p.channel().Run(t.Context(), nil), "apply crd.Manifests, or nobody knows who decides")
}

func TestWhatAModelWroteIsTextInTheObject(t *testing.T) {
	p := newPlace(t)
	plan := planOf(t)
	gates, err := approval.IncidentTable().Gates(plan, approval.Confidence{}, time.Now())
	require.NoError(t, err)
	evil := strings.Repeat("\x1b[2J\u202e<script>\x00", 10_000)
	req := &approval.Request{Key: "k", Run: "r", Plan: plan, Step: plan.Step(3), Gate: gates.Steps[3], Gates: gates, Digest: "sha256:1", AskedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		Incident: &approval.Incident{Title: evil, Summary: evil, Evidence: []string{evil, evil}}}
	d, err := p.channel().Approve(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, approval.Pending, d.Verdict)
	data, err := json.Marshal(p.asked().Object)
	require.NoError(t, err)
	require.Less(t, len(data), 64<<10)
	require.NotContains(t, string(data), `\u001b`)
	_, err = p.channel().Approve(t.Context(), req)
	require.NoError(t, err, "again after a restart")
	other := *req
	other.Digest = "sha256:2"
	d2, err := p.channel().Approve(t.Context(), &other)
	require.NoError(t, err)
	require.NotEqual(t, d.Receipt, d2.Receipt, "a vote answers what its object shows, and nothing else")
	_, err = p.channel().Approve(t.Context(), &approval.Request{})
	require.Error(t, err)
	_, err = crd.New(nil, crd.Options{})
	require.Error(t, err)
	require.False(t, errors.Is(err, context.Canceled))
}
