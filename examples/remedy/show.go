package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/executor"
)

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
