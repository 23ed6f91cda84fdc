package email_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/internal/asktest"
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

func TestAConfirmedLinkLetsTheRunGoOn(t *testing.T) {
	office, s := open(t, false, false), serve(t)
	c := channel(t, options(office, s.URL+"/approve"))
	ex := asktest.Executor(t, c, policy(func(p *approval.Policy) { p.Quorum = 2 }), nil)
	s.handler = c.Handler(ex)
	run, err := ex.Start(t.Context(), asktest.Plan(t), asktest.Options("r1"))
	require.NoError(t, err)
	all := letters(t, office, 2)
	ann, bob := linkOf(t, all["ann@example.com"]), linkOf(t, all["bob@example.com"])
	status, body, _ := do(t, http.MethodPost, ann, say("approve", "looks right"))
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, "ann said yes: step 4, restart_pod, run r1", letters(t, office, 1)["bob@example.com"].subject(t))
	_, body, _ = do(t, http.MethodGet, bob, nil)
	require.Contains(t, body, "ann: looks right")
	require.Contains(t, body, "1 of group sre")
	status, _, _ = do(t, http.MethodPost, bob, say("approve", ""))
	require.Equal(t, http.StatusOK, status)
	report, step := asktest.Ended(t, run)
	require.Equal(t, executor.RunSucceeded, report.Status())
	require.Equal(t, executor.Succeeded, step.Status)
	closed := letters(t, office, 2)["ann@example.com"]
	require.Equal(t, "Approved by ann, bob: step 4, restart_pod, run r1", closed.subject(t))
	require.Equal(t, all["ann@example.com"].header.Get("Message-ID"), closed.header.Get("In-Reply-To"))
}

func TestARejectedOrUnansweredQuestionStopsTheRun(t *testing.T) {
	office, s := open(t, false, false), serve(t)
	c := channel(t, options(office, s.URL+"/approve"))
	ex := asktest.Executor(t, c, policy(nil), nil)
	s.handler = c.Handler(ex)
	run, err := ex.Start(t.Context(), asktest.Plan(t), asktest.Options("r1"))
	require.NoError(t, err)
	all := letters(t, office, 2)
	status, _, _ := do(t, http.MethodPost, linkOf(t, all["ann@example.com"]), say("reject", "not on a Friday"))
	require.Equal(t, http.StatusOK, status)
	report, step := asktest.Ended(t, run)
	require.Equal(t, executor.Rejected, step.Status)
	require.Equal(t, executor.RunRejected, report.Status())
	require.Equal(t, "Rejected by ann: not on a Friday: step 4, restart_pod, run r1", letters(t, office, 2)["bob@example.com"].subject(t))
	status, body, _ := do(t, http.MethodPost, linkOf(t, all["bob@example.com"]), say("approve", ""))
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, body, "Not counted: ")
	require.Contains(t, body, "Rejected by ann: not on a Friday")

	silent := asktest.Executor(t, c, policy(func(p *approval.Policy) { p.Timeout = 300 * time.Millisecond }), nil)
	run, err = silent.Start(t.Context(), asktest.Plan(t), asktest.Options("r2"))
	require.NoError(t, err)
	letters(t, office, 2)
	_, step = asktest.Ended(t, run)
	require.Equal(t, executor.Rejected, step.Status)
	require.Equal(t, "Expired, which means no: nobody answered in time: step 4, restart_pod, run r2", letters(t, office, 2)["bob@example.com"].subject(t))
}

func TestARestartMailsNobodyTwice(t *testing.T) {
	office, s, j := open(t, false, false), serve(t), journal.NewMemory()
	first := channel(t, options(office, s.URL+"/approve"))
	ctx, crash := context.WithCancel(t.Context())
	ex := asktest.Executor(t, approval.Broadcast(nil, approval.Channel{Name: "email", Approver: first}), policy(nil), j)
	run, err := ex.Start(ctx, asktest.Plan(t), asktest.Options("r1"))
	require.NoError(t, err)
	all := letters(t, office, 2)
	require.Eventually(t, func() bool {
		records, err := j.Read(t.Context(), "r1")
		require.NoError(t, err)
		for _, r := range records {
			if r.Kind == "approvalAnnounced" {
				return true
			}
		}
		return false
	}, 10*time.Second, 5*time.Millisecond)
	crash()
	asktest.Ended(t, run)

	second := channel(t, options(office, s.URL+"/approve"))
	ex = asktest.Executor(t, approval.Broadcast(nil, approval.Channel{Name: "email", Approver: second}), policy(nil), j)
	s.handler = second.Handler(ex)
	ann := linkOf(t, all["ann@example.com"])
	status, body, _ := do(t, http.MethodGet, ann, nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "this process does not hold it")
	run, err = ex.Start(t.Context(), asktest.Plan(t), asktest.Options("r1"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, body, _ = do(t, http.MethodGet, ann, nil)
		return !strings.Contains(body, "this process does not hold it")
	}, 10*time.Second, 5*time.Millisecond)
	status, body, _ = do(t, http.MethodPost, ann, say("approve", ""))
	require.Equal(t, http.StatusOK, status, body)
	_, step := asktest.Ended(t, run)
	require.Equal(t, executor.Succeeded, step.Status)
	require.Equal(t, "Approved by ann: step 4, restart_pod, run r1", letters(t, office, 2)["bob@example.com"].subject(t), "nothing but the end was mailed")
}
