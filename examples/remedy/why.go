package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

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
