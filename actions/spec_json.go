package actions

import "encoding/json"

// MarshalJSON writes the Spec with its time-out in seconds, and with what follows from its fields: mutating,
// reversible, estimateSeconds.
func (s Spec) MarshalJSON() ([]byte, error) {
	type fields Spec // without this method
	if s.Parameters == nil {
		s.Parameters = []Parameter{}
	}
	return json.Marshal(struct {
		fields
		TimeoutSeconds  float64 `json:"timeoutSeconds"`
		EstimateSeconds float64 `json:"estimateSeconds"`
		Mutating        bool    `json:"mutating"`
		Reversible      bool    `json:"reversible"`
	}{fields(s), s.Timeout.Seconds(), s.Estimate().Seconds(), s.Mutating(), s.Reversible()})
}
