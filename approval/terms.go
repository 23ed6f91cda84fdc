package approval

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/internal/wording"
)

// Terms say who decides about a gate, and by when. The zero Terms are met by one yes of anybody but the author and the
// model, within DefaultTimeout.
type Terms struct {
	// Panels must all say yes. Empty: one panel of one, which anybody may sit on.
	Panels []Panel `json:"panels,omitempty"`
	// Timeout is how long the gate waits before the answer is no. Defaults to 15m.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// A Panel says yes when enough of its people have. One no of any of them is a no.
type Panel struct {
	// Rule that asks for it; "" for the policy itself.
	Rule string `json:"rule,omitempty"`
	// Quorum is how many distinct people must say yes. Defaults to 1.
	Quorum int `json:"quorum,omitempty"`
	// Approvers sit on it.
	Approvers Approvers `json:"approvers,omitzero"`
	// Escalation has others sit on it as well after a while; nil: nobody.
	Escalation *Escalation `json:"escalation,omitempty"`
}

// Approvers are people by name, and groups. The zero Approvers is everybody but the author and the model.
type Approvers struct {
	People []string `json:"people,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// An Escalation tells others of a request that nobody has decided for a while, once. They sit on the panel from then on.
type Escalation struct {
	After time.Duration `json:"after"`
	To    Approvers     `json:"to"`
}

// everybody tells whether there is no list.
func (a Approvers) everybody() bool { return len(a.People) == 0 && len(a.Groups) == 0 }

// include tells whether somebody is on the list.
func (a Approvers) include(by string, groups []string) bool {
	return a.everybody() ||
		slices.ContainsFunc(a.People, func(p string) bool { return same(p, by) }) ||
		slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(a.Groups, g) })
}

// String lists them for people: "ann, bob, group sre", or "anybody".
func (a Approvers) String() string {
	if a.everybody() {
		return "anybody"
	}
	all := slices.Clone(a.People)
	for _, g := range a.Groups {
		all = append(all, "group "+g)
	}
	return strings.Join(all, ", ")
}

// same tells whether two names are one identity. Case and space around a name make nobody another person.
func same(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

func (p *Panel) quorum() int { return max(1, p.Quorum) }

// escalated tells whether others sit on the panel as well, a while after the ask.
func (p *Panel) escalated(after time.Duration) bool {
	return p.Escalation != nil && after >= p.Escalation.After
}

// seats tells whether somebody sits on the panel, a while after the ask.
func (p *Panel) seats(by string, groups []string, after time.Duration) bool {
	return p.Approvers.include(by, groups) || p.escalated(after) && p.Escalation.To.include(by, groups)
}

// String says for people what the panel wants: "2 of ann, bob, group sre".
func (p *Panel) String() string {
	s := fmt.Sprintf("%d of %s", p.quorum(), p.Approvers)
	if p.Quorum <= 1 && p.Approvers.everybody() {
		s = "anybody"
	}
	if e := p.Escalation; e != nil {
		s += fmt.Sprintf("; after %s also %s", wording.Duration(e.After), e.To)
	}
	return s
}

// panels are the Panels, or their default.
func (t Terms) panels() []Panel {
	if len(t.Panels) == 0 {
		return []Panel{{}}
	}
	return t.Panels
}

// Wait is how long the gate waits: Timeout, or its default.
func (t Terms) Wait() time.Duration {
	if t.Timeout <= 0 {
		return DefaultTimeout
	}
	return t.Timeout
}

// orElse is Timeout, or another where there is none.
func (t Terms) orElse(d time.Duration) time.Duration {
	if t.Timeout <= 0 {
		return d
	}
	return t.Timeout
}

// escalates is when, after the ask, the next panel escalates that has not by then; ok is false when none does in time.
func (t Terms) escalates(then time.Duration) (after time.Duration, ok bool) {
	for _, p := range t.Panels {
		if e := p.Escalation; e != nil && e.After > then && e.After < t.Wait() && (!ok || e.After < after) {
			after, ok = e.After, true
		}
	}
	return after, ok
}

// Cover tells whether who has met these Terms has met others as well: whether they have all of their panels.
func (t Terms) Cover(o Terms) bool {
	return !slices.ContainsFunc(o.Panels, func(p Panel) bool {
		return !slices.ContainsFunc(t.Panels, p.equal)
	})
}

func (p Panel) equal(o Panel) bool {
	return p.Rule == o.Rule && p.quorum() == o.quorum() && p.Approvers.equal(o.Approvers) &&
		(p.Escalation == nil) == (o.Escalation == nil) &&
		(p.Escalation == nil || p.Escalation.After == o.Escalation.After && p.Escalation.To.equal(o.Escalation.To))
}

func (a Approvers) equal(b Approvers) bool {
	return slices.Equal(a.People, b.People) && slices.Equal(a.Groups, b.Groups)
}
