package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/schema"
)

// format is the version of the records that this code writes. It reads all from 1 on.
const format = 1

// beginning is the Data of the first record: all that is needed to go on with the run, or to show it.
type beginning struct {
	Format     int                `json:"format"`
	Plan       json.RawMessage    `json:"plan"`
	Author     string             `json:"author,omitempty"`
	Model      string             `json:"model,omitempty"`
	Incident   *approval.Incident `json:"incident,omitempty"`
	Confidence *float64           `json:"confidence,omitempty"`
	AllowLow   bool               `json:"allowLowConfidence,omitempty"`
	Policy     *approval.Policy   `json:"policy"`
	PlanGate   gateRecord         `json:"planGate"`
	// Gates are those of the steps that wait for a person.
	Gates     map[string]gateRecord `json:"gates,omitempty"`
	Early     bool                  `json:"earlyApproval,omitempty"`
	OnFailure FailurePolicy         `json:"onFailure,omitempty"`
	OnReject  RejectPolicy          `json:"onReject,omitempty"`
	Rollback  RollbackStrategy      `json:"rollback,omitempty"`
	Irrevers  []string              `json:"irreversible,omitempty"`
}

type gateRecord struct {
	Required bool           `json:"required,omitempty"`
	Reasons  []string       `json:"reasons,omitempty"`
	Risk     schema.Risk    `json:"risk,omitempty"`
	Rules    []string       `json:"rules,omitempty"`
	Terms    approval.Terms `json:"terms,omitzero"`
}

func recordOf(g approval.Gate) gateRecord {
	return gateRecord{g.Required, g.Reasons, g.Risk, g.Rules, g.Terms}
}

// into makes a gate what it was.
func (r gateRecord) into(g *approval.Gate) {
	g.Required, g.Reasons, g.Risk, g.Rules, g.Terms = r.Required, r.Reasons, max(g.Risk, r.Risk), r.Rules, r.Terms
}

func (r *Run) beginning() (*beginning, error) {
	archive, err := r.plan.Archive()
	if err != nil {
		return nil, err
	}
	b := &beginning{
		Format: format, Plan: archive, Author: r.options.Author, AllowLow: r.options.Confidence.AllowLow, Policy: r.config.Policy,
		Model: r.options.Model, Incident: r.options.Incident, PlanGate: recordOf(r.gates.Plan), Gates: map[string]gateRecord{},
		Early: r.config.EarlyApproval, OnFailure: r.config.OnFailure, OnReject: r.config.OnReject, Rollback: r.config.Rollback,
	}
	if c := r.options.Confidence; c.Given {
		b.Confidence = &c.Value
	}
	for i := range r.info {
		if g := r.gates.Steps[i]; r.info[i].traits&gated != 0 {
			b.Gates[r.plan.Step(i).ID()] = recordOf(g)
		}
	}
	return b, nil
}

func (b *beginning) options(run string) RunOptions {
	o := RunOptions{ID: run, Author: b.Author, Model: b.Model, Incident: b.Incident, Confidence: approval.Confidence{AllowLow: b.AllowLow}}
	if b.Confidence != nil {
		o.Confidence.Given, o.Confidence.Value = true, *b.Confidence
	}
	return o
}

// readBeginning reads the first of a run's records.
func readBeginning(run string, records []journal.Record) (*beginning, error) {
	if err := journal.Verify(records); err != nil {
		return nil, fmt.Errorf("executor: journal of run %s: %w", run, err)
	}
	if len(records) == 0 || records[0].Kind != recordBegun {
		return nil, fmt.Errorf("executor: journal of run %s: it does not begin with a record %s", run, recordBegun)
	}
	var b beginning
	if err := json.Unmarshal(records[0].Data, &b); err != nil {
		return nil, fmt.Errorf("executor: journal of run %s: record 1: %w", run, err)
	}
	if b.Format < 1 || b.Format > format {
		return nil, fmt.Errorf("executor: journal of run %s has format %d; this program reads up to %d: use a newer one", run, b.Format, format)
	}
	return &b, nil
}

// gatesOf are the gates that a journalled run had, and those that are required now of steps that have not started.
func (b *beginning) gatesOf(plan *dag.Plan, now *approval.Gates, records []journal.Record) *approval.Gates {
	g := &approval.Gates{Steps: make([]approval.Gate, plan.Len())}
	b.PlanGate.into(&g.Plan)
	beganAt := map[string]bool{}
	for _, r := range records {
		if r.Kind == factNames[factStarted] {
			beganAt[r.Step] = true
		}
	}
	for i := range g.Steps {
		s := plan.Step(i)
		g.Steps[i].Risk = s.Risk()
		if old, ok := b.Gates[s.ID()]; ok {
			old.into(&g.Steps[i])
		}
		if now == nil {
			continue
		}
		if !g.Steps[i].Required {
			g.Steps[i].Terms = now.Steps[i].Terms // should a person be asked after all
		}
		g.Plan.Risk, g.Steps[i].Risk = max(g.Plan.Risk, now.Plan.Risk), max(g.Steps[i].Risk, now.Steps[i].Risk)
		if now.Steps[i].Required && !g.Steps[i].Required && !beganAt[s.ID()] {
			g.Steps[i] = now.Steps[i]
		}
	}
	return g
}

// A fold makes a run of its records: it tells the machine the facts again.
type fold struct {
	r           *Run
	interrupted bool      // a former process was told to end
	began       bool      // anything has
	finished    RunStatus // what the last record says
}

// ofThePlan are the kinds of facts that may be about the gate of the plan as a whole, or about the run.
var ofThePlan = []factKind{factAsked, factApproved, factRejected, factVoted, factEscalated, factAnnounced, factHalted}

var factKinds = func() map[string]factKind {
	kinds := map[string]factKind{}
	for k, name := range factNames {
		if name != "" {
			kinds[name] = factKind(k)
		}
	}
	return kinds
}()

// take tells the machine one record. What an interrupt ended goes on.
func (f *fold) take(rec *journal.Record) error {
	r, m := f.r, f.r.m
	var d detail
	if err := json.Unmarshal(rec.Data, &d); err != nil {
		return err
	}
	if rec.Kind == recordFinished {
		f.finished = RunStatus(d.Status)
		return nil
	}
	kind, ok := factKinds[rec.Kind]
	if !ok {
		return fmt.Errorf("its kind %q is unknown: use a newer program", rec.Kind)
	}
	step := planGate
	if rec.Step != "" {
		i, ok := r.plan.Index(rec.Step)
		if !ok {
			return fmt.Errorf("the plan has no step %q", rec.Step)
		}
		step = int32(i)
		if kind == factHalted || kind == factRollback || kind == factRollbackOver || kind == factResumed {
			return errors.New("it names a step")
		}
	} else if !slices.Contains(ofThePlan, kind) && kind < factRollback || kind == factRefused {
		return errors.New("it names no step")
	}
	status, ok := statusOf(d.Status)
	if !ok {
		return fmt.Errorf("its status %q is unknown: use a newer program", d.Status)
	}
	reason, ok := reasonOf(d.Reason)
	if !ok {
		return fmt.Errorf("its reason %q is unknown: use a newer program", d.Reason)
	}
	fa := fact{kind: kind, step: step, at: d.At, until: d.Until, effect: mark(d.Begun, d.Harmless), status: status, reason: reason}
	if err := m.admits(fa); err != nil {
		return err
	}
	switch kind {
	case factHalted:
		if reason == ReasonInterrupted {
			f.interrupted = true
			return nil
		}
		r.why.restore(reason, d.Message)
	case factBegun:
		if d.Undo != nil {
			r.keepUndo(step, d.Undo)
		}
	case factEnded:
		if f.interrupted && (reason == ReasonInterrupted || reason == ReasonAbandoned) {
			if fa.effect != notBegun {
				m.begin(fa)
				return nil // an intent without an outcome
			}
			fa.kind, fa.until = factRetry, d.At
			break
		}
		r.restoreOutcome(step, &d)
	case factRetry, factRefused:
		r.restoreOutcome(step, &d)
	case factUndoEnded:
		if status == RollbackFailed && d.Message != "" {
			if r.undoErrs == nil {
				r.undoErrs = make([]error, r.plan.Len())
			}
			r.undoErrs[step] = errors.New(d.Message)
		}
	case factDoubted:
		r.forgetAskLocked(step)
	case factEscalated:
		r.asks[step].told = r.startedAt.Add(d.At)
	case factAnnounced:
		own := *r.asks[step].req
		own.Receipt, r.asks[step].req = d.Receipt, &own
	case factVoided:
		if d.Gate != nil {
			g := r.gateLocked(step)
			d.Gate.into(&g)
			r.regate(step, g)
		}
		r.keepVoid(step, d.Message)
		r.forgetAskLocked(step)
	case factAsked:
		expiry := d.At + r.config.Policy.Wait()
		if d.Expires != nil {
			expiry = d.Expires.Sub(r.startedAt)
		}
		var f *finding
		if d.Preview != nil || d.Touches != nil {
			f = &finding{d.Preview, d.Touches}
		}
		if d.Gate != nil {
			g := r.gateLocked(step)
			g.Terms = d.Gate.Terms
			r.regate(step, g)
		}
		a := r.openLocked(step, d.At, expiry, f)
		if step != planGate && m.steps[step].flags&doubted != 0 && d.Digest == stepDigest(r.plan, int(step)) { // of an older program
			a.req.Digest = d.Digest
		}
		if d.Digest != a.req.Digest {
			return fmt.Errorf("the question was about %s, but would be about %s now", d.Digest, a.req.Digest)
		}
	case factVoted, factApproved, factRejected:
		a := r.asks[step]
		if kind != factVoted {
			a.by, a.reason = d.By, d.Message
		}
		if err := recount(a.tally, kind, a.req.Digest, &d, r.startedAt.Add(d.At)); err != nil {
			return err
		}
		if kind == factRejected && reason == ReasonApprovalError && step != planGate {
			r.noteLocked(step, outcome{err: errors.New(d.Message)})
		}
	}
	f.began = f.began || kind == factStarted
	m.apply(fa)
	m.stopping = false
	return nil
}

// mark is what a record says of an effect.
func mark(begun, harmless bool) effectMark {
	switch {
	case harmless:
		return noTrace
	case begun:
		return mayHappened
	}
	return notBegun
}

// restoreOutcome keeps what a record says that a handler left.
func (r *Run) restoreOutcome(i int32, d *detail) {
	o := outcome{result: d.Result}
	if d.Message != "" {
		o.err = errors.New(d.Message)
	}
	if o.result != nil || o.err != nil {
		r.noteLocked(i, o)
	}
}

// restore takes a halt's message from the journal.
func (h *halts) restore(reason Reason, message string) {
	switch reason {
	case ReasonRunCancelled:
		h.cancelled = message
	case ReasonGuard:
		h.guard = message
	}
}

// admits refuses facts that cannot follow on what the machine knows: a journal may be damaged in ways that no hash shows,
// and belong to a program with other rules.
func (m *machine) admits(f fact) error {
	no := func() error { return errors.New("it does not follow from the records before") }
	if f.at < 0 || f.until < 0 {
		return errors.New("its time is negative")
	}
	if f.step == planGate {
		switch f.kind {
		case factAsked:
			if g := m.gate[planGate]; g == nil || g.asked {
				return no()
			}
		case factApproved, factRejected, factVoted, factEscalated, factAnnounced:
			if g := m.gate[planGate]; g == nil || !g.asked || g.decided || m.open == 0 {
				return no()
			}
		case factRollbackOver:
			if m.rollback == nil {
				return no()
			}
		case factHalted:
			if f.reason < ReasonRunCancelled {
				return no()
			}
		}
		return nil
	}
	s := &m.steps[f.step]
	ok := true
	switch f.kind {
	case factStarted:
		ok = s.flags&(inReady|delaying) != 0 && s.status == Pending
	case factEnded, factRetry, factDoubted, factBegun:
		ok = s.status == Running && (f.kind != factEnded || f.status.Final())
	case factAsked:
		ok = m.gate[f.step] != nil && !m.gate[f.step].asked && !s.status.Final()
	case factApproved, factRejected, factVoted, factEscalated, factAnnounced:
		g := m.gate[f.step]
		ok = g != nil && g.asked && !g.decided && !s.status.Final()
	case factVoided:
		g := m.gate[f.step]
		ok = s.status == Running && s.flags&begun == 0 || !s.status.Final() && g != nil && g.asked && !g.decided
	case factRefused:
		ok = !s.status.Final() && s.status != Running
	case factUndoStarted:
		ok = m.rollback != nil && slices.Contains(m.rollback.ready, f.step)
	case factUndoEnded:
		ok = m.rollback != nil && m.rollback.steps[f.step].phase == undoRunning
	}
	if !ok {
		return no()
	}
	return nil
}

// restored makes a run of its records, which nobody conducts yet. One that is only read needs nothing of the policy.
func (e *Executor) restored(ctx context.Context, plan *dag.Plan, o RunOptions, b *beginning, records []journal.Record, reading bool) (*Run, *fold, error) {
	// By the time of its beginning: what the policy says later is asked before each step.
	now, err := e.config.Policy.Gates(plan, b.options(o.ID).Confidence, records[0].Time)
	if err != nil && !reading {
		return nil, nil, fmt.Errorf("executor: %w", err)
	}
	p := compile(plan, b.gatesOf(plan, now, records), e.compensates)
	r, err := e.newRun(ctx, p, b.options(o.ID))
	if err != nil {
		return nil, nil, err
	}
	r.startedAt = records[0].Time
	m := newMachine(p, rules{
		limit: e.config.MaxParallel, runTimeout: e.config.RunTimeout, early: b.Early, onFailure: b.OnFailure, onReject: b.OnReject,
		strategy: b.Rollback, rollbackTimeout: e.config.RollbackTimeout, retries: e.config.Retries,
	}, true)
	m.planClosed = b.PlanGate.Required
	r.m = m
	f := &fold{r: r}
	for k := range records[1:] {
		rec := &records[1+k]
		if err := f.take(rec); err != nil {
			return nil, nil, fmt.Errorf("executor: journal of run %s: record %d (%s): %w", o.ID, rec.Seq, rec.Kind, err)
		}
	}
	return r, f, nil
}

// resume goes on with a journalled run. undo asks for its rollback.
func (e *Executor) resume(ctx context.Context, plan *dag.Plan, o RunOptions, records []journal.Record, undo bool) (*Run, error) {
	b, err := readBeginning(o.ID, records)
	if err != nil {
		return nil, err
	}
	if err := plan.Matches(b.Plan); err != nil {
		return nil, fmt.Errorf("executor: run %s cannot go on with this plan: %w", o.ID, err)
	}
	r, f, err := e.restored(ctx, plan, o, b, records, false)
	if err != nil {
		return nil, err
	}
	last := records[len(records)-1]
	r.ledger.epoch, r.ledger.seq, r.ledger.durable, r.ledger.hash = last.Epoch+1, last.Seq, last.Seq, last.Hash
	told := int64(len(r.m.transitions)) + 1
	r.m.transitions = r.m.transitions[:0]
	if r.m.recording = r.outbox != nil; r.m.recording {
		r.outbox.seq = told
	}
	if r.m.finished() && !undo {
		if f.finished == "" { // the process died before it could say so
			r.ledger.add(entry{kind: recordFinished, time: time.Now(), data: &detail{At: r.m.now, Status: string(r.m.status())}})
			if err := r.ledger.flush(); err != nil {
				return nil, err
			}
			_ = e.config.Journal.Release(r.id)
		}
		for _, a := range r.openAsks {
			a.cancel()
		}
		r.openAsks = nil
		r.final = r.reportLocked(false)
		close(r.done)
		return r, nil
	}
	// Wall time counts for people; the run's own clock stood while no process had the run.
	now := max(time.Since(r.startedAt), r.m.now)
	r.base = time.Now().Add(-now)
	r.resumed, r.stale = true, e.config.StillWanted != nil
	r.applyLocked(fact{kind: factResumed, at: now})
	if err := r.ledger.flush(); err != nil { // takes the run over
		return nil, fmt.Errorf("executor: run %s: %w", o.ID, err)
	}
	if undo {
		r.applyLocked(fact{kind: factRollback, at: now})
		if r.m.ended == "" {
			r.why.cancelled = "its rollback was asked for"
			r.applyLocked(fact{kind: factHalted, at: now, reason: ReasonRunCancelled})
		}
	}
	r.reviveLocked(now)
	return r, nil
}

// reviveLocked decides what becomes of that which ran when the former process ended.
func (r *Run) reviveLocked(now time.Duration) {
	m := r.m
	for _, d := range slices.Clone(m.delayed) {
		m.apply(fact{kind: factDue, step: d.step, at: now})
	}
	for i := range m.steps {
		i := int32(i)
		if m.steps[i].status != Running {
			continue
		}
		idempotent := r.plan.Step(int(i)).Spec().Idempotent
		switch {
		case m.steps[i].flags&begun == 0 || m.info[i].traits&mutating == 0 || idempotent && r.undoKnown(i):
			f := fact{kind: factRetry, step: i, at: now, until: now}
			if m.steps[i].flags&begun != 0 {
				f.effect = mayHappened
			}
			r.applyLocked(f)
			m.apply(fact{kind: factDue, step: i, at: now})
		case r.handlers[r.info[i].action].prober != nil:
			r.probing++
		case m.stops(i) != ReasonNone:
			r.applyLocked(fact{kind: factEnded, step: i, at: now, status: Unknown, reason: ReasonUnresolved, effect: mayHappened})
		default:
			r.forgetAskLocked(i)
			r.applyLocked(fact{kind: factDoubted, step: i, at: now})
		}
	}
	if b := m.rollback; b != nil {
		for i := range b.steps {
			if b.steps[i].phase == undoRunning {
				r.applyLocked(fact{kind: factUndoEnded, step: int32(i), at: now, status: Pending, reason: ReasonInterrupted})
			}
		}
	}
}

// undoKnown tells whether sending the effect again would keep what is needed to undo the first one: the prior state of
// a second attempt may be what the first one wrote.
func (r *Run) undoKnown(i int32) bool {
	return r.m.info[i].traits&reversible == 0 || !r.handlers[r.info[i].action].begins
}

// probe asks the handler whether the effect happened that a former process may have sent.
func (r *Run) probe(i int32) {
	outcome, err := r.probeOnce(i)
	r.mu.Lock()
	now := r.now()
	r.probing--
	f := fact{kind: factDoubted, step: i, at: now}
	switch {
	case r.ctx.Err() != nil:
		f = fact{kind: factEnded, step: i, at: now, status: Unknown, reason: ReasonInterrupted, effect: mayHappened}
	case err == nil && outcome == actions.OutcomeHappened:
		f = fact{kind: factEnded, step: i, at: now, status: Succeeded, reason: ReasonProbed, effect: mayHappened}
	case err == nil && outcome == actions.OutcomeDidNotHappen:
		f = fact{kind: factRetry, step: i, at: now, until: now}
	case err == nil && outcome == actions.OutcomePartly:
		f = fact{kind: factRetry, step: i, at: now, until: now, effect: mayHappened}
	case r.m.stops(i) != ReasonNone:
		f = fact{kind: factEnded, step: i, at: now, status: Unknown, reason: ReasonUnresolved, effect: mayHappened}
	}
	if f.kind == factDoubted {
		r.forgetAskLocked(i)
	}
	r.applyWithLocked(f, &detail{err: err})
	if f.kind == factRetry {
		r.m.apply(fact{kind: factDue, step: i, at: now})
	}
	helper := r.helperLocked()
	r.pokeLocked()
	r.unlock()
	r.spawn(helper)
}

func (r *Run) probeOnce(i int32) (outcome actions.Outcome, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.info[i].timeout)
	defer cancel()
	returned := false
	defer func() {
		if !returned {
			err = &PanicError{Value: recover()}
		}
	}()
	req := &actions.Request{Task: r.plan.Step(int(i)).Task(), Run: r.id}
	r.mu.Lock()
	req.Attempt = int(r.m.steps[i].tries)
	if r.undos != nil {
		req.Begun = r.undos[i]
	}
	r.unlock()
	outcome, err = r.handlers[r.info[i].action].prober.Probe(ctx, req)
	returned = true
	return outcome, err
}

// Rollback undoes what a journalled run did. A run that has ended is only rolled back; one that was parked or interrupted
// is cancelled first; one that is live in this Executor must be cancelled instead. The plan must be the run's. What was
// undone before is not undone again, and an undo that failed is tried again.
func (e *Executor) Rollback(ctx context.Context, plan *dag.Plan, run string) (*Run, error) {
	if e.config.Journal == nil {
		return nil, errors.New("executor: Config.Journal is nil: nothing is known of former runs")
	}
	if plan == nil || plan.Len() == 0 {
		return nil, errors.New("executor: the plan has no steps")
	}
	unlock, err := e.ids.Lock(ctx, run)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r := e.Lookup(run); r != nil {
		select {
		case <-r.done:
		default:
			return nil, fmt.Errorf("executor: run %s goes on: cancel it instead", run)
		}
	}
	records, err := e.config.Journal.Read(ctx, run)
	if err != nil {
		return nil, unknownRun(run, err)
	}
	r, err := e.resume(ctx, plan, RunOptions{ID: run}, records, true)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.runs[run] = r
	r.start()
	e.mu.Unlock()
	go r.supervise(false)
	return r, nil
}

// unknownRun has the executor's error for a run that a journal does not know.
func unknownRun(run string, err error) error {
	if errors.Is(err, journal.ErrUnknownRun) {
		return fmt.Errorf("%w: %s", ErrUnknownRun, run)
	}
	return fmt.Errorf("executor: %w", err)
}
