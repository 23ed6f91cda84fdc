package executor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// A Rehearsal is what a dry run of a whole plan found. It is immutable.
type Rehearsal struct {
	steps []RehearsedStep
}

// A RehearsedStep is what a dry run found of one step.
type RehearsedStep struct {
	ID     string
	Number int
	// Verdict says how far Change can be believed.
	Verdict actions.PreviewVerdict
	// Change describes the change, one line each. It is the handler's text, to be shown as text.
	Change []string
	// Err is why the step would fail; nil when nothing is known against it.
	Err error

	preview *actions.Preview
}

// Steps yields what was found of every step, in plan order.
func (r *Rehearsal) Steps() iter.Seq[RehearsedStep] { return slices.Values(r.steps) }

// Err is nil when no step would fail, else an error that names the first that would and wraps its error.
func (r *Rehearsal) Err() error {
	for _, s := range r.steps {
		if s.Err != nil {
			return fmt.Errorf("dry run: step %d (%s) would fail: %w", s.Number, s.ID, s.Err)
		}
	}
	return nil
}

// DryRun asks the handlers of all steps what they would do, in an order in which they could run, each seeing what those
// before it would have done. Nothing is changed, nobody is asked or told, and nothing is recorded. The error is for a
// plan that could not be rehearsed; a step that would fail is in the Rehearsal.
func (e *Executor) DryRun(ctx context.Context, plan *dag.Plan, o RunOptions) (*Rehearsal, error) {
	if plan == nil || plan.Len() == 0 {
		return nil, errors.New("executor: the plan has no steps")
	}
	if o.ID == "" {
		o.ID = newID() // what handlers write may have it
	} else if err := checkID(o.ID); err != nil {
		return nil, err
	}
	p, err := e.prepare(plan, o.Confidence)
	if err != nil {
		return nil, err
	}
	return e.rehearse(ctx, p, o.ID)
}

func (e *Executor) rehearse(ctx context.Context, p *program, run string) (*Rehearsal, error) {
	handlers, err := e.handlersFor(p)
	if err != nil {
		return nil, err
	}
	r := &Rehearsal{steps: make([]RehearsedStep, p.plan.Len())}
	world := &rehearsal{}
	for _, i := range p.graph.Order() {
		s := p.plan.Step(int(i))
		out := &r.steps[i]
		out.ID, out.Number = s.ID(), s.Number()
		if h := handlers[p.info[i].action]; h.dryRunner == nil {
			out.Verdict = actions.Unverifiable
		} else {
			req := &actions.Request{Task: s.Task(), Run: run, Attempt: 1, Conductor: world}
			preview, err := dryRun(ctx, h.dryRunner, req, p.info[i].timeout, e.config.Grace)
			out.Err, out.preview = p.secrets.err(err), p.secrets.preview(preview)
			if out.preview != nil {
				out.Verdict, out.Change = out.preview.Verdict, out.preview.Change
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return r, nil
}

// rehearsal is the Conductor of a dry run: nothing may begin.
type rehearsal struct{ world actions.World }

func (r *rehearsal) Begin(context.Context, *actions.Request, *actions.Undo) error {
	return errors.New("a dry run must have no effect")
}

func (r *rehearsal) World() *actions.World { return &r.world }

// dryRun asks one handler. One that ignores its context is left behind after the grace.
func dryRun(ctx context.Context, h actions.DryRunner, req *actions.Request, timeout, grace time.Duration) (*actions.Preview, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type answer struct {
		preview *actions.Preview
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		a := answer{err: &PanicError{}}
		defer func() {
			if v := recover(); v != nil {
				a.err = &PanicError{Value: v}
			}
			answers <- a
		}()
		a.preview, a.err = h.DryRun(ctx, req)
	}()
	select {
	case a := <-answers:
		return a.preview, a.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case a := <-answers:
		return a.preview, a.err
	case <-timer.C:
		return nil, fmt.Errorf("the handler went on for %v after its context had ended", grace)
	}
}

// rehearseFirst makes the dry run that goes before a run: what nobody can verify waits for a person, and with
// EarlyApproval people decide about what it has found.
func (e *Executor) rehearseFirst(ctx context.Context, p *program, o RunOptions) (raised *program, found *Rehearsal, err error) {
	r, err := e.rehearse(ctx, p, o.ID)
	if err != nil || !e.config.DryRunFirst || r.Err() != nil {
		return p, r, err
	}
	var gates *approval.Gates
	for i, s := range r.steps {
		if s.Verdict != actions.Unverifiable || p.info[i].traits&mutating == 0 || p.info[i].traits&gated != 0 {
			continue
		}
		if gates == nil {
			gates = &approval.Gates{Plan: p.gates.Plan, Steps: slices.Clone(p.gates.Steps)}
		}
		gates.Steps[i].Required = true
		gates.Steps[i].Reasons = append(slices.Clone(gates.Steps[i].Reasons), "the dry run could not verify it")
	}
	if gates == nil {
		return p, r, nil
	}
	return compile(p.plan, gates, e.compensates), r, nil
}

// refuse ends a run whose dry run found a step that would fail, before anything happened.
func (r *Run) refuse(found *Rehearsal) {
	r.mu.Lock()
	defer r.unlock()
	for i, s := range found.steps {
		if s.Err != nil && !r.m.steps[i].status.Final() {
			err := r.secrets.err(s.Err)
			r.noteLocked(int32(i), outcome{err: err})
			r.applyWithLocked(fact{kind: factRefused, step: int32(i), at: 0}, &detail{err: err})
		}
	}
}
