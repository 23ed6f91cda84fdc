package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// optimize works out requests and limits from what containers use, and applies them when it is told to.
type optimize struct{ c *Cluster }

func (h *optimize) BeginsItself() bool { return true }

func (h *optimize) rights(t *actions.Task) []Right {
	ns := t.Parameters.String("namespace")
	metrics := rightsTo("list", "metrics.k8s.io", "pods", ns, "")
	switch {
	case t.Target.Name == "":
		return append(metrics, workloadRights("get list", ns)...)
	case t.Parameters.Bool("dryRun"):
		_, resource := workloads{}.name(t.Target)
		return append(metrics, rightsTo("get", "apps", resource, ns, t.Target.Name)...)
	}
	return slices.Concat(metrics, h.edit(nil).rights(t), rightsTo("list", "autoscaling", "horizontalpodautoscalers", ns, ""))
}

func (h *optimize) edit(fields []field) *edit {
	return &edit{h.c, workloads{}, optimized{fields: fields}}
}

// A margin is how much more than its peak a container gets.
type margin struct{ request, limit float64 }

// margins by strategy. A limit of the CPU would only slow it down, so only memory gets one.
var margins = map[string]margin{"cost": {1.1, 1.3}, "balanced": {1.3, 1.7}, "performance": {1.7, 2.5}}

// usage is the most that a container used, by its name.
type usage map[string]map[string]quantity.Quantity

// used is what the containers of pods with labels use now.
func (h *optimize) used(ctx context.Context, namespace string, selector labels.Selector) (usage, error) {
	var data []byte
	err := patiently(ctx, func() (err error) {
		data, err = h.c.client.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces/"+namespace+"/pods").Param("labelSelector", selector.String()).DoRaw(ctx)
		return explain(err, "list", "pods.metrics.k8s.io", schema.Target{Kind: "metrics server", Namespace: namespace, Name: "metrics.k8s.io"})
	})
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Containers []struct {
				Name  string                       `json:"name"`
				Usage map[string]quantity.Quantity `json:"usage"`
			} `json:"containers"`
		} `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, actions.Permanent(fmt.Errorf("the metrics server's answer cannot be read: %w", err))
	}
	most := usage{}
	for _, p := range list.Items {
		for _, one := range p.Containers {
			if most[one.Name] == nil {
				most[one.Name] = map[string]quantity.Quantity{}
			}
			for _, r := range []string{"cpu", "memory"} {
				if q, ok := one.Usage[r]; ok && q.Cmp(most[one.Name][r]) > 0 {
					most[one.Name][r] = q
				}
			}
		}
	}
	return most, nil
}

// recommended are the fields that a workload should have; none where nothing is known of its use.
func (h *optimize) recommended(ctx context.Context, req *actions.Request, t schema.Target) (fields []field, err error) {
	var o runtime.Object
	var template *corev1.PodTemplateSpec
	err = patiently(ctx, func() (err error) {
		o, template, err = h.c.workload(ctx, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	selector, err := selectorOf(o)
	if err != nil {
		return nil, actions.Permanent(err)
	}
	most, err := h.used(ctx, t.Namespace, selector)
	if err != nil {
		return nil, err
	}
	strategy := req.Parameters.String("strategy")
	if strategy == "" {
		strategy = "balanced"
	}
	m := margins[strategy]
	for i := range template.Spec.Containers { // not those that others add to its pods
		one := &template.Spec.Containers[i]
		cpu, memory := most[one.Name]["cpu"], most[one.Name]["memory"]
		if memory.Sign() > 0 {
			fields = append(fields, field{container(one.Name, "resources", "limits", "memory"), mebibytes(memory, m.limit)})
		}
		if cpu.Sign() > 0 {
			fields = append(fields, field{container(one.Name, "resources", "requests", "cpu"), millis(cpu, m.request, one.Resources.Limits[corev1.ResourceCPU])})
		}
		if memory.Sign() > 0 {
			fields = append(fields, field{container(one.Name, "resources", "requests", "memory"), mebibytes(memory, m.request)})
		}
	}
	return fields, nil
}

// of is recommended for the workload that is to be changed.
func (h *optimize) of(ctx context.Context, req *actions.Request) ([]field, error) {
	fields, err := h.recommended(ctx, req, req.Target)
	if err == nil && len(fields) == 0 {
		err = actions.Permanent(fmt.Errorf("there are no metrics of %s yet: wait until the metrics server has seen its pods", req.Target))
	}
	return fields, err
}

// millis is a multiple of an amount of CPU, at least 10m and at most the container's limit, if it has one.
func millis(q quantity.Quantity, factor float64, limit quantity.Quantity) string {
	n := max(10, int64(float64(q.MilliValue())*factor))
	if limit.Sign() > 0 {
		n = min(n, limit.MilliValue())
	}
	return quantity.NewMilliQuantity(n, quantity.DecimalSI).String()
}

// mebibytes is a multiple of an amount of memory, at least 32Mi.
func mebibytes(q quantity.Quantity, factor float64) string {
	const mebi = 1 << 20
	return quantity.NewQuantity(max(32, (int64(float64(q.Value())*factor)+mebi-1)/mebi)*mebi, quantity.BinarySI).String()
}

// targets are the workloads to look at: the step's, else all of its namespace.
func (h *optimize) targets(ctx context.Context, req *actions.Request) ([]schema.Target, error) {
	if kinds[req.Target.Kind] != "" {
		return []schema.Target{req.Target}, nil
	}
	if !req.Parameters.Bool("dryRun") {
		return nil, actions.Permanent(fmt.Errorf("optimize_resources changes one workload at a time: name a deployment, a statefulset or a daemonset"))
	}
	all, err := h.c.all(ctx, req.Parameters.String("namespace"))
	if err != nil {
		return nil, err
	}
	var targets []schema.Target
	for _, w := range all {
		targets = append(targets, w.target)
	}
	return targets, nil
}

func (h *optimize) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	targets, err := h.targets(ctx, req)
	if err != nil {
		return nil, err
	}
	if !req.Parameters.Bool("dryRun") {
		fields, err := h.of(ctx, req)
		if err != nil {
			return nil, err
		}
		r, err := h.edit(fields).Execute(ctx, req)
		if err != nil {
			return nil, err
		}
		r.Outputs = map[string]any{req.Target.String(): amountsOf(fields)}
		return r, nil
	}
	told := map[string]any{}
	for _, t := range targets {
		fields, err := h.recommended(ctx, req, t)
		if err != nil {
			return nil, err
		}
		if len(fields) > 0 {
			told[t.String()] = amountsOf(fields)
		}
	}
	if err := req.Begin(ctx, nil); err != nil {
		return nil, err
	}
	message := fmt.Sprintf("%d workloads have a recommendation; nothing was changed", len(told))
	if n := len(targets) - len(told); n > 0 {
		message += fmt.Sprintf("; there are no metrics of %d others", n)
	}
	return &actions.Result{Message: message, Outputs: told}, nil
}

// amountsOf are fields as people read them: main.limits.memory, say.
func amountsOf(fields []field) map[string]any {
	amounts := map[string]any{}
	for _, f := range fields {
		amounts[f.path[4]+"."+f.path[6]+"."+f.path[7]] = f.value
	}
	return amounts
}

func (h *optimize) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	targets, err := h.targets(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.Parameters.Bool("dryRun") {
		return &actions.Preview{Verdict: actions.Verified, Change: []string{fmt.Sprintf("nothing: it looks at what %d workloads use", len(targets))}}, nil
	}
	fields, err := h.of(ctx, req)
	if err != nil {
		return nil, err
	}
	p, err := h.edit(fields).DryRun(ctx, req)
	if err != nil {
		return nil, err
	}
	warning, err := h.c.scaledByUse(ctx, req.Target)
	if err != nil {
		return nil, err
	}
	if warning != "" {
		p.Change = append(p.Change, "warning: "+warning)
	}
	return p, nil
}

// scaledByUse says which autoscaler sizes a workload by a share of what its pods request; "" for none.
func (c *Cluster) scaledByUse(ctx context.Context, t schema.Target) (warning string, err error) {
	err = patiently(ctx, func() error {
		all, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(t.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return explain(err, "list", "horizontalpodautoscalers", t)
		}
		for i := range all.Items {
			h := &all.Items[i]
			if of := h.Spec.ScaleTargetRef; of.Kind == t.Kind && of.Name == t.Name && slices.ContainsFunc(h.Spec.Metrics, ofRequests) {
				warning = fmt.Sprintf("HorizontalPodAutoscaler %s scales it by a share of its requests, and gives it another size when these change", h.Name)
			}
		}
		return nil
	})
	return warning, err
}

func ofRequests(m autoscalingv2.MetricSpec) bool {
	return m.Resource != nil && m.Resource.Target.AverageUtilization != nil || m.ContainerResource != nil && m.ContainerResource.Target.AverageUtilization != nil
}

// Probe tells whether the workload has what was worked out for it.
func (h *optimize) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	return h.edit(nil).Probe(ctx, req)
}

func (h *optimize) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	return h.edit(nil).Compensate(ctx, req, undo)
}

func (h *optimize) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	if req.Parameters.Bool("dryRun") {
		return nil, nil
	}
	return []actions.Touch{{Target: req.Target}}, nil
}

// optimized sets what was worked out.
type optimized struct {
	raise
	fields []field
}

func (v optimized) want(*actions.Request, object) []field { return v.fields }

func (v optimized) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	if err := restartable(req.Target, live); err != nil {
		return err
	}
	after := object(merged(live, v.fields))
	if err := c.withinRanges(ctx, req, after); err != nil {
		return err
	}
	return c.withinQuota(ctx, req, live, after)
}
