package kube

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// Rights are what RBAC must allow so that tasks can be looked at first, carried out and undone: each once, in order. Tasks of
// actions that need no cluster need no rights.
func Rights(tasks ...*actions.Task) []Right { return new(Cluster).Rights(tasks...) }

// Rights are those that tasks need with the options of the cluster: a Store of sealed values spares that to Secrets, a command
// that gathers diagnostics needs that to run it, and a runner beside what it acts on those to find itself.
func (c *Cluster) Rights(tasks ...*actions.Task) []Right {
	handlers := c.handlers()
	registry := actions.Canonical()
	var all []Right
	for _, t := range tasks {
		h := handlers[t.Action]
		if h == nil {
			continue
		}
		spec := registry.Lookup(t.Action)
		all = append(all, (&guarded{h, c, spec}).rights(t)...)
		if spec.Mutating() && kinds[t.Target.Kind] != "" && !t.Parameters.Bool("dryRun") {
			all = append(all, Right{"create", "events.k8s.io", "events", eventNamespace(t.Target), ""})
		}
	}
	return sortRights(all)
}

// String is "patch deployments.apps/web in namespace shop".
func (r Right) String() string {
	s := r.Verb + " " + r.Resource
	if r.Group != "" {
		s += "." + r.Group
	}
	if r.Name != "" {
		s += "/" + r.Name
	}
	if r.Namespace != "" {
		s += " in namespace " + r.Namespace
	}
	return s
}

// asked is how long an answer about a right holds.
const asked = time.Minute

// Missing asks the API server which rights the account lacks.
func (c *Cluster) Missing(ctx context.Context, rights []Right) ([]Right, error) {
	rights = sortRights(slices.Clone(rights))
	allowed := make([]bool, len(rights))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, r := range rights {
		if at, ok := c.allowed.Load(r); ok && time.Since(at.(time.Time)) < asked {
			allowed[i] = true
			continue
		}
		group.Go(func() error {
			resource, sub, _ := strings.Cut(r.Resource, "/")
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: resource, Subresource: sub, Name: r.Name}}}
			return patiently(ctx, func() error {
				answer, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
				if err != nil {
					return explain(err, "create", "selfsubjectaccessreviews", schema.Target{Kind: "access review"})
				}
				if allowed[i] = answer.Status.Allowed; allowed[i] {
					c.allowed.Store(r, time.Now())
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var missing []Right
	for i, r := range rights {
		if !allowed[i] {
			missing = append(missing, r)
		}
	}
	return missing, nil
}

// Roles writes rights as RBAC objects in YAML: a Role in each namespace, and a ClusterRole for what is in none. They all get
// the name.
func Roles(name string, rights []Right) ([]byte, error) {
	var documents []string
	for _, namespace := range namespacesOf(rights) {
		rules := rulesOf(rights, namespace)
		kind, meta := "Role", metav1.ObjectMeta{Name: name, Namespace: namespace}
		if namespace == "" {
			kind = "ClusterRole"
		}
		data, err := yaml.Marshal(struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
			Rules             []rbacv1.PolicyRule `json:"rules"`
		}{metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}, meta, rules})
		if err != nil {
			return nil, err
		}
		documents = append(documents, string(data))
	}
	return []byte(strings.Join(documents, "---\n")), nil
}

func namespacesOf(rights []Right) []string {
	var all []string
	for _, r := range rights {
		all = append(all, r.Namespace)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// rulesOf are the rights of a namespace, with the verbs and the names of a resource put together where they can be.
func rulesOf(rights []Right, namespace string) []rbacv1.PolicyRule {
	type object struct{ group, resource, name string }
	var order []object
	verbs := map[object][]string{}
	for _, r := range sortRights(slices.Clone(rights)) {
		if r.Namespace != namespace {
			continue
		}
		o := object{r.Group, r.Resource, r.Name}
		if verbs[o] == nil {
			order = append(order, o)
		}
		verbs[o] = append(verbs[o], r.Verb)
	}
	var rules []rbacv1.PolicyRule
	for _, o := range order {
		i := slices.IndexFunc(rules, func(r rbacv1.PolicyRule) bool {
			return r.APIGroups[0] == o.group && r.Resources[0] == o.resource && slices.Equal(r.Verbs, verbs[o]) && (len(r.ResourceNames) > 0) == (o.name != "")
		})
		if i < 0 {
			rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{o.group}, Resources: []string{o.resource}, Verbs: verbs[o]})
			i = len(rules) - 1
		}
		if o.name != "" {
			rules[i].ResourceNames = append(rules[i].ResourceNames, o.name)
		}
	}
	return rules
}
