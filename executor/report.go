package executor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
)

// A Report says how a run stands or how it ended. It is immutable and safe to share.
type Report struct {
	run       string
	plan      *dag.Plan
	status    RunStatus
	startedAt time.Time
	makespan  time.Duration
	why       halts
	cut       Reason // the halt that kept a step from succeeding
	cause     int32  // the step that began the failure, -1 for none
	steps     []stepState
	outcomes  []outcome // nil when there are none
	gates     map[int32]GateReport
	waiting   []*approval.Request

	planReason Reason // why the plan as a whole was rejected
	undone     []int32
	undos      []*actions.Undo // nil when there are none
	undoErrs   []error         // likewise
	info       []stepInfo
	former     []undoState // how steps ended before they were undone; nil without a rollback
}

// reportLocked makes a Report; live tells that the run goes on, so that nothing may be kept without a copy.
func (r *Run) reportLocked(live bool) *Report {
	rep := &Report{
		run: r.id, plan: r.plan, status: r.m.status(), startedAt: r.startedAt, why: r.why,
		cut: r.m.cut, cause: r.m.cause, steps: r.m.steps, outcomes: r.outcomes, gates: make(map[int32]GateReport, len(r.asks)),
	}
	rep.undone, rep.info = r.m.undone(), r.info
	rep.undos, rep.undoErrs = r.undos, r.undoErrs
	if b := r.m.rollback; b != nil {
		rep.former = b.steps
		if live {
			rep.former = slices.Clone(b.steps)
		}
	}
	if live {
		rep.steps, rep.outcomes = slices.Clone(rep.steps), slices.Clone(rep.outcomes)
		rep.undos, rep.undoErrs = slices.Clone(rep.undos), slices.Clone(rep.undoErrs)
	}
	if r.isParked {
		rep.status = RunParked
	}
	if g := r.m.gate[planGate]; g != nil {
		rep.planReason = g.reason
	}
	if rep.status.Final() {
		for i := range rep.steps {
			rep.makespan = max(rep.makespan, rep.steps[i].end)
		}
		if b := r.m.rollback; b != nil {
			for i := range b.steps {
				rep.makespan = max(rep.makespan, b.steps[i].end)
			}
		}
	} else {
		rep.makespan = r.now()
	}
	for i, a := range r.asks {
		g := r.m.gate[i]
		report := GateReport{AskedAt: r.startedAt.Add(g.askedAt), Verdict: g.verdict, Votes: a.tally.Standing(r.startedAt.Add(r.m.now)).Votes, By: a.by, Reason: a.reason}
		if g.ready {
			report.ReadyAt = r.startedAt.Add(g.readyAt)
		}
		if g.decided {
			report.DecidedAt = r.startedAt.Add(g.at)
		}
		rep.gates[i] = report
	}
	for _, a := range r.openAsks {
		if !r.decidedLocked(a) {
			rep.waiting = append(rep.waiting, a.req)
		}
	}
	slices.SortFunc(rep.waiting, func(a, b *approval.Request) int { return requestOrder(a) - requestOrder(b) })
	return rep
}

func requestOrder(r *approval.Request) int {
	if r.Step == nil {
		return -1
	}
	return r.Step.Index()
}

// Snapshot says how the run stands now. It waits for nobody.
func (r *Run) Snapshot() *Report {
	select {
	case <-r.done:
		return r.final
	default:
	}
	r.mu.Lock()
	defer r.unlock()
	return r.reportLocked(true)
}

// Run is the run's id.
func (r *Report) Run() string { return r.run }

// Plan is the plan that was run.
func (r *Report) Plan() *dag.Plan { return r.plan }

// Status is the run's.
func (r *Report) Status() RunStatus { return r.status }

// StartedAt is when the run started.
func (r *Report) StartedAt() time.Time { return r.startedAt }

// Makespan is how long the run took from its start to the end of its last step or undo, or has taken so far.
func (r *Report) Makespan() time.Duration { return r.makespan }

// Waiting are the requests that wait for an answer, in plan order, the plan's own first. They must not be changed.
func (r *Report) Waiting() []*approval.Request { return slices.Clone(r.waiting) }

// PlanGate tells how the gate of the plan as a whole went; nil when it was never asked.
func (r *Report) PlanGate() *GateReport { return r.gateReport(planGate) }

// Step returns the record of step i, from 0.
func (r *Report) Step(i int) StepReport {
	s, p := &r.steps[i], r.plan.Step(i)
	report := StepReport{
		ID: p.ID(), Number: p.Number(), Status: s.status, Reason: s.reason,
		Gate: r.gateReport(int32(i)),
	}
	if r.outcomes != nil {
		report.Result, report.Err = r.outcomes[i].result, r.outcomes[i].err
	}
	if s.cause >= 0 {
		report.Cause = r.plan.Step(int(s.cause)).ID()
	}
	if s.flags&started != 0 {
		report.Attempts = int(s.tries)
		report.StartedAt = r.startedAt.Add(s.start)
	}
	if s.status.Final() {
		report.EndedAt = r.startedAt.Add(s.end)
	}
	return report
}

func (r *Report) gateReport(i int32) *GateReport {
	if g, ok := r.gates[i]; ok {
		return &g
	}
	return nil
}

// Steps yields the records of all steps in plan order.
func (r *Report) Steps() iter.Seq[StepReport] {
	return func(yield func(StepReport) bool) {
		for i := range r.steps {
			if !yield(r.Step(i)) {
				return
			}
		}
	}
}

// Why explains a step that did not succeed: the chain of causes from the step down to the event that began it. It is
// nil for a step that succeeded or has not ended, and for an unknown id.
func (r *Report) Why(step string) []Cause {
	index, ok := r.plan.Index(step)
	if !ok || !r.steps[index].status.Final() || r.steps[index].status == Succeeded {
		return nil
	}
	var chain []Cause
	for i := int32(index); ; i = r.steps[i].cause {
		s := &r.steps[i]
		chain = append(chain, Cause{Step: r.plan.Step(int(i)).ID(), Status: s.status, Reason: s.reason, Message: r.message(i)})
		if s.cause < 0 {
			break
		}
	}
	root := &chain[len(chain)-1]
	if i, _ := r.plan.Index(root.Step); r.former != nil && r.former[i].phase == undoEnded && r.former[i].former != Succeeded {
		c := Cause{Step: root.Step, Status: r.former[i].former, Reason: r.former[i].formerly}
		if r.outcomes != nil && r.outcomes[i].err != nil {
			c.Message = text(r.outcomes[i].err)
		}
		return append(chain, c)
	}
	switch root.Reason {
	case ReasonRunCancelled, ReasonRunTimeout, ReasonInterrupted, ReasonGuard, ReasonObsolete:
		chain = append(chain, Cause{Reason: root.Reason, Message: r.why.message(root.Reason)})
	case ReasonUndone, ReasonUndoError, ReasonDrift, ReasonRollbackTimeout, ReasonTimeout, ReasonAbandoned:
		if (root.Status == RolledBack || root.Status == RollbackFailed) && r.cut >= ReasonRunCancelled {
			chain = append(chain, Cause{Reason: r.cut, Message: r.why.message(r.cut)})
		}
	case ReasonPlanRejected:
		chain = append(chain, Cause{Status: Rejected, Reason: r.planReason, Message: verdictMessage(r.gates[planGate])})
	}
	return chain
}

// message says for people how a step ended.
func (r *Report) message(i int32) string {
	if r.steps[i].status == Rejected {
		if g, ok := r.gates[i]; ok {
			return verdictMessage(g)
		}
	}
	switch {
	case r.undoErrs != nil && r.undoErrs[i] != nil:
		return text(r.undoErrs[i])
	case r.steps[i].status == RolledBack:
		return "its effect was taken back"
	case r.outcomes != nil && r.outcomes[i].err != nil:
		return text(r.outcomes[i].err)
	case r.steps[i].cause >= 0:
		return fmt.Sprintf("%s did not succeed", r.plan.Step(int(r.steps[i].cause)).ID())
	}
	return ""
}

func verdictMessage(g GateReport) string {
	switch {
	case g.By != "" && g.Reason != "":
		return fmt.Sprintf("rejected by %s: %s", g.By, g.Reason)
	case g.By != "":
		return "rejected by " + g.By
	}
	return g.Reason
}

// Err is nil when the run succeeded, with or without warnings, or has not ended; otherwise an error that names the
// step that began the failure, and wraps the error of its handler or approver.
func (r *Report) Err() error {
	switch r.status {
	case RunRunning, RunParked, RunSucceeded, RunSucceededWithWarnings:
		return nil
	}
	said := fmt.Sprintf("run %s %s", r.run, r.status)
	if m := r.why.message(r.cut); m != "" {
		said += ": " + m
	}
	if r.cause < 0 {
		if r.planReason != ReasonNone {
			said += ": the plan was not approved: " + verdictMessage(r.gates[planGate])
		}
		return errors.New(said)
	}
	s := r.Step(int(r.cause))
	said += fmt.Sprintf(": step %d (%s) %s", s.Number, s.ID, s.Status)
	if s.Err != nil {
		return fmt.Errorf("%s: %w", said, s.Err)
	}
	if m := r.message(r.cause); m != "" {
		said += ": " + m
	}
	return errors.New(said)
}

// MarshalJSON writes the report as the command line prints it; times are RFC 3339, durations seconds.
func (r *Report) MarshalJSON() ([]byte, error) {
	type step struct {
		ID        string     `json:"id"`
		Number    int        `json:"number"`
		Status    Status     `json:"status"`
		Reason    Reason     `json:"reason"`
		Cause     string     `json:"cause"`
		Attempts  int        `json:"attempts"`
		StartedAt *time.Time `json:"startedAt"`
		EndedAt   *time.Time `json:"endedAt"`
	}
	type undo struct {
		ID     string `json:"id"`
		Status Status `json:"status"`
		Reason Reason `json:"reason"`
	}
	rollback := []undo{}
	for _, i := range r.undone {
		rollback = append(rollback, undo{r.plan.Step(int(i)).ID(), r.steps[i].status, r.steps[i].reason})
	}
	steps := make([]step, 0, len(r.steps))
	for s := range r.Steps() {
		out := step{ID: s.ID, Number: s.Number, Status: s.Status, Reason: s.Reason, Cause: s.Cause, Attempts: s.Attempts}
		if !s.StartedAt.IsZero() {
			out.StartedAt = &s.StartedAt
		}
		if !s.EndedAt.IsZero() {
			out.EndedAt = &s.EndedAt
		}
		steps = append(steps, out)
	}
	return json.Marshal(struct {
		Run      string    `json:"run"`
		Status   RunStatus `json:"status"`
		Digest   string    `json:"digest"`
		Makespan float64   `json:"makespanSeconds"`
		Steps    []step    `json:"steps"`
		Rollback []undo    `json:"rollback"`
	}{r.run, r.status, r.plan.Digest(), r.makespan.Seconds(), steps, rollback})
}

// String is a short table for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s %s after %s\n", r.run, r.status, r.makespan.Round(time.Millisecond))
	for s := range r.Steps() {
		fmt.Fprintf(&b, "  %d %s %s", s.Number, s.ID, s.Status)
		if s.Status.Final() && s.Status != Succeeded {
			fmt.Fprintf(&b, " (%s)", s.Reason)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Rollback yields the records of the steps whose effect was taken back, or was to be, in the order in which that began.
func (r *Report) Rollback() iter.Seq[StepReport] {
	return func(yield func(StepReport) bool) {
		for _, i := range r.undone {
			if !yield(r.Step(int(i))) {
				return
			}
		}
	}
}

// Irreversible are the ids of steps that took effect, or may have, and that nobody can take back; empty for a run that
// succeeded.
func (r *Report) Irreversible() []string {
	var ids []string
	if r.status == RunSucceeded || r.status == RunSucceededWithWarnings {
		return nil
	}
	for i := range r.steps {
		if info := &r.info[i]; info.traits&reversible == 0 && r.steps[i].effective(info) {
			ids = append(ids, r.plan.Step(i).ID())
		}
	}
	return ids
}

// RollbackPlan is what [Executor.Rollback] would undo, in about the order in which it would; empty when there is nothing.
// It can be kept as JSON.
func (r *Report) RollbackPlan() []Compensation {
	var order []int
	for i := range r.steps {
		if r.steps[i].undoable(&r.info[i]) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(r.steps[y].end, r.steps[x].end), cmp.Compare(y, x))
	})
	var plan []Compensation
	for _, i := range order {
		s := r.plan.Step(i)
		c := Compensation{Step: s.ID(), Action: s.Action(), Summary: s.Spec().Undo}
		if t := s.Target(); t.Name != "" {
			c.Target = t.String()
		}
		if r.undos != nil && r.undos[i] != nil && r.undos[i].Summary != "" {
			c.Summary = r.undos[i].Summary
		}
		plan = append(plan, c)
	}
	return plan
}

// A Compensation is one part of a rollback plan.
type Compensation struct {
	Step   string `json:"step"`
	Action string `json:"action"`
	Target string `json:"target,omitempty"`
	// Summary says what would be done.
	Summary string `json:"summary"`
}

// A StepReport is the record of one step.
type StepReport struct {
	ID     string
	Number int
	Status Status
	Reason Reason
	// Cause is the id of the step that kept this one from running; "" when none did.
	Cause string
	// Attempts is 0 for a step that never started.
	Attempts int
	// StartedAt and EndedAt are zero where they did not happen.
	StartedAt, EndedAt time.Time
	// Result is the handler's; nil when it returned none.
	Result *actions.Result
	// Err is the handler's or the approver's error, a [*PanicError] after a panic.
	Err error
	// Gate tells how the step's gate went; nil for a step without one, or whose gate was never asked.
	Gate *GateReport
}

// A GateReport tells how a gate went.
type GateReport struct {
	AskedAt time.Time
	// ReadyAt is when nothing but the gate kept the step from starting; zero when that never was.
	ReadyAt time.Time
	// DecidedAt is zero while the gate waits, and when its question was withdrawn.
	DecidedAt time.Time
	Verdict   approval.Verdict
	// Votes are those who said yes, in order, also while more are needed.
	Votes  []approval.Vote
	By     string
	Reason string
}

// Wait is how long the gate alone kept its step from starting; 0 as long as it is not decided.
func (g GateReport) Wait() time.Duration {
	if g.ReadyAt.IsZero() || g.DecidedAt.Before(g.ReadyAt) {
		return 0
	}
	return g.DecidedAt.Sub(g.ReadyAt)
}

// A Cause is one link in the explanation of a step.
type Cause struct {
	// Step is the id of the step, "" when the cause is an event of the run.
	Step   string
	Status Status
	Reason Reason
	// Message is for people.
	Message string
}
