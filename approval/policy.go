package approval

import (
	"errors"
	"time"

	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// A Policy says which steps wait for a person. It is plain data; fill it in Go or read it with [ParsePolicy].
//
// A nil Policy and the zero Policy ask for every mutating step. Whatever the policy, a step whose document asks for
// approval waits for a person.
type Policy struct {
	// Table has one row per band of confidence, the highest first. The last row's Confidence is the least with which a plan is
	// accepted at all. Empty: every mutating step asks.
	Table []Row `json:"table,omitempty"`
	// MaxSteps is the number of steps above which a plan is gated as a whole. 0 is the default of 10, -1 no limit. Without a Table it is not used.
	MaxSteps int `json:"maxSteps,omitempty"`
	// Risks raises the risk of every step of an action type.
	Risks map[string]schema.Risk `json:"risks,omitempty"`
	// ProtectedNamespaces are closed to mutating actions, beside those that always are.
	ProtectedNamespaces []string `json:"protectedNamespaces,omitempty"`
	// Components are what restart_network may restart in a protected namespace; such a step always asks.
	Components []string `json:"components,omitempty"`
	// Timeout is how long a request waits before the answer is no. Defaults to 15m.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// A Row of the table applies to confidences of at least Confidence (and below that of the row before).
type Row struct {
	Confidence float64 `json:"confidence"`
	// Ask is the lowest risk that waits for a person; schema.RiskUnset asks for none.
	Ask schema.Risk `json:"ask"`
}

// DefaultTimeout is how long a request waits when the policy does not say.
const DefaultTimeout = 15 * time.Minute

// DefaultMaxSteps is the number of steps above which a plan is gated as a whole when the policy does not say.
const DefaultMaxSteps = 10

// IncidentTable returns the policy for incidents: from 0.90 only critical steps ask, from 0.80 high ones too, from
// 0.60 medium ones too; below that the plan is refused. A confidence that is not given counts as the lowest row.
func IncidentTable() *Policy {
	return &Policy{Table: []Row{{0.90, schema.RiskCritical}, {0.80, schema.RiskHigh}, {0.60, schema.RiskMedium}}}
}

// ParsePolicy reads a policy in YAML. Unknown fields and values that contradict each other are errors that name their
// line.
func ParsePolicy(data []byte) (*Policy, error) { return nil, nil }

// A Gate says whether something waits for a person, and why.
type Gate struct {
	Required bool
	// Risk is the effective risk, the highest of registry, policy and plan.
	Risk schema.Risk
	// Reasons say why a person is asked, one line each; empty when none is.
	Reasons []string
}

// Gates are the gates of a plan.
type Gates struct {
	// Plan gates the plan as a whole, before anything starts.
	Plan Gate
	// Steps by index.
	Steps []Gate
}

// Required tells whether step i waits for a person. It can be handed to package render.
func (g *Gates) Required(i int) bool { return g.Steps[i].Required }

// ErrLowConfidence refuses a plan whose analysis is less sure than the table's last row.
var ErrLowConfidence = errors.New("confidence is too low")

// Confidence is what the caller (never the plan) says about the analysis as a whole.
type Confidence struct {
	// Value is between 0 and 1; meaningful only when Given.
	Value float64
	Given bool
	// AllowLow accepts a plan below the table's last row; then every mutating step waits for a person.
	AllowLow bool
}

// Gates returns the gates of a plan. It refuses a plan with [ErrLowConfidence], and a Confidence outside 0 to 1.
func (p *Policy) Gates(plan *dag.Plan, c Confidence) (*Gates, error) { return nil, nil }
