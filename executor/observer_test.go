package executor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

func TestEventsComeInOrderAndAreNumbered(t *testing.T) {
	rec := &recorder{}
	lines := []string{"root look ~1s"}
	for i := range 40 {
		lines = append(lines, fmt.Sprintf("s%d look ~%ds <- root", i, i%7+1))
	}
	run(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{rec}, MaxParallel: -1}, lines...)
	require.Len(t, rec.events, 2+2*41)
	running := map[string]bool{}
	for i, e := range rec.events {
		require.EqualValues(t, i+1, e.Seq)
		if i > 0 {
			require.False(t, e.Time.Before(rec.events[i-1].Time), "%v", e)
		}
		switch e.Kind {
		case executor.EventStepStarted:
			running[e.Step] = true
		case executor.EventStepFinished:
			require.True(t, running[e.Step])
		}
	}
	require.Equal(t, executor.EventRunFinished, rec.events[len(rec.events)-1].Kind)
}

func TestAPanickingObserverHarmsNobody(t *testing.T) {
	rec := &recorder{}
	bad := executor.ObserverFunc(func(executor.Event) { panic("no") })
	got, _ := run(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{bad, rec}}, "a look ~1s")
	require.Equal(t, "succeeded: a=succeeded@0-1", got)
	require.Len(t, rec.events, 4)
}

func TestTheRunHasFinishedOnlyWhenItHasBeenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last executor.EventKind
		slow := executor.ObserverFunc(func(e executor.Event) {
			time.Sleep(time.Second)
			last = e.Kind
		})
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{slow}})
		r, err := ex.Start(t.Context(), plan(t, "a look ~1s"), executor.RunOptions{})
		require.NoError(t, err)
		<-r.Done()
		require.Equal(t, executor.EventRunFinished, last)
		require.Equal(t, time.Second, r.Snapshot().Makespan(), "a slow observer does not slow the steps")
	})
}

func TestNobodyLearnsFromWaitingWhatObserversHaveNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last executor.EventKind
		slow := executor.ObserverFunc(func(e executor.Event) {
			time.Sleep(time.Hour)
			last = e.Kind
		})
		deaf := func(_ context.Context, req *actions.Request) (*actions.Result, error) {
			time.Sleep(24 * time.Hour)
			return nil, nil
		}
		ex := newExecutor(t, executor.Config{Handlers: handle(deaf), Observers: []executor.Observer{slow}})
		r, err := ex.Start(t.Context(), plan(t, "a fix +gate", "b look ~1s !1s"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		report, err := r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunRejected, report.Status(), "its time was up before all had heard that it is parked")
		require.Equal(t, executor.EventRunFinished, last, "although a handler was abandoned")
		time.Sleep(24 * time.Hour)
	})
	synctest.Test(t, func(t *testing.T) {
		var last executor.EventKind
		slow := executor.ObserverFunc(func(e executor.Event) {
			time.Sleep(time.Second)
			last = e.Kind
		})
		ex := newExecutor(t, executor.Config{Handlers: handle(expected), Observers: []executor.Observer{slow}})
		r, err := ex.Start(t.Context(), plan(t, "a fix +gate", "b look +gate"), executor.RunOptions{ID: "x"})
		require.NoError(t, err)
		time.Sleep(500 * time.Millisecond)
		no := approval.Decision{Verdict: approval.Rejected, By: "bob", Digest: r.Snapshot().Waiting()[1].Digest}
		require.NoError(t, ex.Decide(t.Context(), "x", "b", no))
		report, err := r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, executor.RunParked, report.Status(), "b changes nothing")
		require.Equal(t, executor.EventStepFinished, last)
		require.NoError(t, ex.Cancel(t.Context(), "x", ""))
		<-r.Done()
	})
}

func TestLogTellsWhatHappenedAndWarnsOfWhatFailed(t *testing.T) {
	var buf bytes.Buffer
	l := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" || a.Key == "run" {
			return slog.Attr{}
		}
		return a
	}}))
	run(t, executor.Config{Handlers: handle(failing("a")), Observers: []executor.Observer{executor.Log(l)}, Approver: after(1, approval.Approved)}, "a fix ~1s +gate")
	require.Equal(t, strings.TrimLeft(`
level=INFO msg=runStarted seq=1 status=running
level=INFO msg=approvalRequested seq=2 step=a status=waitingApproval message="the plan asks for approval"
level=INFO msg=approvalDecided seq=3 step=a status=approved by=alice message=seen
level=INFO msg=stepStarted seq=4 step=a status=running attempt=1
level=WARN msg=stepFinished seq=5 step=a status=failed reason=handlerError message="a is broken" attempt=1
level=WARN msg=runFinished seq=6 status=failed
`, "\n"), buf.String())
	buf.Reset()
	executor.Log(slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelError}))).Observe(executor.Event{Kind: "x"})
	require.Empty(t, buf.String())
}

func TestABufferNeverBlocksAndCountsWhatItDrops(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{}, 16)
	var mu sync.Mutex
	var got []int64
	b := executor.Buffered(executor.ObserverFunc(func(e executor.Event) {
		began <- struct{}{}
		<-release
		mu.Lock()
		defer mu.Unlock()
		got = append(got, e.Seq)
	}), 2)
	b.Observe(executor.Event{Seq: 1})
	<-began
	for seq := int64(2); seq <= 5; seq++ {
		b.Observe(executor.Event{Seq: seq})
	}
	require.EqualValues(t, 2, b.Dropped())
	close(release)
	b.Close()
	b.Close()
	require.Equal(t, []int64{1, 2, 3}, got)
	b.Observe(executor.Event{Seq: 6})
	require.EqualValues(t, 3, b.Dropped())
}

func TestEventsAndReportsAreWrittenAsTheCommandLinePrintsThem(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b, err := json.Marshal(executor.Event{Seq: 1, Time: at, Run: "r", Kind: executor.EventStepStarted, Step: "a", Status: "running", Attempt: 1})
	require.NoError(t, err)
	require.JSONEq(t, `{"seq":1,"time":"2026-01-02T03:04:05Z","run":"r","kind":"stepStarted","step":"a","status":"running","attempt":1}`, string(b))

	_, report := run(t, executor.Config{Handlers: handle(failing("a"))}, "a fix ~1s", "b fix <- a")
	b, err = json.Marshal(report)
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"run":%q,"status":"failed","digest":%q,"makespanSeconds":1,"rollback":[],"steps":[
		{"id":"a","number":1,"status":"failed","reason":"handlerError","cause":"","attempts":1,"startedAt":"2000-01-01T00:00:00Z","endedAt":"2000-01-01T00:00:01Z"},
		{"id":"b","number":2,"status":"blocked","reason":"dependencyNotSucceeded","cause":"a","attempts":0,"startedAt":null,"endedAt":"2000-01-01T00:00:01Z"}]}`,
		report.Run(), report.Plan().Digest()), string(b))
	require.Equal(t, "run "+report.Run()+" failed after 1s\n  1 a failed (handlerError)\n  2 b blocked (dependencyNotSucceeded)\n", report.String())
}
