package web

import (
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/internal/wording"
)

// A stepRow is a step on the timeline. Bars are in thousandths of the run so far.
type stepRow struct {
	Number                int
	Label, Target         string
	Status, Class, Detail string
	Wait, Bar             bar
}

type bar struct{ From, Width int }

// stepRows are the steps of a plan, and how they stand when that is known.
func stepRows(plan *dag.Plan, report *executor.Report) []stepRow {
	rows := make([]stepRow, plan.Len())
	for i := range rows {
		s := plan.Step(i)
		rows[i] = stepRow{Number: s.Number(), Label: shown(s.Label()), Status: "pending", Class: "pending"}
		if s.Target().Name != "" {
			rows[i].Target = shown(s.Target().String())
		}
		if report != nil {
			rows[i].fill(report, report.Step(i))
		}
	}
	return rows
}

func (r *stepRow) fill(report *executor.Report, s executor.StepReport) {
	r.Class = s.Status.String()
	r.Status = words(r.Class)
	begin, whole := report.StartedAt(), max(report.Makespan(), time.Millisecond)
	part := func(from, to time.Time) bar {
		if from.IsZero() {
			return bar{}
		}
		if to.IsZero() {
			to = begin.Add(whole)
		}
		a := min(1000, max(0, int(1000*from.Sub(begin)/whole)))
		b := min(1000, max(a, int(1000*to.Sub(begin)/whole)))
		if b-a < 4 {
			a, b = min(a, 996), min(a, 996)+4
		}
		return bar{a, b - a}
	}
	var said []string
	if g := s.Gate; g != nil {
		until := g.DecidedAt
		if until.IsZero() {
			until = s.EndedAt
		}
		r.Wait = part(g.AskedAt, until)
		if g.By != "" && s.Status != executor.Rejected {
			said = append(said, "approved by "+shown(g.By))
		}
	}
	if !s.StartedAt.IsZero() {
		r.Bar = part(s.StartedAt, s.EndedAt)
		if !s.EndedAt.IsZero() {
			said = append(said, "took "+short(s.EndedAt.Sub(s.StartedAt)))
		}
	}
	if s.Attempts > 1 {
		said = append(said, strconv.Itoa(s.Attempts)+" attempts")
	}
	if s.Status.Final() && s.Status != executor.Succeeded {
		if chain := report.Why(s.ID); len(chain) > 0 && chain[0].Message != "" {
			said = append(said, shown(chain[0].Message))
		} else if s.Reason != executor.ReasonNone {
			said = append(said, words(s.Reason.String()))
		}
	}
	r.Detail = strings.Join(said, "; ")
}

// short writes a duration with as much as a reader wants.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return wording.Duration(d.Round(time.Millisecond))
	case d < time.Minute:
		return wording.Duration(d.Round(100 * time.Millisecond))
	}
	return wording.Duration(d.Round(time.Second))
}

// An eventRow is something that happened.
type eventRow struct{ At, Step, Text, Said string }

// eventRows are the events of a run, the latest first.
func eventRows(plan *dag.Plan, events []executor.Event) []eventRow {
	rows := make([]eventRow, 0, len(events))
	for i := len(events) - 1; i >= 0; i-- {
		e := &events[i]
		row := eventRow{At: clock(e.Time), Text: happened(e), Said: shown(e.Message)}
		if n, ok := plan.Index(e.Step); ok && e.Step != "" {
			row.Step = strconv.Itoa(n+1) + " " + shown(plan.Step(n).Label())
		}
		rows = append(rows, row)
	}
	return rows
}

// happened says what an event tells.
func happened(e *executor.Event) string {
	by := ""
	if e.By != "" {
		by = " by " + shown(e.By)
	}
	switch e.Kind {
	case executor.EventRunStarted:
		return "the run began"
	case executor.EventRunResumed:
		return "the run goes on after a restart"
	case executor.EventRunParked:
		return "nothing runs: the run waits for people"
	case executor.EventRunFinished:
		return "the run ended: " + words(e.Status)
	case executor.EventStepStarted:
		if e.Attempt > 1 {
			return "began again, attempt " + strconv.Itoa(e.Attempt)
		}
		return "began"
	case executor.EventStepFinished:
		return words(e.Status)
	case executor.EventApprovalRequested:
		return "asks for approval"
	case executor.EventApprovalDecided:
		return words(e.Status) + by
	case executor.EventApprovalVoted:
		return "a yes" + by
	case executor.EventApprovalEscalated:
		return "others were asked as well"
	case executor.EventApprovalVoided:
		return "what was asked about has changed: it is asked again"
	case executor.EventApprovalUndelivered:
		return "people could not be told"
	case executor.EventRetryScheduled:
		return "failed for now, and is tried again"
	case executor.EventRollbackStarted:
		return "what was done is taken back"
	case executor.EventUndoStarted:
		return "is being taken back"
	case executor.EventUndoFinished:
		return "taken back: " + words(e.Status)
	case executor.EventRollbackFinished:
		return "taking back has ended"
	}
	return shown(words(string(e.Kind)))
}
