package crd_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/crd"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

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

// A vote that was written in another's name while nothing kept anybody from it does not count later either.
func TestAVoteOfATimeWithoutThePolicyNeverCounts(t *testing.T) {
	p := newPlace(t)
	bindings := p.admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	enforce := func(action string) {
		_, err := bindings.Patch(t.Context(), "approvalrequests.remedykit.dev", types.MergePatchType, fmt.Appendf(nil, `{"spec":{"validationActions":[%q]}}`, action), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		_, _ = bindings.Patch(context.Background(), "approvalrequests.remedykit.dev", types.MergePatchType, []byte(`{"spec":{"validationActions":["Deny"]}}`), metav1.PatchOptions{})
	})
	j := journal.NewMemory()
	run, _, stop := p.run(p.channel(), approval.IncidentTable(), j)
	o := p.asked()
	enforce("Audit")
	require.Eventually(t, func() bool {
		return p.vote("bob", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved"}}) == nil
	}, eventually, tick)
	p.becomes(o.GetName(), "not enforced", "answers", "ann")
	enforce("Deny")
	require.Eventually(t, func() bool { return p.make("runner", "canary") != nil }, eventually, tick)
	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved"}}))
	p.becomes(o.GetName(), "changed or away", "answers", "bob")
	p.becomes(o.GetName(), "changed or away", "answers", "ann")
	require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(3).Status)

	stop()
	<-run.Done()
	run, _, _ = p.run(p.channel(), approval.IncidentTable(), j)
	p.becomes(o.GetName(), "withdrawn", "state")
	p.becomes(o.GetName(), "the admission policy has changed", "reason")
	require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(3).Status)
	anew := strings.Trim(strings.Fields(p.status(o.GetName(), "reason"))[5], ",")
	require.Eventually(t, func() bool {
		return p.vote("bob", anew, map[string]any{"bob": map[string]any{"verdict": "approved"}}) == nil
	}, eventually, tick)
	<-run.Done()
	require.Equal(t, "bob", run.Snapshot().Step(3).Gate.By)
	p.becomes(anew, "granted", "state")
}

// The policy may be there, and the API server have such policies switched off.
func TestNobodyIsAskedWhereThePolicyRefusesNothing(t *testing.T) {
	p := newPlace(t)
	c, err := crd.New(through(configOf(t, "runner"), func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPost || r.URL.Query().Get("dryRun") == "" {
			return nil, nil
		}
		return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{"Content-Type": {"application/json"}}, Body: r.Body, Request: r}, nil
	}), crd.Options{Namespace: p.namespace})
	require.NoError(t, err)
	_, err = c.Approve(t.Context(), requestOf(t, planOf(t), 3))
	require.ErrorContains(t, err, "does not enforce the admission policy")
	require.ErrorContains(t, c.Run(t.Context(), nil), "does not enforce the admission policy")
	list, err := p.objects("eve").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, list.Items)
}

// Whoever could make objects could have people decide about something else than they are shown.
func TestOnlyARunnerAsks(t *testing.T) {
	p := newPlace(t)
	_, err := p.admin.RbacV1().Roles(p.namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "make"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"remedykit.dev"}, Resources: []string{"approvalrequests"}, Verbs: []string{"create"}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = p.admin.RbacV1().RoleBindings(p.namespace).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "make"},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "make"}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "eve"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { // until the API server has noticed the role
		err := p.make("eve", "approval-0")
		return err != nil && strings.Contains(err.Error(), "only a runner asks")
	}, eventually, tick)
	require.NoError(t, p.make("runner", "approval-0"))
}
