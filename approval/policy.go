package approval

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/remedykit/remedy/schema"
)

// A Policy says which steps wait for a person. It is plain data; fill it in Go or read it with [ParsePolicy].
//
// A nil Policy and the zero Policy ask for every mutating step. Whatever the policy, a step whose document asks for
// approval waits for a person.
type Policy struct {
	// Table has one row per band of confidence, the highest first; a lower row may ask for more, never for less. The last
	// row's Confidence is the least with which a plan is accepted at all. Empty: every mutating step asks.
	Table []Row `json:"table,omitempty"`
	// MaxSteps is the number of steps above which a plan is gated as a whole. Defaults to 10, -1 is no limit. Without a
	// Table it is not used.
	MaxSteps int `json:"maxSteps,omitempty"`
	// Risks raises the risk of every step of an action type, which may be given by an alias that its Spec lists.
	Risks map[string]schema.Risk `json:"risks,omitempty"`
	// ProtectedNamespaces are closed to mutating actions, beside kube-system, kube-public and kube-node-lease. Hand them
	// to dag.Protect as well, so that the problem is shown with its line; Gates refuses such a plan in any case.
	ProtectedNamespaces []string `json:"protectedNamespaces,omitempty"`
	// Components are what restart_network may restart in a protected namespace; hand them to dag.AllowComponents as well.
	// Such a step always asks, and so does one that leaves the namespace open.
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

// Wait is how long a request waits before the answer is no: Timeout, or its default.
func (p *Policy) Wait() time.Duration {
	if p == nil || p.Timeout <= 0 {
		return DefaultTimeout
	}
	return p.Timeout
}

// Validate tells what is wrong with a policy, all of it at once. A nil Policy is valid.
func (p *Policy) Validate() error {
	if p == nil {
		return nil
	}
	var errs []error
	p.check(func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("approval: policy: %s: %s", field, fmt.Sprintf(format, args...)))
	})
	return errors.Join(errs...)
}

// check reports every fault with the path of its field, in the order of the fields.
func (p *Policy) check(report func(field, format string, args ...any)) {
	for i, row := range p.Table {
		field := fmt.Sprintf("table[%d].", i)
		if !(row.Confidence >= 0 && row.Confidence <= 1) {
			report(field+"confidence", "%v is not between 0 and 1", row.Confidence)
		} else if i > 0 && !(row.Confidence < p.Table[i-1].Confidence) {
			report(field+"confidence", "%s is not below %s of the row before; list the highest first",
				decimal(row.Confidence), decimal(p.Table[i-1].Confidence))
		}
		if row.Ask > schema.RiskCritical {
			report(field+"ask", "%d is no risk", row.Ask)
		} else if i > 0 && threshold(row.Ask) > threshold(p.Table[i-1].Ask) {
			report(field+"ask", "%s asks for less than the row before, although the confidence is lower", askWord(row.Ask))
		}
	}
	if p.MaxSteps < -1 {
		report("maxSteps", "%d is less than -1, which stands for no limit", p.MaxSteps)
	}
	for _, action := range slices.Sorted(maps.Keys(p.Risks)) {
		if !isName(action, "_") {
			report("risks."+action, "this is not an action type in snake_case")
		} else if r := p.Risks[action]; r < schema.RiskNone || r > schema.RiskCritical {
			report("risks."+action, "%d is no risk", r)
		}
	}
	for i, ns := range p.ProtectedNamespaces {
		if !isName(ns, "-") || len(ns) > 63 {
			report(fmt.Sprintf("protectedNamespaces[%d]", i), "%q is not the name of a namespace; patterns are not read", ns)
		}
	}
	for i, c := range p.Components {
		if !isName(c, "-.") || len(c) > 253 {
			report(fmt.Sprintf("components[%d]", i), "%q is not the name of a component; patterns are not read", c)
		}
	}
	if p.Timeout < 0 {
		report("timeout", "%s is negative; leave it out for %s", p.Timeout, DefaultTimeout)
	}
}
