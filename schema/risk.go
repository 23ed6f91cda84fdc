package schema

import (
	"fmt"
	"strings"
)

// Risk orders what can go wrong with a step. The zero Risk is not given.
type Risk uint8

// The risks, in rising order.
const (
	RiskUnset Risk = iota
	RiskNone
	RiskLow
	RiskMedium
	RiskHigh
	RiskCritical
)

// String returns the word the document uses, "" for RiskUnset.
func (r Risk) String() string {
	switch r {
	case RiskNone:
		return "none"
	case RiskLow:
		return "low"
	case RiskMedium:
		return "medium"
	case RiskHigh:
		return "high"
	case RiskCritical:
		return "critical"
	}
	return ""
}

// ParseRisk reads a risk in any case. An unknown word is an error and never a risk.
func ParseRisk(s string) (Risk, error) {
	for r := RiskNone; r <= RiskCritical; r++ {
		if strings.EqualFold(s, r.String()) {
			return r, nil
		}
	}
	return RiskUnset, fmt.Errorf("risk %q is none of none, low, medium, high, critical", s)
}

// MarshalText writes the word.
func (r Risk) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the word; the empty text is RiskUnset.
func (r *Risk) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = RiskUnset
		return nil
	}
	v, err := ParseRisk(string(b))
	*r = v
	return err
}
