package limits

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The defaults of Rules.
const (
	DefaultCooldown        = 5 * time.Minute
	DefaultBreakerFailures = 5
	DefaultBreakerOpen     = time.Hour
	DefaultWindow          = 5 * time.Minute
)

// Limits applies Rules to effects. It is safe for concurrent use, and by several processes that share a Store.
//
// Undoing an effect is not asked here: what was done must always be undone.
type Limits struct {
	store Store
	rules Rules
}

// New returns Limits that remember in s.
func New(s Store, r Rules) (*Limits, error) {
	switch {
	case s == nil:
		return nil, errors.New("limits: the store is nil: use NewMemory or OpenFiles")
	case !(r.Share <= 1):
		return nil, fmt.Errorf("limits: Rules.Share is %v: it is a share of 1", r.Share)
	}
	r.Cooldown = orDefault(r.Cooldown, DefaultCooldown)
	r.BreakerFailures = orDefault(r.BreakerFailures, DefaultBreakerFailures)
	r.BreakerOpen = orDefault(r.BreakerOpen, DefaultBreakerOpen)
	r.Window = orDefault(r.Window, DefaultWindow)
	if r.Window < 0 {
		return nil, fmt.Errorf("limits: Rules.Window is %v: to have no limit set Effects to -1", r.Window)
	}
	return &Limits{s, r}, nil
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// A reservation is a change of one key; it refuses, or notes the effect.
type reservation struct {
	key    string
	take   func(old []byte) ([]byte, error)
	giveUp func(old []byte) ([]byte, error)
}

// Admit tells whether an effect may be sent now, and notes that it is about to be. It returns a [*Refusal] when a rule
// forbids it; any other error is the store's, and nothing may be sent either. Asking again for the same step of a run
// counts once.
func (l *Limits) Admit(ctx context.Context, e Effect) error {
	if err := l.off(ctx); err != nil {
		return err
	}
	if err := l.share(e); err != nil {
		return err
	}
	reservations := []reservation{l.target(e), l.run(e), l.namespace(e)}
	for i, r := range reservations {
		if r.key == "" {
			continue
		}
		err := l.store.Update(ctx, r.key, r.take)
		if err == nil {
			continue
		}
		return l.unwind(ctx, reservations[:i], err)
	}
	// Who switched everything off while this waited for the store was told that nothing is sent any more.
	if err := l.off(ctx); err != nil {
		return l.unwind(ctx, reservations, err)
	}
	return nil
}

// off refuses everything while the kill switch is on.
func (l *Limits) off(ctx context.Context) error {
	by, reason, since, on, err := l.Killed(ctx)
	if err == nil && on {
		err = &Refusal{Rule: RuleKilled, Message: fmt.Sprintf("%s switched everything off at %s: %s", by, since.UTC().Format(time.RFC3339), reason)}
	}
	return err
}

// unwind gives back what was reserved before an error.
func (l *Limits) unwind(ctx context.Context, reservations []reservation, err error) error {
	for _, taken := range slices.Backward(reservations) {
		if taken.key != "" {
			if e := l.giveUp(ctx, taken); e != nil {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}

// Ended notes how an effect that was admitted went. took tells that it took effect, or may have; then its cooldown begins.
// Otherwise its place in the budgets is free again. A failure counts for the breaker, a success closes it.
func (l *Limits) Ended(ctx context.Context, e Effect, took, ok bool) error {
	var errs []error
	if key := targetKey(e); key != "" {
		errs = append(errs, l.store.Update(ctx, key, func(old []byte) ([]byte, error) {
			var t targetState
			if err := read(old, &t); err != nil {
				return nil, err
			}
			now := time.Now()
			if t.Trying == owner(e) {
				t.Trying = ""
			}
			if took {
				t.At, t.Run, t.Step = now, e.Run, e.Step
			}
			switch {
			case ok:
				t.Failures = 0
			case l.rules.BreakerFailures > 0:
				t.Failures++
				t.FailedAt = now
			}
			return json.Marshal(t)
		}))
	}
	if !took {
		for _, r := range []reservation{l.namespace(e), l.run(e)} {
			if r.key != "" {
				errs = append(errs, l.store.Update(ctx, r.key, r.giveUp))
			}
		}
	}
	return errors.Join(errs...)
}

// giveUpTimeout bounds the wait for a store of which another, frozen process may have the lock.
const giveUpTimeout = 10 * time.Second

// giveUp takes a reservation back, also when ctx has ended.
func (l *Limits) giveUp(ctx context.Context, r reservation) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTimeout)
	defer cancel()
	return l.store.Update(ctx, r.key, r.giveUp)
}

// Finished forgets what a run has touched, once it does not go on.
func (l *Limits) Finished(ctx context.Context, run string) error {
	return l.store.Update(ctx, runKey(run), func([]byte) ([]byte, error) { return nil, nil })
}

func runKey(run string) string { return "run/" + run }

// share looks at one effect alone.
func (l *Limits) share(e Effect) error {
	if l.rules.Share <= 0 {
		return nil
	}
	for _, t := range e.Touches {
		if t.Of > 0 && float64(t.Replicas)/float64(t.Of) > l.rules.Share {
			return &Refusal{Rule: RuleBudget, Message: fmt.Sprintf(
				"it would disturb %d of %d replicas of %s at once, more than a share of %v", t.Replicas, t.Of, t.Target, l.rules.Share)}
		}
	}
	return nil
}

func owner(e Effect) string { return e.Run + "/" + e.Step }

func targetKey(e Effect) string {
	if e.Target.Name == "" {
		return ""
	}
	return "target/" + e.Action + "/" + e.Target.String()
}

// targetState is what is remembered of an action on a target.
type targetState struct {
	At       time.Time `json:"at"`
	Run      string    `json:"run,omitempty"`
	Step     string    `json:"step,omitempty"`
	Failures int       `json:"failures,omitempty"`
	FailedAt time.Time `json:"failedAt"`
	// Trying is who was let through an open breaker, or is at work, since Since.
	Trying string    `json:"trying,omitempty"`
	Since  time.Time `json:"since"`
}

// target is the cooldown and the breaker of an action on a target.
func (l *Limits) target(e Effect) reservation {
	return reservation{key: targetKey(e), take: func(old []byte) ([]byte, error) {
		var t targetState
		if err := read(old, &t); err != nil {
			return nil, err
		}
		now, me := time.Now(), owner(e)
		mine := t.Run == e.Run && t.Step == e.Step
		if until := t.At.Add(l.rules.Cooldown); l.rules.Cooldown > 0 && !mine && t.Run != "" && now.Before(until) {
			return nil, &Refusal{Rule: RuleCooldown, Until: until, Message: fmt.Sprintf(
				"step %s of run %s did %s to %s at %s; wait until %s", t.Step, t.Run, e.Action, e.Target, stamp(t.At), stamp(until))}
		}
		// Until somebody who is at work has ended, the target counts as just changed.
		if until := t.Since.Add(l.rules.Cooldown); l.rules.Cooldown > 0 && t.Trying != "" && t.Trying != me && now.Before(until) {
			return nil, &Refusal{Rule: RuleCooldown, Until: until, Message: fmt.Sprintf(
				"%s is doing %s to %s since %s", t.Trying, e.Action, e.Target, stamp(t.Since))}
		}
		if n := l.rules.BreakerFailures; n > 0 && t.Failures >= n {
			until := t.FailedAt.Add(l.rules.BreakerOpen)
			if t.Trying != "" && t.Trying != me && t.Since.After(until) {
				until = t.Since.Add(l.rules.BreakerOpen)
			}
			if now.Before(until) {
				return nil, &Refusal{Rule: RuleBreaker, Until: until, Message: fmt.Sprintf(
					"%s of %s failed %d times in a row, last at %s; wait until %s", e.Action, e.Target, t.Failures, stamp(t.FailedAt), stamp(until))}
			}
		}
		t.Trying, t.Since = me, now
		return json.Marshal(t)
	}, giveUp: func(old []byte) ([]byte, error) {
		var t targetState
		if err := read(old, &t); err != nil {
			return nil, err
		}
		if t.Trying == owner(e) {
			t.Trying, t.Since = "", time.Time{}
		}
		return json.Marshal(t)
	}}
}

// A place is one effect in a window.
type place struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
	// Times counts the attempts that hold it: one that is withheld must not free what an earlier one may have used.
	Times int `json:"times"`
}

// namespace is the budget of effects in a namespace.
func (l *Limits) namespace(e Effect) reservation {
	if l.rules.Effects <= 0 || e.Target.Namespace == "" {
		return reservation{}
	}
	return reservation{key: "namespace/" + e.Target.Namespace, take: func(old []byte) ([]byte, error) {
		places, err := l.places(old)
		if err != nil {
			return nil, err
		}
		me := owner(e)
		if i := slices.IndexFunc(places, func(p place) bool { return p.By == me }); i >= 0 {
			places[i].Times++
			return json.Marshal(places)
		}
		if len(places) >= l.rules.Effects {
			until := places[len(places)-l.rules.Effects].At.Add(l.rules.Window)
			return nil, &Refusal{Rule: RuleBudget, Until: until, Message: fmt.Sprintf(
				"namespace %s has had %d effects within %v, last by %s; wait until %s",
				e.Target.Namespace, len(places), l.rules.Window, places[len(places)-1].By, stamp(until))}
		}
		return json.Marshal(append(places, place{me, time.Now(), 1}))
	}, giveUp: func(old []byte) ([]byte, error) {
		places, err := l.places(old)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(places, func(p place) bool { return p.By == owner(e) }); i >= 0 {
			if places[i].Times--; places[i].Times <= 0 {
				places = slices.Delete(places, i, i+1)
			}
		}
		return json.Marshal(places)
	}}
}

// places reads the effects that are still in the window, the oldest first.
func (l *Limits) places(old []byte) ([]place, error) {
	var places []place
	if err := read(old, &places); err != nil {
		return nil, err
	}
	begin := time.Now().Add(-l.rules.Window)
	return slices.DeleteFunc(places, func(p place) bool { return !p.At.After(begin) }), nil
}

// kinds puts the kinds of objects into budgets.
var kinds = map[string]string{
	"Deployment": "workloads", "StatefulSet": "workloads", "DaemonSet": "workloads", "ReplicaSet": "workloads", "Job": "workloads",
	"CronJob": "workloads", "Node": "nodes", "Pod": "pods",
}

// runState is what one run has touched: for each budget the objects, with the steps that did.
type runState map[string]map[string]map[string]int

// run is the budget of what one run may touch.
func (l *Limits) run(e Effect) reservation {
	limit := map[string]int{"workloads": l.rules.Workloads, "nodes": l.rules.Nodes, "pods": l.rules.Pods}
	if limit["workloads"] <= 0 && limit["nodes"] <= 0 && limit["pods"] <= 0 {
		return reservation{}
	}
	objects := map[string]string{} // to their budget
	if e.Target.Name != "" {
		objects[e.Target.String()] = kinds[e.Target.Kind]
	}
	for _, t := range e.Touches {
		objects[t.Target.String()] = kinds[t.Kind]
	}
	return reservation{key: runKey(e.Run), take: func(old []byte) ([]byte, error) {
		state := runState{}
		if err := read(old, &state); err != nil {
			return nil, err
		}
		for object, budget := range objects {
			if limit[budget] <= 0 {
				continue
			}
			if state[budget] == nil {
				state[budget] = map[string]map[string]int{}
			}
			if state[budget][object] == nil {
				state[budget][object] = map[string]int{}
			}
			state[budget][object][e.Step]++
			if n := len(state[budget]); n > limit[budget] {
				return nil, &Refusal{Rule: RuleBudget, Message: fmt.Sprintf(
					"run %s would touch %d %s, more than %d", e.Run, n, budget, limit[budget])}
			}
		}
		return json.Marshal(state)
	}, giveUp: func(old []byte) ([]byte, error) {
		state := runState{}
		if err := read(old, &state); err != nil {
			return nil, err
		}
		for _, budget := range state {
			for object := range objects {
				steps := budget[object]
				if steps[e.Step] > 1 {
					steps[e.Step]--
					continue
				}
				delete(steps, e.Step)
				if len(steps) == 0 {
					delete(budget, object)
				}
			}
		}
		return json.Marshal(state)
	}}
}

// read decodes a value; what cannot be read is an error, so that a damaged store forbids.
func read(old []byte, into any) error {
	if len(old) == 0 {
		return nil
	}
	if err := json.Unmarshal(old, into); err != nil {
		return fmt.Errorf("limits: the store holds what cannot be read: %w", err)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.TimeOnly + "Z") }

// switchState is the kill switch.
type switchState struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

const killKey = "kill"

// Kill forbids every effect, of all processes that share the store, until Revive.
func (l *Limits) Kill(ctx context.Context, by, reason string) error {
	return l.store.Update(ctx, killKey, func(old []byte) ([]byte, error) {
		if len(old) > 0 {
			return old, nil
		}
		return json.Marshal(switchState{by, reason, time.Now()})
	})
}

// Revive allows effects again.
func (l *Limits) Revive(ctx context.Context) error {
	return l.store.Update(ctx, killKey, func([]byte) ([]byte, error) { return nil, nil })
}

// Killed tells whether the kill switch is on, and who switched it, why and when.
func (l *Limits) Killed(ctx context.Context) (by, reason string, since time.Time, on bool, err error) {
	err = l.store.Update(ctx, killKey, func(old []byte) ([]byte, error) {
		var s switchState
		if err := read(old, &s); err != nil {
			return nil, err
		}
		by, reason, since, on = s.By, s.Reason, s.At, len(old) > 0
		return old, nil
	})
	return by, reason, since, on, err
}
