package crd_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/crd"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/internal/controlplane"
)

func TestWhoeverMayDecidesInTheirOwnNameAndInNoOther(t *testing.T) {
	p := newPlace(t)
	run, _, _ := p.run(p.channel(), approval.IncidentTable(), journal.NewMemory())
	o := p.asked()
	subject, _, _ := unstructured.NestedString(o.Object, "spec", "subject")
	require.Equal(t, "step 4, restart_pod", subject)
	require.Equal(t, "open", p.status(o.GetName(), "state"))

	err := p.vote("eve", o.GetName(), map[string]any{"eve": map[string]any{"verdict": "approved"}})
	require.True(t, apierrors.IsForbidden(err), "who may only look: %v", err)
	for _, votes := range []map[string]any{
		{"ann": map[string]any{"verdict": "approved"}},
		{"bob": map[string]any{"verdict": "approved"}, "ann": map[string]any{"verdict": "approved"}},
	} {
		err = p.vote("bob", o.GetName(), votes)
		require.True(t, apierrors.IsForbidden(err), "%v", err)
		require.ErrorContains(t, err, "you are bob")
	}
	err = p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved", "groups": []string{"sre"}}})
	require.ErrorContains(t, err, "groups are those that you are in")
	err = p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "maybe"}})
	require.True(t, apierrors.IsInvalid(err), "%v", err)
	_, err = p.objects("bob").Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(`{"status":{"state":"granted","by":"ann"}}`), metav1.PatchOptions{}, "status")
	require.ErrorContains(t, err, "only the runner says what became of a request")
	_, err = p.objects(controlplane.Admin).Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(`{"spec":{"digest":"sha256:0"}}`), metav1.PatchOptions{})
	require.ErrorContains(t, err, "what was asked does not change")
	require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(3).Status)

	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved", "reason": "looked at it"}}))
	p.ends(run)
	require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
	require.Equal(t, "bob", run.Snapshot().Step(3).Gate.By)
	p.becomes(o.GetName(), "granted", "state")
	p.becomes(o.GetName(), "counted: approved", "answers", "bob")
	require.Equal(t, "looked at it", p.status(o.GetName(), "reason"))
	err = p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "rejected"}})
	require.ErrorContains(t, err, "this request is closed")
	err = p.vote("bob", o.GetName(), map[string]any{"bob": nil})
	require.ErrorContains(t, err, "a vote cannot be taken away")
}

func TestAVoteThatDoesNotCountSaysWhy(t *testing.T) {
	p := newPlace(t)
	policy := approval.IncidentTable()
	policy.Approvers.People = []string{"ann"}
	run, ex, _ := p.run(p.channel(), policy, journal.NewMemory())
	o := p.asked()
	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved"}}))
	p.becomes(o.GetName(), "this identity may not decide: it takes 1 of ann", "answers", "bob")
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved", "digest": "sha256:other"}}))
	p.becomes(o.GetName(), "answers something else", "answers", "ann")
	require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(3).Status)
	require.NoError(t, ex.Cancel(t.Context(), run.ID(), "enough"))
	p.ends(run)
	p.becomes(o.GetName(), "withdrawn", "state")
}

func TestTwoDecideAndARestartInBetweenLosesNothing(t *testing.T) {
	p := newPlace(t)
	policy := approval.IncidentTable()
	policy.Quorum = 2
	j := journal.NewMemory()
	run, _, stop := p.run(p.channel(), policy, j)
	o := p.asked()
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved"}}))
	p.becomes(o.GetName(), "1 of anybody", "needs")
	stop()
	p.ends(run)
	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved"}}), "while nobody runs it")
	run, _, _ = p.run(p.channel(), policy, j)
	p.ends(run)
	require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
	require.Len(t, run.Snapshot().Step(3).Gate.Votes, 2)
	p.becomes(o.GetName(), "granted", "state")
	list, err := p.objects("eve").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Items, 1, "it is asked once")
}

func TestNoIsSaidWithOnePatch(t *testing.T) {
	p := newPlace(t)
	run, _, _ := p.run(p.channel(), approval.IncidentTable(), journal.NewMemory())
	o := p.asked()
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "rejected", "reason": "not during the sale"}}))
	p.ends(run)
	require.Equal(t, executor.RunRejected, run.Snapshot().Status())
	p.becomes(o.GetName(), "denied", "state")
}

func TestSilenceClosesTheObject(t *testing.T) {
	p := newPlace(t)
	policy := approval.IncidentTable()
	policy.Timeout = 2 * time.Second
	run, _, _ := p.run(p.channel(), policy, journal.NewMemory())
	o := p.asked()
	p.ends(run)
	require.Equal(t, executor.ReasonApprovalTimeout, run.Snapshot().Step(3).Reason)
	p.becomes(o.GetName(), "expired", "state")
	err := p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved"}})
	require.ErrorContains(t, err, "this request is closed")
}

// The process may end after a vote has counted and before the object says how the request ended.
func TestWhatHasCountedIsNotSaidToHaveNotAfterARestart(t *testing.T) {
	p := newPlace(t)
	c := p.channel()
	ex, err := executor.New(executor.Config{Handlers: simulated.New(simulated.Options{Scale: 0.0001}).Handlers(actions.Canonical()), Policy: approval.IncidentTable(),
		Approver: approval.ApproverFunc(func(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
			return c.Approve(ctx, req)
		}), Journal: journal.NewMemory()})
	require.NoError(t, err)
	run, err := ex.Start(t.Context(), planOf(t), executor.RunOptions{Confidence: approval.Confidence{Value: 0.725, Given: true}})
	require.NoError(t, err)
	o := p.asked()
	watch := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, ex) }()
		return func() {
			cancel()
			<-ended
		}
	}
	stop := watch()
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved"}}))
	p.becomes(o.GetName(), "counted: approved", "answers", "ann")
	stop()
	p.ends(run)
	stop = watch()
	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved"}}))
	p.becomes(o.GetName(), "not counted: ", "answers", "bob")
	require.Equal(t, "counted: approved", p.status(o.GetName(), "answers", "ann"))
	stop()
}

func TestANoStaysANo(t *testing.T) {
	p := newPlace(t)
	d, err := p.channel().Approve(t.Context(), requestOf(t, planOf(t), 3)) // and no process takes votes
	require.NoError(t, err)
	vote := func(verdict string) error {
		return p.vote("ann", d.Receipt, map[string]any{"ann": map[string]any{"verdict": verdict}})
	}
	require.NoError(t, vote("approved"))
	require.NoError(t, vote("rejected"))
	require.ErrorContains(t, vote("approved"), "a no stays a no")
}

func TestUsersOfTheClusterAreWhoTheyAreElsewhere(t *testing.T) {
	p := newPlace(t)
	policy := approval.IncidentTable()
	policy.Approvers.People = []string{"ann@example.org"}
	c, err := crd.New(configOf(t, "runner"), crd.Options{Namespace: p.namespace, Identity: func(user string) string {
		return map[string]string{"ann": "ann@example.org"}[user]
	}})
	require.NoError(t, err)
	run, _, _ := p.run(c, policy, journal.NewMemory())
	o := p.asked()
	require.NoError(t, p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved"}}))
	p.becomes(o.GetName(), "does not know who you are", "answers", "bob")
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved"}}))
	p.ends(run)
	require.Equal(t, "ann@example.org", run.Snapshot().Step(3).Gate.By)
}

// Who leads may change, and come back.
func TestRunMayBeCalledAgainAndOutlivesAnAPIServerThatIsAway(t *testing.T) {
	p := newPlace(t)
	var away atomic.Bool
	var refused atomic.Int64
	c, err := crd.New(through(configOf(t, "runner"), func(*http.Request) (*http.Response, error) {
		if !away.Load() {
			return nil, nil
		}
		refused.Add(1)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}), crd.Options{Namespace: p.namespace})
	require.NoError(t, err)
	j := journal.NewMemory()
	run, _, stop := p.run(c, approval.IncidentTable(), j)
	o := p.asked()
	stop()
	p.ends(run)
	away.Store(true)
	run, _, _ = p.run(c, approval.IncidentTable(), j)
	require.Eventually(t, func() bool { return refused.Load() > 2 }, eventually, tick)
	away.Store(false)
	require.NoError(t, p.vote("ann", o.GetName(), map[string]any{"ann": map[string]any{"verdict": "approved"}}))
	p.ends(run)
	require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
}

func TestAChannelWithoutRightsSaysWhichItLacks(t *testing.T) {
	p := newPlace(t)
	for user, want := range map[string]string{"ann": "validatingadmissionpolicies", "runner": ""} {
		c, err := crd.New(configOf(t, user), crd.Options{Namespace: "elsewhere"})
		require.NoError(t, err)
		err = c.Run(t.Context(), nil)
		require.True(t, apierrors.IsForbidden(err), "%v", err)
		require.ErrorContains(t, err, want)
		if user == "runner" {
			require.ErrorContains(t, err, "bind the ClusterRole remedy-approval-requester")
		}
	}
	var told atomic.Pointer[string]
	c, err := crd.New(through(configOf(t, "runner"), func(r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("watch") == "" {
			return nil, nil
		}
		return nil, errors.New("no watch is let through")
	}), crd.Options{Namespace: p.namespace, Report: func(err error) {
		text := err.Error()
		told.Store(&text)
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, nil) }()
	require.Eventually(t, func() bool { return told.Load() != nil }, eventually, tick)
	require.Contains(t, *told.Load(), "no watch is let through")
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}
