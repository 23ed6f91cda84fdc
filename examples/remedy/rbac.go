package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/actions/sealed"
	"github.com/remedykit/remedy/dag"
)

func (a *app) rbacCommand() *cobra.Command {
	var flags planFlags
	var name, file string
	cmd := &cobra.Command{
		Use:   "rbac FILE",
		Short: "Print the role that a plan needs, and nothing more",
		Long: `rbac prints, in YAML, the Role of each namespace and the ClusterRole that an account needs to look at the plan's objects
first, to carry the plan out and to undo it. It needs no cluster. Bind them to the account of the runner.

What a site has set up changes what steps do: give the --site that run is given. A runner in a pod is known by POD_NAMESPACE
and POD_NAME then, as to run.`,
		Example: `  remedy rbac plan.json | kubectl apply -f -
  remedy rbac plan.json --site site.yaml | kubectl apply -f -`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.load(cmd.Context(), &flags, args[0])
			if err != nil {
				return err
			}
			rights := kube.Rights(tasks(l.plan)...)
			if file != "" {
				s, err := a.readSite(cmd.Context(), file)
				if err != nil {
					return err
				}
				if rights, err = s.rights(tasks(l.plan)); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
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
	cmd.Flags().StringVar(&file, "site", "", "`file` (YAML) with the site's commands and ways, as for run")
	return cmd
}

// rights are those that tasks need at a site. It asks for no secret: only what a way needs counts, not whether it is open.
func (s *site) rights(tasks []*actions.Task) ([]kube.Right, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	if s.SealedKeyEnv != "" {
		o.Sealed = struct{ sealed.Store }{}
	}
	c, err := kube.New(&rest.Config{}, o) // it does not connect
	if err != nil {
		return nil, err
	}
	return c.Rights(tasks...), nil
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
