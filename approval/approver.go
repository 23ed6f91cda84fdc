package approval

import (
	"context"
	"time"

	"github.com/remedykit/remedy/dag"
)

// Verdict is the answer to a request. The zero Verdict is no answer and means no.
type Verdict uint8

// The verdicts.
const (
	_ Verdict = iota
	Approved
	Rejected
	// Pending means that the answer comes later, through the executor's Decide.
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
	// By identifies who decided. Required; the author of the plan is refused.
	By string
	// Reason is the decider's own words; may be empty.
	Reason string
	// Digest is that of the Request that was answered. A decision for another digest is void. An Approver that answers
	// at once may leave it empty.
	Digest string
}

// A Request asks a person about one step, or about a plan as a whole. It must not be changed.
type Request struct {
	// Key identifies the request: asking again after a restart has the same Key.
	Key string
	Run string
	// Author of the plan (a model, a person, a controller), who cannot approve it.
	Author string
	Plan   *dag.Plan
	// Step is the step in question; nil when the plan as a whole is.
	Step *dag.Step
	// Gate says why a person is asked.
	Gate Gate
	// Gates are all gates of the plan.
	Gates *Gates
	// Confidence of the analysis; negative when the caller gave none.
	Confidence float64
	// Digest of what is asked.
	Digest string
	// AskedAt and ExpiresAt bound the wait; after ExpiresAt the answer is no.
	AskedAt, ExpiresAt time.Time
}

// An Approver announces a request and may answer it at once, or later with [Pending]. It is called again with the same
// Key after a restart, so announcing must be idempotent. It may be called for several requests at the same time, and
// should end soon after its context does.
//
// A nil Decision, the zero Verdict, an error and a panic all deny.
type Approver interface {
	Approve(ctx context.Context, req *Request) (*Decision, error)
}

// ApproverFunc makes a function an Approver.
type ApproverFunc func(ctx context.Context, req *Request) (*Decision, error)

// Approve calls f.
func (f ApproverFunc) Approve(ctx context.Context, req *Request) (*Decision, error) {
	return f(ctx, req)
}

// Auto approves everything. It is for simulations and for people who have looked at the whole plan.
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
