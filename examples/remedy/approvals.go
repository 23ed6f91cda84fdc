package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/crd"
	"github.com/remedykit/remedy/executor"
)

type approvalOutput struct {
	Run string `json:"run"`
	// Step is "plan" for the plan as a whole, as approve and reject take it.
	Step      string    `json:"step"`
	Action    string    `json:"action,omitempty"`
	Risk      string    `json:"risk"`
	Reasons   []string  `json:"reasons"`
	Needs     string    `json:"needs"`
	Votes     []string  `json:"votes"`
	AskedAt   time.Time `json:"askedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Digest    string    `json:"digest"`
}

func (a *app) approvalsCommand() *cobra.Command {
	var f journalFlags
	var manifests bool
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "List what waits for a decision",
		Long: `approvals lists the questions of all runs of the journal that wait for a decision, the one that expires first at the
top, with whose yes is still needed. With --manifests it prints the definition, the admission policy and the roles of
run --approve cluster, whose questions are objects that people decide with kubectl.`,
		Example: "  remedy approvals\n  remedy approvals -o json | jq -r '.[] | \"\\(.run) \\(.step)\"'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if manifests {
				_, err := io.WriteString(a.stdout, crd.Manifests())
				return err
			}
			files, err := f.existing()
			if err != nil {
				return err
			}
			defer files.Close()
			heads, err := files.Runs(cmd.Context())
			if err != nil {
				return err
			}
			now, all := time.Now(), []approvalOutput{}
			for _, h := range heads {
				history, err := executor.Replay(cmd.Context(), files, h.First.Run, actions.Canonical())
				if cmd.Context().Err() != nil {
					return cmd.Context().Err()
				}
				if err != nil { // remedy runs says so
					continue
				}
				for _, q := range history.Report.Waiting() {
					if now.Before(q.ExpiresAt) {
						all = append(all, waiting(history.Report, q, now))
					}
				}
			}
			slices.SortStableFunc(all, func(x, y approvalOutput) int { return x.ExpiresAt.Compare(y.ExpiresAt) })
			if a.json() {
				return writeJSON(a.stdout, all)
			}
			a.writeApprovals(all, now)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&manifests, "manifests", false, "print what --approve cluster needs in a cluster, for kubectl apply -f -")
	return cmd
}

func waiting(r *executor.Report, q *approval.Request, now time.Time) approvalOutput {
	out := approvalOutput{Run: r.Run(), Step: "plan", Risk: q.Gate.Risk.String(), Reasons: q.Gate.Reasons, Votes: []string{}, AskedAt: q.AskedAt, ExpiresAt: q.ExpiresAt, Digest: q.Digest}
	gate := r.PlanGate()
	if q.Step != nil {
		out.Step, out.Action = q.Step.ID(), q.Step.Action()
		gate = r.Step(q.Step.Index()).Gate
	}
	tally := approval.NewTally(q)
	for _, v := range gate.Votes {
		out.Votes = append(out.Votes, v.By)
		_, _ = tally.Cast(approval.Decision{Verdict: approval.Approved, By: v.By, Groups: v.Groups, Digest: q.Digest}, v.At)
	}
	out.Needs = tally.Standing(now).Missing
	return out
}

func (a *app) writeApprovals(all []approvalOutput, now time.Time) {
	if len(all) == 0 {
		fmt.Fprintln(a.stdout, "nothing waits for a decision")
		return
	}
	t := table{head: []string{"RUN", "STEP", "ACTION", "RISK", "LEFT", "NEEDS", "BECAUSE"}}
	for _, q := range all {
		t.row(q.Run, q.Step, q.Action, q.Risk, short(q.ExpiresAt.Sub(now)), printable(q.Needs), printable(strings.Join(q.Reasons, "; ")))
	}
	t.write(a.stdout, a.color)
	fmt.Fprintln(a.stdout, "\ndecide with: remedy approve RUN STEP --by NAME, or remedy reject RUN STEP --by NAME --reason …")
}
