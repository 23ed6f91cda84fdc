package executor_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/schema"
)

func TestTheFourIncidentsTakeWhatTheirTimelinesSay(t *testing.T) {
	for _, c := range []struct {
		name                 string
		confidence           float64
		review               time.Duration
		early                bool
		makespan, wait, work time.Duration
	}{
		{"oomkill", 0.725, time.Minute, false, 7*time.Minute + 10*time.Second, time.Minute, 7*time.Minute + 40*time.Second},
		{"oomkill", 0.725, time.Minute, true, 6*time.Minute + 10*time.Second, 0, 7*time.Minute + 40*time.Second},
		{"cascading-failure", 0.85, 0, false, 5*time.Minute + 30*time.Second, 0, 7 * time.Minute},
		{"alert-storm", 0.90, 0, false, 7*time.Minute + 40*time.Second, 0, 7*time.Minute + 50*time.Second},
		{"database-deadlock", 0.92, 90 * time.Second, false, 6*time.Minute + 10*time.Second, 90 * time.Second, 5*time.Minute + 40*time.Second},
		{"database-deadlock", 0.92, 90 * time.Second, true, 4*time.Minute + 40*time.Second, 0, 5*time.Minute + 40*time.Second},
	} {
		t.Run(fmt.Sprintf("%s early=%t", c.name, c.early), func(t *testing.T) {
			data, err := os.ReadFile("../examples/plans/" + c.name + ".json")
			require.NoError(t, err)
			text, err := os.ReadFile("../examples/plans/" + c.name + ".overlay.yaml")
			require.NoError(t, err)
			overlay, err := schema.ParseOverlay(text)
			require.NoError(t, err)
			p, err := dag.Load(data, actions.Canonical(), dag.WithOverlay(overlay))
			require.NoError(t, err)
			ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: approval.IncidentTable(), EarlyApproval: c.early})
			sim, err := ex.Simulate(p, executor.SimulateOptions{
				Confidence: approval.Confidence{Value: c.confidence, Given: true}, ApprovalAfter: c.review,
			})
			require.NoError(t, err)
			require.Equal(t, executor.RunSucceeded, sim.Status())
			require.Equal(t, c.makespan, sim.Makespan())
			require.Equal(t, c.wait, sim.ApprovalWait)
			require.Equal(t, c.work, sim.Work)
		})
	}
}

func TestParallelSavingsAreWhatTheLimitLeaves(t *testing.T) {
	p := plan(t, "a look ~10s", "b look ~10s", "c look ~5s <- a b")
	for limit, want := range map[int]time.Duration{1: 0, 2: 10 * time.Second} {
		sim, err := newExecutor(t, executor.Config{Handlers: handle(expected), MaxParallel: limit}).Simulate(p, executor.SimulateOptions{})
		require.NoError(t, err)
		require.Equal(t, want, sim.ParallelSavings)
	}
}

func TestASimulatedGateThatNobodyAnswersIsRejected(t *testing.T) {
	ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
	sim, err := ex.Simulate(plan(t, "a fix +gate", "b look <- a"), executor.SimulateOptions{ApprovalAfter: time.Hour})
	require.NoError(t, err)
	require.Equal(t, "rejected: a=rejected/approvalTimeout b=blocked/dependencyNotSucceeded<a", outcome(sim.Report))
	require.Equal(t, 15*time.Minute, sim.Makespan())
	_, err = ex.Simulate(plan(t, "a fix"), executor.SimulateOptions{ApprovalAfter: -1})
	require.Error(t, err)
	_, err = ex.Simulate(nil, executor.SimulateOptions{})
	require.Error(t, err)
}

func TestASimulationKnowsTheRunClock(t *testing.T) {
	ex := newExecutor(t, executor.Config{Handlers: handle(expected), RunTimeout: 15 * time.Second})
	sim, err := ex.Simulate(plan(t, "a fix ~10s +gate", "b fix ~10s <- a", "c look <- b"), executor.SimulateOptions{ApprovalAfter: time.Minute})
	require.NoError(t, err)
	require.Equal(t, "failed: a=succeeded@60-70 b=failed/runTimeout@70-75 c=cancelled/runTimeout", outcome(sim.Report))
}

func TestAStepThatTakesExactlyItsTimeoutMakesIt(t *testing.T) {
	ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
	sim, err := ex.Simulate(plan(t, "a look ~10s !10s", "b look ~10001ms !10s"), executor.SimulateOptions{})
	require.NoError(t, err)
	require.Equal(t, "succeededWithWarnings: a=succeeded@0-10 b=failed/timeout@0-10", outcome(sim.Report))
}

// drawPlan draws a plan whose steps have durations that hardly ever add up to the same moment, with gates, steps that continue or always run, few objects to write, and some steps
// that take longer than their time-out.
func drawPlan(t *rapid.T, gates bool) *dag.Plan {
	n := rapid.IntRange(1, 40).Draw(t, "steps")
	doc := &schema.Document{}
	overlay := &schema.Overlay{Steps: map[string]schema.StepOverlay{}}
	for i := range n {
		rec := schema.Recommendation{ID: fmt.Sprint("s", i), Action: rapid.SampledFrom([]string{"look", "note", "check", "fix"}).Draw(t, "action")}
		if rec.Action == "fix" && rapid.Bool().Draw(t, "writes") {
			rec.Parameters = map[string]any{"thing": fmt.Sprint("t", rapid.IntRange(0, 3).Draw(t, "thing"))}
		}
		for d := range i {
			if rapid.IntRange(0, 9).Draw(t, "edge") < 2 && i-d < 12 {
				rec.Dependencies = append(rec.Dependencies, fmt.Sprint("s", d))
			}
		}
		if gates && rapid.IntRange(0, 5).Draw(t, "gate") == 0 {
			yes := true
			rec.RequiresApproval = &yes
		}
		// The i-th step has its own bit: no sum of durations equals another.
		over := schema.StepOverlay{Duration: time.Duration(1)<<i + time.Duration(rapid.IntRange(1, 1000).Draw(t, "seconds"))*time.Second}
		over.Timeout = 24 * time.Hour
		if rapid.IntRange(0, 11).Draw(t, "slow") == 0 {
			over.Timeout = over.Duration - 1
		}
		over.Always = rapid.IntRange(0, 9).Draw(t, "always") == 0
		over.ContinueOnFailure = rapid.IntRange(0, 9).Draw(t, "continue") == 0
		overlay.Steps[rec.ID] = over
		doc.Recommendations = append(doc.Recommendations, rec)
	}
	p, err := dag.Build(doc, registry(t), dag.WithOverlay(overlay))
	require.NoError(t, err)
	return p
}

func TestARunAndItsSimulationAreTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt, true)
		limit := rapid.SampledFrom([]int{-1, 1, 2, 5}).Draw(rt, "limit")
		review := time.Duration(rapid.IntRange(1, 1100).Draw(rt, "review"))*time.Second + 500*time.Millisecond // sometimes too late
		runTimeout := rapid.SampledFrom([]time.Duration{0, 0, 300*time.Second + 250*time.Millisecond, 2000*time.Second + 250*time.Millisecond}).Draw(rt, "run time-out")
		early := rapid.Bool().Draw(rt, "early")
		synctest.Test(t, func(t *testing.T) {
			ex := newExecutor(t, executor.Config{
				Handlers: handle(expected), MaxParallel: limit, EarlyApproval: early, Approver: after(review, approval.Approved), RunTimeout: runTimeout,
			})
			sim, err := ex.Simulate(p, executor.SimulateOptions{ApprovalAfter: review})
			require.NoError(t, err)
			report, err := ex.Run(t.Context(), p, executor.RunOptions{})
			require.NoError(t, err)
			if moments(sim.Report) {
				return // two things happen at one moment: the order is free
			}
			if a, b := outcome(sim.Report), outcome(report); a != b {
				rt.Fatalf("simulated %s\nran       %s", a, b)
			}
		})
	})
}

// moments tells whether two steps of a report end, or a step ends and a gate is decided, at one moment.
func moments(r *executor.Report) bool {
	seen := map[time.Time]bool{}
	for s := range r.Steps() {
		for _, at := range ends(s) {
			if seen[at] {
				return true
			}
			seen[at] = true
		}
	}
	return false
}

func ends(s executor.StepReport) []time.Time {
	var at []time.Time
	if s.Attempts > 0 && s.Reason != executor.ReasonRunTimeout {
		at = append(at, s.EndedAt)
	}
	if s.Gate != nil && !s.Gate.DecidedAt.IsZero() {
		at = append(at, s.Gate.DecidedAt)
	}
	return at
}

func TestEveryStartFollowsItsDependenciesAndTheLimitHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt, false)
		limit := rapid.SampledFrom([]int{-1, 1, 3}).Draw(rt, "limit")
		var report *executor.Report
		synctest.Test(t, func(t *testing.T) {
			var err error
			report, err = newExecutor(t, executor.Config{Handlers: handle(expected), MaxParallel: limit}).Run(t.Context(), p, executor.RunOptions{})
			require.NoError(t, err)
		})
		steps := slices.Collect(report.Steps())
		for i, s := range steps {
			if s.Attempts == 0 {
				if s.Status.Final() && s.Status != executor.Succeeded && len(report.Why(s.ID)) < 2 {
					rt.Fatalf("%s has no cause: %v", s.ID, report.Why(s.ID))
				}
				continue
			}
			together := 0
			for j, other := range steps {
				if other.Attempts == 0 {
					continue
				}
				if !other.StartedAt.After(s.StartedAt) && other.EndedAt.After(s.StartedAt) {
					together++
					if i != j && p.Step(i).Target().Name != "" && p.Step(i).Target() == p.Step(j).Target() {
						rt.Fatalf("%s and %s write %s at once", s.ID, other.ID, p.Step(i).Target())
					}
				}
			}
			if limit > 0 && together > limit {
				rt.Fatalf("%d steps ran at once", together)
			}
			for _, d := range p.Step(i).Dependencies() {
				dep := steps[d]
				if !dep.EndedAt.Before(s.StartedAt) && !dep.EndedAt.Equal(s.StartedAt) {
					rt.Fatalf("%s started before %s ended", s.ID, dep.ID)
				}
				if dep.Status != executor.Succeeded && !p.Step(i).Always() && !(p.Step(d).ContinueOnFailure() && dep.Status == executor.Failed) {
					rt.Fatalf("%s started although %s %s", s.ID, dep.ID, dep.Status)
				}
			}
		}
	})
}
