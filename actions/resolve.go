package actions

import "github.com/remedykit/remedy/schema"

// A Resolution is what a Spec makes of one recommendation.
type Resolution struct {
	Parameters Parameters
	// Target is the object that the step is about; the zero Target when it names none.
	Target schema.Target
	// Gate tells that a failure of this step fails the run.
	Gate bool
	// Floors are the floors that the given values reached.
	Floors []Floor
	// Artifact is the name of the artifact that the step leaves, "" for none.
	Artifact string
	// Names maps canonical parameter names to the document's, for those that differ.
	Names map[string]string
}

// NamespaceOf returns the namespace that a recommendation names under any of its spellings, "" when it names none,
// and whether the action needs one.
func (s *Spec) NamespaceOf(rec *schema.Recommendation) (namespace string, needed bool) {
	return "", false
}

// Resolve checks recommendation i of doc against the Spec and reports every problem and repair to doc. fill is the
// namespace to use where the action needs one and the recommendation names none, "" when there is none; the caller
// reports the namespace repair.
func (s *Spec) Resolve(doc *schema.Document, i int, fill string) Resolution {
	return Resolution{}
}
