package executor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
)

// Everybody at once: handlers that end in every way, approvers and observers that call back, and bystanders who decide,
// cancel, look and wait while the run goes on. Time is virtual, so a wake-up that is lost shows as a run that lasts
// until some clock runs out; goroutines are real.
func TestEverybodyAtOnce(t *testing.T) {
	for range 400 {
		seed := rand.Uint64()
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { (&stress{T: t, Rand: rand.New(rand.NewPCG(seed, 0))}).once() })
		})
		if !ok {
			return
		}
	}
}

type stress struct {
	*testing.T
	*rand.Rand // for what happens before the run starts
	ex         *executor.Executor
	plan       *dag.Plan
	limit      int

	running atomic.Int32
	writing sync.Map // of things to *atomic.Int32
	over    atomic.Bool
}

// often is true once in n times; it is for goroutines.
func often(n int) bool { return rand.IntN(n) == 0 }

func dawdle() {
	for range rand.IntN(20) {
		runtime.Gosched()
	}
	if often(2) {
		time.Sleep(time.Duration(rand.IntN(1000)))
	}
}

func (s *stress) once() {
	var lines []string
	for i := range 1 + s.IntN(25) {
		line := fmt.Sprintf("s%d %s", i, []string{"look", "note", "check", "fix", "fix(a)", "fix(b)"}[s.IntN(6)])
		for _, word := range []string{"+gate", "+always", "+continue", "!1us"} {
			if s.IntN(6) == 0 {
				line += " " + word
			}
		}
		line += " <-"
		for d := range i {
			if s.IntN(6) == 0 {
				line += fmt.Sprint(" s", d)
			}
		}
		lines = append(lines, line)
	}
	s.plan = plan(s.T, lines...)
	s.limit = []int{-1, 1, 2, 5}[s.IntN(4)]
	rec := &recorder{}
	c := executor.Config{
		Handlers: handle(s.execute), MaxParallel: s.limit, EarlyApproval: s.IntN(2) == 0, Policy: open(),
		Approver: []approval.Approver{nil, approval.Auto(), approval.ApproverFunc(s.approve)}[s.IntN(3)],
	}
	if s.IntN(3) > 0 {
		c.Observers = []executor.Observer{rec, executor.ObserverFunc(s.observe)}
	}
	if s.IntN(4) == 0 {
		c.Policy.MaxSteps = 1
	}
	if s.IntN(4) == 0 {
		c.RunTimeout = 2 * time.Microsecond
	}
	s.ex = newExecutor(s.T, c)
	ctx, interrupt := context.WithCancel(s.Context())
	defer interrupt()
	began := time.Now()
	var bystanders sync.WaitGroup
	var r *executor.Run
	var err error
	if s.IntN(2) == 0 {
		r, err = s.ex.Start(ctx, s.plan, executor.RunOptions{ID: "x", Author: "model"})
		require.NoError(s, err)
	} else {
		bystanders.Go(func() {
			report, err := s.ex.Run(ctx, s.plan, executor.RunOptions{ID: "x", Author: "model"})
			s.rests(report, err)
		})
		for r == nil {
			runtime.Gosched()
			r = s.ex.Lookup("x")
		}
	}
	calm := s.IntN(2) == 0
	for range 3 {
		bystanders.Go(func() {
			for !isDone(r) {
				dawdle()
				s.meddle(r, calm, interrupt)
			}
		})
	}
	bystanders.Go(func() {
		for !isDone(r) {
			report, err := r.Wait(context.Background())
			s.rests(report, err)
			s.decide(r, 2)
			time.Sleep(time.Microsecond)
		}
	})
	<-r.Done()
	s.over.Store(true)
	bystanders.Wait()
	require.Less(s, time.Since(began), time.Second, "nobody is waited for that long: a wake-up was lost")
	s.inspect(r, rec, len(c.Observers) > 0)
}

func isDone(r *executor.Run) bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

// rests checks that a run whose wait is over has ended or is parked.
func (s *stress) rests(report *executor.Report, err error) {
	if err != nil || report.Status() == executor.RunRunning {
		s.Errorf("waited for %v, %v", report, err)
	}
	if report != nil && report.Status() == executor.RunParked && len(report.Waiting()) == 0 {
		s.Errorf("parked, and waits for nobody: %v", report)
	}
}

func (s *stress) meddle(r *executor.Run, calm bool, interrupt func()) {
	switch n := rand.IntN(400); {
	case n == 0 && !calm:
		interrupt()
	case n == 1 && !calm:
		if err := s.ex.Cancel(context.Background(), "x", "enough"); err != nil && !errors.Is(err, executor.ErrFinished) {
			s.Error(err)
		}
	case n < 200:
		s.decide(r, 8)
	case n < 300:
		again, err := s.ex.Start(context.Background(), s.plan, executor.RunOptions{ID: "x"})
		if again != r || err != nil {
			s.Errorf("another run: %v", err)
		}
	default:
		ctx, stop := context.WithCancel(context.Background())
		stop()
		_, _ = r.Wait(ctx)
	}
}

// decide answers one of the open questions, with no once in a while.
func (s *stress) decide(r *executor.Run, no int) {
	waiting := r.Snapshot().Waiting()
	if len(waiting) == 0 {
		return
	}
	req := waiting[rand.IntN(len(waiting))]
	step := ""
	if req.Step != nil {
		step = req.Step.ID()
	}
	d := approval.Decision{Verdict: approval.Approved, By: "bob", Digest: req.Digest}
	if often(no) {
		d.Verdict = approval.Rejected
	}
	err := s.ex.Decide(context.Background(), "x", step, d)
	if err != nil && !errors.Is(err, approval.ErrDecided) && !errors.Is(err, approval.ErrNotAsked) {
		s.Error(err)
	}
}

func (s *stress) execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if s.over.Load() {
		s.Error("a step runs after the end of its run")
	}
	if n := s.running.Add(1); s.limit > 0 && int(n) > s.limit {
		s.Errorf("%d steps at once", n)
	}
	defer s.running.Add(-1)
	if req.Target.Name != "" {
		n, _ := s.writing.LoadOrStore(req.Target.Name, new(atomic.Int32))
		if n.(*atomic.Int32).Add(1) > 1 {
			s.Errorf("%s has two writers", req.Target.Name)
		}
		defer n.(*atomic.Int32).Add(-1)
	}
	dawdle()
	switch rand.IntN(24) {
	case 0:
		return nil, errors.New("broken")
	case 1:
		panic([]int{1})
	case 2:
		runtime.Goexit()
	case 3:
		child, stop := context.WithTimeout(ctx, time.Microsecond)
		defer stop()
		<-child.Done()
		return nil, child.Err()
	case 4:
		if often(4) {
			_ = s.ex.Cancel(ctx, req.Run, "by myself")
		}
	case 5:
		s.ex.Lookup(req.Run).Snapshot()
	}
	return &actions.Result{Message: req.Step}, nil
}

func (s *stress) approve(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
	dawdle()
	switch rand.IntN(12) {
	case 0:
		panic(nil)
	case 1:
		runtime.Goexit()
	case 2:
		<-ctx.Done()
		return nil, ctx.Err()
	case 3, 4, 5:
		return &approval.Decision{Verdict: approval.Pending}, nil
	case 6, 7, 8:
		s.decide(s.ex.Lookup(req.Run), 4)
		return &approval.Decision{Verdict: approval.Pending}, nil
	}
	return &approval.Decision{Verdict: approval.Approved, By: "alice"}, nil
}

func (s *stress) observe(e executor.Event) {
	if s.over.Load() {
		s.Errorf("told of %s after the end", e.Kind)
	}
	switch rand.IntN(20) {
	case 0:
		panic(e)
	case 1:
		runtime.Goexit()
	case 2:
		s.decide(s.ex.Lookup(e.Run), 4)
	case 3:
		dawdle()
	}
}

// inspect holds a report against itself and against what observers were told.
func (s *stress) inspect(r *executor.Run, rec *recorder, observed bool) {
	report := r.Snapshot()
	require.True(s, report.Status().Final())
	good := report.Status() == executor.RunSucceeded || report.Status() == executor.RunSucceededWithWarnings
	require.Equal(s, good, report.Err() == nil)
	steps := slices.Collect(report.Steps())
	for i, step := range steps {
		require.True(s, step.Status.Final(), "%v", step)
		if step.Status != executor.Succeeded {
			why := report.Why(step.ID)
			last := why[len(why)-1]
			require.NotEmpty(s, last.Reason, "%v", why)
			require.NotEqual(s, executor.ReasonDependency, last.Reason)
			require.NotEqual(s, executor.ReasonRunFailed, last.Reason)
			require.NotEqual(s, executor.ReasonPlanRejected, last.Reason)
		}
		if step.Attempts > 0 {
			for _, d := range s.plan.Step(i).Dependencies() {
				require.False(s, steps[d].EndedAt.After(step.StartedAt), "%s started before %s ended", step.ID, steps[d].ID)
			}
		}
	}
	if !observed {
		return
	}
	started, finished := map[string]int{}, map[string]int{}
	for i, e := range rec.events {
		require.EqualValues(s, i+1, e.Seq)
		require.True(s, i == 0 || !e.Time.Before(rec.events[i-1].Time))
		require.Equal(s, i == 0, e.Kind == executor.EventRunStarted)
		require.Equal(s, i == len(rec.events)-1, e.Kind == executor.EventRunFinished)
		switch e.Kind {
		case executor.EventStepStarted:
			started[e.Step]++
		case executor.EventStepFinished:
			k, _ := s.plan.Index(e.Step)
			require.Equal(s, steps[k].Status.String(), e.Status)
			require.Equal(s, steps[k].Reason.String(), e.Reason)
			require.Equal(s, steps[k].Attempts, e.Attempt)
			require.Equal(s, steps[k].Attempts, started[e.Step])
			finished[e.Step]++
		case executor.EventRunFinished:
			require.Equal(s, string(report.Status()), e.Status)
		}
	}
	for _, step := range steps {
		require.Equal(s, 1, finished[step.ID])
	}
}
