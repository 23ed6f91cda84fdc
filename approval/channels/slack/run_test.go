package slack_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/internal/asktest"
	"github.com/remedykit/remedy/approval/channels/slack"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

func policy(change func(*approval.Policy)) *approval.Policy {
	p := approval.IncidentTable()
	p.Approvers = sre.Approvers
	if change != nil {
		change(p)
	}
	return p
}

func broadcast(c *slack.Channel) approval.Approver {
	return approval.Broadcast(nil, approval.Channel{Name: "slack", Approver: c})
}

// posted waits for the message about a run.
func posted(t *testing.T, w *workspace, n int) message {
	t.Helper()
	require.Eventually(t, func() bool { return len(w.in(channel)) >= n }, 10*time.Second, 5*time.Millisecond)
	return w.in(channel)[n-1]
}

// shows waits until a message says something, and returns it.
func shows(t *testing.T, w *workspace, n int, what string) message {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(words(w.in(channel)[n-1]), what) }, 10*time.Second, 5*time.Millisecond, what)
	return w.in(channel)[n-1]
}

func TestTwoClicksLetTheRunGoOn(t *testing.T) {
	w := open(t)
	c := channelOf(t, options(w))
	ex := asktest.Executor(t, broadcast(c), policy(func(p *approval.Policy) { p.Quorum = 2 }), nil)
	h := c.Handler(ex)
	w.fails("chat.postMessage", "500")
	run, err := ex.Start(t.Context(), asktest.Plan(t), asktest.Options("r1"))
	require.NoError(t, err)
	value := button(posted(t, w, 1), "remedy_approve")
	require.Equal(t, http.StatusOK, send(h, signed(click("U0ANN", "remedy_approve", value), time.Now(), secret)).Code)
	require.Contains(t, w.whispered()[0].text, "was counted")
	shows(t, w, 1, "Still needed: \n1 of group sre")
	require.Equal(t, http.StatusOK, send(h, signed(click("U0ANN", "remedy_approve", value), time.Now(), secret)).Code)
	require.Equal(t, "Your yes was not counted: run r1, step \"rec-004\": this identity has said yes before: 1 of group sre is still needed.", w.whispered()[0].text)
	require.Equal(t, http.StatusOK, send(h, signed(click("U0LEA", "remedy_approve", value), time.Now(), secret)).Code)
	require.Contains(t, w.whispered()[0].text, "this identity may not decide: it takes 2 of group sre")
	require.Equal(t, http.StatusOK, send(h, signed(click("U0BOB", "remedy_approve", value), time.Now(), secret)).Code)
	report, step := asktest.Ended(t, run)
	require.Equal(t, executor.RunSucceeded, report.Status())
	require.Equal(t, executor.Succeeded, step.Status)
	require.Empty(t, button(shows(t, w, 1, "Approved by ann, bob"), "remedy_approve"))
	w.whispered()
	require.Equal(t, http.StatusOK, send(h, signed(click("U0BOB", "remedy_approve", value), time.Now(), secret)).Code)
	require.Contains(t, w.whispered()[0].text, "Your yes was not counted: ")
}

func TestARejectedOrUnansweredQuestionStopsTheRun(t *testing.T) {
	w := open(t)
	c := channelOf(t, options(w))
	ex := asktest.Executor(t, broadcast(c), policy(nil), nil)
	h := c.Handler(ex)
	run, err := ex.Start(t.Context(), asktest.Plan(t), asktest.Options("r1"))
	require.NoError(t, err)
	value := button(posted(t, w, 1), "remedy_reject")
	require.Equal(t, http.StatusOK, send(h, signed(click("U0ANN", "remedy_reject", value), time.Now(), secret)).Code)
	require.Equal(t, http.StatusOK, send(h, signed(submit("U0ANN", w.opened()[0], "not on a Friday"), time.Now(), secret)).Code)
	report, step := asktest.Ended(t, run)
	require.Equal(t, executor.RunRejected, report.Status())
	require.Equal(t, executor.Rejected, step.Status)
	shows(t, w, 1, "Rejected by ann: not on a Friday")

	silent := asktest.Executor(t, broadcast(c), policy(func(p *approval.Policy) { p.Timeout = 500 * time.Millisecond }), nil)
	run, err = silent.Start(t.Context(), asktest.Plan(t), asktest.Options("r2"))
	require.NoError(t, err)
	late := button(posted(t, w, 2), "remedy_approve")
	_, step = asktest.Ended(t, run)
	require.Equal(t, executor.Rejected, step.Status)
	require.Empty(t, button(shows(t, w, 2, "Expired, which means no: nobody answered in time"), "remedy_approve"))
	w.whispered()
	require.Equal(t, http.StatusOK, send(c.Handler(silent), signed(click("U0ANN", "remedy_approve", late), time.Now(), secret)).Code)
	require.Contains(t, w.whispered()[0].text, "Your yes was not counted: ")

	run, err = ex.Start(t.Context(), asktest.Plan(t), asktest.Options("r3"))
	require.NoError(t, err)
	posted(t, w, 3)
	w.whispered()
	require.Equal(t, http.StatusOK, send(h, signed(click("U0ANN", "remedy_approve", `{"run":"r3","step":"rec-004","digest":"sha256:0"}`), time.Now(), secret)).Code)
	require.Equal(t, "Your yes was not counted: run r3, step \"rec-004\": this decision answers something else than what is asked.", w.whispered()[0].text, "a button of another plan decides nothing here")
	require.NoError(t, ex.Cancel(t.Context(), "r3", "the incident is over"))
	asktest.Ended(t, run)
	shows(t, w, 3, "No answer is needed any more")
}

func TestARestartPostsNothingTwice(t *testing.T) {
	w, j := open(t), journal.NewMemory()
	ctx, crash := context.WithCancel(t.Context())
	run, err := asktest.Executor(t, broadcast(channelOf(t, options(w))), policy(nil), j).Start(ctx, asktest.Plan(t), asktest.Options("r1"))
	require.NoError(t, err)
	value := button(posted(t, w, 1), "remedy_approve")
	crash()
	asktest.Ended(t, run)

	c := channelOf(t, options(w))
	ex := asktest.Executor(t, broadcast(c), policy(nil), j)
	run, err = ex.Start(t.Context(), asktest.Plan(t), asktest.Options("r1"))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, send(c.Handler(ex), signed(click("U0ANN", "remedy_approve", value), time.Now(), secret)).Code)
	_, step := asktest.Ended(t, run)
	require.Equal(t, executor.Succeeded, step.Status)
	shows(t, w, 1, "Approved by ann")
	require.Len(t, w.in(channel), 1)
}
