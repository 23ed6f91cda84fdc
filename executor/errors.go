package executor

import (
	"errors"
	"fmt"
)

// What an Executor may answer, beside what a decision is refused for.
var (
	// ErrKilled is what Start answers after Kill.
	ErrKilled = errors.New("the kill switch is on")

	ErrFinished   = errors.New("the run has finished")
	ErrUnknownRun = errors.New("no such run")
)

// A PanicError is a panic of a handler or approver.
type PanicError struct {
	// Value is what was panicked with; nil when the goroutine was ended instead.
	Value any
	// Stack is the goroutine's at the panic.
	Stack []byte
}

// Error does not include the stack.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "goroutine ended (runtime.Goexit)"
	}
	return fmt.Sprintf("panic: %v", e.Value)
}
