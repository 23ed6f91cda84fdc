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

// A desk takes requests for later, and keeps what became of them.
type desk struct {
	mu      sync.Mutex
	asked   []*approval.Request
	updates []string
	err     error
}

func (d *desk) Approve(_ context.Context, req *approval.Request) (*approval.Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, req)
	if req.Receipt != "" {
		return &approval.Decision{Verdict: approval.Pending, Receipt: req.Receipt}, nil
	}
	return &approval.Decision{Verdict: approval.Pending, Receipt: fmt.Sprint("message ", len(d.asked))}, nil
}

func (d *desk) Update(_ context.Context, req *approval.Request, s approval.Standing) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := fmt.Sprintf("%s %s %s", req.Key, req.Receipt, s.State)
	for _, v := range s.Votes {
		text += " +" + v.By
	}
	if s.Escalated {
		text += " escalated"
	}
	if s.Missing != "" {
		text += " (" + s.Missing + ")"
	}
	d.updates = append(d.updates, text)
	return d.err
}

// last is the request that was asked last.
func (d *desk) last() *approval.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[len(d.asked)-1]
}

func (d *desk) questions() []*approval.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked)
}

func (d *desk) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.updates)
}

func by(name string, req *approval.Request, groups ...string) approval.Decision {
	return approval.Decision{Verdict: approval.Approved, By: name, Groups: groups, Digest: req.Digest}
}

func panel(quorum int, people ...string) *approval.Policy {
	p := open()
	p.Quorum, p.Approvers.People = quorum, people
	return p
}

func TestAGateOfTwoWaitsForTwoAndTellsWhoIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, rec := &desk{}, &recorder{}
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: panel(2, "ann", "bob", "carol"), Approver: d, Observers: []executor.Observer{rec}})
		run, err := ex.Start(t.Context(), plan(t, "a fix(x) ~5s +gate"), executor.RunOptions{ID: "r", Author: "carol"})
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("ann", d.last())))
		require.ErrorIs(t, ex.Decide(t.Context(), "r", "a", by("ann", d.last())), approval.ErrVoted)
		require.ErrorIs(t, ex.Decide(t.Context(), "r", "a", by("carol", d.last())), approval.ErrNotApprover)
		require.ErrorIs(t, ex.Decide(t.Context(), "r", "a", by("mallory", d.last())), approval.ErrNotApprover)
		report, err := run.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunParked, report.Status())
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("bob", d.last())))
		<-run.Done()
		require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
		require.Equal(t, []string{"r/a message 1 open +ann (1 of ann, bob, carol)", "r/a message 1 granted +ann +bob"}, d.all())
		require.Contains(t, rec.lines(), "approvalVoted a waitingApproval ann")
		require.Equal(t, []approval.Vote{{By: "ann", At: run.Snapshot().StartedAt()}, {By: "bob", At: run.Snapshot().StartedAt()}}, run.Snapshot().Step(0).Gate.Votes)
	})
}

func TestOthersAreToldAfterAWhileAndMayDecideThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, j := &desk{}, journal.NewMemory()
		p := panel(1, "ann")
		p.Escalation = &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"leads"}}}
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: p, Approver: d, Journal: j})
		run, err := ex.Start(t.Context(), plan(t, "a fix(x) ~5s +gate"), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		time.Sleep(5*time.Minute - 1)
		synctest.Wait()
		require.Empty(t, d.all())
		require.ErrorIs(t, ex.Decide(t.Context(), "r", "a", by("dora", d.last(), "leads")), approval.ErrNotApprover)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"r/a message 1 open escalated (1 of ann, group leads)"}, d.all())
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("dora", d.last(), "leads")))
		<-run.Done()
		require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
		h, err := executor.Replay(t.Context(), j, "r", registry(t))
		require.NoError(t, err)
		require.Equal(t, "dora", h.Report.Step(0).Gate.By)
	})
}

func TestAQuestionThatIsNotNeededAnyMoreIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		ex := newExecutor(t, executor.Config{Handlers: handle(failing("b")), Approver: d})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~5s +gate", "b fix(y) ~1m"), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, executor.RunFailed, report.Status())
		require.Equal(t, []string{"r/a message 1 withdrawn"}, d.all())
		err = ex.Decide(t.Context(), "r", "a", by("ann", d.last()))
		require.ErrorIs(t, err, approval.ErrNotAsked)
	})
	synctest.Test(t, func(t *testing.T) {
		d := &desk{err: errors.New("down")}
		rec := &recorder{}
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Approver: d, Observers: []executor.Observer{rec}})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~5s +gate"), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		run := ex.Lookup("r")
		require.Equal(t, executor.RunParked, report.Status())
		<-run.Done()
		require.Equal(t, executor.RunRejected, run.Snapshot().Status())
		require.Equal(t, []string{"r/a message 1 expired"}, d.all())
		require.Contains(t, rec.lines(), "approvalUndelivered a waitingApproval", "who cannot be told is reported, and changes nothing")
	})
}

// A thing is what a fix is about, with a version that others may change.
type thing struct {
	mu      sync.Mutex
	version int
	looked  int
	done    []int
	err     error
}

func (h *thing) set(v int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version = v
}

func (h *thing) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	h.mu.Lock()
	h.done = append(h.done, h.version)
	h.mu.Unlock()
	return expected(ctx, req)
}

func (h *thing) DryRun(context.Context, *actions.Request) (*actions.Preview, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked++
	if h.err != nil {
		return nil, h.err
	}
	return &actions.Preview{Verdict: actions.Verified, Change: []string{"version → 9"}, Basis: map[string]string{"version": fmt.Sprint(h.version), "uid": "u"}}, nil
}

func things(h *thing) actions.Handlers { return handlersOf(h) }

// handlersOf uses one handler for fixes.
func handlersOf(fix actions.ActionHandler) actions.Handlers {
	all := handle(expected)
	all["fix"] = fix
	return all
}

func TestADecisionIsVoidWhenItsObjectHasChangedAndSaysWhichField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d, j, rec := &thing{version: 1}, &desk{}, journal.NewMemory(), &recorder{}
		ex := newExecutor(t, executor.Config{Handlers: things(h), Approver: d, Journal: j, Observers: []executor.Observer{rec}, Policy: panel(2)})
		run, err := ex.Start(t.Context(), plan(t, "a fix(x) ~5s +gate"), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		synctest.Wait()
		first := d.last()
		require.Equal(t, []string{"version → 9"}, first.Preview.Change)
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("ann", first)))
		h.set(2)
		err = ex.Decide(t.Context(), "r", "a", by("bob", first))
		require.ErrorIs(t, err, approval.ErrDigest)
		require.ErrorContains(t, err, `run r, step "a": this decision answers something else than what is asked: version was 1 and is 2 now; it is asked again`)
		synctest.Wait()
		second := d.last()
		require.NotEqual(t, first.Digest, second.Digest)
		require.Equal(t, "r/a/2", second.Key)
		require.Contains(t, second.Gate.Reasons[0], "version was 1 and is 2 now")
		require.ErrorIs(t, ex.Decide(t.Context(), "r", "a", by("bob", first)), approval.ErrDigest)
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("bob", second)), "former votes were about something else")
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("ann", second)))
		<-run.Done()
		require.Equal(t, "succeeded: a=succeeded@0-5", outcome(run.Snapshot()))
		require.Equal(t, []int{2}, h.done)
		require.Equal(t, []string{"r/a message 1 open +ann (1 of anybody)", "r/a message 1 withdrawn +ann", "r/a/2 message 2 open +bob (1 of anybody)", "r/a/2 message 2 granted +bob +ann"}, d.all())
		h2, err := executor.Replay(t.Context(), j, "r", registry(t))
		require.NoError(t, err)
		require.Equal(t, "ann", h2.Report.Step(0).Gate.By)
	})
}

func TestWhatChangesBetweenYesAndStartIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d, j, rec := &thing{version: 1}, &desk{}, journal.NewMemory(), &recorder{}
		config := executor.Config{Handlers: things(h), Approver: d, Journal: j, MaxParallel: 1, Observers: []executor.Observer{rec}}
		ex := newExecutor(t, config)
		lines := []string{"a fix(x) ~5s +gate", "b look ~1m"}
		ctx, cancel := context.WithCancel(t.Context())
		run, err := ex.Start(ctx, plan(t, lines...), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		synctest.Wait() // b has the only slot
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("ann", d.last())))
		h.set(2)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, h.done)
		require.Equal(t, "r/a/2", d.last().Key)
		require.Contains(t, rec.lines(), "approvalVoided a waitingApproval")
		require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(0).Status)
		require.Zero(t, run.Snapshot().Step(0).Attempts, "nothing was tried")

		cancel() // and the question outlives its process
		<-run.Done()
		again := newExecutor(t, config)
		run, err = again.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, "r/a/2", d.last().Key)
		require.Equal(t, "message 2", d.last().Receipt, "so that nobody is asked twice")
		require.NoError(t, again.Decide(t.Context(), "r", "a", by("bob", d.last())))
		<-run.Done()
		require.Equal(t, []int{2}, h.done)
		require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
	})
}

func TestWhatIsAskedEarlyIsBoundToWhatTheDryRunPredicts(t *testing.T) {
	for _, change := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, d := &thing{version: 1}, &desk{}
			ex := newExecutor(t, executor.Config{Handlers: things(h), Approver: d, EarlyApproval: true})
			run, err := ex.Start(t.Context(), plan(t, "z look ~1m", "a fix(x) <- z ~5s +gate"), executor.RunOptions{ID: "r"})
			require.NoError(t, err)
			synctest.Wait()
			require.NoError(t, ex.Decide(t.Context(), "r", "a", by("ann", d.last())))
			if change {
				h.set(2)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, change, len(h.done) == 0)
			if change {
				require.Equal(t, "r/a/2", d.last().Key)
				require.NoError(t, ex.Decide(t.Context(), "r", "a", by("ann", d.last())))
			}
			<-run.Done()
			require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
		})
	}
}

func TestWhatKeepsChangingIsNotForPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &thing{}
		restless := actions.Handlers{}
		for name, other := range things(h) {
			restless[name] = other
		}
		ex := newExecutor(t, executor.Config{Handlers: restless, Approver: approval.ApproverFunc(func(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
			h.mu.Lock()
			h.version++
			h.mu.Unlock()
			return &approval.Decision{Verdict: approval.Approved, By: "ann"}, nil
		})})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~5s +gate"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, executor.RunFailed, report.Status())
		require.ErrorContains(t, report.Err(), "still changes: version was")
		require.Empty(t, h.done)
	})
}

func TestADryRunThatFailsKeepsNobodyFromBeingAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := &thing{err: errors.New("no answer")}, &desk{}
		ex := newExecutor(t, executor.Config{Handlers: things(h), Approver: d})
		run, err := ex.Start(t.Context(), plan(t, "a fix(x) ~5s +gate"), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"the dry run says: no answer"}, d.last().Preview.Change)
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("ann", d.last())))
		<-run.Done()
		require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
	})
}

func TestVotesOutliveTheirProcessAndCountFromAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, j := &desk{}, journal.NewMemory()
		config := executor.Config{Handlers: handle(expected), Policy: panel(3), Approver: d, Journal: j}
		lines := []string{"a fix(x) ~5s +gate", "b fix(y) ~1h"}
		ctx, cancel := context.WithCancel(t.Context())
		ex := newExecutor(t, config)
		run, err := ex.Start(ctx, plan(t, lines...), executor.RunOptions{ID: "r", Model: "gpt"})
		require.NoError(t, err)
		synctest.Wait()
		q := d.last()
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("ann", q)))
		cancel()
		<-run.Done()
		require.NotContains(t, d.all(), "r/a message 1 withdrawn +ann", "an interrupt withdraws no question")

		elsewhere := newExecutor(t, executor.Config{Handlers: handle(expected), Journal: j})
		require.ErrorIs(t, elsewhere.Decide(t.Context(), "r", "a", by("Ann", q)), approval.ErrVoted)
		require.ErrorIs(t, elsewhere.Decide(t.Context(), "r", "a", by("gpt", q)), approval.ErrNotApprover)
		require.NoError(t, elsewhere.Decide(t.Context(), "r", "a", by("bob", q)))
		again := newExecutor(t, config)
		run, err = again.Start(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(0).Status)
		require.ErrorIs(t, again.Decide(t.Context(), "r", "a", by("bob", q)), approval.ErrVoted)
		require.NoError(t, again.Decide(t.Context(), "r", "a", by("carol", q)))
		synctest.Wait()
		require.Equal(t, executor.Running, run.Snapshot().Step(0).Status)
		require.Contains(t, d.all(), "r/a message 1 granted +ann +bob +carol")
		require.NoError(t, again.Cancel(t.Context(), "r", "enough"))
		<-run.Done()
	})
}

func TestAFreezeThatBeginsMeanwhileBlocksWhatWouldChangeSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open()
		p.Freezes = []approval.Freeze{{Name: "sale", From: time.Now().Add(time.Minute), Until: time.Now().Add(time.Hour)}}
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: p})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~50s", "b look ~50s <- a", "c fix(y) <- b ~1s", "d look ~1s +always <- c"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "failed: a=succeeded@0-50 b=succeeded@50-100 c=blocked/forbidden@100-100 d=succeeded@100-101", outcome(report))
		require.ErrorContains(t, report.Err(), "freeze sale lasts until")
		_, err = ex.Run(t.Context(), plan(t, "a fix(x)"), executor.RunOptions{})
		require.ErrorIs(t, err, approval.ErrForbidden)
	})
}

func TestARuleThatBeginsToHoldAsksBeforeTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evening := time.Now().Add(time.Minute)
		p, d, j := open(), &desk{}, journal.NewMemory()
		p.Rules = []approval.Rule{{Name: "evening", Quorum: 2, Condition: approval.ConditionFunc(func(s *approval.Subject) (bool, error) { return s.Step != nil && !s.Time.Before(evening), nil })}}
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: p, Approver: d, Journal: j})
		run, err := ex.Start(t.Context(), plan(t, "a look ~2m", "b fix(x) <- a ~1s"), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Contains(t, d.last().Gate.Reasons[0], "the policy asks for more now: rule evening: it takes 2 of anybody")
		require.NoError(t, ex.Decide(t.Context(), "r", "b", by("ann", d.last())))
		require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(1).Status)
		h, err := executor.Replay(t.Context(), j, "r", registry(t))
		require.NoError(t, err)
		require.Equal(t, 2, h.Report.Waiting()[0].Gate.Terms.Panels[0].Quorum)
		require.NoError(t, ex.Decide(t.Context(), "r", "b", by("bob", d.last())))
		<-run.Done()
		require.Equal(t, "succeeded: a=succeeded@0-120 b=succeeded@120-121", outcome(run.Snapshot()))
	})
}

func TestThreeDaysOfWaitingAreNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open()
		p.Timeout = 7 * 24 * time.Hour
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Policy: p, Approver: after(3*24*time.Hour, approval.Approved)})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~5s +gate"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "succeeded: a=succeeded@259200-259205", outcome(report))
	})
}

func TestWhetherAStepRunsAgainIsForThePanelOfThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, j := &desk{}, journal.NewMemory()
		config := executor.Config{Handlers: handle(expected), Policy: panel(1, "ann"), Approver: d, Journal: j}
		p := plan(t, "a fix(x) ~1m")
		for range 2 { // the second one asks, for nobody knows whether the effect of the first was sent
			ctx, cancel := context.WithCancel(t.Context())
			run, err := newExecutor(t, config).Start(ctx, p, executor.RunOptions{ID: "r"})
			require.NoError(t, err)
			time.Sleep(10 * time.Second)
			cancel()
			<-run.Done()
		}
		require.Equal(t, "r/a/unknown", d.last().Key)
		elsewhere := newExecutor(t, executor.Config{Handlers: handle(expected), Journal: j})
		require.ErrorIs(t, elsewhere.Decide(t.Context(), "r", "a", by("mallory", d.last())), approval.ErrNotApprover)
		require.NoError(t, elsewhere.Decide(t.Context(), "r", "a", by("ann", d.last())))
		for range 2 { // it runs again, and its second attempt ends as the first did
			ctx, cancel := context.WithCancel(t.Context())
			run, err := newExecutor(t, config).Start(ctx, p, executor.RunOptions{ID: "r"})
			require.NoError(t, err)
			time.Sleep(10 * time.Second)
			cancel()
			<-run.Done()
		}
		require.Equal(t, "r/a/unknown/2", d.last().Key, "another question has another key")
	})
}

func TestWhoSaysYesAgainAfterARestartDeniesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journal.NewMemory()
		config := executor.Config{Handlers: handle(expected), Policy: panel(2, "alice", "bob"), Journal: j, Approver: after(time.Second, approval.Approved)}
		p := plan(t, "a fix(x) ~5s +gate")
		ctx, cancel := context.WithCancel(t.Context())
		run, err := newExecutor(t, config).Start(ctx, p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		cancel()
		<-run.Done()
		ex := newExecutor(t, config)
		run, err = ex.Start(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		time.Sleep(2 * time.Second) // alice has answered at the same terminal again
		synctest.Wait()
		require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(0).Status)
		require.NoError(t, ex.Decide(t.Context(), "r", "a", by("bob", run.Snapshot().Waiting()[0])))
		<-run.Done()
		require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
	})
}
