package executor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// hands are handlers that take what a step is expected to take, then begin and take effect, and can be undone and probed.
type hands struct {
	fail func(req *actions.Request) error // before the effect
	late func(req *actions.Request) error // after it
	undo func(req *actions.Request) error

	mu      sync.Mutex
	effects []string // "step" and "undo step", in order
}

func (h *hands) note(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.effects = append(h.effects, s)
}

func (h *hands) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.effects)
}

func (h *hands) BeginsItself() bool { return true }

func (h *hands) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if _, err := expected(ctx, req); err != nil {
		return nil, err
	}
	if h.fail != nil {
		if err := h.fail(req); err != nil {
			return nil, err
		}
	}
	if err := req.Begin(ctx, &actions.Undo{Summary: "put " + req.Step + " back", State: map[string]any{"was": req.Step}}); err != nil {
		return nil, err
	}
	h.note(req.Step)
	if h.late != nil {
		return nil, h.late(req)
	}
	return nil, nil
}

func (h *hands) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo == nil || undo.State["was"] != req.Step {
		return fmt.Errorf("undo of %s is %v", req.Step, undo)
	}
	if _, err := expected(ctx, req); err != nil {
		return err
	}
	if h.undo != nil {
		if err := h.undo(req); err != nil {
			return err
		}
	}
	h.note("undo " + req.Step)
	return nil
}

func (h *hands) Probe(_ context.Context, req *actions.Request) (actions.Outcome, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.effects, req.Step) {
		return actions.OutcomeHappened, nil
	}
	return actions.OutcomeDidNotHappen, nil
}

// on fails the named steps.
func on(err error, steps ...string) func(req *actions.Request) error {
	return func(req *actions.Request) error {
		if slices.Contains(steps, req.Step) {
			return err
		}
		return nil
	}
}

var errBroken = errors.New("broken")

func handlers(h actions.ActionHandler) actions.Handlers {
	return actions.Handlers{"look": h, "note": h, "check": h, "fix": h}
}

func TestAFailedRunIsRolledBackInReverseOrderOfCompletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hands{fail: on(errBroken, "d")}
		ex := newExecutor(t, executor.Config{Handlers: handlers(h)})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~10s", "b fix(y) ~20s", "c fix(z) <- a ~5s", "d fix(w) <- b c ~5s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "rolledBack: a=rolledBack/undone<d@0-10 b=rolledBack/undone<d@0-20 c=rolledBack/undone<d@10-15 d=failed/handlerError@20-25", outcome(report))
		require.Equal(t, []string{"a", "c", "b"}, h.all()[:3])
		require.ElementsMatch(t, []string{"undo a", "undo b", "undo c"}, h.all()[3:])
		require.Less(t, slices.Index(h.all(), "undo c"), slices.Index(h.all(), "undo a"), "never a parent before its child")
		var order []string
		for s := range report.Rollback() {
			order = append(order, s.ID)
		}
		require.Equal(t, []string{"b", "c", "a"}, order)
		require.ErrorIs(t, report.Err(), errBroken)
		require.Equal(t, "d", report.Why("a")[len(report.Why("a"))-1].Step)
	})
}

func TestAFailedUndoDoesNotStopTheOthersAndDriftIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drift := fmt.Errorf("replicas is 7, was set to 5: %w", actions.ErrDrift)
		h := &hands{late: on(errBroken, "c"), undo: func(req *actions.Request) error {
			return errors.Join(on(drift, "b")(req), on(errBroken, "c")(req))
		}}
		ex := newExecutor(t, executor.Config{Handlers: handlers(h)})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~1s", "b fix(y) <- a ~1s", "c fix(z) <- b ~1s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, executor.RunRollbackFailed, report.Status())
		require.Equal(t, executor.RolledBack, report.Step(0).Status)
		require.Equal(t, executor.ReasonDrift, report.Step(1).Reason)
		require.Equal(t, executor.ReasonUndoError, report.Step(2).Reason)
		require.Contains(t, report.Why("b")[0].Message, "replicas is 7")
	})
}

func TestTransientErrorsBeforeTheEffectAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hands{fail: func(req *actions.Request) error {
			if req.Step == "a" && req.Attempt < 3 {
				return &actions.HandlerError{Transient: true, RetryAfter: time.Minute, Err: errBroken}
			}
			return nil
		}, late: on(actions.Transient(errBroken), "b")}
		ex := newExecutor(t, executor.Config{Handlers: handlers(h)})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~1s", "b fix(y) <- a ~1s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, 3, report.Step(0).Attempts)
		require.Equal(t, 123*time.Second, report.Step(0).EndedAt.Sub(report.StartedAt()), "what the other side asked for is waited out")
		require.Equal(t, 1, report.Step(1).Attempts, "an effect that may have been sent is not sent again")
		require.Equal(t, executor.RunRolledBack, report.Status())
	})
}

func TestACancelEndsTheWaitForAnotherAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hands{fail: on(actions.Transient(errBroken), "a")}
		ex := newExecutor(t, executor.Config{Handlers: handlers(h)})
		run, err := ex.Start(t.Context(), plan(t, "a fix(x) ~1s"), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		time.Sleep(1100 * time.Millisecond)
		require.NoError(t, ex.Cancel(t.Context(), "r", "enough"))
		report, err := run.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, "cancelled: a=cancelled/runCancelled@0-1.1", outcome(report))
	})
}

func TestARejectedStepStopsRollsBackOrIsSkipped(t *testing.T) {
	for policy, want := range map[executor.RejectPolicy]string{
		executor.RejectStop:       "rejected: a=succeeded@0-1 b=rejected/rejected c=blocked/dependencyNotSucceeded<b d=cancelled/runFailed<b",
		executor.RejectRollback:   "rolledBack: a=rolledBack/undone<b@0-1 b=rejected/rejected c=blocked/dependencyNotSucceeded<b d=cancelled/runFailed<b",
		executor.RejectSkipBranch: "succeededWithWarnings: a=succeeded@0-1 b=rejected/rejected c=skipped/branchSkipped<b d=succeeded@1-2",
	} {
		synctest.Test(t, func(t *testing.T) {
			ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{}), OnReject: policy, MaxParallel: 1, Approver: approval.Deny()})
			report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~1s", "b fix(y) <- a ~1s +gate", "c fix(z) <- b ~1s", "d fix(w) <- a ~1s"), executor.RunOptions{})
			require.NoError(t, err)
			if policy == executor.RejectSkipBranch {
				require.Equal(t, want, outcome(report))
			} else {
				require.Contains(t, outcome(report), want[:30])
			}
		})
	}
}

func TestARunGoesOnInAnotherExecutor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hands{}
		j := journal.NewMemory()
		lines := []string{"a fix(x) ~10s", "b fix(y) <- a ~10s", "c fix(z) <- b ~10s"}
		ctx, cancel := context.WithCancel(t.Context())
		ex := newExecutor(t, executor.Config{Handlers: handlers(h), Journal: j})
		time.AfterFunc(15*time.Second, cancel)
		report, err := ex.Run(ctx, plan(t, lines...), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, executor.RunInterrupted, report.Status())
		require.Equal(t, []string{"a"}, h.all())
		history, err := executor.Replay(t.Context(), j, "r", registry(t))
		require.NoError(t, err)
		require.Equal(t, executor.RunInterrupted, history.Report.Status())
		time.Sleep(time.Hour)
		second := newExecutor(t, executor.Config{Handlers: handlers(h), Journal: j})
		report, err = second.Run(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, executor.RunSucceeded, report.Status())
		require.Equal(t, []string{"a", "b", "c"}, h.all())
		third := newExecutor(t, executor.Config{Handlers: handlers(h), Journal: j})
		again, err := third.Run(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, outcome(report), outcome(again), "a finished run stays as it is")
		undoing, err := third.Rollback(t.Context(), plan(t, lines...), "r")
		require.NoError(t, err)
		report, err = undoing.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunRolledBack, report.Status())
		require.Equal(t, []string{"a", "b", "c", "undo c", "undo b", "undo a"}, h.all())
	})
}
