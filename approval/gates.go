package approval

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// A Gate says whether something waits for a person, and why.
type Gate struct {
	Required bool
	// Risk is the effective risk, the highest of registry, policy and plan; for a plan that of its riskiest step.
	Risk schema.Risk
	// Reasons say why a person is asked, one line each, and name the rule behind it; empty when none is.
	Reasons []string
	// Rules are the names of the policy's rules whose condition is met, in the order of the policy, also where no person is asked.
	Rules []string
	// Terms say who decides, and by when.
	Terms Terms
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
//   - when it restarts the network in a protected namespace, or may;
//   - when a rule of the policy, or a freeze that is open at the time, asks for it.
//
// The plan as a whole waits when it has more than MaxSteps steps or when the document asks for it; that changes no
// step's gate.
//
// It refuses a plan below the last row with [ErrLowConfidence], a plan that a rule, a freeze or a cap forbids or that
// changes a protected object with [ErrForbidden], a plan that changes a namespace of ProtectedNamespaces, a Confidence
// outside 0 to 1, and a policy that is not valid.
func (p *Policy) Gates(plan *dag.Plan, c Confidence, at time.Time) (*Gates, error) {
	j, err := newJudge(p, plan, c, at)
	if err != nil {
		return nil, err
	}
	p = j.policy
	g := &Gates{Steps: make([]Gate, plan.Len())}
	for i := range g.Steps {
		if err := j.judge(plan.Step(i), &g.Steps[i]); err != nil {
			return nil, err
		}
		g.Plan.Risk = max(g.Plan.Risk, g.Steps[i].Risk)
	}
	if n := len(j.nodes); p.Caps.Nodes > 0 && n > p.Caps.Nodes {
		j.forbidden = append(j.forbidden, fmt.Sprintf("the plan changes %d nodes, and the policy allows %d", n, p.Caps.Nodes))
	}
	if len(p.Rules) > 0 {
		_, forbidden := p.apply(j.subject(nil, g.Plan.Risk), &g.Plan)
		j.forbidden = append(j.forbidden, forbidden...)
	}
	if err := j.forbidden.err(); err != nil {
		return nil, err
	}
	if limit := p.maxSteps(); limit >= 0 && plan.Len() > limit {
		g.Plan.Reasons = append(g.Plan.Reasons,
			fmt.Sprintf("the plan has %d steps; with more than %d it is approved as a whole first", plan.Len(), limit))
	}
	if plan.ApprovalRequired() {
		g.Plan.Reasons = append(g.Plan.Reasons, "the plan asks to be approved as a whole")
	}
	j.conclude(&g.Plan)
	return g, nil
}

// Gate returns the gate of one step at a time, as Gates does: a policy whose answer depends on the time is asked again
// before each step.
func (p *Policy) Gate(plan *dag.Plan, i int, c Confidence, at time.Time) (Gate, error) {
	j, err := newJudge(p, plan, c, at)
	if err != nil {
		return Gate{}, err
	}
	var g Gate
	if err := j.judge(plan.Step(i), &g); err != nil {
		return Gate{}, err
	}
	return g, j.forbidden.err()
}

func newJudge(p *Policy, plan *dag.Plan, c Confidence, at time.Time) (*judge, error) {
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
	j := &judge{
		plan:       plan,
		policy:     p,
		confidence: c,
		at:         at,
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
	return j, nil
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
	plan       *dag.Plan
	policy     *Policy
	confidence Confidence
	at         time.Time
	forbidden  refusals
	nodes      map[string]bool // that steps change; made only for a policy that caps them
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
	var raised string
	var byRules []string
	if len(j.policy.Rules) > 0 {
		var forbidden refusals
		raised, forbidden = j.policy.apply(j.subject(step, gate.Risk), gate)
		j.forbid(step, forbidden)
		byRules, gate.Reasons = gate.Reasons, nil
	}
	if len(j.policy.Table) == 0 {
		if step.Mutating() {
			gate.Reasons = j.mutating
		}
	} else {
		j.weigh(step, gate, raised)
	}
	gate.Reasons = append(gate.Reasons, byRules...)
	if step.Mutating() {
		j.bound(step, gate)
	}
	if step.RequiresApproval() {
		gate.Reasons = append(gate.Reasons, "the plan asks for approval")
	}
	if protected != "" {
		gate.Reasons = append(gate.Reasons, protected)
	}
	j.conclude(gate)
	return nil
}

// conclude says whether a gate is required, and on which terms, which count when somebody else asks as well. The policy's own
// panel sits at every gate, before those of rules.
func (j *judge) conclude(gate *Gate) {
	gate.Required = len(gate.Reasons) > 0
	p := j.policy
	if wait := p.Wait(); wait != DefaultTimeout || gate.Terms.Timeout > 0 {
		gate.Terms.Timeout = min(gate.Terms.orElse(wait), wait)
	}
	if p.Quorum > 1 || !p.Approvers.everybody() || p.Escalation != nil {
		own := Panel{Quorum: p.Quorum, Approvers: p.members(p.Approvers), Escalation: p.escalation(p.Escalation)}
		gate.Terms.Panels = append([]Panel{own}, gate.Terms.Panels...)
	}
}

func (j *judge) subject(step *dag.Step, risk schema.Risk) *Subject {
	s := &Subject{Plan: j.plan, Step: step, Risk: risk, Confidence: -1, Time: j.at}
	if j.confidence.Given {
		s.Confidence = j.confidence.Value
	}
	if step != nil {
		if own, ok := step.Confidence(); ok && (s.Confidence < 0 || own < s.Confidence) {
			s.Confidence = own
		}
	}
	return s
}

func (j *judge) forbid(step *dag.Step, why refusals) {
	for _, w := range why {
		j.forbidden = append(j.forbidden, fmt.Sprintf("step %d (%s, %s): %s", step.Number(), step.ID(), step.Action(), w))
	}
}

// bound looks at what a mutating step must not do whatever people say, and at the freezes.
func (j *judge) bound(step *dag.Step, gate *Gate) {
	p := j.policy
	if len(p.Freezes) > 0 {
		j.forbid(step, p.freeze(j.at, gate))
	}
	if t := step.Target(); len(p.ProtectedObjects) > 0 && t.Name != "" {
		name := t.Kind + "/" + t.Name
		if t.Namespace != "" {
			name = t.Kind + "/" + t.Namespace + "/" + t.Name
		}
		if slices.ContainsFunc(p.ProtectedObjects, func(o string) bool { return strings.EqualFold(o, name) }) {
			j.forbid(step, refusals{"the policy protects " + name})
		}
	}
	if most := int64(p.Caps.Replicas); most > 0 {
		for _, name := range []string{"replicas", "minReplicas", "maxReplicas"} {
			if n := step.Parameters().Int(name); n > most {
				j.forbid(step, refusals{fmt.Sprintf("%s is %d, and the policy allows %d", name, n, most)})
			}
		}
	}
	if t := step.Target(); p.Caps.Nodes > 0 && t.Kind == "Node" {
		if j.nodes == nil {
			j.nodes = map[string]bool{}
		}
		j.nodes[t.Name] = true
	}
}

// weigh gates by the table. raised says which rule raised the risk.
func (j *judge) weigh(step *dag.Step, gate *Gate, raised string) {
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
		if raised != "" {
			gate.Reasons = append(gate.Reasons, raised)
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
