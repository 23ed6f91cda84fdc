package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	quantity "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

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
	return append(metrics, h.edit(nil).rights(t)...)
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
	data, err := h.c.client.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces/"+namespace+"/pods").Param("labelSelector", selector.String()).DoRaw(ctx)
	if err != nil {
		return nil, explain(err, "list", "pods.metrics.k8s.io", schema.Target{Kind: "metrics server", Namespace: namespace, Name: "metrics.k8s.io"})
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

// recommended are the fields that a workload should have.
func (h *optimize) recommended(ctx context.Context, req *actions.Request, t schema.Target) ([]field, error) {
	o, _, err := h.c.workload(ctx, t)
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
	if len(most) == 0 {
		return nil, actions.Permanent(fmt.Errorf("there are no metrics of %s yet: wait until the metrics server has seen its pods", t))
	}
	strategy := req.Parameters.String("strategy")
	if strategy == "" {
		strategy = "balanced"
	}
	m := margins[strategy]
	var fields []field
	for _, name := range slices.Sorted(maps.Keys(most)) {
		cpu, memory := most[name]["cpu"], most[name]["memory"]
		fields = append(fields, field{container(name, "resources", "limits", "memory"), mebibytes(memory, m.limit)},
			field{container(name, "resources", "requests", "cpu"), quantity.NewMilliQuantity(max(10, int64(float64(cpu.MilliValue())*m.request)), quantity.DecimalSI).String()},
			field{container(name, "resources", "requests", "memory"), mebibytes(memory, m.request)})
	}
	return fields, nil
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
	told := map[string]any{}
	var fields []field
	for _, t := range targets {
		if fields, err = h.recommended(ctx, req, t); err != nil {
			return nil, err
		}
		amounts := map[string]any{}
		for _, f := range fields {
			amounts[f.path[4]+"."+f.path[6]+"."+f.path[7]] = f.value
		}
		told[t.String()] = amounts
	}
	if req.Parameters.Bool("dryRun") {
		if err := req.Begin(ctx, nil); err != nil {
			return nil, err
		}
		return &actions.Result{Message: fmt.Sprintf("%d workloads have a recommendation; nothing was changed", len(told)), Outputs: told}, nil
	}
	r, err := h.edit(fields).Execute(ctx, req)
	if err != nil {
		return nil, err
	}
	r.Outputs = told
	return r, nil
}

func (h *optimize) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	targets, err := h.targets(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.Parameters.Bool("dryRun") {
		return &actions.Preview{Verdict: actions.Verified, Change: []string{fmt.Sprintf("nothing: it looks at what %d workloads use", len(targets))}}, nil
	}
	fields, err := h.recommended(ctx, req, req.Target)
	if err != nil {
		return nil, err
	}
	return h.edit(fields).DryRun(ctx, req)
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

func (optimized) rights(t *actions.Task) []Right { return rolloutRights(t) }

func (optimized) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	return restartable(req.Target, live)
}
