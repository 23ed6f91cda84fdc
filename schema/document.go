package schema

import "time"

// A Document is a recommendations document as it was read. Build one by hand for tests and bots; the zero Document
// has no recommendations and is not a plan.
//
// A Document is plain data. It is not safe for concurrent use while a plan is being built from it.
type Document struct {
	// Recommendations are the steps, in document order.
	Recommendations []Recommendation `json:"recommendations" validate:"required,min=1,dive"`
	// EstimatedDuration is what the model expects the whole to take. It is shown, never used.
	EstimatedDuration Estimate `json:"estimatedDuration,omitzero"`
	// HistoricalSuccessRate is between 0 and 1; nil when it is not given.
	HistoricalSuccessRate *float64 `json:"historicalSuccessRate,omitempty" validate:"omitempty,min=0,max=1"`
	// Workflow is the manifest that was read, its steps left out; nil for a recommendations document. What it wishes
	// for (no dry run, no rollback) binds nobody: it is said in a warning and not followed.
	Workflow *WorkflowExecution `json:"-" validate:"-"`

	// Problems are the errors and warnings found so far, in the order of the document.
	Problems []Problem `json:"-" validate:"-"`
	// Repairs are the changes the reader made so that the document could be read, in the order of the document.
	Repairs []Repair `json:"-" validate:"-"`

	// strict refuses repairs, also those of later stages.
	strict bool
	// source finds positions; nil for a document built by hand.
	source *source
	// errors and warnings count what later stages reported; unordered tells that it is not in its place yet.
	errors, warnings int
	unordered        bool
}

// A Recommendation is one step of the document, as the document says it: parameter names keep the document's
// spelling, and nothing is filled in.
type Recommendation struct {
	// ID names the step. Required; letters, digits, dot, underscore and hyphen, at most 63.
	ID string `json:"id" validate:"required,stepid"`
	// Action names the action type. Required.
	Action      string `json:"action" validate:"required"`
	Description string `json:"description,omitempty"`
	// Confidence of the model in this step, between 0 and 1; nil when it is not given.
	Confidence *float64 `json:"confidence,omitempty" validate:"omitempty,min=0,max=1"`
	// Parameters of the action: strings, bools, numbers (int64, float64 or any Go number), []any and map[string]any.
	Parameters map[string]any `json:"parameters,omitempty"`
	// Dependencies are ids of the steps that must have succeeded before this one starts.
	Dependencies []string `json:"dependencies,omitempty"`
	Rationale    string   `json:"rationale,omitempty"`
	// Risk as the model sees it. It can raise the registry's floor, never lower it.
	Risk Risk `json:"risk,omitempty"`
	// RequiresApproval has three states: nil (not said), true (always ask), false (which removes nothing).
	RequiresApproval *bool `json:"requiresApproval,omitempty"`
	// Target is the object of the dialect that names it apart from the parameters; nil elsewhere.
	Target *Target `json:"targetResource,omitempty"`
	// Name is a title for people; manifests have one.
	Name string `json:"name,omitempty"`
	// Timeout the document asks for; 0 when it is not given.
	Timeout time.Duration `json:"timeout,omitempty" validate:"min=0"`

	// node is this step's value in the source, order its parameter names as they were written.
	node  int32
	order []string
}

// A Target names one Kubernetes object. Namespace is empty for cluster-scoped kinds and where it is not known.
type Target struct {
	Kind      string `json:"kind" validate:"required"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name" validate:"required"`
}

// String returns "Kind namespace/name", or "Kind name" without a namespace.
func (t Target) String() string {
	if t.Namespace == "" {
		return t.Kind + " " + t.Name
	}
	return t.Kind + " " + t.Namespace + "/" + t.Name
}
