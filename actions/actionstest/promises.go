package actionstest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/remedykit/remedy/actions"
)

func succeeds(tb testing.TB, c Case) {
	tb.Helper()
	res, ok, err := execute(context.Background(), tb, c, c.request("succeeds", &conductor{}))
	switch {
	case !ok:
	case err != nil:
		tb.Errorf("Execute of a request that should succeed: %v", err)
	case res != nil && res.Outputs != nil:
		if _, err := json.Marshal(res.Outputs); err != nil {
			tb.Errorf("Result.Outputs cannot be written to a report: %v", err)
		}
	}
}

func endsWithContext(tb testing.TB, c Case) {
	tb.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("the context had ended before Execute was called"))
	before := c.Effects()
	_, ok, err := execute(ctx, tb, c, c.request("cancelled", &conductor{}))
	if ok && err == nil {
		tb.Error("Execute reports success although its context had ended before it was called")
	}
	if n := c.Effects() - before; n != 0 {
		tb.Errorf("Execute had %d effects although its context had ended before it was called", n)
	}
}

func keepsRequest(tb testing.TB, c Case) {
	tb.Helper()
	req := c.request("unchanged", &conductor{})
	before, task := *req, *req.Task
	if _, ok, _ := execute(context.Background(), tb, c, req); !ok {
		return
	}
	if *req != before {
		tb.Error("Execute changed its Request; it belongs to the executor")
	}
	if !reflect.DeepEqual(*before.Task, task) {
		tb.Errorf("Execute changed the Task of its Request, which every run of the plan shares:\nbefore %+v\nafter  %+v", task, *before.Task)
	}
}

func begins(tb testing.TB, c Case) {
	tb.Helper()
	con := &conductor{effects: c.Effects}
	before := c.Effects()
	if _, ok, _ := execute(context.Background(), tb, c, c.request("begins", con)); !ok {
		return
	}
	had := c.Effects() > before
	calls, atBegin, undo := con.seen()
	switch beginner := beginsItself(c.Handler); {
	case calls > 1:
		tb.Errorf("Execute called Begin %d times; once is the most", calls)
	case calls > 0 && !beginner:
		tb.Error("Execute called Begin, but the handler is no Beginner that says so; the executor has called it already")
	case calls == 0 && beginner && had:
		tb.Error("the handler says that it calls Begin itself, but it had an effect without")
	case calls == 1 && atBegin > before:
		tb.Error("Execute called Begin after its effect; it must be called just before")
	}
	if undo == nil {
		return
	}
	if data, err := json.Marshal(undo); err != nil {
		tb.Errorf("the Undo given to Begin cannot be kept: %v", err)
	} else if err := json.Unmarshal(data, new(actions.Undo)); err != nil {
		tb.Errorf("the Undo given to Begin cannot be read back: %v", err)
	}
	if undo.Summary == "" {
		tb.Error("the Undo given to Begin has no Summary; people are told what undoing would do")
	}
}

func obeysBegin(tb testing.TB, c Case) {
	tb.Helper()
	if !beginsItself(c.Handler) {
		tb.Skip("the handler is no Beginner")
		return
	}
	before := c.Effects()
	_, ok, err := execute(context.Background(), tb, c, c.request("refused", &conductor{refuse: errors.New("the step may not begin")}))
	if ok && err == nil {
		tb.Error("Execute reports success although Begin returned an error")
	}
	if n := c.Effects() - before; n != 0 {
		tb.Errorf("Execute had %d effects although Begin returned an error", n)
	}
}

func isConcurrent(tb testing.TB, c Case) {
	tb.Helper()
	var wg sync.WaitGroup
	for i := range c.Concurrency {
		wg.Go(func() {
			req := c.request(fmt.Sprintf("concurrent-%d", i), &conductor{})
			if _, ok, err := execute(context.Background(), tb, c, req); ok && err != nil {
				tb.Errorf("Execute of request %d of %d at once: %v", i+1, c.Concurrency, err)
			}
		})
	}
	wg.Wait()
}

func dryRuns(tb testing.TB, c Case) {
	tb.Helper()
	d, ok := actions.As[actions.DryRunner](c.Handler)
	if !ok {
		tb.Skip("the handler is no DryRunner")
		return
	}
	before := c.Effects()
	preview, ok, err := call(tb, c, "DryRun", func() (*actions.Preview, error) {
		return d.DryRun(context.Background(), c.request("dry", &conductor{}))
	})
	switch {
	case !ok:
	case err != nil:
		tb.Errorf("DryRun of a request that should succeed: %v", err)
	case preview == nil:
		tb.Error("DryRun returned neither a Preview nor an error")
	}
	if n := c.Effects() - before; n != 0 {
		tb.Errorf("DryRun had %d effects; it must have none", n)
	}
}

func probes(tb testing.TB, c Case) {
	tb.Helper()
	p, ok := actions.As[actions.Prober](c.Handler)
	if !ok {
		tb.Skip("the handler is no Prober")
		return
	}
	req := c.request("probed", &conductor{})
	probe := func(when string) (outcome actions.Outcome, ok bool) {
		tb.Helper()
		before := c.Effects()
		outcome, ok, err := call(tb, c, "Probe", func() (actions.Outcome, error) { return p.Probe(context.Background(), req) })
		if !ok {
			return outcome, false
		}
		if n := c.Effects() - before; n != 0 {
			tb.Errorf("Probe had %d effects; it must have none", n)
		}
		if err != nil || outcome > actions.OutcomePartly {
			tb.Errorf("Probe %s answered %d, %v; want an Outcome and no error", when, outcome, err)
			return outcome, false
		}
		return outcome, true
	}
	if outcome, ok := probe("before Execute"); !ok {
		return
	} else if outcome == actions.OutcomeHappened || outcome == actions.OutcomePartly {
		tb.Error("Probe says that the effect happened before Execute was called")
	}
	if _, ok, err := execute(context.Background(), tb, c, req); !ok || err != nil {
		return // which "succeeds" reports
	}
	if outcome, ok := probe("after Execute"); ok && (outcome == actions.OutcomeDidNotHappen || outcome == actions.OutcomePartly) {
		tb.Error("Probe says that the effect did not happen after Execute had succeeded")
	}
}

func footprints(tb testing.TB, c Case) {
	tb.Helper()
	f, ok := actions.As[actions.Footprinter](c.Handler)
	if !ok {
		tb.Skip("the handler is no Footprinter")
		return
	}
	before := c.Effects()
	targets, ok, err := call(tb, c, "Footprint", func() ([]actions.Touch, error) {
		return f.Footprint(context.Background(), c.request("footprint", &conductor{}))
	})
	if ok && err != nil {
		tb.Errorf("Footprint of a request that should succeed: %v", err)
	}
	for _, t := range targets {
		if t.Kind == "" || t.Name == "" {
			tb.Errorf("Footprint names an object without kind or name: %+v", t)
		}
	}
	if n := c.Effects() - before; n != 0 {
		tb.Errorf("Footprint had %d effects; it must have none", n)
	}
}

// request returns a copy of the Case's request with a step of its own.
func (c Case) request(step string, con *conductor) *actions.Request {
	task := *c.Request.Task
	task.Step, task.Number = "actionstest-"+step, max(task.Number, 1)
	return &actions.Request{Task: &task, Run: cmp.Or(c.Request.Run, "actionstest"), Attempt: max(c.Request.Attempt, 1), Conductor: con}
}

func beginsItself(h actions.ActionHandler) bool {
	b, ok := actions.As[actions.Beginner](h)
	return ok && b.BeginsItself()
}

func execute(ctx context.Context, tb testing.TB, c Case, req *actions.Request) (*actions.Result, bool, error) {
	tb.Helper()
	return call(tb, c, "Execute", func() (*actions.Result, error) { return c.Handler.Execute(ctx, req) })
}

// call runs fn; ok is false when it did not come back, which is then reported.
func call[T any](tb testing.TB, c Case, what string, fn func() (T, error)) (v T, ok bool, err error) {
	tb.Helper()
	type answer struct {
		v        T
		err      error
		returned bool
		panicked any
		stack    []byte
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if !a.returned {
				if a.panicked = recover(); a.panicked != nil {
					a.stack = debug.Stack()
				}
			}
			answers <- a
		}()
		a.v, a.err = fn()
		a.returned = true
	}()
	timer := time.NewTimer(c.Patience)
	defer timer.Stop()
	select {
	case a := <-answers:
		switch {
		case a.returned:
			return a.v, true, a.err
		case a.panicked != nil:
			tb.Errorf("%s panicked: %v\n%s", what, a.panicked, a.stack)
		default:
			tb.Errorf("%s ended its goroutine (runtime.Goexit) instead of returning", what)
		}
	case <-timer.C:
		tb.Errorf("%s still runs after %v; it must end soon after its context does, and a request of a test should be quick", what, c.Patience)
	}
	return v, false, nil
}

// A conductor takes note of Begin.
type conductor struct {
	refuse  error
	effects func() int

	mu      sync.Mutex
	calls   int
	atBegin int
	undo    *actions.Undo
}

func (c *conductor) Begin(ctx context.Context, _ *actions.Request, undo *actions.Undo) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	c.undo = undo
	if c.effects != nil {
		c.atBegin = c.effects()
	}
	if c.refuse != nil {
		return c.refuse
	}
	return ctx.Err()
}

func (c *conductor) seen() (calls, effectsAtBegin int, undo *actions.Undo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls, c.atBegin, c.undo
}
