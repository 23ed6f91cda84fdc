package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/executor"
)

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
			files, err := f.existing()
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
