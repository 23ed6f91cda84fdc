package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
	"github.com/remedykit/remedy/executor"
)

// scheduleFlags are what simulate and run have in common.
type scheduleFlags struct {
	ask         string
	maxParallel int
}

func (f *scheduleFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.ask, "ask", "ready", "when to ask for approval: ready (when the step is), early (when the run starts)")
	cmd.Flags().IntVar(&f.maxParallel, "max-parallel", executor.DefaultMaxParallel, "most steps that run at once; 0 is no limit")
}

// apply sets what the flags say in a Config.
func (f *scheduleFlags) apply(c *executor.Config) error {
	if f.ask != "ready" && f.ask != "early" {
		return fmt.Errorf("--ask %s: it is ready or early", f.ask)
	}
	if f.maxParallel < 0 {
		return errors.New("--max-parallel is at least 0, which means no limit")
	}
	c.EarlyApproval = f.ask == "early"
	c.MaxParallel = f.maxParallel
	if f.maxParallel == 0 {
		c.MaxParallel = -1
	}
	return nil
}

func (a *app) simulateCommand() *cobra.Command {
	var flags planFlags
	var schedule scheduleFlags
	var approvalAfter time.Duration
	var fail, reject []string
	cmd := &cobra.Command{
		Use:   "simulate FILE",
		Short: "Run the schedule on virtual time",
		Long: `simulate runs the real schedule on virtual time: every step takes what it is expected to take, and every
gate is approved --approval-after its question. --fail ID lets a step fail for good, --fail ID:N lets its first N attempts
fail as errors that pass; --reject ID rejects its gate. What a failed run did is undone as it would be.`,
		Example: `  remedy simulate plan.json --confidence 0.725 --approval-after 1m
  remedy simulate plan.json --approval-after 1m --ask early -o json | jq .makespanSeconds
  remedy simulate plan.json --fail rec-005 -o json | jq -c .rollback`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if approvalAfter < 0 {
				return usage(cmd, "--approval-after is not negative")
			}
			config := executor.Config{Handlers: simulated.New(simulated.Options{}).Handlers(actions.Canonical())}
			if err := schedule.apply(&config); err != nil {
				return usage(cmd, "%w", err)
			}
			l, err := a.load(cmd.Context(), &flags, args[0])
			if err != nil {
				return err
			}
			config.Policy = l.policy
			ex, err := executor.New(config)
			if err != nil {
				return err
			}
			options := executor.SimulateOptions{Confidence: flags.confidence.Confidence, ApprovalAfter: approvalAfter, Reject: reject}
			if options.Fail, err = failures(l.plan, fail, reject); err != nil {
				return usage(cmd, "%w", err)
			}
			sim, err := ex.Simulate(l.plan, options)
			if err != nil {
				return failed(err)
			}
			if err := a.writeSimulation(l, sim); err != nil {
				return err
			}
			return outcome(sim.Status())
		},
	}
	flags.add(cmd)
	schedule.add(cmd)
	cmd.Flags().StringArrayVar(&fail, "fail", nil, "`ID[:N]` of a step that fails, for good or in its first N attempts; may be repeated")
	cmd.Flags().StringArrayVar(&reject, "reject", nil, "`ID` of a step whose gate is rejected; may be repeated")
	cmd.Flags().DurationVar(&approvalAfter, "approval-after", 0, "how long every approval takes, such as 90s")
	return cmd
}

// failures reads --fail, and checks the ids of --reject.
func failures(plan *dag.Plan, fail, reject []string) (map[string]int, error) {
	known := func(flag, id string) error {
		if _, ok := plan.Index(id); !ok {
			return fmt.Errorf("--%s %s: the plan has no step %q", flag, id, id)
		}
		return nil
	}
	fails := map[string]int{}
	for _, f := range fail {
		id, text, some := strings.Cut(f, ":")
		if err := known("fail", id); err != nil {
			return nil, err
		}
		fails[id] = -1
		if some {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("--fail %s: after the colon stands how many attempts fail", f)
			}
			fails[id] = n
		}
	}
	for _, id := range reject {
		if err := known("reject", id); err != nil {
			return nil, err
		}
	}
	return fails, nil
}

// outcome is the exit code of a run that ended so.
func outcome(s executor.RunStatus) error {
	switch s {
	case executor.RunSucceeded, executor.RunSucceededWithWarnings:
		return nil
	case executor.RunParked:
		return &exit{code: exitParked}
	case executor.RunInterrupted:
		return &exit{code: exitInterrupted}
	}
	return &exit{code: exitFailed}
}

// A simulationOutput is the machine output of simulate.
type simulationOutput struct {
	Status          executor.RunStatus     `json:"status"`
	Makespan        seconds                `json:"makespanSeconds"`
	Work            seconds                `json:"workSeconds"`
	ApprovalWait    seconds                `json:"approvalWaitSeconds"`
	CriticalPath    []string               `json:"criticalPath"`
	ParallelSavings seconds                `json:"parallelSavingsSeconds"`
	Steps           []simulationStepOutput `json:"steps"`
	Rollback        []string               `json:"rollback"`
}

type simulationStepOutput struct {
	ID     string          `json:"id"`
	Number int             `json:"number"`
	Status executor.Status `json:"status"`
	Reason executor.Reason `json:"reason"`
	// Start and End are null where they did not happen.
	Start        *seconds `json:"startSeconds"`
	End          *seconds `json:"endSeconds"`
	ApprovalWait seconds  `json:"approvalWaitSeconds"`
	Attempts     int      `json:"attempts"`
}

func (a *app) writeSimulation(l *loaded, sim *executor.Simulation) error {
	if !a.json() {
		_, err := io.WriteString(a.stdout, render.Timeline(l.plan, timeline(sim.Report)))
		return err
	}
	out := simulationOutput{
		Status: sim.Status(), Makespan: seconds(sim.Makespan()), Work: seconds(sim.Work),
		ApprovalWait: seconds(sim.ApprovalWait), ParallelSavings: seconds(sim.ParallelSavings),
		CriticalPath: []string{}, Rollback: []string{},
	}
	for s := range sim.Report.Rollback() {
		out.Rollback = append(out.Rollback, s.ID)
	}
	path, _ := l.plan.CriticalPath()
	for _, i := range path {
		out.CriticalPath = append(out.CriticalPath, l.plan.Step(i).ID())
	}
	for s := range sim.Steps() {
		step := simulationStepOutput{ID: s.ID, Number: s.Number, Status: s.Status, Reason: s.Reason,
			ApprovalWait: seconds(approvalWait(s)), Attempts: s.Attempts}
		if s.Attempts > 0 {
			start := seconds(s.StartedAt.Sub(sim.StartedAt()))
			step.Start = &start
		}
		if s.Status.Final() {
			end := seconds(s.EndedAt.Sub(sim.StartedAt()))
			step.End = &end
		}
		out.Steps = append(out.Steps, step)
	}
	return writeJSON(a.stdout, out)
}

// approvalWait is how long a step stood ready but for its approval.
func approvalWait(s executor.StepReport) time.Duration {
	if s.Gate == nil {
		return 0
	}
	return s.Gate.Wait()
}

// timeline turns a report into what package render draws.
func timeline(r *executor.Report) render.Run {
	out := render.Run{End: r.Makespan(), Status: string(r.Status())}
	gate := func(span *render.Span, g *executor.GateReport) {
		if g != nil {
			span.Gated, span.Answered, span.By = true, decided(g), g.By
			span.Asked, span.Decided = g.AskedAt.Sub(r.StartedAt()), g.DecidedAt.Sub(r.StartedAt())
		}
	}
	gate(&out.PlanGate, r.PlanGate())
	if g := r.PlanGate(); g != nil && decided(g) && g.Verdict != approval.Approved {
		out.PlanGate.Status = executor.Rejected.String()
	}
	for s := range r.Steps() {
		span := render.Span{
			Step: s.Number - 1, Started: s.Attempts > 0, Status: s.Status.String(), Reason: s.Reason.String(),
			Start: s.StartedAt.Sub(r.StartedAt()), End: s.EndedAt.Sub(r.StartedAt()),
		}
		gate(&span, s.Gate)
		out.Spans = append(out.Spans, span)
	}
	return out
}

// decided tells whether somebody answered.
func decided(g *executor.GateReport) bool {
	return g.Verdict == approval.Approved || g.Verdict == approval.Rejected
}
