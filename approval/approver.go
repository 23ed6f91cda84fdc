package approval

import (
	"context"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
)

// Verdict is the answer to a request. The zero Verdict is no answer and means no.
type Verdict uint8

// The verdicts.
const (
	_ Verdict = iota
	Approved
	Rejected
	// Pending means that the answer comes later, through a [Decider].
	Pending
)

// String returns "approved", "rejected", "pending", or "none".
func (v Verdict) String() string {
	switch v {
	case Approved:
		return "approved"
	case Rejected:
		return "rejected"
	case Pending:
		return "pending"
	}
	return "none"
}

// A Decision is what a person (or a program that stands for one) answers.
type Decision struct {
	Verdict Verdict
	// By identifies who decided. Required; the author of the plan and the model are refused. Whoever makes a Decision vouches
	// for it.
	By string
	// Groups are those that By is in, as an identity provider says. A Policy may name members of groups as well.
	Groups []string
	// Reason is the decider's own words; may be empty.
	Reason string
	// Digest is that of the Request that was answered. A decision for another digest is void. An Approver that answers
	// at once may leave it empty.
	Digest string
	// Receipt is what an Approver that answers Pending wants to know later, such as the id of its message. A journal keeps
	// it, and it comes back in Request.Receipt.
	Receipt string
}

// A Request asks a person about one step, or about a plan as a whole. It must not be changed.
type Request struct {
	// Key identifies the request: asking again after a restart has the same Key. A question that is put anew because what it
	// was about has changed has another.
	Key string
	Run string
	// Author of the plan (a person, a controller, a model) and Model that wrote the document, who cannot approve it.
	Author, Model string
	Plan          *dag.Plan
	// Step is the step in question; nil when the plan as a whole is.
	Step *dag.Step
	// Gate says why a person is asked, and on which terms.
	Gate Gate
	// Gates are all gates of the plan.
	Gates *Gates
	// Confidence of the analysis; negative when the caller gave none.
	Confidence float64
	// Incident is what the plan is about; nil when the caller did not say.
	Incident *Incident
	// Preview is what the step would do, by a dry run; nil when nobody could say.
	Preview *actions.Preview
	// Touches are the objects that the step would write or disturb, as far as its handler can say.
	Touches []actions.Touch
	// Remaining is what the run is expected to take after a yes, other gates aside.
	Remaining time.Duration
	// Digest of what is asked: the plan, the step, and the object as it was found.
	Digest string
	// AskedAt and ExpiresAt bound the wait; after ExpiresAt the answer is no.
	AskedAt, ExpiresAt time.Time
	// Receipt is what the Approver answered when it announced the request before; "" the first time.
	Receipt string
}

// An Incident is what a caller says about what a plan is to mend. All of it is shown as text only.
type Incident struct {
	ID      string `json:"id,omitempty"`
	Title   string `json:"title,omitempty"`
	Summary string `json:"summary,omitempty"`
	// Evidence are the findings behind the plan, one each.
	Evidence []string `json:"evidence,omitempty"`
}

// An Approver announces a request and may answer it at once, or later with [Pending]. It is called again with the same
// Key after a restart, so announcing must be idempotent. It may be called for several requests at the same time, and
// should end soon after its context does.
//
// A nil Decision, the zero Verdict, an error and a panic all deny. What cannot be delivered is no such error where
// [Broadcast] is in between, which tries again.
type Approver interface {
	Approve(ctx context.Context, req *Request) (*Decision, error)
}

// An Updater is an Approver that shows people what became of a request: a vote, an escalation, its end. It is told after
// the fact, and again after a restart, so it must be idempotent; one that fails changes nothing about the run.
type Updater interface {
	Update(ctx context.Context, req *Request, s Standing) error
}

// A Decider is where channels hand in decisions: an executor. step is empty for the plan as a whole.
//
// Errors are [ErrNotAsked], [ErrDecided], [ErrVoted], [ErrExpired], [ErrDigest] and [ErrNotApprover], wrapped, and those of
// the executor.
type Decider interface {
	Decide(ctx context.Context, run, step string, d Decision) error
}

// ApproverFunc makes a function an Approver.
type ApproverFunc func(ctx context.Context, req *Request) (*Decision, error)

// Approve calls f.
func (f ApproverFunc) Approve(ctx context.Context, req *Request) (*Decision, error) {
	return f(ctx, req)
}

// Auto approves everything, as nobody in particular: where a policy names approvers it counts as none of them. It is for
// simulations and for people who have looked at the whole plan.
func Auto() Approver {
	return ApproverFunc(func(context.Context, *Request) (*Decision, error) {
		return &Decision{Verdict: Approved, By: "auto"}, nil
	})
}

// Deny rejects everything.
func Deny() Approver {
	return ApproverFunc(func(context.Context, *Request) (*Decision, error) {
		return &Decision{Verdict: Rejected, By: "deny", Reason: "nobody may approve here"}, nil
	})
}
