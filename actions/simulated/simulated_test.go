package simulated_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/actionstest"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/schema"
)

func request(step, action string, expected time.Duration) *actions.Request {
	return &actions.Request{Run: "run", Attempt: 1, Task: &actions.Task{Step: step, Number: 1, Action: action, Expected: expected,
		Target: schema.Target{Kind: "Deployment", Namespace: "a", Name: "d"}}}
}

func TestEveryActionHasAHandler(t *testing.T) {
	reg := actions.Canonical()
	require.NoError(t, reg.Add(actions.Spec{Name: "own_action"}))
	handlers := simulated.New(simulated.Options{Scale: -1}).Handlers(reg)
	require.Len(t, handlers, 39)
	for _, s := range reg.Specs() {
		res, err := handlers[s.Name].Execute(t.Context(), request("s", s.Name, time.Hour))
		require.NoError(t, err)
		require.Equal(t, "simulated "+s.Name, res.Message)
	}
}

func TestAStepTakesWhatItIsExpectedTo(t *testing.T) {
	for _, test := range []struct {
		scale          float64
		expected, want time.Duration
	}{
		{0, time.Minute, time.Minute}, {1, time.Minute, time.Minute}, {0.01, time.Minute, 600 * time.Millisecond}, {2, time.Second, 2 * time.Second},
		{-1, time.Minute, 0}, {1, 0, 0}, {1, -time.Second, 0}, {math.NaN(), time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := simulated.New(simulated.Options{Scale: test.scale})
			began := time.Now()
			_, err := s.Handlers(actions.Canonical())["restart_pod"].Execute(t.Context(), request("s", "restart_pod", test.expected))
			require.NoError(t, err)
			require.Equal(t, test.want, time.Since(began), test)
			require.Equal(t, []simulated.Effect{{Run: "run", Step: "s", Action: "restart_pod", Attempt: 1, Begun: began, Ended: began.Add(test.want)}}, s.Effects())
		})
	}
}

func TestAnEndedContextStopsAStepAtOnceAndWithoutEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulated.New(simulated.Options{Scale: math.Inf(1)})
		h := s.Handlers(actions.Canonical())["restart_pod"]
		cause := errors.New("somebody cancelled")
		ctx, cancel := context.WithCancelCause(t.Context())
		began := time.Now()
		time.AfterFunc(time.Second, func() { cancel(cause) })
		_, err := h.Execute(ctx, request("s", "restart_pod", time.Minute))
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, "simulated restart_pod: somebody cancelled")
		require.Equal(t, time.Second, time.Since(began))
		_, err = h.Execute(ctx, request("s", "restart_pod", 0))
		require.ErrorIs(t, err, cause, "also when there is nothing to wait for")
		_, err = h.(actions.DryRunner).DryRun(ctx, request("s", "restart_pod", 0))
		require.ErrorIs(t, err, cause)
		require.Empty(t, s.Effects())
	})
}

func TestFailingAStepLeavesNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulated.New(simulated.Options{Fail: func(req *actions.Request) error {
			if req.Attempt == 1 {
				return actions.Transient(errors.New("conflict"))
			}
			return nil
		}})
		h := s.Handlers(actions.Canonical())["restart_pod"]
		began := time.Now()
		req := request("s", "restart_pod", time.Minute)
		_, err := h.Execute(t.Context(), req)
		require.True(t, actions.IsTransient(err))
		require.Equal(t, time.Minute, time.Since(began), "a failure takes its time")
		require.Empty(t, s.Effects())
		outcome, err := h.(actions.Prober).Probe(t.Context(), req)
		require.NoError(t, err)
		require.Equal(t, actions.OutcomeDidNotHappen, outcome)
		req.Attempt = 2
		_, err = h.Execute(t.Context(), req)
		require.NoError(t, err)
		require.Len(t, s.Effects(), 1)
		outcome, err = h.(actions.Prober).Probe(t.Context(), req)
		require.NoError(t, err)
		require.Equal(t, actions.OutcomeHappened, outcome)
		outcome, err = simulated.New(simulated.Options{}).Handlers(actions.Canonical())["restart_pod"].(actions.Prober).Probe(t.Context(), req)
		require.NoError(t, err)
		require.Equal(t, actions.OutcomeDidNotHappen, outcome, "what another process began ended with it")
	})
}

func TestEffectsAreInTheOrderInWhichTheyEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulated.New(simulated.Options{})
		h := s.Handlers(actions.Canonical())["restart_pod"]
		var wg sync.WaitGroup
		for step, seconds := range map[string]int{"slow": 3, "quick": 1, "middling": 2} {
			wg.Go(func() {
				_, _ = h.Execute(t.Context(), request(step, "restart_pod", time.Duration(seconds)*time.Second))
			})
		}
		wg.Wait()
		var order []string
		effects := s.Effects()
		for _, e := range effects {
			order = append(order, e.Step)
		}
		require.Equal(t, []string{"quick", "middling", "slow"}, order)
		effects[0].Step = "changed"
		require.Equal(t, "quick", s.Effects()[0].Step, "Effects are a copy")
	})
}

func TestADryRunIsNotVerified(t *testing.T) {
	s := simulated.New(simulated.Options{})
	h := s.Handlers(actions.Canonical())["restart_pod"].(actions.DryRunner)
	p, err := h.DryRun(t.Context(), request("s", "restart_pod", time.Hour))
	require.NoError(t, err)
	require.Equal(t, &actions.Preview{Change: []string{"simulated restart_pod of Deployment a/d"}}, p)
	p, err = h.DryRun(t.Context(), &actions.Request{Task: &actions.Task{Action: "notify_only"}})
	require.NoError(t, err)
	require.Equal(t, []string{"simulated notify_only"}, p.Change)
}

func TestADryRunNamesTheStepsThatTouchedTheObjectBefore(t *testing.T) {
	s := simulated.New(simulated.Options{})
	handlers := s.Handlers(actions.Canonical())
	c := &conductor{}
	change := func(step, action string, target schema.Target) string {
		req := request(step, action, time.Hour)
		req.Target, req.Conductor = target, c
		p, err := handlers[action].(actions.DryRunner).DryRun(t.Context(), req)
		require.NoError(t, err)
		require.Len(t, p.Change, 1)
		return p.Change[0]
	}
	cart := schema.Target{Kind: "Deployment", Namespace: "a", Name: "cart"}
	require.Equal(t, "simulated scale_deployment of Deployment a/cart", change("first", "scale_deployment", cart))
	require.Equal(t, "simulated scale_deployment of Deployment b/cart", change("other", "scale_deployment", schema.Target{Kind: "Deployment", Namespace: "b", Name: "cart"}))
	require.Equal(t, "simulated rollback_deployment of Deployment a/cart, after first", change("second", "rollback_deployment", cart))
	require.Equal(t, "simulated scale_deployment of Deployment a/cart, after first, second", change("third", "scale_deployment", cart))
	c.World().Predict(cart, nil)
	require.Equal(t, "simulated scale_deployment of Deployment a/cart", change("fourth", "scale_deployment", cart), "it was predicted by somebody else")
	require.Empty(t, s.Effects())
}

// conductor notes what a handler began, and when.
type conductor struct {
	world  actions.World
	refuse error
	undo   *actions.Undo
	at     time.Time
}

func (c *conductor) Begin(_ context.Context, _ *actions.Request, undo *actions.Undo) error {
	c.undo, c.at = undo, time.Now()
	return c.refuse
}

func (c *conductor) World() *actions.World { return &c.world }

func TestAStepBeginsWhenItsTimeHasPassedAndItMayNotFailAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &conductor{}
		fail := errors.New("quota exceeded")
		s := simulated.New(simulated.Options{Fail: func(*actions.Request) error { return fail }})
		req := request("s", "restart_pod", time.Minute)
		req.Conductor = c
		began := time.Now()
		handler := s.Handlers(actions.Canonical())["restart_pod"]
		_, err := handler.Execute(t.Context(), req)
		require.ErrorIs(t, err, fail)
		require.Zero(t, c.at, "what fails does not begin")

		fail, c.refuse = nil, errors.New("out of budget")
		_, err = handler.Execute(t.Context(), req)
		require.Equal(t, c.refuse, err, "as it is")
		require.Equal(t, began.Add(2*time.Minute), c.at)
		require.Empty(t, s.Effects())

		c.refuse = nil
		_, err = handler.Execute(t.Context(), req)
		require.NoError(t, err)
		require.NotEmpty(t, c.undo.Summary)
		require.Len(t, s.Effects(), 1)
	})
}

func TestAStepThatTakesExactlyItsTimeoutBeginsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &conductor{refuse: errors.New("out of budget")}
		s := simulated.New(simulated.Options{})
		req := request("s", "restart_pod", time.Minute)
		req.Conductor = c
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		deadline, _ := ctx.Deadline()
		_, err := s.Handlers(actions.Canonical())["restart_pod"].Execute(ctx, req)
		require.Equal(t, c.refuse, err)
		require.True(t, c.at.Before(deadline))
		require.Empty(t, s.Effects())

		ended, stop := context.WithCancelCause(ctx)
		cause := errors.New("somebody cancelled")
		stop(cause)
		_, err = s.Handlers(actions.Canonical())["restart_pod"].Execute(ended, req)
		require.ErrorIs(t, err, cause)
	})
}

func TestOnlyWhatCanBeUndoneHasACompensator(t *testing.T) {
	reg := actions.Canonical()
	require.NoError(t, reg.Add(actions.Spec{Name: "own_action"}))
	var yes, no int
	for _, spec := range reg.Specs() {
		h := simulated.New(simulated.Options{}).Handlers(reg)[spec.Name]
		_, ok := actions.As[actions.Compensator](h)
		require.Equal(t, spec.Undo != "", ok, spec.Name)
		beginner, begins := actions.As[actions.Beginner](h)
		require.True(t, begins && beginner.BeginsItself(), spec.Name)
		if ok {
			yes++
		} else {
			no++
		}
	}
	require.Positive(t, yes)
	require.Positive(t, no)
}

func TestUndoingTakesItsTimeAndMarksTheEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail error
		s := simulated.New(simulated.Options{Scale: 0.5, FailUndo: func(*actions.Request) error { return fail }})
		h := s.Handlers(actions.Canonical())["scale_deployment"]
		undo := func(ctx context.Context, step string) error {
			return h.(actions.Compensator).Compensate(ctx, request(step, "scale_deployment", time.Minute), nil)
		}
		for _, step := range []string{"kept", "undone"} {
			_, err := h.Execute(t.Context(), request(step, "scale_deployment", time.Minute))
			require.NoError(t, err)
		}
		fail = actions.Transient(errors.New("conflict"))
		require.Equal(t, fail, undo(t.Context(), "undone"))
		require.Zero(t, s.Effects()[1].Undone)
		fail = nil

		cause := errors.New("somebody cancelled")
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		require.ErrorIs(t, undo(ended, "undone"), cause)
		require.Zero(t, s.Effects()[1].Undone)

		began := time.Now()
		require.NoError(t, undo(t.Context(), "undone"))
		require.Equal(t, 30*time.Second, time.Since(began))
		when := time.Now()
		require.Equal(t, when, s.Effects()[1].Undone)
		require.NoError(t, undo(t.Context(), "undone"), "a second time")
		require.Equal(t, when, s.Effects()[1].Undone)
		require.NoError(t, undo(t.Context(), "of another process"))
		require.Zero(t, s.Effects()[0].Undone)
		require.Len(t, s.Effects(), 2)
	})
}

func TestHandlersKeepTheContract(t *testing.T) {
	for _, action := range []string{"restart_pod", "scale_deployment", "notify_only"} {
		t.Run(action, func(t *testing.T) {
			s := simulated.New(simulated.Options{Scale: 0.001})
			actionstest.Run(t, actionstest.Case{
				Handler: s.Handlers(actions.Canonical())[action],
				Request: *request("s", action, time.Second),
				Effects: func() int { return len(s.Effects()) },
			})
		})
	}
}

func TestAStepThatTakesExactlyItsTimeoutMakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := simulated.New(simulated.Options{}).Handlers(actions.Canonical())["notify_only"]
		for range 100 { // whichever of two timers fires first
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			time.Sleep(time.Millisecond) // the handler begins a little later than its step
			_, err := h.Execute(ctx, request("a", "notify_only", 30*time.Second))
			require.NoError(t, err)
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := h.Execute(ctx, request("a", "notify_only", 31*time.Second))
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
