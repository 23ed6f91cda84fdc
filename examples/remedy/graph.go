package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
)

func (a *app) graphCommand() *cobra.Command {
	var flags planFlags
	var format string
	cmd := &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw a plan: box, tree, mermaid, dot or svg",
		Long:  `graph draws a plan. Which steps are drawn with an approval gate depends on --policy and --confidence.`,
		Example: `  remedy graph plan.json --overlay overlay.yaml --confidence 0.725
  remedy graph plan.json --format svg > plan.svg`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			draw, err := drawing(format)
			if err != nil {
				return usage(cmd, "%w", err)
			}
			l, err := a.load(cmd.Context(), &flags, args[0])
			if err != nil {
				return err
			}
			picture := draw(l.plan, l.view())
			if a.json() {
				return writeJSON(a.stdout, map[string]string{"format": format, "drawing": picture})
			}
			_, err = fmt.Fprint(a.stdout, picture)
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&format, "format", "box", "box, tree, mermaid, dot or svg")
	return cmd
}

func drawing(format string) (func(*dag.Plan, render.View) string, error) {
	switch format {
	case "box":
		return render.Box, nil
	case "tree":
		return render.Tree, nil
	case "mermaid":
		return render.Mermaid, nil
	case "dot":
		return render.DOT, nil
	case "svg":
		return render.SVG, nil
	}
	return nil, fmt.Errorf("--format %s: the formats are box, tree, mermaid, dot and svg", format)
}

// view shows the gates of a loaded plan.
func (l *loaded) view() render.View {
	return render.View{Gated: l.gates.Required, Risk: l.gates.Risk, PlanGated: l.gates.Plan.Required}
}
