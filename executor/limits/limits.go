package limits

import (
	"context"
	"fmt"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// A Store keeps small values that several processes change. It is safe for concurrent use.
type Store interface {
	// Update changes the value of a key: change gets the old value (nil when there is none) and returns the new one (nil
	// removes it). No other Update of the key, in any process, happens in between. When change returns an error nothing
	// is changed and Update returns that error.
	Update(ctx context.Context, key string, change func(old []byte) ([]byte, error)) error
}

// Rules say how much is too much. In each field 0 is the default and a negative value switches the rule off.
type Rules struct {
	// Cooldown is how long the same action on the same target must wait after it took effect. Defaults to 5m.
	Cooldown time.Duration
	// BreakerFailures is how many failures in a row of the same action on the same target open the breaker. Defaults to 5.
	BreakerFailures int
	// BreakerOpen is how long an open breaker refuses. Defaults to 1h.
	BreakerOpen time.Duration
	// Effects is how many effects may be sent in one namespace within Window. Defaults to no limit.
	Effects int
	// Window defaults to 5m.
	Window time.Duration
	// Workloads, Nodes and Pods are how many different ones one run may touch. Default to no limit.
	Workloads, Nodes, Pods int
	// Share is the largest share (above 0, up to 1) of a workload's replicas that one step may disturb. Defaults to no limit.
	Share float64
}

// An Effect is what a step is about to do.
type Effect struct {
	Run, Step, Action string
	Target            schema.Target
	// Touches is what the handler said it would touch; empty when it did not say.
	Touches []actions.Touch
}

// A Refusal says why an effect may not be sent now. Rule is one of the published codes.
type Refusal struct {
	Rule Rule
	// Until is when it may be tried again; zero when nobody knows.
	Until time.Time
	// Message is for people.
	Message string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Rule, r.Message) }

// A Rule is a published code.
type Rule string

// The rules.
const (
	RuleCooldown Rule = "cooldown"
	RuleBreaker  Rule = "breakerOpen"
	RuleBudget   Rule = "budget"
	RuleKilled   Rule = "killSwitch"
)
