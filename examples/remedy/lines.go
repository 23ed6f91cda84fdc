package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/remedykit/remedy/executor"
)

// jsonLines writes each event as one line of JSON.
type jsonLines struct {
	mu     sync.Mutex // guards closed and the order of lines
	w      io.Writer
	closed bool
}

func (j *jsonLines) Observe(e executor.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		json.NewEncoder(j.w).Encode(e) // a broken output is noticed at the end
	}
}

func (j *jsonLines) begin(*executor.Run) {}
func (j *jsonLines) interrupted()        {}
func (j *jsonLines) aside(ask func())    { ask() }

func (j *jsonLines) close(*executor.Report) {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
}

// textLines writes each event as one line for people.
type textLines struct {
	mu        sync.Mutex // guards what follows and the order of lines
	w, stderr io.Writer
	l         *loaded
	scale     float64
	start     time.Time
	startedAt map[string]time.Time // by step
	askedAt   map[string]time.Time
	closed    bool
}

func (t *textLines) begin(*executor.Run) {}
func (t *textLines) aside(ask func())    { ask() }

func (t *textLines) interrupted() {
	fmt.Fprintln(t.stderr, "interrupted: waiting for what runs; interrupt again to end at once")
}

func (t *textLines) close(*executor.Report) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
}

func (t *textLines) Observe(e executor.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.startedAt == nil {
		t.start, t.startedAt, t.askedAt = e.Time, map[string]time.Time{}, map[string]time.Time{}
		if !t.l.began.IsZero() {
			t.start = t.l.began
		}
	}
	fmt.Fprintf(t.w, "T+%-7s %s\n", short(e.Time.Sub(t.start)), printable(t.text(e)))
}

// text says what an event means.
func (t *textLines) text(e executor.Event) string {
	who := "the plan"
	i, isStep := t.l.plan.Index(e.Step)
	if isStep {
		who = title(t.l.plan.Step(i))
	}
	switch e.Kind {
	case executor.EventRunStarted:
		_, path := t.l.plan.CriticalPath()
		return fmt.Sprintf("run %s started: %s of %s, about %s%s", e.Run, count(t.l.plan.Len(), "step"), t.l.file,
			short(scaled(path, t.scale)), speed(t.scale))
	case executor.EventStepStarted:
		t.startedAt[e.Step] = e.Time
		return fmt.Sprintf("%s started, about %s", who, short(scaled(t.l.plan.Step(i).Duration(), t.scale)))
	case executor.EventRunResumed:
		return fmt.Sprintf("run %s goes on%s", e.Run, speed(t.scale))
	case executor.EventRetryScheduled:
		return who + " will be tried again after attempt " + strconv.Itoa(e.Attempt) + colon(e.Message)
	case executor.EventRollbackStarted:
		return "the rollback began"
	case executor.EventUndoStarted:
		return who + " is being undone"
	case executor.EventUndoFinished:
		if e.Reason == executor.ReasonUndone.String() {
			return who + " was undone"
		}
		return who + " was not undone: " + words(e.Reason) + colon(e.Message)
	case executor.EventRollbackFinished:
		return "the rollback ended: " + words(e.Status)
	case executor.EventStepFinished:
		text := who + " " + words(e.Status)
		if at, ok := t.startedAt[e.Step]; ok {
			text += " after " + short(e.Time.Sub(at))
		}
		if e.Status != executor.Succeeded.String() && e.Reason != e.Status {
			text += ", " + words(e.Reason)
		}
		return text + colon(e.Message)
	case executor.EventApprovalRequested:
		t.askedAt[e.Step] = e.Time
		return who + " waits for approval" + colon(e.Message)
	case executor.EventApprovalDecided:
		text := who + " was " + words(e.Status)
		if e.By != "" {
			text += " by " + e.By
		}
		return text + " after " + short(e.Time.Sub(t.askedAt[e.Step])) + colon(e.Message)
	case executor.EventRunParked:
		return "the run is parked: nothing runs until somebody decides"
	case executor.EventRunFinished:
		return "the run ended: " + words(e.Status) + colon(e.Message)
	}
	text := words(string(e.Kind))
	if isStep {
		text += " " + who
	}
	if e.Status != "" {
		text += ", " + words(e.Status)
	}
	return text + colon(e.Message)
}

func colon(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}

// speed tells a time scale, "" for real time.
func speed(scale float64) string {
	switch {
	case scale == 1:
		return ""
	case scale < 1:
		return ", " + factor(1/scale) + " times as fast"
	}
	return ", " + factor(scale) + " times as slow"
}

// factor has three digits that count, and no exponent as far as people count in their heads.
func factor(f float64) string {
	if f >= 100 && f < 1e9 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

// scaled is for show: a duration of more than 100 days is 100 days.
func scaled(d time.Duration, scale float64) time.Duration {
	return time.Duration(min(float64(d)*scale, float64(longest)))
}

const longest = 100 * 24 * time.Hour
