package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// An Asker asks an endpoint of a service and returns the HTTP status that it answers with. An error means that it could not be
// asked. Package httpcheck has some. One that needs a right on a resource of the core group says so by a method
// Rights() (verb, resource string).
type Asker interface {
	Ask(ctx context.Context, namespace, service, endpoint string) (status int, err error)
}

// healthCheck looks at the health of a workload, a pod or services.
type healthCheck struct{ c *Cluster }

func (h healthCheck) rights(t *actions.Task) []Right {
	return h.c.healthRights(t, t.Parameters.Given("endpoint") || t.Parameters.Given("expectedStatus"))
}

// healthRights are the rights to look at the health of what a step is about, and to ask its services when it asks.
func (c *Cluster) healthRights(t *actions.Task, asks bool) []Right {
	names, _ := t.Parameters.Get("services").([]string)
	if t.Target.Kind == "Service" {
		names = []string{t.Target.Name}
	}
	where := namespaces(t)
	var all []Right
	for _, ns := range where {
		switch t.Target.Kind {
		case "Deployment", "StatefulSet", "DaemonSet":
			_, resource := workloads{}.name(t.Target)
			all = append(all, rightsTo("get", "apps", resource, ns, t.Target.Name)...)
		case "Pod":
			all = append(all, rightsTo("get", "", "pods", ns, t.Target.Name)...)
		}
		if asks && names == nil { // the service is looked for
			all = slices.Concat(all, rightsTo("list", "", "services", ns, ""), c.askRights(ns, ""))
		}
		if !asks && names != nil {
			all = append(all, rightsTo("list", "discovery.k8s.io", "endpointslices", ns, "")...)
		}
		for _, name := range names {
			if !asks || len(where) > 1 { // to see where it is
				all = append(all, rightsTo("get", "", "services", ns, name)...)
			}
			if asks {
				all = append(all, c.askRights(ns, name)...)
			}
		}
	}
	return all
}

// askRights are the rights to ask a service of a namespace, any when name is "": those of the API server's proxy, unless another
// way is set up.
func (c *Cluster) askRights(ns, name string) []Right {
	verb, resource := "get", "services/proxy"
	if a, ok := c.asker.(interface {
		Rights() (verb, resource string)
	}); ok {
		verb, resource = a.Rights()
	} else if c.asker != nil {
		return nil
	}
	all := append(rightsTo("get", "", "services", ns, name), rightsTo(verb, "", resource, ns, "")...)
	if whole(resource) == "pods" { // one that is behind the service is looked for
		all = append(all, rightsTo("list", "", "pods", ns, "")...)
	}
	return all
}

// errUnwell says that something was looked at, and is not healthy. It may become so.
var errUnwell = errors.New("not healthy")

func unwell(format string, args ...any) error {
	return actions.Transient(fmt.Errorf("%w: %s", errUnwell, fmt.Sprintf(format, args...)))
}

// isGate tells whether a step asks an endpoint, and fails when that is not healthy.
func isGate(t *actions.Task) bool {
	return t.Parameters.Given("endpoint") || t.Parameters.Given("expectedStatus")
}

// DryRun says so where nobody could ask the endpoint.
func (h healthCheck) DryRun(_ context.Context, req *actions.Request) (*actions.Preview, error) {
	return h.c.looks(req.Target, isGate(req.Task))
}

// looks is the preview of a step that only looks, and perhaps asks.
func (c *Cluster) looks(t schema.Target, asks bool) (*actions.Preview, error) {
	if asks && c.asker == nil {
		return nil, cannotAsk(t)
	}
	return &actions.Preview{Change: []string{"nothing: it only looks"}}, nil
}

func cannotAsk(t schema.Target) error {
	return actions.Permanent(fmt.Errorf("%s cannot be asked: kube.Options.Asker says how; package httpcheck has some", t))
}

// Execute fails a gate that is not healthy, and reports otherwise.
func (h healthCheck) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	p := req.Parameters
	gate := isGate(req.Task)
	targets := []schema.Target{req.Target}
	if names, _ := p.Get("services").([]string); len(names) > 0 {
		targets = nil
		for _, name := range names {
			targets = append(targets, schema.Target{Kind: "Service", Namespace: p.String("namespace"), Name: name})
		}
	}
	endpoint := ""
	if gate {
		if endpoint = p.String("endpoint"); !strings.HasPrefix(endpoint, "/") && !strings.Contains(endpoint, "://") { // who asks refuses a whole URL
			endpoint = "/" + endpoint
		}
	}
	var ill []string
	for _, t := range targets {
		err := patientlyUnless(ctx, errUnwell, func() error { return h.c.healthy(ctx, req.Task, t, endpoint, int(p.Int("expectedStatus"))) })
		switch {
		case err == nil:
		case gate || !errors.Is(err, errUnwell):
			return nil, err
		default:
			ill = append(ill, err.Error())
		}
	}
	r := &actions.Result{Message: "healthy", Outputs: map[string]any{"healthy": len(ill) == 0}}
	if len(ill) > 0 {
		r.Message = strings.Join(ill, "; ")
	}
	return r, nil
}

// patientlyUnless is patiently for errors but those that wrap final.
func patientlyUnless(ctx context.Context, final error, f func() error) (err error) {
	var last error
	err = patiently(ctx, func() error {
		if last = f(); errors.Is(last, final) {
			return nil
		}
		return last
	})
	if err != nil {
		return err
	}
	return last
}

// healthy is nil when an object is healthy, and its endpoint answers as it should, when one is given.
func (c *Cluster) healthy(ctx context.Context, task *actions.Task, t schema.Target, endpoint string, expected int) error {
	t, err := c.located(ctx, task, t)
	if err != nil {
		return err
	}
	var selected labels.Set
	switch t.Kind {
	case "Service":
		if endpoint == "" {
			return c.hasEndpoints(ctx, t)
		}
		return c.answers(ctx, t, endpoint, expected)
	case "Pod":
		p, err := c.client.CoreV1().Pods(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		if err != nil {
			return explain(err, "get", "pods", t)
		}
		if why := cannotRun(p); why != "" {
			return unwell("%s", why)
		}
		if !podReady(p) {
			return unwell("%s is not ready (%s)", t, p.Status.Phase)
		}
		selected = p.Labels
	default:
		o, template, err := c.workload(ctx, t)
		if err != nil {
			return err
		}
		s, err := progress(o)
		if err != nil {
			return unwell("%s: %v", t, err)
		}
		if !s.done {
			return unwell("%s: %s", t, s.message)
		}
		selected = template.Labels
	}
	if endpoint == "" {
		return nil
	}
	service, err := c.serviceOf(ctx, t, selected)
	if err != nil {
		return err
	}
	return c.answers(ctx, service, endpoint, expected)
}

// located is a target with the namespace where it is.
func (c *Cluster) located(ctx context.Context, task *actions.Task, t schema.Target) (schema.Target, error) {
	if t.Namespace != "" {
		return t, nil
	}
	where := namespaces(task)
	if len(where) == 1 { // who looks at it finds out whether it is there
		t.Namespace = where[0]
		return t, nil
	}
	var found []schema.Target
	for _, ns := range where {
		at := schema.Target{Kind: t.Kind, Namespace: ns, Name: t.Name}
		var err error
		switch t.Kind {
		case "Service":
			_, err = c.client.CoreV1().Services(ns).Get(ctx, t.Name, metav1.GetOptions{})
		case "Pod":
			_, err = c.client.CoreV1().Pods(ns).Get(ctx, t.Name, metav1.GetOptions{})
		default:
			_, err = workloads{}.get(ctx, c, at)
		}
		switch {
		case err == nil:
			found = append(found, at)
		case !apierrors.IsNotFound(err):
			return t, explain(err, "get", strings.ToLower(t.Kind)+"s", at)
		}
	}
	return oneOf(found, t.String(), where)
}

// workload is a typed workload and its template.
func (c *Cluster) workload(ctx context.Context, t schema.Target) (runtime.Object, *corev1.PodTemplateSpec, error) {
	apps := c.client.AppsV1()
	switch t.Kind {
	case "Deployment":
		w, err := apps.Deployments(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		return w, &w.Spec.Template, explain(err, "get", "deployments", t)
	case "StatefulSet":
		w, err := apps.StatefulSets(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		return w, &w.Spec.Template, explain(err, "get", "statefulsets", t)
	case "DaemonSet":
		w, err := apps.DaemonSets(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		return w, &w.Spec.Template, explain(err, "get", "daemonsets", t)
	}
	return nil, nil, noWorkload(t)
}

func podReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// serviceOf is the service that selects pods with labels: the one of the object's name, else the only one.
func (c *Cluster) serviceOf(ctx context.Context, t schema.Target, selected labels.Set) (schema.Target, error) {
	all, err := c.client.CoreV1().Services(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return t, explain(err, "list", "services", t)
	}
	var found []schema.Target
	for i := range all.Items {
		s := &all.Items[i]
		if len(s.Spec.Selector) == 0 || !labels.SelectorFromSet(s.Spec.Selector).Matches(selected) {
			continue
		}
		at := schema.Target{Kind: "Service", Namespace: s.Namespace, Name: s.Name}
		if s.Name == t.Name {
			return at, nil
		}
		found = append(found, at)
	}
	return oneOf(found, "a service of "+t.String()+" whose endpoint could be asked", []string{t.Namespace})
}

// hasEndpoints is nil when a service has pods that are ready, and none that is not.
func (c *Cluster) hasEndpoints(ctx context.Context, t schema.Target) error {
	if _, err := c.client.CoreV1().Services(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{}); err != nil {
		return explain(err, "get", "services", t)
	}
	parts, err := c.client.DiscoveryV1().EndpointSlices(t.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + t.Name})
	if err != nil {
		return explain(err, "list", "endpointslices", t)
	}
	ready, all := 0, 0
	for i := range parts.Items {
		for _, e := range parts.Items[i].Endpoints {
			if e.Conditions.Terminating != nil && *e.Conditions.Terminating {
				continue
			}
			if all++; e.Conditions.Ready == nil || *e.Conditions.Ready {
				ready++
			}
		}
	}
	if ready == 0 || ready < all {
		return unwell("%s: %d of %d endpoints are ready", t, ready, all)
	}
	return nil
}

// answers is nil when a service answers with the status; 0 is any of 200 to 299.
func (c *Cluster) answers(ctx context.Context, t schema.Target, endpoint string, expected int) error {
	if c.asker == nil {
		return cannotAsk(t)
	}
	status, err := c.asker.Ask(ctx, t.Namespace, t.Name, endpoint)
	switch {
	case err != nil && actions.IsTransient(err):
		return unwell("%s: %v", t, err)
	case err != nil:
		return err
	case expected == 0 && status >= 200 && status < 300 || status == expected:
		return nil
	}
	return unwell("%s answers %s with status %d", t, endpoint, status)
}

// verifyRecovery watches services until all of them were healthy for a while.
type verifyRecovery struct{ c *Cluster }

func (v verifyRecovery) rights(t *actions.Task) []Right {
	return v.c.healthRights(t, t.Parameters.Given("healthEndpoint"))
}

// every is how often services are looked at: an endpoint cannot be watched.
const every = time.Second

// DryRun says so where nobody could ask the endpoint.
func (v verifyRecovery) DryRun(_ context.Context, req *actions.Request) (*actions.Preview, error) {
	return v.c.looks(req.Target, req.Parameters.Given("healthEndpoint"))
}

func (v verifyRecovery) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	names, _ := req.Parameters.Get("services").([]string)
	stableFor := req.Parameters.Duration("stableFor")
	var since time.Time // the end of the first look of all that found everything healthy; zero when the last did not
	var last error
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		well := true
		for _, name := range names {
			t := schema.Target{Kind: "Service", Namespace: req.Parameters.String("namespace"), Name: name}
			if err := v.c.healthy(ctx, req.Task, t, req.Parameters.String("healthEndpoint"), 0); err != nil {
				if ctx.Err() == nil && !actions.IsTransient(err) {
					return nil, err
				}
				well, last = false, err
			}
		}
		switch {
		case !well:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		if well && ctx.Err() == nil && time.Since(since) >= stableFor {
			return &actions.Result{Message: fmt.Sprintf("%s healthy for %v without a break", strings.Join(names, ", "), stableFor)}, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if last == nil {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("the services were not healthy for %v without a break: %w", stableFor, last)
		}
	}
}
