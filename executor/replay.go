package executor

import (
	"context"
	"fmt"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor/journal"
)

// History is what a journal knows of a run.
type History struct {
	Plan    *dag.Plan
	Options RunOptions
	// Policy is the run's. What the conditions of its rules mean is not in a journal: see [approval.Policy.Compile].
	Policy *approval.Policy
	// Gates are those of the run.
	Gates *approval.Gates
	// Report says how the run stands. A run that only waits for people is RunParked; any other that has not ended is
	// RunInterrupted, also while a process is at work on it.
	Report *Report
	// StartedAt and EndedAt bound the run; EndedAt is zero as long as it has not ended.
	StartedAt, EndedAt time.Time
}

// Replay reads a run from a journal without going on with it. reg must know the plan's actions. The error wraps
// [ErrUnknownRun] when there is no such run.
func Replay(ctx context.Context, j journal.Journal, run string, reg *actions.Registry) (*History, error) {
	records, err := j.Read(ctx, run)
	if err != nil {
		return nil, unknownRun(run, err)
	}
	b, err := readBeginning(run, records)
	if err != nil {
		return nil, err
	}
	plan, err := dag.Restore(b.Plan, reg)
	if err != nil {
		return nil, fmt.Errorf("executor: journal of run %s: %w", run, err)
	}
	none := actions.HandlerFunc(func(context.Context, *actions.Request) (*actions.Result, error) { return nil, nil })
	e := &Executor{config: Config{Policy: b.Policy}, handlers: map[string]*bound{}}
	for i := range plan.Len() {
		e.handlers[plan.Step(i).Action()] = &bound{ActionHandler: none, compensator: canUndo{}}
	}
	r, f, err := e.restored(ctx, plan, RunOptions{ID: run}, b, records, true)
	if err != nil {
		return nil, err
	}
	for _, a := range r.openAsks {
		a.cancel()
	}
	h := &History{Plan: plan, Options: b.options(run), Policy: b.Policy, Gates: r.gates, StartedAt: records[0].Time}
	rep := r.reportLocked(false)
	if f.finished != "" {
		h.EndedAt = records[len(records)-1].Time
	}
	if !r.m.finished() {
		rep.makespan = r.m.now
		rep.status = RunInterrupted
		if r.m.idle() {
			rep.status = RunParked
		}
	}
	h.Report = rep
	return h, nil
}

// canUndo stands for handlers that are not at hand.
type canUndo struct{}

func (canUndo) Compensate(context.Context, *actions.Request, *actions.Undo) error { return nil }
