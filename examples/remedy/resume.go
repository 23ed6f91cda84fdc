package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/cel"
	"github.com/remedykit/remedy/executor"
)

func (a *app) resumeCommand() *cobra.Command {
	var f conductFlags
	cmd := &cobra.Command{
		Use:   "resume RUN --handlers simulated|kube",
		Short: "Go on with a run that was parked, interrupted or killed",
		Long: `resume goes on with a run of the journal. Plan, overlay, confidence and policy are the run's. What succeeded is not run
again, approvals still count, and of a step that may have taken effect when the process died its handler, or else a
person, is asked. Of a run that has finished nothing changes, and its report is printed again.`,
		Example: "  remedy resume run-20260102-030405-abcdefghij --handlers simulated",
		Args:    oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.goOn(cmd, &f, args[0], func(ctx context.Context, ex *executor.Executor, h *executor.History) (*executor.Run, error) {
				return ex.Start(ctx, h.Plan, h.Options)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) rollbackCommand() *cobra.Command {
	var f conductFlags
	cmd := &cobra.Command{
		Use:   "rollback RUN --handlers simulated|kube",
		Short: "Undo what a run did",
		Long: `rollback undoes what a run of the journal did, the last first, as far as it can be undone and nobody else has changed it
since. A run that has not finished is cancelled. What was undone before is not undone again.`,
		Example: "  remedy show run-20260102-030405-abcdefghij\n  remedy rollback run-20260102-030405-abcdefghij --handlers simulated",
		Args:    oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.goOn(cmd, &f, args[0], func(ctx context.Context, ex *executor.Executor, h *executor.History) (*executor.Run, error) {
				return ex.Rollback(ctx, h.Plan, args[0])
			})
		},
	}
	f.add(cmd)
	return cmd
}

// goOn conducts a run of the journal.
func (a *app) goOn(cmd *cobra.Command, f *conductFlags, run string,
	start func(context.Context, *executor.Executor, *executor.History) (*executor.Run, error)) error {
	config, err := a.config(f, "")
	if err != nil {
		return usage(cmd, "%w", err)
	}
	h, err := f.history(cmd.Context(), run)
	if err != nil {
		return err
	}
	if err := h.Policy.Compile(cel.Compile); err != nil {
		return err
	}
	if err := a.connect(cmd.Context(), f, &config); err != nil {
		return err
	}
	return a.conduct(cmd, f, config, a.journalled(h), func(ctx context.Context, ex *executor.Executor) (*executor.Run, error) {
		return start(ctx, ex, h)
	})
}

func (a *app) approveCommand() *cobra.Command {
	var f decideFlags
	cmd := &cobra.Command{
		Use:     "approve RUN STEP --by NAME",
		Short:   "Approve a step that waits",
		Long:    "approve approves a step of a parked run, or the plan as a whole when STEP is plan. The run goes on with resume.",
		Example: "  remedy approve run-20260102-030405-abcdefghij rec-004 --by ann --comment \"looked at the heap dump\"",
		Args:    runAndStep,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.decide(cmd, &f, args[0], args[1], approval.Approved)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.reason, "comment", "", "why, in your own words")
	return cmd
}

func (a *app) rejectCommand() *cobra.Command {
	var f decideFlags
	cmd := &cobra.Command{
		Use:     "reject RUN STEP --by NAME --reason TEXT",
		Short:   "Reject a step that waits",
		Long:    "reject rejects a step of a parked run, or the plan as a whole when STEP is plan. The run ends with resume.",
		Example: "  remedy reject run-20260102-030405-abcdefghij rec-004 --by ann --reason \"not during the sale\"",
		Args:    runAndStep,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(f.reason) == "" {
				return usage(cmd, "--reason is required")
			}
			return a.decide(cmd, &f, args[0], args[1], approval.Rejected)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.reason, "reason", "", "why (required)")
	return cmd
}

type decideFlags struct {
	journalFlags
	by, reason string
}

func (f *decideFlags) add(cmd *cobra.Command) {
	f.journalFlags.add(cmd)
	cmd.Flags().StringVar(&f.by, "by", "", "who decides (required)")
}

// decide records a decision about a run of the journal.
func (a *app) decide(cmd *cobra.Command, f *decideFlags, run, step string, v approval.Verdict) error {
	if strings.TrimSpace(f.by) == "" {
		return usage(cmd, "--by is required")
	}
	h, err := f.history(cmd.Context(), run)
	if err != nil {
		return err
	}
	_, isStep := h.Plan.Index(step)
	if !isStep && step != "plan" {
		return usage(cmd, "run %s has no step %q", run, step)
	}
	d := approval.Decision{Verdict: v, By: f.by, Reason: f.reason}
	for _, q := range h.Report.Waiting() {
		if isStep == (q.Step != nil) && (q.Step == nil || q.Step.ID() == step) {
			d.Digest = q.Digest
		}
	}
	if !isStep {
		step = ""
	}
	files, err := f.existing()
	if err != nil {
		return err
	}
	defer files.Close()
	ex, err := executor.New(executor.Config{Handlers: simulated.New(simulated.Options{}).Handlers(actions.Canonical()), Journal: files})
	if err != nil {
		return err
	}
	if err := ex.Decide(cmd.Context(), run, step, d); err != nil {
		for _, refused := range []error{approval.ErrNotAsked, approval.ErrDecided, approval.ErrVoted, approval.ErrExpired, approval.ErrDigest, approval.ErrNotApprover} {
			if errors.Is(err, refused) {
				return failed(err)
			}
		}
		return err
	}
	what := step
	if what == "" {
		what = "plan"
	}
	if a.json() {
		return writeJSON(a.stdout, map[string]string{"run": run, "step": step, "verdict": v.String(), "by": f.by})
	}
	if h, err = executor.Replay(cmd.Context(), files, run, actions.Canonical()); err == nil {
		for _, q := range h.Report.Waiting() {
			if left := waiting(h.Report, q, time.Now()); q.Digest == d.Digest && left.Needs != "" {
				fmt.Fprintf(a.stdout, "%s of run %s has the yes of %s; still needed: %s\n", what, run, printable(f.by), printable(left.Needs))
				return nil
			}
		}
	}
	fmt.Fprintf(a.stdout, "%s of run %s is %s by %s; it goes on with: remedy resume %[2]s --handlers …\n", what, run, v, printable(f.by))
	return nil
}
