package approval

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a Tally, and so a Decider, may answer, wrapped.
var (
	ErrNotAsked    = errors.New("no answer is asked for here")
	ErrDecided     = errors.New("this gate has been decided")
	ErrVoted       = errors.New("this identity has said yes before")
	ErrExpired     = errors.New("this request has expired")
	ErrDigest      = errors.New("this decision answers something else than what is asked")
	ErrNotApprover = errors.New("this identity may not decide")
)

// State is how a request stands.
type State uint8

// The states. Open is the only one that another follows.
const (
	Open State = iota
	Granted
	Denied
	Expired
	// Withdrawn: nobody needs an answer any more, or what was asked about has changed.
	Withdrawn
)

// String returns "open", "granted", "denied", "expired" or "withdrawn".
func (s State) String() string {
	return [...]string{"open", "granted", "denied", "expired", "withdrawn"}[min(s, Withdrawn)]
}

// A Vote is a yes that counts.
type Vote struct {
	By     string
	Groups []string
	Reason string
	At     time.Time
}

// A Standing is what became of a request so far.
type Standing struct {
	State State
	// Votes are those who said yes, in order.
	Votes []Vote
	// Missing says for people whose yes is still needed; empty when the request is not open.
	Missing string
	// Escalated tells whether others have been asked as well.
	Escalated bool
	// By, Reason and At say who closed the request, in which words, and when. By is empty when nobody did.
	By, Reason string
	At         time.Time
}

// A Tally counts the votes about one request. It is the state machine of a gate, without clocks: whoever has it tells it
// what happened and when. A yes counts once a person, a no of anybody who may decide ends it, silence ends it, and nothing
// changes it after its end.
//
// A Tally is not safe for concurrent use.
type Tally struct {
	author, model string
	terms         Terms
	digest        string
	asked, expiry time.Time
	standing      Standing
}

// NewTally begins to count for a request.
func NewTally(req *Request) *Tally {
	return &Tally{
		author: req.Author, model: req.Model, terms: req.Gate.Terms, digest: req.Digest, asked: req.AskedAt, expiry: req.ExpiresAt,
	}
}

// Standing is what became of the request by a time.
func (t *Tally) Standing(at time.Time) Standing {
	s := t.standing
	s.Votes = slices.Clone(s.Votes)
	if s.State == Open {
		s.Missing = t.missing(at)
	}
	panels := t.terms.panels()
	s.Escalated = slices.ContainsFunc(panels, func(p Panel) bool { return p.escalated(at.Sub(t.asked)) })
	return s
}

// Check says why a decision would not count, nil when it would. It changes nothing. The time decides, not whether
// somebody has looked at the clock.
func (t *Tally) Check(d Decision, at time.Time) error {
	s := &t.standing
	switch {
	case d.Verdict != Approved && d.Verdict != Rejected:
		return fmt.Errorf("the verdict is %s: a decision approves or rejects", d.Verdict)
	case s.State == Expired:
		return ErrExpired
	case s.State == Withdrawn:
		return fmt.Errorf("%w: the question was withdrawn%s", ErrNotAsked, because(s.Reason))
	case s.State == Granted:
		return fmt.Errorf("%w: approved by %s", ErrDecided, s.By)
	case s.State == Denied && s.By == "":
		return fmt.Errorf("%w: rejected%s", ErrDecided, because(s.Reason))
	case s.State == Denied:
		return fmt.Errorf("%w: rejected by %s", ErrDecided, s.By)
	case !t.expiry.IsZero() && !at.Before(t.expiry):
		return ErrExpired
	case d.Digest != t.digest:
		return ErrDigest
	}
	return t.mayDecide(d, at)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", because " + reason
}

// mayDecide refuses identities, for yes and no alike.
func (t *Tally) mayDecide(d Decision, at time.Time) error {
	switch {
	case strings.TrimSpace(d.By) == "":
		return fmt.Errorf("%w: it names nobody in By", ErrNotApprover)
	case same(d.By, t.author):
		return fmt.Errorf("%w: %q is the author of the plan", ErrNotApprover, d.By)
	case same(d.By, t.model):
		return fmt.Errorf("%w: %q is the model that wrote the plan", ErrNotApprover, d.By)
	}
	panels := t.terms.panels()
	if !slices.ContainsFunc(panels, func(p Panel) bool { return p.seats(d.By, d.Groups, at.Sub(t.asked)) }) {
		var who []string
		for i := range panels {
			who = append(who, panels[i].String())
		}
		return fmt.Errorf("%w: it takes %s", ErrNotApprover, strings.Join(who, ", and "))
	}
	if d.Verdict == Approved {
		if i := slices.IndexFunc(t.standing.Votes, func(v Vote) bool { return same(v.By, d.By) }); i >= 0 {
			return fmt.Errorf("%w: %s is still needed", ErrVoted, t.missing(at))
		}
	}
	return nil
}

// Cast counts a decision and returns how the request stands then.
func (t *Tally) Cast(d Decision, at time.Time) (State, error) {
	if err := t.Check(d, at); err != nil {
		return t.standing.State, err
	}
	s := &t.standing
	if d.Verdict == Rejected {
		t.end(Denied, d.By, d.Reason, at)
		return Denied, nil
	}
	s.Votes = append(s.Votes, Vote{By: d.By, Groups: slices.Clone(d.Groups), Reason: d.Reason, At: at})
	if t.missing(at) == "" {
		t.end(Granted, d.By, d.Reason, at)
	}
	return s.State, nil
}

// missing says whose yes is still needed at a time. A vote counts by who sat on the panel when it was cast.
func (t *Tally) missing(at time.Time) string {
	var all []string
	panels := t.terms.panels()
	for i := range panels {
		p, n := &panels[i], 0
		for _, v := range t.standing.Votes {
			if p.seats(v.By, v.Groups, v.At.Sub(t.asked)) {
				n++
			}
		}
		if more := p.quorum() - n; more > 0 {
			who := p.Approvers.String()
			if p.escalated(at.Sub(t.asked)) && !p.Approvers.everybody() {
				who += ", " + p.Escalation.To.String()
			}
			all = append(all, fmt.Sprintf("%d of %s", more, who))
		}
	}
	return strings.Join(all, ", and ")
}

// EscalatesAt is when, after a time, others begin to sit on a panel, and are to be told; ok is false when nobody does.
func (t *Tally) EscalatesAt(since time.Time) (at time.Time, ok bool) {
	after, ok := t.terms.escalates(since.Sub(t.asked))
	if !ok || t.standing.State != Open {
		return time.Time{}, false
	}
	return t.asked.Add(after), true
}

// Expire ends an open request that nobody has decided in time.
func (t *Tally) Expire(at time.Time) { t.end(Expired, "", "nobody answered in time", at) }

// Withdraw ends an open request that needs no answer any more.
func (t *Tally) Withdraw(reason string, at time.Time) { t.end(Withdrawn, "", reason, at) }

// Deny ends an open request that cannot be put to people.
func (t *Tally) Deny(reason string, at time.Time) { t.end(Denied, "", reason, at) }

func (t *Tally) end(state State, by, reason string, at time.Time) {
	if s := &t.standing; s.State == Open {
		s.State, s.By, s.Reason, s.At = state, by, reason, at
	}
}
