package render

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remedykit/remedy/dag"
)

// A Span is what a timeline shows of one step. Times are since the start of the run.
type Span struct {
	Step int
	// Gated tells that a person was asked, at Asked; Answered that the answer came, at Decided. An answered step that
	// did not start and has the status "rejected" was rejected, any other answered step approved.
	Gated, Answered bool
	Asked, Decided  time.Duration
	// By names who decided, "" when it is not known.
	By string
	// Started is false for a step that never started.
	Started bool
	// Start and End are the step's. A started step without a status, or with the status "running", has not ended.
	Start, End time.Duration
	// Status is the step's, such as "succeeded"; Reason says why, "" for nothing to say.
	Status, Reason string
}

// A Run is what a timeline shows of a whole run.
type Run struct {
	Spans []Span
	// End is when the run ended, or how long it has gone on so far.
	End    time.Duration
	Status string
	// PlanGate is drawn first when Gated.
	PlanGate Span
}

// Timeline draws a run as T+ moments: what started, how long it took, who waited for whom. Steps without a Span never
// started.
func Timeline(p *dag.Plan, r Run) string {
	t := &timeline{drawing: newDrawing(p, View{}), run: r, spans: make([]Span, p.Len())}
	for _, s := range r.Spans {
		if s.Step >= 0 && s.Step < p.Len() {
			t.spans[s.Step] = s
		}
	}
	t.moments()
	t.final()
	return t.b.String()
}

// happening is a kind of thing that happens in a run, in the order in which things of one moment are told.
type happening uint8

const (
	ended happening = iota // and did not succeed
	succeeded
	decided
	asked
	started
)

type event struct {
	at   time.Duration
	kind happening
	step int
}

// A moment gathers what a reader sees at one time: what came to an end, and the lines of what began.
type moment struct {
	at           time.Duration
	done         []int // steps that succeeded since the moment before
	heads        []string
	asks, begins []int
}

type timeline struct {
	*drawing
	run   Run
	spans []Span
	b     strings.Builder
	left  []int // steps that succeeded after the last moment
}

func over(s Span) bool { return s.Started && s.Status != "" && s.Status != "running" }

func (t *timeline) events() []event {
	var all []event
	gate := func(s Span, i int) {
		if !s.Gated {
			return
		}
		all = append(all, event{s.Asked, asked, i})
		if s.Answered {
			all = append(all, event{s.Decided, decided, i})
		}
	}
	gate(t.run.PlanGate, planStep)
	for i, s := range t.spans {
		gate(s, i)
		if s.Started {
			all = append(all, event{s.Start, started, i})
		}
		if over(s) {
			kind := ended
			if s.Status == "succeeded" {
				kind = succeeded
			}
			all = append(all, event{s.End, kind, i})
		}
	}
	slices.SortStableFunc(all, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), cmp.Compare(a.step, b.step))
	})
	return all
}

// moments writes the events, those of one shown time together. A success makes no moment of its own: it is told at the
// next one, which it mostly brought about.
func (t *timeline) moments() {
	now := &moment{heads: []string{"Workflow Created"}}
	for _, e := range t.events() {
		if e.kind == succeeded {
			t.left = append(t.left, e.step)
			continue
		}
		if short(e.at) != short(now.at) {
			t.write(now)
			now = &moment{at: e.at}
		}
		now.done = append(now.done, t.left...)
		t.left = nil
		switch e.kind {
		case ended:
			s := t.spans[e.step]
			now.heads = append(now.heads, fmt.Sprintf("Step %d %s%s", e.step+1, endWord(s.Status), reason(s)))
		case decided:
			now.heads = append(now.heads, t.decision(e.step))
		case asked:
			now.asks = append(now.asks, e.step)
		case started:
			now.begins = append(now.begins, e.step)
		}
	}
	t.write(now)
}

// endWord names an end. What was undone later had ended before.
func endWord(status string) string {
	switch status {
	case "rolledBack", "rollbackFailed":
		return "Complete"
	}
	return titled(status)
}

func reason(s Span) string {
	if s.Reason == "" {
		return ""
	}
	return " (" + clean(s.Reason, maxLabel) + ")"
}

func (t *timeline) span(i int) Span {
	if i == planStep {
		return t.run.PlanGate
	}
	return t.spans[i]
}

func (t *timeline) decision(i int) string {
	s := t.span(i)
	what, verdict := "Plan", "Approved"
	if i != planStep {
		what = fmt.Sprintf("Step %d", i+1)
	}
	if s.Status == "rejected" && !s.Started {
		verdict = "Rejected"
	}
	if s.By != "" {
		verdict += " by " + clean(s.By, maxLabel)
	}
	after := "at once"
	if s.Decided > s.Asked {
		after = "after " + short(s.Decided-s.Asked)
	}
	return fmt.Sprintf("%s %s (%s)", what, verdict, after)
}

func (t *timeline) write(m *moment) {
	var heads []string
	if len(m.done) > 0 {
		heads = append(heads, steps(m.done)+" Complete")
	}
	heads = append(heads, m.heads...)
	if len(heads) == 0 {
		heads = append(heads, "Workflow Continues")
	}
	var entries [][]string
	for _, i := range m.asks {
		s := t.span(i)
		if s.Answered && short(s.Decided) == short(m.at) {
			continue
		}
		entries = append(entries, []string{t.name(i) + " " + gateMark, "⏸ waiting for approval"})
	}
	for _, i := range m.begins {
		entries = append(entries, []string{t.name(i) + " → " + t.course(t.spans[i])})
	}
	t.block(m.at, strings.Join(heads, "; "), entries)
}

func (t *timeline) name(i int) string {
	if i == planStep {
		return "Plan"
	}
	name := fmt.Sprintf("Step %d: %s", i+1, t.label(i))
	if note := t.note(i); note != "" {
		name += " (" + note + ")"
	}
	if t.parallel[i] {
		name += " (parallel)"
	}
	return name
}

// course says how long a started step took and how it ended.
func (t *timeline) course(s Span) string {
	switch {
	case !over(s):
		return "running (" + short(max(0, t.run.End-s.Start)) + " so far)"
	case s.Status == "succeeded":
		return short(s.End - s.Start)
	}
	return short(s.End-s.Start) + ", " + spaced(s.Status)
}

// block writes one moment.
func (t *timeline) block(at time.Duration, head string, entries [][]string) {
	stamp := "T+" + short(at) + ": "
	indent := strings.Repeat(" ", utf8.RuneCountInString(stamp))
	t.b.WriteString(stamp + head + "\n")
	for k, lines := range entries {
		mark, inner := "├─> ", "│   "
		if k == len(entries)-1 {
			mark, inner = "└─> ", "    "
		}
		for n, line := range lines {
			if n > 0 {
				mark = inner
			}
			t.b.WriteString(indent + mark + line + "\n")
		}
	}
	t.b.WriteString("\n")
}

// final writes how the run stands at its end, with the steps that never started, and the total.
func (t *timeline) final() {
	going := t.run.Status == "running" || t.run.Status == "parked"
	var head string
	switch t.run.Status {
	case "succeeded":
		head = "Workflow Complete ✅"
	case "succeededWithWarnings":
		head = "Workflow Complete With Warnings ⚠️"
	case "failed", "rejected", "rollbackFailed":
		head = "Workflow " + titled(t.run.Status) + " ❌"
	case "":
		head = "Workflow Ended"
	default:
		head = "Workflow " + titled(t.run.Status)
	}
	if len(t.left) > 0 && t.run.Status != "succeeded" {
		head = steps(t.left) + " Complete; " + head
	}
	var entries [][]string
	for i, s := range t.spans {
		if !s.Started {
			entries = append(entries, []string{t.name(i) + " → " + absence(s, going)})
		}
	}
	t.block(t.run.End, head, entries)
	total := "Total: "
	if going {
		total = "So far: "
	}
	t.b.WriteString(total + short(t.run.End))
	if w := t.waiting(); w > 0 {
		t.b.WriteString(" (includes " + short(w) + " waiting for approval)")
	}
	t.b.WriteString("\n")
}

// absence says why a step did not start.
func absence(s Span, going bool) string {
	switch s.Status {
	case "waitingApproval":
		return "waiting for approval"
	case "", "pending":
		if going {
			return "not started yet"
		}
		return "never started"
	}
	return "never started, " + spaced(s.Status) + reason(s)
}

// waiting is the time in which a person was waited for and no step ran.
func (t *timeline) waiting() time.Duration {
	type change struct {
		at            time.Duration
		gates, active int
	}
	var changes []change
	add := func(from, to time.Duration, gates, active int) {
		if from < to {
			changes = append(changes, change{from, gates, active}, change{to, -gates, -active})
		}
	}
	gate := func(s Span) {
		to := t.run.End
		if s.Answered {
			to = s.Decided
		}
		if s.Gated {
			add(s.Asked, to, 1, 0)
		}
	}
	gate(t.run.PlanGate)
	for _, s := range t.spans {
		gate(s)
		if s.Started {
			to := t.run.End
			if over(s) {
				to = s.End
			}
			add(s.Start, to, 0, 1)
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	var sum, since time.Duration
	gates, active := 0, 0
	for _, c := range changes {
		if gates > 0 && active == 0 {
			sum += c.at - since
		}
		since = c.at
		gates += c.gates
		active += c.active
	}
	return sum
}

// steps names steps: "Step 3", "Steps 1 & 2", "Steps 1, 2 & 5". From three on, runs of numbers are drawn together.
func steps(indexes []int) string {
	indexes = slices.Clone(indexes)
	slices.Sort(indexes)
	var parts []string
	for k := 0; k < len(indexes); {
		end := k
		for end+1 < len(indexes) && indexes[end+1] == indexes[end]+1 {
			end++
		}
		if end-k < 2 {
			end = k
			parts = append(parts, strconv.Itoa(indexes[k]+1))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", indexes[k]+1, indexes[end]+1))
		}
		k = end + 1
	}
	if len(indexes) == 1 {
		return "Step " + parts[0]
	}
	last := len(parts) - 1
	if last == 0 {
		return "Steps " + parts[0]
	}
	return "Steps " + strings.Join(parts[:last], ", ") + " & " + parts[last]
}
