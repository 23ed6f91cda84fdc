package actions

import (
	"errors"
	"time"
)

// A HandlerError is an error that says whether another attempt could help. Make one with Transient or Permanent.
type HandlerError struct {
	Transient bool
	// RetryAfter is how long the other side asks to be left alone; 0 when it does not say.
	RetryAfter time.Duration
	Err        error
}

func (e *HandlerError) Error() string { return e.Err.Error() }

// Unwrap returns the error that was classed.
func (e *HandlerError) Unwrap() error { return e.Err }

// Transient marks an error as one that may pass, such as a conflict, a time-out or a 429. A nil error stays nil.
func Transient(err error) error {
	if err == nil {
		return nil
	}
	return &HandlerError{Transient: true, Err: err}
}

// Permanent marks an error that will not pass, such as a missing right or a bad request. A nil error stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &HandlerError{Err: err}
}

// IsTransient tells whether the outermost HandlerError in err's chain is transient. An error that says nothing of
// itself is permanent.
func IsTransient(err error) bool {
	e, ok := errors.AsType[*HandlerError](err)
	return ok && e.Transient
}

// ErrDrift is what a [Compensator] answers, wrapped, when somebody else has changed what its effect wrote: it changed
// nothing there, and a person has to look.
var ErrDrift = errors.New("changed by somebody else since")
