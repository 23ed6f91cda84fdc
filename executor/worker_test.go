package executor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// reading is a plan of reading steps, given by their dependencies. The first has a second, the others an hour each.
func reading(t *testing.T, dependencies ...[]string) *dag.Plan {
	reg := &actions.Registry{}
	require.NoError(t, reg.Add(actions.Spec{Name: "look", Effect: actions.Reads, Role: actions.Diagnoses, RiskFloor: schema.RiskNone, Timeout: time.Hour}))
	doc := &schema.Document{}
	for i, d := range dependencies {
		doc.Recommendations = append(doc.Recommendations, schema.Recommendation{ID: fmt.Sprint("s", i), Action: "look", Dependencies: d})
	}
	p, err := dag.Build(doc, reg, dag.WithOverlay(&schema.Overlay{Steps: map[string]schema.StepOverlay{"s0": {Timeout: time.Second}}}))
	require.NoError(t, err)
	return p
}

func TestTheLateEndOfAnAbandonedHandlerIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ex, err := New(Config{Handlers: actions.Handlers{"look": actions.HandlerFunc(func(_ context.Context, req *actions.Request) (*actions.Result, error) {
			if req.Step == "s0" {
				<-release
			} else {
				time.Sleep(req.Expected)
			}
			return nil, nil
		})}})
		require.NoError(t, err)
		r, err := ex.Start(t.Context(), reading(t, nil, nil, nil), RunOptions{})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, ReasonAbandoned, r.Snapshot().Step(0).Reason)

		r.mu.Lock() // so that the end must be left for whoever has the lock
		close(release)
		for r.inbox.Load() == nil {
			runtime.Gosched()
		}
		require.Equal(t, 2, r.live)
		r.unlock()
		require.Nil(t, r.inbox.Load())
		require.Equal(t, Unknown, r.Snapshot().Step(0).Status)
		r.mu.Lock()
		require.Equal(t, 2, r.m.running)
		r.unlock()
		<-r.Done()
		require.Equal(t, RunSucceededWithWarnings, r.Snapshot().Status())
	})
}

func TestAnEndIsNeverLeftWithNobodyToTakeIt(t *testing.T) {
	dependencies := make([][]string, 200)
	for i := range dependencies[1:] {
		dependencies[i+1] = []string{fmt.Sprint("s", i)}
	}
	p := reading(t, dependencies...)
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			var r *Run
			set := make(chan struct{})
			ex, err := New(Config{Handlers: actions.Handlers{"look": actions.HandlerFunc(func(context.Context, *actions.Request) (*actions.Result, error) {
				<-set
				locked := make(chan struct{})
				go func() { // lets go of the lock just when the step ends, and nobody takes it after that
					r.mu.Lock()
					close(locked)
					for range rand.IntN(64) {
						_ = r.inbox.Load()
					}
					r.unlock()
				}()
				<-locked
				return nil, nil
			})}})
			require.NoError(t, err)
			r, err = ex.Start(t.Context(), p, RunOptions{})
			require.NoError(t, err)
			close(set)
			<-r.Done()
			require.Zero(t, r.Snapshot().Makespan(), "a step was waited for until its time was up")
		})
	}
}
