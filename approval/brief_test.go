package approval_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// request asks about a step of the cascading-failure plan with all that can be known of it.
func request(t *testing.T, step string) *approval.Request {
	t.Helper()
	data, err := os.ReadFile("../examples/plans/cascading-failure.json")
	require.NoError(t, err)
	plan, err := dag.Load(data, actions.Canonical())
	require.NoError(t, err)
	policy := approval.IncidentTable()
	policy.Rules = []approval.Rule{{Name: "shop hours", Quorum: 2, Approvers: approval.Approvers{People: []string{"ann"}, Groups: []string{"sre"}},
		Escalation: &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"leads"}}}}}
	gates, err := policy.Gates(plan, approval.Confidence{Value: 0.85, Given: true}, t0)
	require.NoError(t, err)
	req := &approval.Request{
		Run: "run-1", Author: "remedy-controller", Model: "gpt", Plan: plan, Gates: gates, Gate: gates.Plan, Confidence: 0.85,
		Incident: &approval.Incident{ID: "INC-7", Title: "Checkout fails", Summary: "Payments time out.\nThe pool of fraud-detection is exhausted.",
			Evidence: []string{"100 of 100 connections in use since 11:52", "error rate of checkout 34 %"}},
		Remaining: 150 * time.Second, Digest: plan.Digest(), AskedAt: t0, ExpiresAt: t0.Add(15 * time.Minute),
	}
	if i, ok := plan.Index(step); ok {
		req.Step, req.Gate = plan.Step(i), gates.Steps[i]
		req.Preview = &actions.Preview{Verdict: actions.Verified, Change: []string{`data.DATABASE_POOL_SIZE: "100" → "200"`, `data.DATABASE_POOL_TIMEOUT: "10s" → "30s"`}}
		req.Touches = []actions.Touch{{Target: req.Step.Target()}, {Target: schema.Target{Kind: "Deployment", Namespace: "production", Name: "fraud-detection-service"}, Replicas: 1, Of: 5}}
	}
	return req
}

func written(b *approval.Brief) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s\n%s\n\n", b.Subject, b.Heading)
	for _, line := range b.Drawing {
		fmt.Fprintln(&w, line)
	}
	for _, f := range b.Facts {
		for _, line := range f.Lines {
			bar := "  "
			if f.Quoted {
				bar = "| "
			}
			fmt.Fprintf(&w, "%-14s%s%s\n", f.Label, bar, line)
		}
	}
	fmt.Fprintf(&w, "\nyes      %s\nno       %s\nsilence  %s\n", b.Yes, b.No, b.Silence)
	return w.String()
}

func TestABriefSaysAllThatAPersonNeeds(t *testing.T) {
	for name, step := range map[string]string{"step": "rec-002", "plan": ""} {
		req := request(t, step)
		standing := approval.Standing{Votes: []approval.Vote{{By: "ann", Reason: "looked at the graphs"}}, Missing: "1 of ann, group sre"}
		got := written(req.Brief(standing, t0.Add(5*time.Minute)))
		golden := filepath.Join("testdata", "brief-"+name+".txt")
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), got)
	}
}

// Whatever a model, a handler, a caller or a voter says stays text on a line: nothing that a screen obeys or hides.
func TestABriefHoldsNothingThatAScreenObeys(t *testing.T) {
	const evil = "a\x1b[2Jb\u202ec\u200bd\r\ne\u2066f\x00g"
	req := request(t, "rec-002")
	req.Run, req.Author = evil, evil
	req.Incident = &approval.Incident{ID: evil, Title: evil, Summary: evil, Evidence: []string{evil, strings.Repeat("long ", 10_000)}}
	req.Preview = &actions.Preview{Change: []string{evil}}
	req.Touches = []actions.Touch{{Target: schema.Target{Kind: evil, Namespace: evil, Name: evil}}}
	req.Gate.Reasons = []string{evil}
	req.Gate.Terms.Panels = []approval.Panel{{Rule: evil, Approvers: approval.Approvers{People: []string{evil}}}}
	text := written(req.Brief(approval.Standing{Votes: []approval.Vote{{By: evil, Reason: evil}}, Missing: evil}, t0))
	for _, r := range text {
		require.False(t, r < ' ' && r != '\n' || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x2069 || r == 0x200b || r == 0x7f, "%U in %q", r, text)
	}
	require.Contains(t, text, "a<U+001B>[2Jb<U+202E>c<U+200B>d")
	require.Less(t, len(text), 12_000)
	require.Contains(t, text, "more characters)")
}
