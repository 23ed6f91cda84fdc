package executor

import (
	"time"
)

// EventKind names what happened. More kinds may be added.
type EventKind string

// The kinds.
const (
	EventRunStarted        EventKind = "runStarted"
	EventStepStarted       EventKind = "stepStarted"
	EventStepFinished      EventKind = "stepFinished"
	EventApprovalRequested EventKind = "approvalRequested"
	EventApprovalDecided   EventKind = "approvalDecided"
	// EventApprovalVoted tells of a yes that does not decide yet, EventApprovalEscalated that others were told as well,
	// EventApprovalVoided that what was asked about has changed, so that it is asked again, EventApprovalUndelivered that
	// people could not be shown what became of a request.
	EventApprovalVoted       EventKind = "approvalVoted"
	EventApprovalEscalated   EventKind = "approvalEscalated"
	EventApprovalVoided      EventKind = "approvalVoided"
	EventApprovalUndelivered EventKind = "approvalUndelivered"
	EventRetryScheduled      EventKind = "retryScheduled"
	EventRollbackStarted     EventKind = "rollbackStarted"
	EventUndoStarted         EventKind = "undoStarted"
	EventUndoFinished        EventKind = "undoFinished"
	EventRollbackFinished    EventKind = "rollbackFinished"
	EventRunResumed          EventKind = "runResumed"
	EventRunParked           EventKind = "runParked"
	EventRunFinished         EventKind = "runFinished"
)

// An Event tells one thing that happened in a run. Its JSON is a contract of the command line.
type Event struct {
	// Seq counts the events of a run from 1.
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	Run  string    `json:"run"`
	Kind EventKind `json:"kind"`
	// Step is the step's id; empty for events of the run or of the plan's own gate.
	Step string `json:"step,omitempty"`
	// Status is the step's, or the run's; empty where it does not apply.
	Status string `json:"status,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Attempt counts from 1; 0 where it does not apply.
	Attempt int `json:"attempt,omitempty"`
	// By names who decided.
	By string `json:"by,omitempty"`
	// Message is for people: the handler's words, an error, a reason. It is text, never markup.
	Message string `json:"message,omitempty"`
}

// An Observer is told what happens in a run, one event after another in order. It is called outside every lock. It
// must not block: the run does not wait for it, but its later events and the end of the run do. A panic of an
// Observer is swallowed. Observers of several runs may be called at the same time.
type Observer interface {
	Observe(Event)
}

// ObserverFunc makes a function an Observer.
type ObserverFunc func(Event)

// Observe calls f.
func (f ObserverFunc) Observe(e Event) { f(e) }
