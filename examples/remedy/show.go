package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/approval"
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
				fmt.Fprintln(a.stdout, verdictOf(s.Gate))
			}
			if text := verdictOf(h.Report.PlanGate()); text != "" {
				fmt.Fprintf(a.stdout, "  the plan as a whole%s\n", text)
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

// verdictOf says who decided about a gate, or has said yes so far; "" when nobody has.
func verdictOf(g *executor.GateReport) string {
	if g == nil || g.By == "" && len(g.Votes) == 0 {
		return ""
	}
	if g.By == "" || g.Verdict == approval.Approved {
		all := make([]string, len(g.Votes))
		for i, v := range g.Votes {
			all[i] = v.By + colon(v.Reason)
		}
		return printable(", yes of " + strings.Join(all, ", "))
	}
	return printable(", " + g.Verdict.String() + " by " + g.By + colon(g.Reason))
}

func orEmpty(plan []executor.Compensation) []executor.Compensation {
	if plan == nil {
		return []executor.Compensation{}
	}
	return plan
}
