package executor_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/schema"
)

const password = "hunter2-and-more"

var login = actions.Spec{
	Name: "login", Effect: actions.Mutates, Role: actions.Fixes, RiskFloor: schema.RiskLow, Timeout: time.Hour, Undo: "log out",
	Parameters: []actions.Parameter{{Name: "token", Type: actions.String, Secret: true, Description: "what to log in with"}},
}

// leaky is a handler that says the secret that it was given wherever it can.
type leaky struct{}

func (leaky) BeginsItself() bool { return true }

func (leaky) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if req.Step == "b" {
		return nil, errors.New("cannot log in with " + password)
	}
	said, _ := req.Parameters.Get("token").(string)
	if err := req.Begin(ctx, &actions.Undo{Summary: "was " + said, State: map[string]any{"was": "in"}}); err != nil {
		return nil, err
	}
	return &actions.Result{Message: "logged in with " + said}, nil
}

func (leaky) Compensate(_ context.Context, req *actions.Request, _ *actions.Undo) error {
	if said, _ := req.Parameters.Get("token").(string); said != password {
		return errors.New("no password")
	}
	return errors.New("cannot log out with " + password)
}

func TestAParameterThatIsSecretReachesNoRecordEventOrReport(t *testing.T) {
	reg := registry(t)
	require.NoError(t, reg.Add(login))
	gated := true
	doc := &schema.Document{Recommendations: []schema.Recommendation{
		{ID: "a", Action: "login", Parameters: map[string]any{"token": password}, RequiresApproval: &gated},
		{ID: "b", Action: "login", Parameters: map[string]any{"token": password}, Dependencies: []string{"a"}},
	}}
	p, err := dag.Build(doc, reg)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		j, seen := journal.NewMemory(), &recorder{}
		all := handlers(leaky{})
		all["login"] = leaky{}
		ex := newExecutor(t, executor.Config{Handlers: all, Journal: j, Observers: []executor.Observer{seen}, Approver: approval.ApproverFunc(
			func(_ context.Context, req *approval.Request) (*approval.Decision, error) {
				return &approval.Decision{Verdict: approval.Approved, By: "alice", Digest: req.Digest}, nil
			})})
		report, err := ex.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, executor.RunRollbackFailed, report.Status())
		records, err := j.Read(t.Context(), "r")
		require.NoError(t, err)
		for _, r := range records {
			line, err := json.Marshal(r)
			require.NoError(t, err)
			require.NotContains(t, string(line), password)
		}
		for _, e := range seen.events {
			line, err := json.Marshal(e)
			require.NoError(t, err)
			require.NotContains(t, string(line), password)
		}
		text, err := json.Marshal(report)
		require.NoError(t, err)
		require.NotContains(t, string(text), password)
		require.False(t, strings.Contains(report.String(), password))
	})
}

func TestAnUndoThatHoldsASecretIsNotKeptAndItsEffectNotSent(t *testing.T) {
	reg := registry(t)
	require.NoError(t, reg.Add(login))
	p, err := dag.Build(&schema.Document{Recommendations: []schema.Recommendation{
		{ID: "a", Action: "login", Parameters: map[string]any{"token": password}},
	}}, reg)
	require.NoError(t, err)
	sent := false
	ex := newExecutor(t, executor.Config{Journal: journal.NewMemory(), Handlers: actions.Handlers{"login": careless{&sent}}})
	report, err := ex.Run(t.Context(), p, executor.RunOptions{ID: "r"})
	require.NoError(t, err)
	require.Equal(t, executor.RunFailed, report.Status())
	require.False(t, sent)
	require.Contains(t, report.Why("a")[0].Message, "holds a secret parameter")
}

// careless keeps a secret as the state to undo with.
type careless struct{ sent *bool }

func (careless) BeginsItself() bool { return true }

func (c careless) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if err := req.Begin(ctx, &actions.Undo{State: map[string]any{"was": []string{"x", "token=" + req.Parameters.String("token")}}}); err != nil {
		return nil, err
	}
	*c.sent = true
	return nil, nil
}

func (careless) Compensate(context.Context, *actions.Request, *actions.Undo) error { return nil }
