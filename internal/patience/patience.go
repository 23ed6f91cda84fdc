// Package patience tries again what may pass.
package patience

import (
	"context"
	"errors"
	"time"

	"github.com/remedykit/remedy/actions"
)

// The waits between two tries.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 2 * time.Second
)

// Try calls f again while its error is transient and ctx goes on, and returns the last error. It waits longer where the other
// side asks for it.
func Try(ctx context.Context, f func() error) error {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := f()
		if err == nil || !actions.IsTransient(err) || ctx.Err() != nil {
			return err
		}
		pause := wait
		if e, ok := errors.AsType[*actions.HandlerError](err); ok {
			pause = max(wait, e.RetryAfter)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
