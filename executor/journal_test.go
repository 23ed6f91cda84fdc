package executor_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
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
	"github.com/remedykit/remedy/executor/limits"
)

var errDisk = errors.New("no space left on device")

// failingJournal refuses records from one on.
type failingJournal struct {
	journal.Journal
	from int64
	err  error
}

func (f failingJournal) Append(ctx context.Context, records ...journal.Record) error {
	if records[len(records)-1].Seq >= f.from {
		return f.err
	}
	return f.Journal.Append(ctx, records...)
}

func TestARunWhoseJournalFailsEndsWithoutAnotherEffect(t *testing.T) {
	lines := []string{"a fix(x) ~10s", "b fix(y) <- a ~10s +gate", "c fix(z) <- b ~5s", "d fix(w) ~3s", "e fix(v) <- c d ~5s"}
	for _, reason := range []error{errDisk, journal.ErrConflict} {
		for from := int64(1); from < 30; from++ {
			synctest.Test(t, func(t *testing.T) {
				h, m, seen := &hands{}, journal.NewMemory(), &recorder{}
				ex := newExecutor(t, executor.Config{Handlers: handlers(h), Journal: failingJournal{m, from, reason}, Approver: approval.Auto(),
					Observers: []executor.Observer{seen}})
				report, err := ex.Run(t.Context(), plan(t, lines...), executor.RunOptions{ID: "r"})
				records, _ := m.Read(t.Context(), "r")
				sure, maybe := effectsAt(records)
				for _, effect := range h.all() {
					require.True(t, slices.Contains(sure, effect) || slices.Contains(maybe, effect), "record %d: %s was sent without a record", from, effect)
				}
				for _, e := range seen.events {
					if e.Kind == executor.EventStepFinished && e.Status == "succeeded" {
						require.Contains(t, sure, e.Step, "observers are told of what is kept only")
					}
				}
				if err == nil {
					require.Equal(t, executor.RunSucceeded, report.Status())
					return
				}
				require.ErrorIs(t, err, reason)
			})
		}
	}
}

func TestOneIDStartedByManyAtOnceIsOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hands{}
		ex := newExecutor(t, executor.Config{Handlers: handlers(h), Journal: journal.NewMemory()})
		p := plan(t, "a fix(x) ~1s", "b fix(y) <- a ~1s")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				report, err := ex.Run(context.Background(), p, executor.RunOptions{ID: "r"})
				if err != nil || report.Status() != executor.RunSucceeded {
					t.Errorf("%v, %v", report, err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, []string{"a", "b"}, h.all())
	})
}

func TestOfTwoProcessesTheOneThatLostTheRunHasNoLaterEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, p := journal.NewMemory(), plan(t, "a fix(x) ~10s", "b fix(y) <- a ~10s", "c fix(z) <- b ~10s")
		first, second := &hands{}, &hands{}
		one := newExecutor(t, executor.Config{Handlers: handlers(first), Journal: j})
		two := newExecutor(t, executor.Config{Handlers: handlers(second), Journal: j})
		run, err := one.Start(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		time.Sleep(15 * time.Second)
		second.note("a")
		report, err := two.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, executor.RunSucceeded, report.Status())
		_, err = run.Wait(t.Context())
		require.ErrorIs(t, err, journal.ErrConflict)
		require.Equal(t, []string{"a"}, first.all())
		require.Equal(t, []string{"a", "b", "c"}, second.all())
	})
}

// noProbe hides that hands can be asked.
type noProbe struct{ h *hands }

func (n noProbe) BeginsItself() bool { return true }
func (n noProbe) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	return n.h.Execute(ctx, req)
}

func TestAnOutcomeThatNobodyKnowsIsPutBeforeAPerson(t *testing.T) {
	for verdict, want := range map[approval.Verdict]string{
		approval.Approved: "succeeded: a=succeeded",
		approval.Rejected: "failed: a=unknown/unresolved",
	} {
		synctest.Test(t, func(t *testing.T) {
			p := plan(t, "a fix(x) ~10s")
			j := journal.NewMemory()
			crashed := newExecutor(t, executor.Config{Handlers: handlers(noProbe{&hands{}}), Journal: failingJournal{j, 4, errDisk}})
			_, err := crashed.Run(t.Context(), p, executor.RunOptions{ID: "r"})
			require.ErrorIs(t, err, errDisk)
			h := &hands{}
			ex := newExecutor(t, executor.Config{Handlers: handlers(noProbe{h}), Journal: j})
			run, err := ex.Start(t.Context(), p, executor.RunOptions{ID: "r"})
			require.NoError(t, err)
			report, err := run.Wait(t.Context())
			require.NoError(t, err)
			require.Equal(t, executor.RunParked, report.Status())
			require.Empty(t, h.all(), "never a blind second try")
			require.Contains(t, report.Waiting()[0].Gate.Reasons[0], "nobody knows whether it took effect")
			require.NoError(t, ex.Decide(t.Context(), "r", "a", approval.Decision{Verdict: verdict, By: "ann", Digest: report.Waiting()[0].Digest}))
			<-run.Done()
			report, err = run.Wait(t.Context())
			require.NoError(t, err)
			require.Contains(t, outcome(report), want)
		})
	}
}

func TestForgedRecordsAreRefusedAndNeverPanic(t *testing.T) {
	var good []journal.Record
	p := plan(t, "a fix(x) ~1s +gate", "b fix(y) <- a ~1s")
	synctest.Test(t, func(t *testing.T) {
		j := journal.NewMemory()
		ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{fail: on(errBroken, "b")}), Journal: j, Approver: approval.Auto()})
		_, err := ex.Run(t.Context(), p, executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		good, err = j.Read(t.Context(), "r")
		require.NoError(t, err)
	})
	kinds := []string{"stepStarted", "stepEnded", "approvalAsked", "approvalGranted", "approvalDenied", "runHalted", "retryScheduled", "outcomeDoubted",
		"effectBegun", "undoStarted", "undoEnded", "rollbackBegun", "rollbackExpired", "runResumed", "stepRefused", "runFinished", "somethingNew", "runBegun"}
	for k := 0; k <= len(good); k++ {
		for _, kind := range kinds {
			for _, step := range []string{"", "a", "b", "q"} {
				for _, data := range []string{`{"at":5,"status":"succeeded","reason":"completed"}`, `{"at":-1}`, `{"status":"running"}`, `[]`, `{"status":"great"}`} {
					records := slices.Clone(good[:k])
					last := journal.Record{}
					if k > 0 {
						last = records[k-1]
					}
					r := journal.Record{Run: "r", Epoch: 1, Seq: last.Seq + 1, Time: time.Date(2000, 1, 1, 0, 0, 9, 0, time.UTC), Kind: kind, Step: step, Data: json.RawMessage(data)}
					r.Seal(last.Hash)
					_, _ = executor.Replay(t.Context(), prefix(t, append(records, r)), "r", registry(t))
				}
			}
		}
	}
}

func TestWhatIsCalledBeforeAnEffectMayPanicOrEndItsGoroutine(t *testing.T) {
	for name, c := range map[string]executor.Config{
		"wanted panics": {StillWanted: func(context.Context, *executor.Run) (bool, error) { panic("no") }},
		"wanted exits":  {StillWanted: func(context.Context, *executor.Run) (bool, error) { runtime.Goexit(); return true, nil }},
		"locker panics": {Locker: panicking{}},
		"guard panics":  {Guards: []executor.Guard{{Name: "g", Probe: func(context.Context) error { panic("no") }}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hands{}
				c.Handlers, c.Journal = handlers(h), journal.NewMemory()
				ex := newExecutor(t, c)
				report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~1s", "b fix(y) ~2s", "c fix(z) <- b ~2s"), executor.RunOptions{})
				require.NoError(t, err)
				require.Contains(t, []executor.RunStatus{executor.RunFailed, executor.RunRolledBack}, report.Status())
				require.NotEmpty(t, report.Why("c"))
			})
		})
	}
}

type panicking struct{}

func (panicking) Lock(context.Context, string) (func(), error) { panic("no") }

func TestAnObsoleteRunStopsAndUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, asked := &hands{}, 0
		ex := newExecutor(t, executor.Config{Handlers: handlers(h), Approver: approval.Auto(), StillWanted: func(context.Context, *executor.Run) (bool, error) {
			asked++
			return asked == 1, nil
		}})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~1s", "b fix(y) <- a ~1s", "c fix(z) <- b ~1s +gate", "d fix(w) <- c ~1s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "obsolete: a=succeeded@0-1 b=succeeded@1-2 c=cancelled/obsolete@2-3 d=cancelled/obsolete", outcome(report))
		require.Equal(t, []string{"a", "b"}, h.all(), "it is asked again after a wait for a person")
		require.ErrorContains(t, report.Err(), "not wanted any more")
	})
}

func TestABreachedGuardStopsWhatIsNewAndRollsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, began := &hands{}, time.Now()
		ex := newExecutor(t, executor.Config{Handlers: handlers(h), Guards: []executor.Guard{{Name: "error rate", Interval: time.Second, Threshold: 2,
			Probe: func(context.Context) error {
				if time.Since(began) > 12*time.Second {
					return errors.New("7 % of requests fail")
				}
				return nil
			}}}})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~10s", "b fix(y) <- a ~10s", "c fix(z) <- b ~10s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b", "undo b", "undo a"}, h.all(), "what runs may finish")
		require.Equal(t, executor.RunRolledBack, report.Status())
		chain := report.Why("c")
		require.Equal(t, executor.ReasonGuard, chain[len(chain)-1].Reason)
		require.Contains(t, chain[len(chain)-1].Message, "guard error rate is breached: 7 % of requests fail")
	})
}

func TestLimitsKeepAnEffectFromBeingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := limits.New(limits.NewMemory(), limits.Rules{})
		require.NoError(t, err)
		h := &hands{}
		ex := newExecutor(t, executor.Config{Handlers: handlers(h), Limits: l})
		p := plan(t, "a fix(x) ~1s", "b fix(y) <- a ~1s")
		report, err := ex.Run(t.Context(), p, executor.RunOptions{ID: "one"})
		require.NoError(t, err)
		require.Equal(t, executor.RunSucceeded, report.Status())
		report, err = ex.Run(t.Context(), p, executor.RunOptions{ID: "two"})
		require.NoError(t, err)
		require.Equal(t, "failed: a=blocked/limit@0-1 b=blocked/dependencyNotSucceeded<a", outcome(report))
		require.Contains(t, report.Why("b")[1].Message, "cooldown")
		require.Equal(t, []string{"a", "b"}, h.all())
	})
}

func TestKillEndsEveryRunAndRefusesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{})})
		p := plan(t, "a fix(x) ~10s")
		run, err := ex.Start(t.Context(), p, executor.RunOptions{})
		require.NoError(t, err)
		ex.Kill("wrong cluster")
		report, err := run.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunCancelled, report.Status())
		_, err = ex.Start(t.Context(), p, executor.RunOptions{})
		require.ErrorIs(t, err, executor.ErrKilled)
		require.ErrorContains(t, err, "wrong cluster")
	})
}

func TestTwoRunsDoNotWriteOneObjectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handle(expected)})
		p := plan(t, "a fix(x) ~10s")
		one, err := ex.Start(t.Context(), p, executor.RunOptions{})
		require.NoError(t, err)
		two, err := ex.Start(t.Context(), p, executor.RunOptions{})
		require.NoError(t, err)
		<-one.Done()
		<-two.Done()
		first, _ := one.Wait(t.Context())
		second, _ := two.Wait(t.Context())
		require.Equal(t, 20*time.Second, max(first.Makespan(), second.Makespan()))
	})
}

func TestADryRunThatFailsStopsTheRunBeforeAnythingHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := rehearsed{&hands{}}
		ex := newExecutor(t, executor.Config{Handlers: handlers(h), DryRunFirst: true, Journal: journal.NewMemory()})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~1s", "b fix(bad) <- a ~1s", "c look ~1s"), executor.RunOptions{})
		require.NoError(t, err)
		require.Equal(t, "failed: a=cancelled/runFailed<b b=failed/dryRunFailed c=cancelled/runFailed<b", outcome(report))
		require.Empty(t, h.all())
		require.ErrorIs(t, report.Err(), errBroken)
	})
}

func TestWhatNoDryRunCanVerifyWaitsForAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ex := newExecutor(t, executor.Config{Handlers: handlers(&hands{}), DryRunFirst: true})
		report, err := ex.Run(t.Context(), plan(t, "a fix(x) ~1s", "b look ~1s"), executor.RunOptions{ID: "r"})
		require.NoError(t, err)
		require.Equal(t, executor.RunParked, report.Status())
		require.Equal(t, []string{"the dry run could not verify it"}, report.Waiting()[0].Gate.Reasons)
		require.NoError(t, ex.Cancel(t.Context(), "r", "enough"))
		<-ex.Lookup("r").Done()
	})
}

// rehearsed can be asked what it would do; a thing called bad would fail.
type rehearsed struct{ *hands }

func (rehearsed) DryRun(_ context.Context, req *actions.Request) (*actions.Preview, error) {
	if req.Parameters.String("thing") == "bad" {
		return nil, errBroken
	}
	return &actions.Preview{Verdict: actions.Verified}, nil
}
