package approval

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

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
	// ProtectedObjects are closed to mutating actions: Kind/namespace/name, or Kind/name without a namespace.
	ProtectedObjects []string `json:"protectedObjects,omitempty"`
	// Caps bound what a plan may do.
	Caps Caps `json:"caps,omitzero"`
	// Freezes are windows in which nothing is changed.
	Freezes []Freeze `json:"freezes,omitempty"`
	// Rules raise what is asked, each where its condition holds.
	Rules []Rule `json:"rules,omitempty"`
	// Groups are the members of groups, by name. What an identity provider says of a group counts as well.
	Groups map[string][]string `json:"groups,omitempty"`
	// Quorum, Approvers and Escalation are the panel of every gate; those of rules come on top. Default to one yes of
	// anybody but the author and the model.
	Quorum     int         `json:"quorum,omitempty"`
	Approvers  Approvers   `json:"approvers,omitzero"`
	Escalation *Escalation `json:"escalation,omitempty"`
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
	for i, o := range p.ProtectedObjects {
		if parts := strings.Split(o, "/"); len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") || strings.ContainsAny(o, "*? ") {
			report(fmt.Sprintf("protectedObjects[%d]", i), "%q is not Kind/namespace/name, nor Kind/name; patterns are not read", o)
		}
	}
	if p.Caps.Replicas < 0 || p.Caps.Nodes < 0 {
		report("caps", "replicas and nodes cannot be negative; leave them out for no bound")
	}
	if !(p.Caps.Share >= 0 && p.Caps.Share <= 1) {
		report("caps.share", "%v is not between 0 and 1", p.Caps.Share)
	}
	for i := range p.Freezes {
		p.Freezes[i].check(fmt.Sprintf("freezes[%d]", i), report)
	}
	names := map[string]bool{}
	for i := range p.Rules {
		r, field := &p.Rules[i], fmt.Sprintf("rules[%d]", i)
		if names[r.Name] {
			report(field+".name", "another rule is called %q as well", r.Name)
		}
		names[r.Name] = true
		p.checkRule(r, field, report)
	}
	p.checkPanel("", p.Quorum, p.Approvers, p.Escalation, report)
	if p.Timeout < 0 {
		report("timeout", "%s is negative; leave it out for %s", p.Timeout, DefaultTimeout)
	}
}

func (p *Policy) checkRule(r *Rule, field string, report func(field, format string, args ...any)) {
	if r.Name == "" || len(r.Name) > 63 || strings.ContainsFunc(r.Name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		report(field+".name", "%q is not a name of up to 63 printable characters", r.Name)
	}
	if r.When != "" && r.Condition == nil {
		report(field+".when", "nobody has read the condition: use ParsePolicy of approval/cel, or Policy.Compile, or set Condition")
	}
	if r.Risk > schema.RiskCritical {
		report(field+".risk", "%d is no risk", r.Risk)
	}
	if r.Plan && r.Risk != schema.RiskUnset {
		report(field+".risk", "a plan as a whole has the risk of its riskiest step; raise that")
	}
	named := r.Quorum != 0 || !r.Approvers.everybody() || r.Escalation != nil
	if r.Forbid == "" && r.Risk == schema.RiskUnset && !r.Require && !named && r.Timeout == 0 {
		report(field, "the rule asks for nothing; give it forbid, risk, require, quorum, approvers, escalation or timeout")
	}
	if r.Timeout < 0 {
		report(field+".timeout", "%s is negative", r.Timeout)
	}
	p.checkPanel(field+".", r.Quorum, r.Approvers, r.Escalation, report)
}

// checkPanel refuses panels that can never say yes.
func (p *Policy) checkPanel(field string, quorum int, who Approvers, e *Escalation, report func(field, format string, args ...any)) {
	all := p.members(who)
	if quorum < 0 {
		report(field+"quorum", "%d is negative", quorum)
	}
	if e != nil {
		if e.After <= 0 {
			report(field+"escalation.after", "%s is not above zero", e.After)
		}
		if e.To.everybody() {
			report(field+"escalation.to", "it names nobody")
		}
		if who.everybody() {
			report(field+"escalation", "everybody may decide from the start; name approvers")
		}
		more := p.members(e.To)
		all = Approvers{append(all.People, more.People...), append(slices.Clone(all.Groups), more.Groups...)}
	}
	for _, name := range slices.Concat(all.People, all.Groups) {
		if strings.TrimSpace(name) == "" {
			report(field+"approvers", "a name is empty")
		}
	}
	if unknown := slices.ContainsFunc(all.Groups, func(g string) bool { return len(p.Groups[g]) == 0 }); unknown || all.everybody() {
		return // who is in that group, an identity provider knows
	}
	distinct := 0
	for i, name := range all.People {
		if !slices.ContainsFunc(all.People[:i], func(other string) bool { return same(name, other) }) {
			distinct++
		}
	}
	if quorum > distinct {
		report(field+"quorum", "%d people are wanted, and the list has %d", quorum, distinct)
	}
}

func (f *Freeze) check(field string, report func(field, format string, args ...any)) {
	if f.Name == "" {
		report(field+".name", "the window has no name")
	}
	if !f.weekly() {
		if f.From.IsZero() || f.Until.IsZero() || !f.From.Before(f.Until) {
			report(field, "from %s until %s is no window", f.From.Format(time.RFC3339), f.Until.Format(time.RFC3339))
		}
		if len(f.Days) > 0 || f.Start != 0 || f.End != 0 || f.Zone != "" {
			report(field, "it has from and until, which are once, and days, start, end or zone, which are weekly; make two of it")
		}
		return
	}
	const day = 24 * time.Hour
	if f.Start < 0 || f.Start >= day || f.End < 0 || f.End > day {
		report(field, "start and end are times of a day")
	}
	if len(f.Days) == 0 && f.Start == f.End {
		report(field, "it would be open for ever; give it from and until, days, or start and end")
	}
	for _, d := range f.Days {
		if d < time.Sunday || d > time.Saturday {
			report(field+".days", "%d is no day of the week", d)
		}
	}
	if _, err := time.LoadLocation(f.Zone); err != nil {
		report(field+".zone", "%q is not the name of a time zone that this system knows", f.Zone)
	}
}
