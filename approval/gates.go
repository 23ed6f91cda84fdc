package approval

import (
	"errors"
	"fmt"
	"slices"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// A Gate says whether something waits for a person, and why.
type Gate struct {
	Required bool
	// Risk is the effective risk, the highest of registry, policy and plan; for a plan that of its riskiest step.
	Risk schema.Risk
	// Reasons say why a person is asked, one line each; empty when none is.
	Reasons []string
}

// Gates are the gates of a plan. They are safe to share and must not be changed.
type Gates struct {
	// Plan gates the plan as a whole, before anything starts.
	Plan Gate
	// Steps by index.
	Steps []Gate
}

// Required tells whether step i waits for a person. It can be handed to package render.
func (g *Gates) Required(i int) bool { return g.Steps[i].Required }

// Risk is the effective risk of step i, likewise.
func (g *Gates) Risk(i int) schema.Risk { return g.Steps[i].Risk }

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

// Gates returns the gates of a plan. A step waits for a person
//
//   - when the document asks for it;
//   - without a Table, when it is mutating;
//   - with one, when its effective risk reaches what the row asks for. The row is that of the lower of c and the step's
//     own confidence, where one that is not given changes nothing; without c it is the last row;
//   - when the step's own confidence is below the last row, and, if it is mutating, when c is;
//   - when it restarts the network in a protected namespace, or may.
//
// The plan as a whole waits when it has more than MaxSteps steps or when the document asks for it; that changes no
// step's gate.
//
// It refuses a plan below the last row with [ErrLowConfidence], a plan that changes a namespace of ProtectedNamespaces, a
// Confidence outside 0 to 1, and a policy that is not valid.
func (p *Policy) Gates(plan *dag.Plan, c Confidence) (*Gates, error) {
	if plan == nil {
		return nil, errors.New("approval: there is no plan to gate; build one first")
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if c.Given && !(c.Value >= 0 && c.Value <= 1) {
		return nil, fmt.Errorf("approval: confidence %v is not between 0 and 1", c.Value)
	}
	if p == nil {
		p = &Policy{}
	}
	j := judge{
		policy:     p,
		confidence: c,
		row:        len(p.Table) - 1,
		mutating:   []string{"it changes something, and the policy has no table that lets that pass unasked"},
	}
	if c.Given && len(p.Table) > 0 {
		if j.row = p.row(c.Value); j.row == len(p.Table) {
			least := decimal(p.Table[j.row-1].Confidence)
			if !c.AllowLow {
				return nil, fmt.Errorf("approval: %w: it is %s and the policy accepts a plan from %s; investigate further, "+
					"or allow low confidence and have every step that changes something approved",
					ErrLowConfidence, decimal(c.Value), least)
			}
			j.low, j.row = true, j.row-1
		}
	}

	g := &Gates{Steps: make([]Gate, plan.Len())}
	for i := range g.Steps {
		if err := j.judge(plan.Step(i), &g.Steps[i]); err != nil {
			return nil, err
		}
		g.Plan.Risk = max(g.Plan.Risk, g.Steps[i].Risk)
	}
	if limit := p.maxSteps(); limit >= 0 && plan.Len() > limit {
		g.Plan.Reasons = append(g.Plan.Reasons,
			fmt.Sprintf("the plan has %d steps; with more than %d it is approved as a whole first", plan.Len(), limit))
	}
	if plan.ApprovalRequired() {
		g.Plan.Reasons = append(g.Plan.Reasons, "the plan asks to be approved as a whole")
	}
	g.Plan.Required = len(g.Plan.Reasons) > 0
	return g, nil
}

// row returns the index of the row for a confidence, len(p.Table) below the last.
func (p *Policy) row(confidence float64) int {
	for i := range p.Table {
		if confidence >= p.Table[i].Confidence {
			return i
		}
	}
	return len(p.Table)
}

// maxSteps is -1 for no limit.
func (p *Policy) maxSteps() int {
	if len(p.Table) == 0 {
		return -1
	}
	if p.MaxSteps == 0 {
		return DefaultMaxSteps
	}
	return p.MaxSteps
}

// raised is the risk that the policy gives to an action.
func (p *Policy) raised(spec *actions.Spec) schema.Risk {
	if len(p.Risks) == 0 {
		return schema.RiskUnset
	}
	r := p.Risks[spec.Name]
	for _, alias := range spec.Aliases {
		r = max(r, p.Risks[alias])
	}
	return r
}

// A judge gates one step after the other. Most steps of a large plan are not gated, so it allocates for none of those.
type judge struct {
	policy     *Policy
	confidence Confidence
	// row is the caller's; meaningless without a table.
	row int
	// low tells that the caller's confidence is below the last row.
	low bool
	// mutating is what mutating steps share when there is no table; it is full, so that to append is to copy.
	mutating []string
}

func (j *judge) judge(step *dag.Step, gate *Gate) error {
	protected, err := j.protected(step)
	if err != nil {
		return err
	}
	gate.Risk = max(step.Risk(), j.policy.raised(step.Spec()))
	if len(j.policy.Table) == 0 {
		if step.Mutating() {
			gate.Reasons = j.mutating
		}
	} else {
		j.weigh(step, gate)
	}
	if step.RequiresApproval() {
		gate.Reasons = append(gate.Reasons, "the plan asks for approval")
	}
	if protected != "" {
		gate.Reasons = append(gate.Reasons, protected)
	}
	gate.Required = len(gate.Reasons) > 0
	return nil
}

// weigh gates by the table.
func (j *judge) weigh(step *dag.Step, gate *Gate) {
	table := j.policy.Table
	least := table[len(table)-1].Confidence
	own, given := step.Confidence()
	row, byOwn, ownLow := j.row, false, false
	if given {
		if r := j.policy.row(own); r > row {
			ownLow = r == len(table)
			row, byOwn = min(r, len(table)-1), true
		}
	}
	if gate.Risk >= threshold(table[row].Ask) {
		gate.Reasons = append(gate.Reasons, fmt.Sprintf("risk %s %s", gate.Risk, j.band(row, byOwn, own)))
		if r := j.policy.raised(step.Spec()); r > step.Risk() {
			gate.Reasons = append(gate.Reasons, fmt.Sprintf("the policy raises %s to %s", step.Action(), r))
		}
		gate.Reasons = append(gate.Reasons, step.RiskReasons()...)
	}
	if ownLow {
		gate.Reasons = append(gate.Reasons, fmt.Sprintf("the step's own confidence %s is below %s", decimal(own), decimal(least)))
	}
	if j.low && step.Mutating() {
		gate.Reasons = append(gate.Reasons, fmt.Sprintf("it changes something, and the confidence %s is below %s",
			decimal(j.confidence.Value), decimal(least)))
	}
}

// band words the confidence and what its row asks for.
func (j *judge) band(row int, byOwn bool, own float64) string {
	r := j.policy.Table[row]
	value, whose := j.confidence.Value, "confidence"
	switch {
	case byOwn:
		value, whose = own, "the step's own confidence"
	case !j.confidence.Given:
		return fmt.Sprintf("and no confidence given (counts as %s, where %s risk asks)", decimal(r.Confidence), r.Ask)
	}
	if value < r.Confidence {
		return fmt.Sprintf("at %s %s (below %s too %s risk asks)", whose, decimal(value), decimal(r.Confidence), r.Ask)
	}
	return fmt.Sprintf("at %s %s (from %s %s risk asks)", whose, decimal(value), decimal(r.Confidence), r.Ask)
}

// protected judges steps in protected namespaces. The builder has refused what must not be in those that always are,
// but may not have been told of the policy's own; what it lets through there, one action in some components, always asks.
func (j *judge) protected(step *dag.Step) (reason string, err error) {
	restart := step.Action() == "restart_network"
	if !restart && (len(j.policy.ProtectedNamespaces) == 0 || !step.Mutating()) {
		return "", nil
	}
	open := true
	look := func(namespace string) error {
		if namespace == "" {
			return nil
		}
		open = false
		own := slices.Contains(j.policy.ProtectedNamespaces, namespace)
		if own && !(restart && slices.Contains(j.policy.Components, step.Parameters().String("component"))) {
			return fmt.Errorf("approval: step %d (%s, %s) would change namespace %s, which the policy protects; leave the step out",
				step.Number(), step.ID(), step.Action(), namespace)
		}
		if own || restart && alwaysProtected(namespace) {
			reason = "it restarts the network in the protected namespace " + namespace
		}
		return nil
	}
	err = look(step.Target().Namespace)
	for i := range step.Spec().Parameters {
		if p := &step.Spec().Parameters[i]; p.Type == actions.Namespace && err == nil {
			err = look(step.Parameters().String(p.Name))
		}
	}
	if restart && open {
		reason = "it leaves the namespace open, and may restart the network in a protected one"
	}
	return reason, err
}

func alwaysProtected(namespace string) bool {
	return namespace == "kube-system" || namespace == "kube-public" || namespace == "kube-node-lease"
}
