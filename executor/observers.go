package executor

import "log/slog"

// Log returns an Observer that logs every event to l: failures and rejections as warnings, all else as information.
func Log(l *slog.Logger) Observer { return nil }

// A Buffer hands events on to a slow Observer from a goroutine of its own. When its buffer is full events are dropped
// and counted.
type Buffer struct{}

// Buffered returns a Buffer of n events in front of o. Close it when no run uses it any more.
func Buffered(o Observer, n int) *Buffer { return nil }

// Observe never blocks.
func (b *Buffer) Observe(e Event) {}

// Dropped is how many events were dropped.
func (b *Buffer) Dropped() int64 { return 0 }

// Close waits until what is buffered has been handed on, and ends the goroutine.
func (b *Buffer) Close() {}
