package crd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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

// through has a client's requests pass a function, which may answer them itself.
func through(config *rest.Config, answer func(r *http.Request) (*http.Response, error)) *rest.Config {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if response, err := answer(r); response != nil || err != nil {
				return response, err
			}
			return next.RoundTrip(r)
		})
	})
	return config
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// requestOf is one about a step of the plan, outside of any run.
func requestOf(t *testing.T, plan *dag.Plan, step int) *approval.Request {
	t.Helper()
	gates, err := approval.IncidentTable().Gates(plan, approval.Confidence{}, time.Now())
	require.NoError(t, err)
	req := &approval.Request{Key: "k", Run: "r", Plan: plan, Gates: gates, Gate: gates.Plan, Digest: "sha256:1", AskedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	if step >= 0 {
		req.Step, req.Gate = plan.Step(step), gates.Steps[step]
	}
	return req
}
