package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/remedykit/remedy/actions"
)

// debug adds flags and environment variables to the main container of a workload.
type debug struct{}

func (debug) want(req *actions.Request, live object) []field {
	name := mainOf(live)
	var fields []field
	if flags, _ := req.Parameters.Get("debugFlags").([]string); len(flags) > 0 {
		args, _ := live.at(container(name, "args")...).([]any)
		after := slices.Clone(args)
		for _, flag := range flags {
			if !slices.Contains(after, any(flag)) {
				after = append(after, flag)
			}
		}
		fields = append(fields, field{container(name, "args"), after})
	}
	env, _ := req.Parameters.Get("env").(map[string]string)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		variable := map[string]any{"name": k}
		if env[k] != "" { // which the API server leaves out
			variable["value"] = env[k]
		}
		fields = append(fields, field{container(name, "env", k), variable})
	}
	return fields
}

// mainOf is mainContainer of an object. The order of its containers is lost, so several need the annotation.
func mainOf(live object) string {
	if name, _ := live.at(append(template[:4:4], "kubectl.kubernetes.io/default-container")...).(string); name != "" {
		return name
	}
	all, _ := live.at(containersPath...).(map[string]any)
	if len(all) == 1 {
		for name := range all {
			return name
		}
	}
	return ""
}

func (v debug) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	name := mainOf(live)
	switch {
	case name == "":
		return actions.Permanent(fmt.Errorf("%s has several containers: say with the annotation kubectl.kubernetes.io/default-container which one is to be debugged", req.Target))
	case len(v.want(req, live)) == 0:
		return actions.Permanent(fmt.Errorf("%s: there is nothing to turn on: give debugFlags or env", req.Target))
	case live.at(container(name, "args")...) == nil && live.at(container(name, "command")...) == nil && req.Parameters.Given("debugFlags"):
		return actions.Permanent(fmt.Errorf("container %s of %s takes its arguments from its image, which flags would replace: use env", name, req.Target))
	}
	env, _ := req.Parameters.Get("env").(map[string]string)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if m, ok := live.at(container(name, "env", k)...).(map[string]any); ok && m["valueFrom"] != nil {
			return actions.Permanent(fmt.Errorf("variable %s of %s comes from elsewhere, and is not replaced", k, req.Target))
		}
	}
	return restartable(req.Target, live)
}

func (debug) rights(t *actions.Task) []Right {
	return rolloutRights(t)
}

func (debug) waits(*actions.Request) bool { return true }

func (debug) seals() {}

func (debug) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	message, err := c.rolledOut(ctx, rollout{target: req.Target, written: live, stableFor: req.Parameters.Duration("stableFor")})
	if err == nil && req.Parameters.Bool("autoRevert") {
		due := time.Now().Add(req.Parameters.Duration("duration")).UTC().Format(time.RFC3339)
		message += "; it is due to be taken away at " + due + " (remedy rollback " + req.Run + ")"
	}
	return message, err
}
