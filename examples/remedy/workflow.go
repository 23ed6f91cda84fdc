package main

import (
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/remedykit/remedy/approval"
)

func (a *app) workflowCommand() *cobra.Command {
	var flags planFlags
	var name, request string
	cmd := &cobra.Command{
		Use:   "workflow FILE --name NAME",
		Short: "Write a plan as a WorkflowExecution manifest",
		Long: `workflow writes a plan as a WorkflowExecution manifest. Steps that are gated under --policy and --confidence
require approval in it, and so do steps whose risk the document raises so far that they are gated without a confidence:
a manifest has no field for a risk. Its namespace is --namespace, else the first that a step names.`,
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
			gated, err := l.manifestGates()
			if err != nil {
				return err
			}
			manifest := l.plan.Manifest(name, flags.namespace, request, gated).YAML()
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

// manifestGates are the gates that a manifest keeps. Read back with another confidence it must ask at least where the
// document would, but it cannot say that the document raised a risk.
func (l *loaded) manifestGates() (func(i int) bool, error) {
	cautious, err := l.policy.Gates(l.plan, approval.Confidence{}, time.Now())
	if err != nil {
		return nil, err
	}
	return func(i int) bool {
		s := l.plan.Step(i)
		return l.gates.Required(i) || cautious.Required(i) && s.Risk() > s.Spec().RiskFloor
	}, nil
}

var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// isObjectName tells an RFC 1123 subdomain.
func isObjectName(s string) bool { return len(s) <= 253 && objectName.MatchString(s) }
