package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// journalFlags say where runs are kept.
type journalFlags struct{ journal string }

func (f *journalFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.journal, "journal", "", "`folder` of the journal; remedy under $XDG_STATE_HOME without it")
}

// open opens the journal.
func (f *journalFlags) open() (*journal.Files, error) {
	dir := f.journal
	if dir == "" {
		state := os.Getenv("XDG_STATE_HOME")
		if state == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("--journal is required: %w", err)
			}
			state = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(state, "remedy")
	}
	return journal.Open(dir, journal.Options{})
}

// history reads a run from the journal.
func (f *journalFlags) history(ctx context.Context, run string) (*executor.History, error) {
	files, err := f.open()
	if err != nil {
		return nil, err
	}
	defer files.Close()
	h, err := executor.Replay(ctx, files, run, actions.Canonical())
	return h, unknown(ctx, files, run, err)
}

// unknown adds the runs that there are to the error for a run that there is not.
func unknown(ctx context.Context, j journal.Journal, run string, err error) error {
	if !errors.Is(err, executor.ErrUnknownRun) {
		return err
	}
	heads, _ := j.Runs(ctx)
	for i, h := range heads {
		if i == 0 {
			err = fmt.Errorf("%w; the last are", err)
		}
		if i < 3 {
			err = fmt.Errorf("%w %s", err, h.First.Run)
		}
	}
	return err
}

// oneRun refuses other arguments than one run.
func oneRun(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(cmd, "%s needs one RUN", cmd.Name())
	}
	return nil
}

// runAndStep refuses other arguments than a run and a step.
func runAndStep(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usage(cmd, "%s needs a RUN and a STEP", cmd.Name())
	}
	return nil
}

type runOutput struct {
	Run       string             `json:"run"`
	Status    executor.RunStatus `json:"status"`
	Plan      string             `json:"plan"`
	StartedAt time.Time          `json:"startedAt"`
	EndedAt   *time.Time         `json:"endedAt"`
}

func (a *app) runsCommand() *cobra.Command {
	var f journalFlags
	cmd := &cobra.Command{
		Use:     "runs",
		Short:   "List the runs of the journal",
		Long:    "runs lists the runs of the journal, the newest first. The plan is shown by its digest.",
		Example: "  remedy runs\n  remedy runs -o json | jq -r '.[] | select(.status == \"parked\") | .run'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := f.open()
			if err != nil {
				return err
			}
			defer files.Close()
			heads, err := files.Runs(cmd.Context())
			if err != nil {
				return err
			}
			all := []runOutput{}
			for _, h := range heads {
				out := runOutput{Run: h.First.Run, StartedAt: h.First.Time, Status: "unreadable"}
				if history, err := executor.Replay(cmd.Context(), files, out.Run, actions.Canonical()); err == nil {
					out.Status, out.Plan = history.Report.Status(), history.Plan.Digest()
					if !history.EndedAt.IsZero() {
						out.EndedAt = &history.EndedAt
					}
				} else if cmd.Context().Err() != nil {
					return cmd.Context().Err()
				} else {
					fmt.Fprintf(a.stderr, "%s\n", printable(err.Error()))
				}
				all = append(all, out)
			}
			if a.json() {
				return writeJSON(a.stdout, all)
			}
			if len(all) == 0 {
				fmt.Fprintln(a.stdout, "no runs")
				return nil
			}
			t := table{head: []string{"RUN", "STATUS", "STARTED", "TOOK", "PLAN"}}
			for _, r := range all {
				took := ""
				if r.EndedAt != nil {
					took = short(r.EndedAt.Sub(r.StartedAt))
				}
				t.row(r.Run, words(string(r.Status)), r.StartedAt.Local().Format(time.DateTime), took, r.Plan[:min(len(r.Plan), 19)])
			}
			t.write(a.stdout, a.color)
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) verifyCommand() *cobra.Command {
	var f journalFlags
	cmd := &cobra.Command{
		Use:     "verify RUN",
		Short:   "Check that nobody changed a run's journal",
		Long:    "verify checks the hash chain of a run's records and names the first that was changed. It cannot see that records\nwere cut off the end.",
		Example: "  remedy verify run-20260102-030405-abcdefghij",
		Args:    oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := f.open()
			if err != nil {
				return err
			}
			defer files.Close()
			records, err := files.Read(cmd.Context(), args[0])
			if errors.Is(err, journal.ErrUnknownRun) {
				return unknown(cmd.Context(), files, args[0], fmt.Errorf("%w: %s", executor.ErrUnknownRun, args[0]))
			}
			if err == nil {
				err = journal.Verify(records)
			}
			broken, isBroken := errors.AsType[*journal.BrokenError](err)
			if err != nil && !isBroken {
				return err
			}
			if a.json() {
				out := map[string]any{"run": args[0], "ok": err == nil, "records": len(records)}
				if isBroken {
					out["record"], out["message"] = broken.Seq, broken.Error()
				}
				if err := writeJSON(a.stdout, out); err != nil {
					return err
				}
			} else if err == nil {
				fmt.Fprintf(a.stdout, "%s: %s, the chain is whole\n", printable(args[0]), count(len(records), "record"))
			} else {
				fmt.Fprintf(a.stdout, "%s\n", printable(broken.Error()))
			}
			if isBroken {
				return &exit{code: exitFailed}
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) whyCommand() *cobra.Command {
	var f journalFlags
	cmd := &cobra.Command{
		Use:     "why RUN STEP",
		Short:   "Explain why a step did not succeed",
		Long:    "why prints the chain of causes from a step down to the event that began it.",
		Example: "  remedy why run-20260102-030405-abcdefghij rec-006",
		Args:    runAndStep,
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := f.history(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			i, ok := h.Plan.Index(args[1])
			if !ok {
				return usage(cmd, "run %s has no step %q", args[0], args[1])
			}
			chain := h.Report.Why(args[1])
			if a.json() {
				type link struct {
					Step    string `json:"step,omitempty"`
					Status  string `json:"status,omitempty"`
					Reason  string `json:"reason"`
					Message string `json:"message,omitempty"`
				}
				out := []link{}
				for _, c := range chain {
					l := link{Step: c.Step, Reason: c.Reason.String(), Message: c.Message}
					if c.Step != "" {
						l.Status = c.Status.String()
					}
					out = append(out, l)
				}
				return writeJSON(a.stdout, out)
			}
			if chain == nil {
				fmt.Fprintf(a.stdout, "%s %s\n", title(h.Plan.Step(i)), words(h.Report.Step(i).Status.String()))
				return nil
			}
			for k, c := range chain {
				who := "the run"
				if j, ok := h.Plan.Index(c.Step); ok {
					who = title(h.Plan.Step(j)) + " " + words(c.Status.String())
				}
				because := ""
				if k > 0 {
					because = "because "
				}
				fmt.Fprintf(a.stdout, "%s%s: %s%s\n", because, who, words(c.Reason.String()), printable(colon(c.Message)))
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) showCommand() *cobra.Command {
	var f journalFlags
	cmd := &cobra.Command{
		Use:     "show RUN",
		Short:   "Show how a run stands or how it ended",
		Long:    "show prints what the journal knows of a run: its report, what waits for whom, and what a rollback would undo.",
		Example: "  remedy show run-20260102-030405-abcdefghij\n  remedy show run-20260102-030405-abcdefghij -o json | jq .report.status",
		Args:    oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := f.history(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return json.NewEncoder(a.stdout).Encode(map[string]any{"report": h.Report, "rollbackPlan": orEmpty(h.Report.RollbackPlan())})
			}
			l := a.journalled(h)
			fmt.Fprintf(a.stdout, "plan %s, started %s\n", h.Plan.Digest()[:19], h.StartedAt.Local().Format(time.DateTime))
			for s := range h.Report.Steps() {
				fmt.Fprintf(a.stdout, "  %-16s %s", words(s.Status.String()), title(h.Plan.Step(s.Number-1)))
				if s.Status.Final() && s.Reason != executor.ReasonCompleted {
					fmt.Fprintf(a.stdout, ", %s", words(s.Reason.String()))
				}
				fmt.Fprintln(a.stdout)
			}
			a.writeSummary(l, h.Report)
			for _, c := range h.Report.RollbackPlan() {
				fmt.Fprintf(a.stdout, "  a rollback would undo %s: %s\n", c.Step, printable(c.Summary))
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func orEmpty(plan []executor.Compensation) []executor.Compensation {
	if plan == nil {
		return []executor.Compensation{}
	}
	return plan
}

// journalled is what the commands that show a run know of a plan.
func (a *app) journalled(h *executor.History) *loaded {
	gates, _ := h.Policy.Gates(h.Plan, h.Options.Confidence) // they were accepted when the run began
	return &loaded{file: "run " + h.Report.Run(), plan: h.Plan, gates: gates, policy: h.Policy, registry: actions.Canonical(), began: h.StartedAt}
}
