package schema

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

// YAML writes the manifest as people write it: steps apart by a blank line, parameters in document order.
func (w *WorkflowExecution) YAML() []byte { return nil }
