package web

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

// A question is a request as a page shows it.
type question struct {
	Subject     string
	Facts       []fact
	Diff        []diffLine
	DryRun      string
	Takes, Yes  []string // who decides, who said yes
	Missing     string
	OnYes, OnNo string
	OnSilence   string
	Left        left
	Escalated   bool

	Open bool
	// Ended and Closing say how it ended, in a word and in a sentence; Outcome is the state's name.
	Ended, Closing, Outcome string
	// WhyNot says why this person may not say yes; CanReject tells whether they may say no.
	WhyNot                string
	CanApprove, CanReject bool
	// Action, Key, Digest and Token are the form's. Stamp changes when the form must be shown anew.
	Action, Key, Digest, Token string
	Stamp                      string
	MostReason                 int
}

// A fact is one thing that is known; Grave ones are to be noticed.
type fact struct {
	approval.Fact
	Grave bool
}

// A diffLine is a line of what would change; Kind is "add", "del" or "".
type diffLine struct{ Kind, Text string }

// question says what a person needs to know, and whether they may answer.
func (c *Channel) question(p person, e *entry, now time.Time) *question {
	stands := c.standing(e, now)
	s := stands.now
	b := e.req.Brief(s, now)
	q := &question{
		Subject: upper(b.Subject), OnYes: b.Yes, OnNo: b.No, OnSilence: b.Silence, Left: leftOf(e.req, now),
		Open: s.State == approval.Open, Outcome: s.State.String(), Escalated: s.Escalated, Missing: shown(s.Missing),
		Action: c.root(p, e.req.Run) + "/decision", Key: e.req.Key, Digest: e.req.Digest, MostReason: mostReason,
	}
	for _, f := range b.Facts {
		switch f.Label {
		case "Would change":
			for _, line := range f.Lines {
				q.Diff = append(q.Diff, diffLine{diffKind(line), line})
			}
		case "Dry run":
			q.DryRun = sentence(strings.Join(f.Lines, " "))
		case "It takes":
			q.Takes = f.Lines
		case "Yes so far":
			q.Yes = f.Lines
		case "Still needed":
		default:
			q.Facts = append(q.Facts, fact{f, f.Label == "Warning" || f.Label == "No way back"})
		}
	}
	if !q.Open {
		q.Ended, q.Closing = ending(s.State), closing(s)
		if q.Takes = nil; len(s.Votes) < 2 {
			q.Yes = nil // the sentence names who it was
		}
	} else {
		d := approval.Decision{Verdict: approval.Approved, By: p.name, Groups: p.groups, Digest: e.req.Digest}
		err := stands.tally.Check(d, now)
		d.Verdict = approval.Rejected
		q.CanApprove, q.CanReject = err == nil, stands.tally.Check(d, now) == nil
		switch {
		case errors.Is(err, approval.ErrVoted) && p.link != nil:
			q.CanReject, q.WhyNot = false, "You have said yes with this link. Another person has to say yes as well."
		case errors.Is(err, approval.ErrVoted):
			q.WhyNot = "You have said yes. Another person has to say yes as well; until then you can still say no."
		case errors.Is(err, approval.ErrExpired):
			q.WhyNot = "The time is up, which means no."
		case err != nil:
			q.WhyNot = sentence(tail(err, approval.ErrNotApprover))
		}
		if p.link != nil && p.link.Digest != e.req.Digest {
			q.CanApprove, q.CanReject, q.WhyNot = false, false, "What is asked has changed since this link was sent. There is another message about it."
		}
	}
	if q.CanApprove || q.CanReject {
		q.Token = c.formToken(p, e.req.Run, e.req.Key, e.req.Digest)
	}
	q.Stamp = fmt.Sprintf("%s %d %v %s %v %v", q.Outcome, len(s.Votes), s.Escalated, q.Digest, q.CanApprove, q.CanReject)
	return q
}

// ending is the heading of what is closed.
func ending(s approval.State) string {
	switch s {
	case approval.Granted:
		return "Approved"
	case approval.Denied:
		return "Rejected"
	case approval.Expired:
		return "Nobody answered"
	}
	return "Withdrawn"
}

// standings are how a question stands, and what counts votes about it as long as it is open.
type standings struct {
	now   approval.Standing
	tally *approval.Tally
}

// standing says how a question stands: as its run says, which knows more than what this channel has been told so far.
func (c *Channel) standing(e *entry, now time.Time) standings {
	if e.standing.State != approval.Open {
		return standings{now: e.standing}
	}
	t := approval.NewTally(e.req)
	votes := e.standing.Votes
	if report := c.report(e.req.Run); report != nil {
		gate := report.PlanGate()
		if e.req.Step != nil {
			gate = report.Step(e.req.Step.Index()).Gate
		}
		waits := slices.ContainsFunc(report.Waiting(), func(r *approval.Request) bool { return r.Key == e.req.Key })
		mine := gate != nil && gate.AskedAt.Equal(e.req.AskedAt)
		if mine {
			votes = gate.Votes
		}
		switch {
		case waits:
		case !mine || gate.DecidedAt.IsZero():
			t.Withdraw("", now)
		case gate.Verdict == approval.Approved:
			return standings{now: approval.Standing{State: approval.Granted, Votes: votes, By: gate.By, Reason: gate.Reason, At: gate.DecidedAt}}
		case gate.By == "" && !gate.DecidedAt.Before(e.req.ExpiresAt):
			t.Expire(gate.DecidedAt)
		default:
			return standings{now: approval.Standing{State: approval.Denied, Votes: votes, By: gate.By, Reason: gate.Reason, At: gate.DecidedAt}}
		}
	}
	for _, v := range votes {
		_, _ = t.Cast(approval.Decision{Verdict: approval.Approved, By: v.By, Groups: v.Groups, Reason: v.Reason, Digest: e.req.Digest}, v.At)
	}
	return standings{t.Standing(now), t}
}

// closing says how a question ended.
func closing(s approval.Standing) string {
	at := ""
	if !s.At.IsZero() {
		at = " at " + clock(s.At)
	}
	why := ""
	if s.Reason != "" {
		why = ": " + shown(s.Reason)
	}
	switch s.State {
	case approval.Granted:
		who := shown(s.By)
		if len(s.Votes) > 1 {
			var names []string
			for _, v := range s.Votes {
				names = append(names, shown(v.By))
			}
			who, why = strings.Join(names, ", "), ""
		}
		return "Approved by " + who + at + why + "."
	case approval.Denied:
		if s.By == "" {
			return "Rejected" + at + why + "."
		}
		return "Rejected by " + shown(s.By) + at + why + "."
	case approval.Expired:
		return "Nobody answered in time, which means no."
	case approval.Withdrawn:
		return "Withdrawn" + why + ". No answer is needed any more."
	}
	return ""
}

func diffKind(line string) string {
	switch {
	case strings.HasPrefix(line, "+"):
		return "add"
	case strings.HasPrefix(line, "-"):
		return "del"
	}
	return ""
}

// upper makes the first letter a capital.
func upper(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}

// mostShown is how many characters of a text are shown.
const mostShown = 600

// shown makes a text that is not ours fit for a page: cut, and with what is hidden made visible. Templates escape it.
func shown(s string) string { return wording.Visible(wording.Cut(s, mostShown)) }

// words turns "waitingApproval" into "waiting approval".
func words(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte(' ')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
