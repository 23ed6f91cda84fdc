package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// A guarded handler is one of this package's with what all of them have in common: it refuses to harm the runner, looks at
// the rights before anything happens, and leaves an event on the object.
type guarded struct {
	handler
	c    *Cluster
	spec *actions.Spec
}

// reversible is a guarded handler of an action that can be undone.
type reversible struct {
	*guarded
	compensator actions.Compensator
}

func (c *Cluster) guard(spec *actions.Spec, h handler) actions.ActionHandler {
	g := &guarded{h, c, spec}
	if compensator, ok := h.(actions.Compensator); ok && spec.Reversible() {
		return reversible{g, compensator}
	}
	return g
}

// Unwrap is the handler itself, which says what else it can do.
func (g *guarded) Unwrap() actions.ActionHandler { return g.handler }

// Execute carries the action out, unless that would harm the runner.
func (g *guarded) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if err := g.spare(ctx, req.Task); err != nil {
		return nil, err
	}
	seen := &witness{Conductor: req.Conductor}
	watched := *req
	watched.Conductor = seen
	result, err := g.handler.Execute(ctx, &watched)
	if seen.begun {
		note, reason := "carried out", "Remedied"
		if err != nil {
			note, reason = "failed: "+err.Error(), "RemedyFailed"
		} else if result != nil && result.Message != "" {
			note = result.Message
		}
		g.c.tell(ctx, req, seen.uid, reason, note)
	}
	return result, err
}

// DryRun looks at the rights, and then at what the action would do.
func (g *guarded) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	missing, err := g.c.Missing(ctx, g.rights(req.Task))
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		lines := make([]string, len(missing))
		for i, r := range missing {
			lines[i] = r.String()
		}
		return nil, actions.Permanent(fmt.Errorf("the runner lacks rights: %s: remedy rbac prints the role that the plan needs", strings.Join(lines, ", ")))
	}
	if err := g.spare(ctx, req.Task); err != nil {
		return nil, err
	}
	if dry, ok := g.handler.(actions.DryRunner); ok {
		p, err := dry.DryRun(ctx, req)
		g.identity(ctx, req, p)
		return p, err
	}
	return &actions.Preview{Change: []string{"nothing: it only looks"}}, nil
}

// Compensate takes the effect back.
func (r reversible) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if err := r.spare(ctx, req.Task); err != nil {
		return err
	}
	err := r.compensator.Compensate(ctx, req, undo)
	if undo != nil {
		note, reason := "undone", "RemedyUndone"
		if then, _ := undo.State[aftermath].(string); then != "" {
			note += "; " + then
		}
		if err != nil {
			note, reason = "could not be undone: "+err.Error(), "RemedyUndoFailed"
		}
		uid, _ := undo.State["uid"].(string)
		r.c.tell(ctx, req, uid, reason, note)
	}
	return err
}

// A witness sees an effect begin.
type witness struct {
	actions.Conductor
	begun bool
	uid   string
}

func (w *witness) Begin(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if w.Conductor != nil {
		if err := w.Conductor.Begin(ctx, req, undo); err != nil {
			return err
		}
	} else if ctx.Err() != nil {
		return ctx.Err()
	}
	if undo != nil {
		w.begun = true
		w.uid, _ = undo.State["uid"].(string)
	}
	return nil
}

// World is the dry run's.
func (w *witness) World() *actions.World {
	if d, ok := w.Conductor.(interface{ World() *actions.World }); ok {
		return d.World()
	}
	return nil
}

// Self is where the runner itself runs. The zero Self is outside of the cluster.
type Self struct {
	// Namespace and Pod are its own pod, Node is the node that it runs on.
	Namespace, Pod, Node string
	// Keep are other objects that nothing here may change: what approvals need to reach people, say.
	Keep []schema.Target
}

// SelfFromEnv reads POD_NAMESPACE, POD_NAME and NODE_NAME, which the downward API sets (fieldRef metadata.namespace,
// metadata.name and spec.nodeName).
func SelfFromEnv(getenv func(string) string) Self {
	return Self{Namespace: getenv("POD_NAMESPACE"), Pod: getenv("POD_NAME"), Node: getenv("NODE_NAME")}
}

// spare refuses what would harm the runner.
func (g *guarded) spare(ctx context.Context, t *actions.Task) error {
	if !g.spec.Mutating() {
		return nil
	}
	if t.Target.Kind == "Node" && t.Target.Name == g.c.self.Node && g.c.self.Node != "" &&
		(t.Action == "drain_node" || t.Action == "taint_node" && t.Parameters.String("effect") == "NoExecute") {
		return actions.Permanent(fmt.Errorf("the runner itself runs on %s: have it run elsewhere first, or leave this to a person", t.Target))
	}
	return g.c.spare(ctx, t.Target)
}

// spare refuses to change the runner itself, or what is to be kept.
func (c *Cluster) spare(ctx context.Context, t schema.Target) error {
	if slices.Contains(c.self.Keep, t) {
		return actions.Permanent(fmt.Errorf("%s is to be left alone: the runner is configured to keep it", t))
	}
	if c.self.Pod == "" || t.Namespace != c.self.Namespace {
		return nil
	}
	if !runs(t.Kind) {
		return nil
	}
	own, err := c.ownWorkload(ctx)
	if err != nil {
		return fmt.Errorf("the runner cannot find out which workload is its own: %w", err)
	}
	if t == own || t.Kind == "Pod" && t.Name == c.self.Pod {
		return actions.Permanent(fmt.Errorf("%s is the runner itself: leave it to a person", t))
	}
	return nil
}

// rights are those of the handler, and to find out which workload is the runner's own.
func (g *guarded) rights(t *actions.Task) []Right {
	all := g.handler.rights(t)
	if g.spec.Mutating() && runs(t.Target.Kind) {
		all = append(all, g.c.selfRights(t.Target.Namespace)...)
	}
	return all
}

// runs tells whether objects of a kind may be the runner.
func runs(kind string) bool {
	switch kind {
	case "Pod", "Deployment", "StatefulSet", "DaemonSet":
		return true
	}
	return false
}

// selfRights are the rights to find out which workload of a namespace is the runner's own; none where it does not run.
func (c *Cluster) selfRights(namespace string) []Right {
	if c.self.Pod == "" || namespace != c.self.Namespace {
		return nil
	}
	return append(rightsTo("get", "", "pods", namespace, c.self.Pod), rightsTo("get", "apps", "replicasets", namespace, "")...)
}

// ownWorkload is what the runner's pod belongs to; the pod itself when it belongs to nothing.
func (c *Cluster) ownWorkload(ctx context.Context) (schema.Target, error) {
	c.own.mu.Lock()
	defer c.own.mu.Unlock()
	if c.own.known {
		return c.own.workload, nil
	}
	pod := schema.Target{Kind: "Pod", Namespace: c.self.Namespace, Name: c.self.Pod}
	err := patiently(ctx, func() (err error) {
		c.own.workload, err = c.workloadOf(ctx, pod)
		return err
	})
	c.own.known = err == nil
	return c.own.workload, err
}
