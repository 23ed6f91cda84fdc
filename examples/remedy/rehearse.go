package main

import (
	"context"
	"fmt"

	"github.com/remedykit/remedy/executor"
)

// A rehearsedOutput is what the dry run says of one step.
type rehearsedOutput struct {
	ID      string   `json:"id"`
	Number  int      `json:"number"`
	Verdict string   `json:"verdict"`
	Change  []string `json:"change"`
	Error   string   `json:"error,omitempty"`
}

// rehearse makes the dry run of a plan, and prints it.
func (a *app) rehearse(ctx context.Context, config executor.Config, l *loaded, o executor.RunOptions) error {
	config.Policy = l.policy
	ex, err := executor.New(config)
	if err != nil {
		return err
	}
	r, err := ex.DryRun(ctx, l.plan, o)
	if err != nil {
		return err
	}
	out := []rehearsedOutput{}
	for s := range r.Steps() {
		line := rehearsedOutput{ID: s.ID, Number: s.Number, Verdict: s.Verdict.String(), Change: append([]string{}, s.Change...)}
		if s.Err != nil {
			line.Verdict, line.Error = "failed", s.Err.Error()
		}
		out = append(out, line)
	}
	if a.json() {
		err = writeJSON(a.stdout, map[string]any{"valid": r.Err() == nil, "steps": out})
	} else {
		for _, s := range out {
			fmt.Fprintf(a.stdout, "%s: %s\n", title(l.plan.Step(s.Number-1)), s.Verdict)
			for _, change := range append(s.Change, s.Error) {
				if change != "" {
					fmt.Fprintf(a.stdout, "    %s\n", printable(change))
				}
			}
		}
	}
	if err == nil && r.Err() != nil {
		err = &exit{code: exitFailed}
	}
	return err
}
