package main

import (
	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/dag"
)

func (a *app) rbacCommand() *cobra.Command {
	var flags planFlags
	var name string
	cmd := &cobra.Command{
		Use:   "rbac FILE",
		Short: "Print the role that a plan needs, and nothing more",
		Long: `rbac prints, in YAML, the Role of each namespace and the ClusterRole that an account needs to look at the plan's objects
first, to carry the plan out and to undo it. It needs no cluster. Bind them to the account of the runner.`,
		Example: "  remedy rbac plan.json | kubectl apply -f -",
		Args:    oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.load(cmd.Context(), &flags, args[0])
			if err != nil {
				return err
			}
			rights := kube.Rights(tasks(l.plan)...)
			if a.json() {
				out := []rightOutput{}
				for _, r := range rights {
					out = append(out, rightOutput(r))
				}
				return writeJSON(a.stdout, out)
			}
			data, err := kube.Roles(name, rights)
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(data)
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&name, "name", "remedy", "name of the roles")
	return cmd
}

type rightOutput struct {
	Verb      string `json:"verb"`
	Group     string `json:"group"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// tasks are what the steps of a plan ask of handlers.
func tasks(p *dag.Plan) []*actions.Task {
	all := make([]*actions.Task, p.Len())
	for i := range all {
		all[i] = p.Step(i).Task()
	}
	return all
}
