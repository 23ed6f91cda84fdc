// Package actionstest holds handlers to the contract of [actions.ActionHandler].
package actionstest

import (
	"errors"
	"testing"
	"time"

	"github.com/remedykit/remedy/actions"
)

// A Case is a handler and a request that it can carry out.
type Case struct {
	// Handler is what is tested. Required.
	Handler actions.ActionHandler
	// Request is one that succeeds, again and again. Each use gets a copy with a step of its own; its Conductor is
	// replaced. Required.
	Request actions.Request
	// Effects counts the effects that the handler had so far; it is called from several goroutines at once. Without it
	// nothing can be said about effects.
	Effects func() int
	// Patience is how long a call may take. Defaults to 10s.
	Patience time.Duration
	// Concurrency is how many requests are carried out at once. Defaults to 8.
	Concurrency int
}

// Run holds a handler to the contract, one subtest for each promise. Run it with -race.
func Run(t *testing.T, c Case) {
	t.Helper()
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	for _, p := range promises() {
		t.Run(p.name, func(t *testing.T) { p.check(t, c) })
	}
}

func (c *Case) complete() error {
	switch {
	case c.Handler == nil:
		return errors.New("actionstest: Case.Handler is nil")
	case c.Request.Task == nil:
		return errors.New("actionstest: Case.Request has no Task")
	case c.Request.Action == "":
		return errors.New("actionstest: Case.Request names no action")
	}
	if c.Effects == nil {
		c.Effects = func() int { return 0 }
	}
	if c.Patience <= 0 {
		c.Patience = 10 * time.Second
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 8
	}
	return nil
}

type promise struct {
	name  string
	check func(testing.TB, Case)
}

func promises() []promise {
	return []promise{
		{"succeeds", succeeds},
		{"does nothing when its context has ended", endsWithContext},
		{"leaves the request as it was", keepsRequest},
		{"begins at most once and before its effect", begins},
		{"has no effect when it may not begin", obeysBegin},
		{"is safe for concurrent use", isConcurrent},
		{"has no effect in a dry run", dryRuns},
		{"says whether its effect happened", probes},
		{"names its footprint", footprints},
	}
}
