package crd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// policyName is that of the definition, the policy and its binding.
	policyName = "approvalrequests.remedykit.dev"
	// advice is what to do about a cluster that does not say who decides.
	advice = "apply crd.Manifests, or nobody knows who decides"
	// canary is the name of an object that the policy lets nobody make, and refused what it says then.
	canary  = "canary"
	refused = "the admission policy is enforced"
)

// trusted tells whether the API server keeps people from deciding in others' names: the admission policy is there as it is
// shipped, bound everywhere, and enforced. guard identifies the policy and its binding in the version that was found: as
// long as it is the same, neither was ever changed or away.
func (c *Channel) trusted(ctx context.Context) (guard string, err error) {
	api := c.client.AdmissionregistrationV1()
	p, err := api.ValidatingAdmissionPolicies().Get(ctx, policyName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("crd: the admission policy %s: %w: %s", policyName, err, advice)
	}
	b, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, policyName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("crd: the binding of the admission policy %s: %w: %s", policyName, err, advice)
	}
	bound := b.Spec.PolicyName == policyName && slices.Contains(b.Spec.ValidationActions, admissionv1.Deny) && b.Spec.MatchResources == nil && b.Spec.ParamRef == nil
	if !bound || !c.asShipped(&p.Spec) {
		return "", fmt.Errorf("crd: the admission policy %s is not as it is shipped, or not enforced: %s", policyName, advice)
	}
	if err := c.enforced(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/%d %s/%d", p.UID, p.Generation, b.UID, b.Generation), nil
}

// enforced tries to do, without effect, what the policy refuses: an API server may not know it yet, or have admission policies
// switched off.
func (c *Channel) enforced(ctx context.Context) error {
	now := time.Now().UTC().Format(time.RFC3339)
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": resource.GroupVersion().String(), "kind": "ApprovalRequest", "metadata": map[string]any{"name": canary},
		"spec": map[string]any{"run": canary, "key": canary, "digest": canary, "guard": canary, "subject": canary, "onYes": canary, "onNo": canary, "onSilence": canary, "askedAt": now},
	}}
	_, err := c.objects.Create(ctx, o, metav1.CreateOptions{FieldManager: c.manager, DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return errors.New("crd: the API server does not enforce the admission policy " + policyName + ", or not yet: look again in a few seconds, and whether it has ValidatingAdmissionPolicy switched on")
	case strings.Contains(err.Error(), "'"+policyName+"'") && strings.Contains(err.Error(), refused):
		return nil
	}
	return fmt.Errorf("crd: trying whether the admission policy is enforced: %w", explain(err))
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
	everywhere := func(s *metav1.LabelSelector) bool {
		return s == nil || len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
	}
	return len(m.ExcludeResourceRules) == 0 && everywhere(m.NamespaceSelector) && everywhere(m.ObjectSelector) &&
		equal(m.ResourceRules, c.policy.MatchConstraints.ResourceRules) && equal(p.Variables, c.policy.Variables) && equal(p.Validations, c.policy.Validations)
}
