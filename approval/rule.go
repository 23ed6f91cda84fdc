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

// ErrForbidden refuses a plan, or a step whose time has come, that a rule, a freeze or a cap of the policy forbids.
var ErrForbidden = errors.New("the policy forbids it")

// A Rule asks for more where its condition holds. Rules can only raise: what one asks for, no other takes away.
type Rule struct {
	// Name stands in the reasons of gates. Required, and unique.
	Name string `json:"name"`
	// When is the text of the condition; empty: always. Package approval/cel reads CEL.
	When string `json:"when,omitempty"`
	// Condition is what When means. Without a When it is your own.
	Condition Condition `json:"-"`
	// Plan tells that the rule is about the plan as a whole, and not about each step.
	Plan bool `json:"plan,omitempty"`

	// Forbid refuses the plan, for this reason.
	Forbid string `json:"forbid,omitempty"`
	// Risk raises that of the step.
	Risk schema.Risk `json:"risk,omitempty"`
	// Require has a person asked. The fields below imply it, but Timeout.
	Require bool `json:"require,omitempty"`
	// Quorum, Approvers and Escalation make a panel, which has to say yes as well.
	Quorum     int         `json:"quorum,omitempty"`
	Approvers  Approvers   `json:"approvers,omitzero"`
	Escalation *Escalation `json:"escalation,omitempty"`
	// Timeout shortens the wait.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// A Condition tells whether a Rule is about a subject. On an error the rule counts, and says so. It must not keep the
// Subject, and be safe for concurrent use.
type Condition interface {
	Holds(s *Subject) (bool, error)
}

// ConditionFunc makes a function a Condition.
type ConditionFunc func(s *Subject) (bool, error)

// Holds calls f.
func (f ConditionFunc) Holds(s *Subject) (bool, error) { return f(s) }

// A Subject is what a Condition looks at.
type Subject struct {
	Plan *dag.Plan
	// Step is nil when the rule is about the plan as a whole.
	Step *dag.Step
	// Risk is what registry, plan and Policy.Risks make it; that of the riskiest step for the plan as a whole.
	Risk schema.Risk
	// Confidence is the lower of the analysis's and the step's own; negative when neither is given.
	Confidence float64
	Time       time.Time
}

// A Freeze is a window in which nothing is changed, or only what a person has approved. It is either once, From until
// Until, or weekly, on Days from Start to End. A mutating step is forbidden while it lasts; a run that began before has its
// steps blocked.
type Freeze struct {
	Name string `json:"name"`
	// From and Until bound a window that is once.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Days are those on which a weekly window begins. Empty: every day.
	Days []time.Weekday `json:"days,omitempty"`
	// Start and End are times of the day such as 22h; a window whose End is not after its Start ends on the next day. Both 0:
	// the whole day.
	Start time.Duration `json:"start,omitempty"`
	End   time.Duration `json:"end,omitempty"`
	// Zone is where Days, Start and End are meant, such as Europe/Berlin. Defaults to UTC.
	Zone string `json:"zone,omitempty"`
	// Ask has a person asked instead.
	Ask bool `json:"ask,omitempty"`
}

// Caps bound what a plan may do. Zero fields are no bound.
type Caps struct {
	// Replicas is the most replicas that a step may ask for.
	Replicas int `json:"replicas,omitempty"`
	// Nodes is how many nodes a plan may change.
	Nodes int `json:"nodes,omitempty"`
	// Share is the part of a workload's replicas, between 0 and 1, that a step may disturb at the same time. It is looked at
	// when the step begins, as far as its handler can say.
	Share float64 `json:"share,omitempty"`
}

func (f *Freeze) weekly() bool { return f.From.IsZero() && f.Until.IsZero() }

// on tells whether the window is open at a time, and until when.
func (f *Freeze) on(at time.Time) (until time.Time, ok bool) {
	if !f.weekly() {
		return f.Until, !at.Before(f.From) && at.Before(f.Until)
	}
	zone, err := time.LoadLocation(f.Zone)
	if err != nil {
		return time.Time{}, true // Validate has said so; who did not ask is not let through
	}
	length := f.End
	if f.End <= f.Start {
		length += 24 * time.Hour
	}
	y, m, d := at.In(zone).Date()
	for back := range 2 { // a window of yesterday may still be open
		begins := time.Date(y, m, d-back, 0, 0, 0, 0, zone)
		if len(f.Days) > 0 && !slices.Contains(f.Days, begins.Weekday()) {
			continue
		}
		// Wall clock, so that a day of 23 or 25 hours ends when its clock says.
		from := wall(begins, f.Start)
		until := wall(begins, length)
		if !at.Before(from) && at.Before(until) {
			return until, true
		}
	}
	return time.Time{}, false
}

// wall is a time of the day on the clock of the day's zone.
func wall(day time.Time, of time.Duration) time.Time {
	y, m, d := day.Date()
	return time.Date(y, m, d, 0, 0, int(of/time.Second), 0, day.Location())
}

// Compile reads the conditions of rules that have only their text, as those of a policy from JSON do.
func (p *Policy) Compile(compile Compiler) error {
	if p == nil {
		return nil
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.When == "" || r.Condition != nil {
			continue
		}
		c, err := compile(r.When, r.Plan)
		if err != nil {
			return fmt.Errorf("approval: rule %s: %w", r.Name, err)
		}
		r.Condition = c
	}
	return nil
}

// Timed tells whether what the policy says may change as time goes by, so that it has to be asked again after a wait.
func (p *Policy) Timed() bool {
	return p != nil && (len(p.Freezes) > 0 || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Condition != nil }))
}

// Bounds tells whether the policy bounds what a step disturbs, so that Exceeds has to be asked.
func (p *Policy) Bounds() bool { return p != nil && p.Caps.Share > 0 }

// Exceeds refuses a step that disturbs more of a workload at the same time than the caps allow, with [ErrForbidden].
func (p *Policy) Exceeds(touches []actions.Touch) error {
	if !p.Bounds() {
		return nil
	}
	var r refusals
	for _, t := range touches {
		if t.Of > 0 && float64(t.Replicas) > p.Caps.Share*float64(t.Of) {
			r = append(r, fmt.Sprintf("it disturbs %d of %d replicas of %s at the same time, and the policy allows a share of %v", t.Replicas, t.Of, t.Target, p.Caps.Share))
		}
	}
	return r.err()
}

// apply has all rules about the subject raise a gate. It returns which raised the risk, and why the plan is refused.
func (p *Policy) apply(s *Subject, gate *Gate) (raised string, forbidden refusals) {
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Plan != (s.Step == nil) {
			continue
		}
		reason := "rule " + r.Name
		if r.Condition != nil {
			holds, err := hold(r.Condition, s)
			if err != nil {
				reason += " (its condition failed, which counts as met: " + oneLine(err.Error()) + ")"
			} else if !holds {
				continue
			}
		}
		gate.Rules = append(gate.Rules, r.Name)
		if r.Forbid != "" {
			forbidden = append(forbidden, reason+": "+r.Forbid)
		}
		if r.Risk > gate.Risk {
			gate.Risk = r.Risk
			raised = fmt.Sprintf("%s raises it to %s", reason, r.Risk)
		}
		if r.Timeout > 0 {
			gate.Terms.Timeout = min(r.Timeout, gate.Terms.orElse(r.Timeout))
		}
		panel := Panel{Rule: r.Name, Quorum: r.Quorum, Approvers: p.members(r.Approvers), Escalation: p.escalation(r.Escalation)}
		named := r.Quorum > 1 || !r.Approvers.everybody() || r.Escalation != nil
		if named {
			gate.Terms.Panels = append(gate.Terms.Panels, panel)
		}
		if r.Require || named || r.Quorum == 1 {
			if named {
				reason += ": it takes " + panel.String()
			}
			gate.Reasons = append(gate.Reasons, reason)
		}
	}
	return raised, forbidden
}

// hold asks a condition; one that panics has failed.
func hold(c Condition, s *Subject) (ok bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return c.Holds(s)
}

// freeze has the windows that are open at a time raise the gate of a mutating step.
func (p *Policy) freeze(at time.Time, gate *Gate) (forbidden refusals) {
	for i := range p.Freezes {
		f := &p.Freezes[i]
		until, on := f.on(at)
		switch {
		case !on:
		case f.Ask:
			gate.Reasons = append(gate.Reasons, fmt.Sprintf("freeze %s lasts until %s", f.Name, until.Format(time.RFC3339)))
		default:
			forbidden = append(forbidden, fmt.Sprintf("freeze %s lasts until %s", f.Name, until.Format(time.RFC3339)))
		}
	}
	return forbidden
}

// members adds to people those that the policy has in their groups.
func (p *Policy) members(a Approvers) Approvers {
	people := slices.Clone(a.People)
	for _, g := range a.Groups {
		people = append(people, p.Groups[g]...)
	}
	return Approvers{People: people, Groups: a.Groups}
}

func (p *Policy) escalation(e *Escalation) *Escalation {
	if e == nil {
		return nil
	}
	return &Escalation{After: e.After, To: p.members(e.To)}
}

// refusals says why a plan must not be.
type refusals []string

func (r refusals) err() error {
	if len(r) == 0 {
		return nil
	}
	return fmt.Errorf("approval: %w: %s", ErrForbidden, strings.Join(r, "; "))
}
