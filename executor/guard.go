package executor

import (
	"context"
	"fmt"
	"time"
)

// A Guard is sampled while a run goes on: an error rate, a latency, the health of what must not suffer. When it is
// breached nothing new starts but steps marked always, what runs may finish, and the run is rolled back as Config.Rollback
// says.
type Guard struct {
	// Name says for people what is guarded.
	Name string
	// Probe returns an error while the guard is breached. It should end soon after its context, which ends after
	// Interval; a Probe that panics counts as breached.
	Probe func(ctx context.Context) error
	// Interval between samples. Defaults to 10s.
	Interval time.Duration
	// Threshold is how many samples in a row must be bad. Defaults to 1.
	Threshold int
}

// DefaultGuardInterval is how often a Guard is sampled that does not say.
const DefaultGuardInterval = 10 * time.Second

// guard samples a guard until ctx ends or it is breached.
func (r *Run) guard(ctx context.Context, g *Guard) {
	interval := g.Interval
	if interval == 0 {
		interval = DefaultGuardInterval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for bad := 0; ; {
		err := sample(ctx, g, interval)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			bad = 0
		} else if bad++; bad >= max(g.Threshold, 1) {
			r.breach(fmt.Sprintf("guard %s is breached: %s", g.Name, text(err)))
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample asks a guard once.
func sample(ctx context.Context, g *Guard, limit time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	returned := false
	defer func() {
		if !returned {
			err = &PanicError{Value: recover()}
		}
	}()
	err = g.Probe(ctx)
	returned = true
	return err
}

// breach halts the run.
func (r *Run) breach(message string) {
	r.mu.Lock()
	if !r.m.finished() && r.m.halted == ReasonNone && r.m.ended == "" {
		r.why.guard = message
		r.applyLocked(fact{kind: factHalted, at: r.now(), reason: ReasonGuard})
	}
	r.pokeLocked()
	r.unlock()
}
