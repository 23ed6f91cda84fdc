// Package asktest has the requests that tests of channels put before people.
package asktest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// Plan is that of the out-of-memory incident, of which step 4 asks.
func Plan(t testing.TB) *dag.Plan {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	data, err := os.ReadFile(filepath.Join(filepath.Dir(file), "../../../../examples/plans/oomkill.json"))
	require.NoError(t, err)
	plan, err := dag.Load(data, actions.Canonical())
	require.NoError(t, err)
	return plan
}

// Request asks about step 4 of Plan, for 15 minutes from a time on.
func Request(t testing.TB, asked time.Time, panels ...approval.Panel) *approval.Request {
	t.Helper()
	plan := Plan(t)
	gates, err := approval.IncidentTable().Gates(plan, approval.Confidence{Value: 0.85, Given: true}, asked)
	require.NoError(t, err)
	step := plan.Step(3)
	gate := gates.Steps[3]
	gate.Terms.Panels = panels
	return &approval.Request{
		Key: "run-1/" + step.ID(), Run: "run-1", Author: "rca-controller", Model: "some-model", Plan: plan, Step: step, Gate: gate, Gates: gates, Confidence: 0.85,
		Incident: &approval.Incident{ID: "INC-4711", Title: "Payments run out of memory", Summary: "payment-service was killed 3 times in 10 minutes", Evidence: []string{"heap grows by 50 MB an hour", "last exit code 137"}},
		Preview:  &actions.Preview{Verdict: actions.Verified, Change: []string{"restartedAt: none → 2026-05-04T12:00:00Z"}},
		Digest:   "sha256:0f3c", AskedAt: asked, ExpiresAt: asked.Add(15 * time.Minute), Remaining: 4 * time.Minute,
	}
}

// Whole asks about a plan as a whole, of as many steps one after the other.
func Whole(t testing.TB, steps int, asked time.Time) *approval.Request {
	t.Helper()
	list := make([]any, steps)
	for i := range list {
		before := []string{}
		if i > 0 {
			before = append(before, fmt.Sprintf("rec-%03d", i))
		}
		list[i] = map[string]any{
			"dependencies": before,
			"id":           fmt.Sprintf("rec-%03d", i+1), "action": "restart_pod", "description": strings.Repeat("why ", 60), "risk": "medium",
			"parameters": map[string]any{"deployment": fmt.Sprintf("app-%d", i), "namespace": "production"},
		}
	}
	data, err := json.Marshal(map[string]any{"recommendations": list})
	require.NoError(t, err)
	plan, err := dag.Load(data, actions.Canonical())
	require.NoError(t, err)
	gates, err := approval.IncidentTable().Gates(plan, approval.Confidence{Value: 0.85, Given: true}, asked)
	require.NoError(t, err)
	run := fmt.Sprintf("run-of-%d", steps)
	return &approval.Request{
		Key: run, Run: run, Plan: plan, Gate: gates.Plan, Gates: gates, Confidence: 0.85, Digest: plan.Digest(), AskedAt: asked, ExpiresAt: asked.Add(15 * time.Minute),
	}
}

// Markup is what a model would write to be more than text: mentions, links, markup, tags.
const Markup = "<!channel> <!here> <@U0BOSS> <#C0RANDOM> <!subteam^S0SRE> <http://evil.example/approve|Approve> *bold* _it_ ~no~ `code` ```x``` :tada: " +
	"[Approve](http://evil.example) http://evil.example/x www.evil.example mailto:x@evil.example <b onmouseover=\"alert(1)\">tag</b> </pre></style></table><script>alert(1)</script> " +
	"<img src=http://evil.example/pixel> {{.}} &lt;i&gt; &#60;u&#62; ' \" \\"

// Controls are what a screen or a protocol would obey: line ends with headers, escapes, direction marks.
const Controls = "\r\nBcc: all@evil.example\r\nX-Evil: 1\r\n\r\nbody\x00\x1b[31mred\x1b]8;;http://evil.example\x07\u202egnp\u2066\u200b\ufeff\u2028\u00ad\xff"

// Hostile has Markup, and where a document does not refuse them Controls, in every part that is not ours.
func Hostile(t testing.TB, asked time.Time, panels ...approval.Panel) *approval.Request {
	t.Helper()
	text, evil := Markup+strings.Repeat(" x<!channel>", 200), Markup+Controls
	parameters := map[string]any{"deployment": "payment-service", "namespace": "production", "strategy": "rolling", "reason": text}
	data, err := json.Marshal(map[string]any{"recommendations": []any{map[string]any{
		"id": "rec-001", "action": "restart_pod", "name": text, "title": text, "description": text + "\n\t" + text, "rationale": text, "risk": "medium", "requiresApproval": true, "parameters": parameters,
	}}})
	require.NoError(t, err)
	plan, err := dag.Load(data, actions.Canonical())
	require.NoError(t, err)
	gates, err := approval.IncidentTable().Gates(plan, approval.Confidence{Value: 0.85, Given: true}, asked)
	require.NoError(t, err)
	gate := gates.Steps[0]
	gate.Reasons = append(gate.Reasons, evil)
	gate.Terms.Panels = panels
	return &approval.Request{
		Key: "run" + evil, Run: "run" + evil, Author: evil, Model: evil, Plan: plan, Step: plan.Step(0), Gate: gate, Gates: gates, Confidence: 0.85,
		Incident: &approval.Incident{ID: evil, Title: evil, Summary: evil, Evidence: []string{evil, evil}},
		Preview:  &actions.Preview{Verdict: actions.Simulated, Change: []string{evil}},
		Digest:   "sha256:0f3c", AskedAt: asked, ExpiresAt: asked.Add(15 * time.Minute),
	}
}

// Executor runs plans with handlers that do nothing at once, and asks about every step that Policy gates.
func Executor(t testing.TB, approver approval.Approver, policy *approval.Policy, j journal.Journal) *executor.Executor {
	t.Helper()
	ex, err := executor.New(executor.Config{
		Handlers: simulated.New(simulated.Options{Scale: -1}).Handlers(actions.Canonical()), Policy: policy, Approver: approver, Journal: j,
	})
	require.NoError(t, err)
	return ex
}

// Options are those of a run of Plan, in which step 4 alone asks.
func Options(id string) executor.RunOptions {
	return executor.RunOptions{ID: id, Author: "rca-controller", Confidence: approval.Confidence{Value: 0.85, Given: true}}
}

// Ended waits for the end of a run and returns its report, and what became of step 4.
func Ended(t testing.TB, run *executor.Run) (*executor.Report, executor.StepReport) {
	t.Helper()
	var report *executor.Report
	require.Eventually(t, func() bool {
		report = run.Snapshot()
		return report.Status().Final()
	}, 20*time.Second, 5*time.Millisecond)
	_, _ = run.Wait(context.WithoutCancel(t.Context())) // until nothing of it runs
	return report, report.Step(3)
}
