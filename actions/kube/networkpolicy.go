package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// networkPolicies are NetworkPolicies.
type networkPolicies struct{}

func (networkPolicies) name(schema.Target) (group, resource string) {
	return "networking.k8s.io", "networkpolicies"
}

func (networkPolicies) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	p, err := c.client.NetworkingV1().NetworkPolicies(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	return objectOf(p, err)
}

func (networkPolicies) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	data, err := patchOf(live, fields)
	if err != nil {
		return nil, err
	}
	p, err := c.client.NetworkingV1().NetworkPolicies(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, data, o)
	return objectOf(p, err)
}

// defaulted: a port has a protocol, and a policy its types.
func (networkPolicies) defaulted() {}

// setRules replaces the given parts of a network policy.
type setRules struct{}

// policyParts are the parts of a network policy that rules may give.
var policyParts = []string{"egress", "ingress", "podSelector", "policyTypes"}

func (setRules) want(req *actions.Request, _ object) []field {
	var fields []field
	rules, _ := req.Parameters.Get("rules").(map[string]any)
	for _, part := range policyParts {
		if value, given := rules[part]; given {
			fields = append(fields, field{[]string{"spec", part}, value})
		}
	}
	return fields
}

func (v setRules) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	rules, ok := req.Parameters.Get("rules").(map[string]any)
	if !ok {
		return actions.Permanent(fmt.Errorf("rules must be an object with some of %v", policyParts))
	}
	for _, part := range slices.Sorted(maps.Keys(rules)) {
		if !slices.Contains(policyParts, part) {
			return actions.Permanent(fmt.Errorf("rules cannot have %q: they have some of %v", part, policyParts))
		}
	}
	if len(v.want(req, live)) == 0 {
		return actions.Permanent(fmt.Errorf("rules are empty: give some of %v", policyParts))
	}
	return nil
}

func (setRules) settle(_ context.Context, _ *Cluster, req *actions.Request, _ object) (string, error) {
	return "the network policy " + req.Target.Name + " has the rules", nil
}
