package approval_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
)

// A board is a channel that fails some times, takes requests, and shows what became of them.
type board struct {
	mu     sync.Mutex
	fails  int
	answer *approval.Decision // at once; nil: later
	posted []string           // keys
	given  []string           // receipts that came back
	shown  []approval.Standing
}

func (b *board) fail() error {
	if b.fails > 0 {
		b.fails--
		return errors.New("down")
	}
	return nil
}

func (b *board) Approve(_ context.Context, req *approval.Request) (*approval.Decision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail(); err != nil {
		return nil, err
	}
	b.posted, b.given = append(b.posted, req.Key), append(b.given, req.Receipt)
	if b.answer != nil {
		return b.answer, nil
	}
	return &approval.Decision{Verdict: approval.Pending, Receipt: "message of " + req.Key}, nil
}

func (b *board) Update(_ context.Context, req *approval.Request, s approval.Standing) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail(); err != nil {
		return err
	}
	b.shown, b.given = append(b.shown, s), append(b.given, req.Receipt)
	return nil
}

func waits(ctx context.Context, _ *approval.Request) (*approval.Decision, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAChannelThatFailsIsTriedAgainAndDeniesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		well, ill := &board{}, &board{fails: 3}
		var failures []approval.Failure
		a := approval.Broadcast(func(f approval.Failure) { failures = append(failures, f) }, approval.Channel{Name: "well", Approver: well}, approval.Channel{Name: "ill", Approver: ill})
		began := time.Now()
		d, err := a.Approve(t.Context(), &approval.Request{Key: "k", Run: "r"})
		require.NoError(t, err)
		require.Equal(t, &approval.Decision{Verdict: approval.Pending, Receipt: `{"ill":"message of k","well":"message of k"}`}, d)
		require.Equal(t, []string{"k"}, well.posted, "who has it is not told again")
		require.Len(t, failures, 3)
		require.Equal(t, approval.Failure{Channel: "ill", Run: "r", Key: "k", Err: errors.New("down"), Retry: failures[0].Retry}, failures[0])
		require.InDelta(t, (3500+1750)*time.Millisecond, time.Since(began), float64(1750*time.Millisecond))

		// Another process has only the receipt.
		again := approval.Broadcast(nil, approval.Channel{Name: "well", Approver: well}, approval.Channel{Name: "ill", Approver: ill})
		require.NoError(t, again.(approval.Updater).Update(t.Context(), &approval.Request{Key: "k", Receipt: d.Receipt}, approval.Standing{State: approval.Granted}))
		require.Equal(t, []string{"", "message of k"}, well.given)
		require.Equal(t, []approval.Standing{{State: approval.Granted}}, ill.shown)
	})
}

func TestTheFirstAnswerCountsAndOthersNeedNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick := approval.ApproverFunc(func(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
			time.Sleep(time.Minute)
			return &approval.Decision{Verdict: approval.Rejected, By: "ann"}, nil
		})
		down := &board{fails: 1 << 30}
		a := approval.Broadcast(nil, approval.Channel{Name: "waits", Approver: approval.ApproverFunc(waits)}, approval.Channel{Name: "quick", Approver: quick}, approval.Channel{Name: "down", Approver: down})
		d, err := a.Approve(t.Context(), &approval.Request{Key: "k"})
		require.NoError(t, err)
		require.Equal(t, "ann", d.By)
	})
}

func TestABroadcastEndsWithItsRequestAndLeavesNobodyBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		panics := approval.ApproverFunc(func(context.Context, *approval.Request) (*approval.Decision, error) { panic("oh") })
		nothing := approval.ApproverFunc(func(context.Context, *approval.Request) (*approval.Decision, error) { return nil, nil })
		told := map[string]string{}
		a := approval.Broadcast(func(f approval.Failure) { told[f.Channel] = f.Err.Error() }, approval.Channel{Name: "panics", Approver: panics}, approval.Channel{Name: "nothing", Approver: nothing})
		d, err := a.Approve(ctx, &approval.Request{Key: "k"})
		require.Nil(t, d)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, map[string]string{"panics": "panic: oh", "nothing": "it gave no answer"}, told)
	})
	_, err := approval.Broadcast(nil).Approve(t.Context(), &approval.Request{})
	require.ErrorContains(t, err, "no channel")
}

func TestAnUpdateIsTriedThreeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twice, always := &board{fails: 2}, &board{fails: 1 << 30}
		var failures []string
		a := approval.Broadcast(func(f approval.Failure) { failures = append(failures, f.Channel+" "+f.Retry.String()) },
			approval.Channel{Name: "twice", Approver: twice}, approval.Channel{Name: "always", Approver: always}, approval.Channel{Name: "never shown", Approver: approval.Auto()})
		err := a.(approval.Updater).Update(t.Context(), &approval.Request{Key: "k"}, approval.Standing{State: approval.Expired})
		require.ErrorContains(t, err, "always: down")
		require.NotContains(t, err.Error(), "twice")
		require.Len(t, twice.shown, 1)
		slices.Sort(failures)
		require.Equal(t, []string{"always 0s", "always 1s", "always 2s", "twice 1s", "twice 2s"}, failures)
	})
}
