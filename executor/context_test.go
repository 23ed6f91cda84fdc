package executor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/executor"
)

type key struct{}

// inStep runs f as the handler of the only step of a run, with a time-out of 30s.
func inStep(t *testing.T, f func(ctx context.Context) error) *executor.Report {
	t.Helper()
	var report *executor.Report
	synctest.Test(t, func(t *testing.T) {
		ctx := context.WithValue(t.Context(), key{}, "value")
		ex := newExecutor(t, executor.Config{Handlers: handle(func(ctx context.Context, _ *actions.Request) (*actions.Result, error) {
			return nil, f(ctx)
		})})
		var err error
		report, err = ex.Run(ctx, plan(t, "a look !30s"), executor.RunOptions{})
		require.NoError(t, err)
	})
	return report
}

func TestAStepsContextEndsWithItsTimeout(t *testing.T) {
	report := inStep(t, func(ctx context.Context) error {
		start := time.Now()
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		require.Equal(t, 30*time.Second, deadline.Sub(start))
		require.NoError(t, ctx.Err())
		<-ctx.Done()
		require.Equal(t, 30*time.Second, time.Since(start))
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
		require.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
		return ctx.Err()
	})
	require.Equal(t, executor.ReasonTimeout, report.Step(0).Reason)
}

func TestAStepsContextSeesItsDeadlineWithoutATimer(t *testing.T) {
	inStep(t, func(ctx context.Context) error {
		time.Sleep(31 * time.Second)
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
		<-ctx.Done()
		return nil
	})
}

func TestAStepsContextCarriesTheCallersValues(t *testing.T) {
	inStep(t, func(ctx context.Context) error {
		require.Equal(t, "value", ctx.Value(key{}))
		require.Nil(t, ctx.Value("other"))
		return nil
	})
}

func TestAChildOfAStepsContextEndsWithItAndCostsNoGoroutine(t *testing.T) {
	inStep(t, func(ctx context.Context) error {
		before := runtime.NumGoroutine()
		child, stop := context.WithCancel(ctx)
		defer stop()
		grandchild, stop := context.WithTimeout(child, time.Hour)
		defer stop()
		require.Equal(t, before, runtime.NumGoroutine())
		<-grandchild.Done()
		require.ErrorIs(t, grandchild.Err(), context.DeadlineExceeded)
		return nil
	})
}

func TestAfterFuncOfAStepsContext(t *testing.T) {
	inStep(t, func(ctx context.Context) error {
		var called, stopped bool
		context.AfterFunc(ctx, func() { called = true })
		stop := context.AfterFunc(ctx, func() { stopped = true })
		require.True(t, stop())
		require.False(t, stop())
		<-ctx.Done()
		synctest.Wait()
		require.True(t, called)
		require.False(t, stopped)
		late := make(chan struct{})
		stop = context.AfterFunc(ctx, func() { close(late) })
		<-late
		require.False(t, stop())
		return nil
	})
}

func TestAContextThatOutlivesItsStepHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept []context.Context
		ex := newExecutor(t, executor.Config{MaxParallel: 1, Handlers: handle(func(ctx context.Context, req *actions.Request) (*actions.Result, error) {
			kept = append(kept, ctx)
			if req.Step == "b" {
				_, stop := context.WithCancel(ctx)
				_ = stop // a handler that forgets
			}
			return nil, nil
		})})
		_, err := ex.Run(t.Context(), plan(t, "a look", "b look <- a", "c look <- b"), executor.RunOptions{})
		require.NoError(t, err)
		for _, ctx := range kept {
			<-ctx.Done()
			require.ErrorIs(t, ctx.Err(), context.Canceled)
		}
	})
}

func TestAHandlerIsToldToStopWhenItsRunIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		ex := newExecutor(t, executor.Config{Handlers: handle(func(ctx context.Context, _ *actions.Request) (*actions.Result, error) {
			<-ctx.Done()
			cause = ctx.Err()
			return nil, errors.New("stopped")
		})})
		r, err := ex.Start(t.Context(), plan(t, "a look"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, ex.Cancel(t.Context(), "x", "wrong cluster"))
		<-r.Done()
		require.Equal(t, context.Canceled, cause)
	})
}

func TestAContextThatIsFirstWatchedWhileItsStepEndsHasEnded(t *testing.T) {
	lines := []string{"s0 look"}
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("s%d look <- s%d", i+1, i))
	}
	p := plan(t, lines...)
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			var watchers sync.WaitGroup
			ex := newExecutor(t, executor.Config{Handlers: handle(func(ctx context.Context, _ *actions.Request) (*actions.Result, error) {
				began := make(chan struct{})
				watchers.Go(func() {
					close(began)
					<-ctx.Done()
				})
				<-began
				return nil, nil
			})})
			_, err := ex.Run(t.Context(), p, executor.RunOptions{})
			require.NoError(t, err)
			watchers.Wait()
		})
	}
}
