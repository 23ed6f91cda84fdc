// Command customaction teaches remedy an action of its own, flush_cache, and runs a plan that uses it.
//
// The parameters are one Go struct: its tags are what a plan is checked against, and its fields are what the handler
// is given. A policy of its own puts the action before a person whatever the analysis thinks of it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/schema"
)

// What a model that knows the action could have written.
const document = `{
  "recommendations": [
    {"id": "look", "action": "health_check",
     "parameters": {"namespace": "shop", "service": "catalog"}},
    {"id": "flush", "action": "flush_cache", "dependencies": ["look"],
     "rationale": "The cache still serves the prices of yesterday",
     "parameters": {"namespace": "shop", "cache": "prices", "prefix": "catalog:"}},
    {"id": "verify", "action": "verify_recovery", "dependencies": ["flush"],
     "parameters": {"namespace": "shop", "services": ["catalog"]}}
  ]
}`

// flushParameters are the parameters of flush_cache.
type flushParameters struct {
	Namespace string        `json:"namespace" validate:"required" doc:"Namespace of the cache."`
	Cache     string        `json:"cache" kind:"Cache" validate:"required" doc:"The cache to flush."`
	Prefix    string        `json:"prefix" doc:"Only keys that begin so."`
	Pause     time.Duration `json:"pause" validate:"max=1m" default:"50ms" doc:"How long to wait between two batches."`
}

func flushSpec() (actions.Spec, error) {
	return actions.SpecOf[flushParameters](actions.Spec{
		Name: "flush_cache", Category: "cache", RiskFloor: schema.RiskLow, Timeout: time.Minute,
		Does: "Removes keys from a cache; they are read from their source again when they are next asked for.",
	})
}

// caches stands for the client of a real cache.
type caches struct {
	mu   sync.Mutex
	keys map[string][]string // by "namespace/name"
}

func (c *caches) flush(ctx context.Context, req *actions.Request, p flushParameters) (*actions.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := p.Namespace + "/" + p.Cache
	keys, ok := c.keys[name]
	if !ok {
		return nil, actions.Permanent(fmt.Errorf("there is no cache %s", name))
	}
	var kept []string
	for _, k := range keys {
		if !strings.HasPrefix(k, p.Prefix) {
			kept = append(kept, k)
			continue
		}
		select {
		case <-time.After(p.Pause):
		case <-ctx.Done():
			return nil, actions.Transient(context.Cause(ctx))
		}
	}
	c.keys[name] = kept
	return &actions.Result{Message: fmt.Sprintf("removed %d of %d keys", len(keys)-len(kept), len(keys))}, nil
}

// onCall stands for the people who decide; approval/terminal asks a real one.
func onCall(_ context.Context, req *approval.Request) (*approval.Decision, error) {
	d := &approval.Decision{Verdict: approval.Rejected, By: "on-call", Reason: "only flushes of a part of a cache"}
	if req.Step != nil && req.Step.Action() == "flush_cache" && req.Step.Parameters().String("prefix") != "" {
		d.Verdict, d.Reason = approval.Approved, "only a part of the cache goes"
	}
	return d, nil
}

func main() {
	if err := run(context.Background(), os.Stdout, approval.ApproverFunc(onCall)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, approver approval.Approver) error {
	registry := actions.Canonical()
	spec, err := flushSpec()
	if err == nil {
		err = registry.Add(spec)
	}
	if err != nil {
		return err
	}
	plan, err := dag.Load([]byte(document), registry)
	if err != nil {
		return err
	}

	store := &caches{keys: map[string][]string{"shop/prices": {"catalog:1", "catalog:2", "basket:7"}}}
	handlers := simulated.New(simulated.Options{Scale: 0.01}).Handlers(registry) // for the other actions
	handlers["flush_cache"] = actions.Typed(store.flush)

	policy := approval.IncidentTable()
	policy.Risks = map[string]schema.Risk{"flush_cache": schema.RiskHigh} // the next requests will be slow

	ex, err := executor.New(executor.Config{Handlers: handlers, Policy: policy, Approver: approver})
	if err != nil {
		return err
	}
	report, err := ex.Run(ctx, plan, executor.RunOptions{Author: "model", Confidence: approval.Confidence{Value: 0.85, Given: true}})
	if err != nil {
		return err
	}
	for step := range report.Steps() {
		fmt.Fprintf(out, "%d %-6s %s", step.Number, step.ID, step.Status)
		if step.Gate != nil {
			fmt.Fprintf(out, ", %s by %s: %s", step.Gate.Verdict, step.Gate.By, step.Gate.Reason)
		}
		if step.Result != nil {
			fmt.Fprintf(out, ", %s", step.Result.Message)
		}
		fmt.Fprintln(out)
	}
	return report.Err()
}
