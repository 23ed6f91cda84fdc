package executor_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/schema"
)

// registry has the actions of the tests: look reads, note tells people, check is a verification gate, fix mutates an
// object, pin mutates and cannot be undone.
func registry(t require.TestingT) *actions.Registry {
	reg := &actions.Registry{}
	for _, s := range []actions.Spec{
		{Name: "look", Effect: actions.Reads, Role: actions.Diagnoses, RiskFloor: schema.RiskNone, Timeout: time.Hour},
		{Name: "note", Effect: actions.External, Role: actions.Records, Notice: true, RiskFloor: schema.RiskNone, Timeout: time.Hour},
		{Name: "check", Effect: actions.Reads, Role: actions.Verifies, RiskFloor: schema.RiskNone, Timeout: time.Hour, Gate: true},
		{Name: "fix", Effect: actions.Mutates, Role: actions.Fixes, RiskFloor: schema.RiskLow, Timeout: time.Hour, Undo: "put it back",
			Parameters: []actions.Parameter{{Name: "thing", Type: actions.Name, Kind: "Thing", Description: "what to fix"}}},
	} {
		require.NoError(t, reg.Add(s))
	}
	return reg
}

// plan makes a plan of lines like "id action(thing) <- dep dep !30s ~10s +gate +always +continue", where ! is the time-out
// and ~ the expected duration.
func plan(t require.TestingT, lines ...string) *dag.Plan {
	doc := &schema.Document{}
	overlay := &schema.Overlay{Steps: map[string]schema.StepOverlay{}}
	for _, line := range lines {
		head, tail, _ := strings.Cut(line, "<-")
		words := strings.Fields(head)
		rec := schema.Recommendation{ID: words[0], Action: words[1]}
		if name, thing, ok := strings.Cut(words[1], "("); ok {
			rec.Action = name
			rec.Parameters = map[string]any{"thing": strings.TrimSuffix(thing, ")")}
		}
		var over schema.StepOverlay
		for _, w := range append(words[2:], strings.Fields(tail)...) {
			switch {
			case w == "+gate":
				yes := true
				rec.RequiresApproval = &yes
			case w == "+always":
				over.Always = true
			case w == "+continue":
				over.ContinueOnFailure = true
			case w[0] == '!':
				over.Timeout = duration(t, w[1:])
			case w[0] == '~':
				over.Duration = duration(t, w[1:])
			default:
				rec.Dependencies = append(rec.Dependencies, w)
			}
		}
		overlay.Steps[rec.ID] = over
		doc.Recommendations = append(doc.Recommendations, rec)
	}
	p, err := dag.Build(doc, registry(t), dag.WithOverlay(overlay))
	require.NoError(t, err)
	return p
}

func duration(t require.TestingT, s string) time.Duration {
	d, err := time.ParseDuration(s)
	require.NoError(t, err)
	return d
}

// open is a policy that asks only where a plan does.
func open() *approval.Policy {
	return &approval.Policy{Table: []approval.Row{{Confidence: 0, Ask: schema.RiskUnset}}, MaxSteps: -1}
}

// handle uses one handler for every action.
func handle(f actions.HandlerFunc) actions.Handlers {
	return actions.Handlers{"look": f, "note": f, "check": f, "fix": f}
}

// expected waits as long as the step is expected to take, in virtual time.
func expected(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	select {
	case <-time.After(req.Expected):
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// failing fails the named steps after their time and lets the others succeed.
func failing(steps ...string) actions.HandlerFunc {
	return func(ctx context.Context, req *actions.Request) (*actions.Result, error) {
		res, err := expected(ctx, req)
		for _, s := range steps {
			if s == req.Step && err == nil {
				return nil, fmt.Errorf("%s is broken", s)
			}
		}
		return res, err
	}
}

func newExecutor(t testing.TB, c executor.Config) *executor.Executor {
	t.Helper()
	if c.Policy == nil {
		c.Policy = open()
	}
	ex, err := executor.New(c)
	require.NoError(t, err)
	return ex
}

// outcome renders a report: "a succeeded 0-10; b failed/handlerError<a 10-20", in seconds since the start.
func outcome(r *executor.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", r.Status())
	for s := range r.Steps() {
		fmt.Fprintf(&b, " %s=%s", s.ID, s.Status)
		if s.Reason != executor.ReasonNone && s.Reason != executor.ReasonCompleted {
			fmt.Fprintf(&b, "/%s", s.Reason)
		}
		if s.Cause != "" {
			fmt.Fprintf(&b, "<%s", s.Cause)
		}
		if s.Attempts > 0 {
			fmt.Fprintf(&b, "@%v", s.StartedAt.Sub(r.StartedAt()).Seconds())
			if !s.EndedAt.IsZero() {
				fmt.Fprintf(&b, "-%v", s.EndedAt.Sub(r.StartedAt()).Seconds())
			}
		}
	}
	return b.String()
}

// recorder keeps events as "kind step status".
type recorder struct {
	mu     sync.Mutex
	events []executor.Event
}

func (r *recorder) Observe(e executor.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		out = append(out, strings.Join(strings.Fields(fmt.Sprintln(e.Kind, e.Step, e.Status, e.Reason, e.By)), " "))
	}
	return out
}
