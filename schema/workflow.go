package schema

import "strconv"

// A WorkflowExecution is the manifest of a plan, in the conventions of Kubernetes.
type WorkflowExecution struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace,omitempty"`
	} `json:"metadata"`
	Spec   WorkflowSpec `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

// A WorkflowSpec holds the steps and how to run them.
type WorkflowSpec struct {
	RemediationRequestRef struct {
		Name string `json:"name"`
	} `json:"remediationRequestRef,omitzero"`
	WorkflowDefinition struct {
		Steps []WorkflowStep `json:"steps"`
	} `json:"workflowDefinition"`
	ExecutionStrategy struct {
		ApprovalRequired bool   `json:"approvalRequired"`
		DryRunFirst      bool   `json:"dryRunFirst"`
		RollbackStrategy string `json:"rollbackStrategy"`
	} `json:"executionStrategy"`
}

// A WorkflowStep is one step; dependencies are step numbers.
type WorkflowStep struct {
	StepNumber       int         `json:"stepNumber"`
	Name             string      `json:"name"`
	Action           string      `json:"action"`
	Parameters       []Parameter `json:"parameters"`
	Dependencies     []int       `json:"dependencies"`
	RequiresApproval bool        `json:"requiresApproval,omitempty"`
	Timeout          string      `json:"timeout"`
}

// A Parameter is one name and value; a manifest writes a list of them as a mapping in this order.
type Parameter struct {
	Name  string
	Value any
}

// The manifest's type.
const (
	WorkflowAPIVersion = "workflowexecution.kubernaut.ai/v1alpha1"
	WorkflowKind       = "WorkflowExecution"
)

// YAML writes the manifest as people write it: steps apart by a blank line, parameters in document order. Texts stand
// in double quotes, so that none of them can be taken for YAML; a value that is no JSON value is written as a text.
func (w *WorkflowExecution) YAML() []byte {
	y := yamlWriter{}
	y.line(0, "apiVersion: ", plainOrQuoted(w.APIVersion))
	y.line(0, "kind: ", plainOrQuoted(w.Kind))
	y.line(0, "metadata:")
	y.line(2, "name: ", plainOrQuoted(w.Metadata.Name))
	if w.Metadata.Namespace != "" {
		y.line(2, "namespace: ", plainOrQuoted(w.Metadata.Namespace))
	}
	y.line(0, "spec:")
	if request := w.Spec.RemediationRequestRef.Name; request != "" {
		y.line(2, "remediationRequestRef:")
		y.line(4, "name: ", plainOrQuoted(request))
	}
	y.line(2, "workflowDefinition:")
	if len(w.Spec.WorkflowDefinition.Steps) == 0 {
		y.line(4, "steps: []")
	} else {
		y.line(4, "steps:")
	}
	for i := range w.Spec.WorkflowDefinition.Steps {
		y.step(&w.Spec.WorkflowDefinition.Steps[i])
	}
	e := w.Spec.ExecutionStrategy
	y.line(2, "executionStrategy:")
	y.line(4, "approvalRequired: ", strconv.FormatBool(e.ApprovalRequired))
	y.line(4, "dryRunFirst: ", strconv.FormatBool(e.DryRunFirst))
	if e.RollbackStrategy != "" {
		y.line(4, "rollbackStrategy: ", quoteYAML(e.RollbackStrategy))
	}
	if w.Status.Phase != "" {
		y.line(0, "status:")
		y.line(2, "phase: ", quoteYAML(w.Status.Phase))
	}
	return y.b
}
