package approval_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/approval"
)

var t0 = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func tallyOf(terms approval.Terms) *approval.Tally {
	return approval.NewTally(&approval.Request{
		Author: "alice", Model: "gpt", Digest: "sha256:1", AskedAt: t0, ExpiresAt: t0.Add(terms.Wait()), Gate: approval.Gate{Required: true, Terms: terms},
	})
}

func yes(by string, groups ...string) approval.Decision {
	return approval.Decision{Verdict: approval.Approved, By: by, Groups: groups, Digest: "sha256:1"}
}

func no(by string) approval.Decision {
	return approval.Decision{Verdict: approval.Rejected, By: by, Reason: "not now", Digest: "sha256:1"}
}

func TestAQuorumIsOfDistinctPeople(t *testing.T) {
	tally := tallyOf(approval.Terms{Panels: []approval.Panel{{Quorum: 2}}})
	state, err := tally.Cast(yes("bob"), t0)
	require.NoError(t, err)
	require.Equal(t, approval.Open, state)
	require.Equal(t, "1 of anybody", tally.Standing(t0).Missing)
	_, err = tally.Cast(yes(" BOB "), t0)
	require.ErrorIs(t, err, approval.ErrVoted)
	require.ErrorContains(t, err, "1 of anybody is still needed")
	state, err = tally.Cast(yes("carol"), t0.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, approval.Granted, state)
	require.Empty(t, tally.Standing(t0).Missing)
	_, err = tally.Cast(no("dave"), t0.Add(2*time.Minute))
	require.ErrorIs(t, err, approval.ErrDecided)
	require.ErrorContains(t, err, "approved by carol")
}

func TestOneNoEndsIt(t *testing.T) {
	tally := tallyOf(approval.Terms{Panels: []approval.Panel{{Quorum: 3}}})
	_, err := tally.Cast(yes("bob"), t0)
	require.NoError(t, err)
	state, err := tally.Cast(no("bob"), t0) // who said yes may still say no
	require.NoError(t, err)
	require.Equal(t, approval.Denied, state)
	require.Equal(t, approval.Standing{State: approval.Denied, Votes: []approval.Vote{{By: "bob", At: t0}}, By: "bob", Reason: "not now", At: t0}, tally.Standing(t0))
}

func TestAuthorAndModelDecideNothing(t *testing.T) {
	tally := tallyOf(approval.Terms{})
	for _, by := range []string{"alice", " Alice", "GPT", "", "  "} {
		for _, d := range []approval.Decision{yes(by), no(by)} {
			_, err := tally.Cast(d, t0)
			require.ErrorIs(t, err, approval.ErrNotApprover, by)
		}
	}
	require.Equal(t, approval.Open, tally.Standing(t0).State)
}

func TestEveryPanelHasToSayYes(t *testing.T) {
	tally := tallyOf(approval.Terms{Panels: []approval.Panel{
		{Approvers: approval.Approvers{Groups: []string{"sre"}}}, {Rule: "databases", Quorum: 2, Approvers: approval.Approvers{People: []string{"bob", "carol", "dave"}}},
	}})
	_, err := tally.Cast(yes("erin"), t0)
	require.ErrorIs(t, err, approval.ErrNotApprover)
	require.ErrorContains(t, err, "it takes 1 of group sre, and 2 of bob, carol, dave")
	_, err = tally.Cast(no("erin"), t0) // to say no is a privilege as well
	require.ErrorIs(t, err, approval.ErrNotApprover)
	_, err = tally.Cast(yes("bob"), t0)
	require.NoError(t, err)
	require.Equal(t, "1 of group sre, and 1 of bob, carol, dave", tally.Standing(t0).Missing)
	state, err := tally.Cast(yes("carol", "dev", "sre"), t0) // one person may sit on both
	require.NoError(t, err)
	require.Equal(t, approval.Granted, state)
}

func TestOthersMayDecideFromTheirTimeOnAndNotBefore(t *testing.T) {
	tally := tallyOf(approval.Terms{Panels: []approval.Panel{{
		Quorum: 2, Approvers: approval.Approvers{People: []string{"bob", "carol"}}, Escalation: &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"leads"}}},
	}}})
	at, ok := tally.EscalatesAt(t0)
	require.True(t, ok)
	require.Equal(t, t0.Add(5*time.Minute), at)
	_, err := tally.Cast(yes("dora", "leads"), at.Add(-1))
	require.ErrorIs(t, err, approval.ErrNotApprover)
	_, err = tally.Cast(yes("dora", "leads"), at)
	require.NoError(t, err)
	require.Equal(t, "1 of bob, carol, group leads", tally.Standing(at).Missing)
	require.True(t, tally.Standing(at).Escalated)
	_, ok = tally.EscalatesAt(at)
	require.False(t, ok, "it escalates once")
	state, err := tally.Cast(yes("bob"), at)
	require.NoError(t, err)
	require.Equal(t, approval.Granted, state)
}

func TestALateAnswerIsSaidToBeLate(t *testing.T) {
	tally := tallyOf(approval.Terms{Timeout: time.Minute})
	_, err := tally.Cast(yes("bob"), t0.Add(time.Minute)) // the clock decides, not whether somebody has looked at it
	require.ErrorIs(t, err, approval.ErrExpired)
	tally.Expire(t0.Add(time.Minute))
	_, err = tally.Cast(yes("bob"), t0)
	require.ErrorIs(t, err, approval.ErrExpired)
	tally = tallyOf(approval.Terms{})
	tally.Withdraw("the run has ended", t0)
	_, err = tally.Cast(yes("bob"), t0)
	require.ErrorIs(t, err, approval.ErrNotAsked)
	require.ErrorContains(t, err, "because the run has ended")
	tally = tallyOf(approval.Terms{})
	tally.Deny("the approver failed", t0)
	_, err = tally.Cast(yes("bob"), t0)
	require.ErrorIs(t, err, approval.ErrDecided)
	require.ErrorContains(t, err, "because the approver failed")
}

// An obvious tally looks at the whole history each time.
type obvious struct {
	panels []approval.Panel
	expiry time.Time
	votes  []approval.Vote
	state  approval.State
}

func (o *obvious) member(p approval.Panel, by string, groups []string, at time.Time) bool {
	lists := []approval.Approvers{p.Approvers}
	if p.Escalation != nil && !at.Before(t0.Add(p.Escalation.After)) {
		lists = append(lists, p.Escalation.To)
	}
	for _, l := range lists {
		if len(l.People)+len(l.Groups) == 0 || slices.Contains(l.People, by) || slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(l.Groups, g) }) {
			return true
		}
	}
	return false
}

func (o *obvious) cast(d approval.Decision, at time.Time) bool {
	sits := slices.ContainsFunc(o.panels, func(p approval.Panel) bool { return o.member(p, d.By, d.Groups, at) })
	if o.state != approval.Open || !at.Before(o.expiry) || d.Digest != "sha256:1" || d.By == "alice" || d.By == "gpt" || !sits ||
		d.Verdict == approval.Approved && slices.ContainsFunc(o.votes, func(v approval.Vote) bool { return v.By == d.By }) {
		return false
	}
	if d.Verdict == approval.Rejected {
		o.state = approval.Denied
		return true
	}
	o.votes = append(o.votes, approval.Vote{By: d.By, Groups: d.Groups, At: at})
	all := true
	for _, p := range o.panels {
		n := 0
		for _, v := range o.votes {
			if o.member(p, v.By, v.Groups, v.At) {
				n++
			}
		}
		all = all && n >= max(1, p.Quorum)
	}
	if all {
		o.state = approval.Granted
	}
	return true
}

// Clicks, time-outs and withdrawals in any order: one end at most, never for another digest, never by the author or the
// model, never without every panel; silence is no.
func TestATallyIsAnObviousOne(t *testing.T) {
	people := []string{"alice", "gpt", "bob", "carol", "dave"}
	groups := []string{"sre", "leads"}
	rapid.Check(t, func(rt *rapid.T) {
		list := func(name string) approval.Approvers {
			return approval.Approvers{
				People: rapid.SliceOfNDistinct(rapid.SampledFrom(people), 0, 3, rapid.ID[string]).Draw(rt, name+" people"),
				Groups: rapid.SliceOfNDistinct(rapid.SampledFrom(groups), 0, 2, rapid.ID[string]).Draw(rt, name+" groups"),
			}
		}
		terms := approval.Terms{Timeout: time.Duration(rapid.IntRange(1, 20).Draw(rt, "minutes")) * time.Minute}
		for i := range rapid.IntRange(0, 3).Draw(rt, "panels") {
			p := approval.Panel{Quorum: rapid.IntRange(0, 3).Draw(rt, "quorum"), Approvers: list(fmt.Sprint("panel ", i))}
			if rapid.Bool().Draw(rt, "escalates") {
				p.Escalation = &approval.Escalation{After: time.Duration(rapid.IntRange(1, 20).Draw(rt, "after")) * time.Minute, To: list("to")}
			}
			terms.Panels = append(terms.Panels, p)
		}
		tally := tallyOf(terms)
		o := &obvious{panels: terms.Panels, expiry: t0.Add(terms.Timeout)}
		if len(o.panels) == 0 {
			o.panels = []approval.Panel{{}}
		}
		now := t0
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "pass")) * time.Second)
			switch what := rapid.IntRange(0, 9).Draw(rt, "what"); what {
			case 0:
				if now.Before(o.expiry) {
					continue
				}
				tally.Expire(now)
				if o.state == approval.Open {
					o.state = approval.Expired
				}
			case 1:
				if rapid.IntRange(0, 9).Draw(rt, "really") == 0 {
					tally.Withdraw("no more", now)
					if o.state == approval.Open {
						o.state = approval.Withdrawn
					}
				}
			default:
				d := approval.Decision{
					Verdict: rapid.SampledFrom([]approval.Verdict{approval.Approved, approval.Approved, approval.Approved, approval.Rejected}).Draw(rt, "verdict"),
					By:      rapid.SampledFrom(people).Draw(rt, "by"),
					Groups:  rapid.SliceOfNDistinct(rapid.SampledFrom(groups), 0, 2, rapid.ID[string]).Draw(rt, "in"),
					Digest:  rapid.SampledFrom([]string{"sha256:1", "sha256:1", "sha256:1", "sha256:2", ""}).Draw(rt, "digest"),
				}
				before := tally.Standing(now)
				checked := tally.Check(d, now)
				require.Equal(rt, before, tally.Standing(now), "to check changes nothing")
				state, err := tally.Cast(d, now)
				require.Equal(rt, fmt.Sprint(checked), fmt.Sprint(err), "check says what casting would")
				require.Equal(rt, o.cast(d, now), err == nil, "%+v at %s: %v", d, now.Sub(t0), err)
				require.Equal(rt, o.state, state)
				if err != nil {
					known := false
					for _, e := range []error{approval.ErrNotAsked, approval.ErrDecided, approval.ErrVoted, approval.ErrExpired, approval.ErrDigest, approval.ErrNotApprover} {
						known = known || errors.Is(err, e)
					}
					require.True(rt, known, err)
				}
			}
			s := tally.Standing(now)
			require.Equal(rt, o.state, s.State)
			require.Equal(rt, s.State == approval.Open, s.Missing != "")
			for _, v := range s.Votes {
				require.False(rt, strings.EqualFold(v.By, "alice") || strings.EqualFold(v.By, "gpt"))
			}
		}
	})
}
