package main

import (
	"regexp"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func (a *app) workflowCommand() *cobra.Command {
	var flags planFlags
	var name, request string
	cmd := &cobra.Command{
		Use:   "workflow FILE --name NAME",
		Short: "Write a plan as a WorkflowExecution manifest",
		Long: `workflow writes a plan as a WorkflowExecution manifest. Steps that are gated under --policy and --confidence
require approval in it. Its namespace is --namespace, else the first that a step names.`,
		Example: `  remedy workflow plan.json --name oomkill-workflow --confidence 0.725 | kubectl apply -f -
  remedy workflow plan.json --name oomkill-workflow --request remediation-oomkill --overlay overlay.yaml`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case name == "":
				return usage(cmd, "--name is required")
			case !isObjectName(name):
				return usage(cmd, "--name %q is not the name of a Kubernetes object", name)
			case request != "" && !isObjectName(request):
				return usage(cmd, "--request %q is not the name of a Kubernetes object", request)
			}
			l, err := a.load(cmd.Context(), &flags, args[0])
			if err != nil {
				return err
			}
			manifest := l.plan.Manifest(name, flags.namespace, request, l.gates.Required).YAML()
			if !a.json() {
				_, err := a.stdout.Write(manifest)
				return err
			}
			var v any
			if err := yaml.Unmarshal(manifest, &v); err != nil {
				return err
			}
			return writeJSON(a.stdout, v)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "name of the manifest (required)")
	cmd.Flags().StringVar(&request, "request", "", "name of the remediation request that it answers")
	return cmd
}

var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// isObjectName tells an RFC 1123 subdomain.
func isObjectName(s string) bool { return len(s) <= 253 && objectName.MatchString(s) }
