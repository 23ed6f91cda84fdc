package executor

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Log returns an Observer that logs every event to l: what failed, was rejected or is unknown as a warning, all else
// as information.
func Log(l *slog.Logger) Observer {
	return ObserverFunc(func(e Event) {
		level := slog.LevelInfo
		switch e.Status {
		case Failed.String(), Rejected.String(), Unknown.String(), string(RunInterrupted):
			level = slog.LevelWarn
		}
		if !l.Enabled(context.Background(), level) {
			return
		}
		attrs := []slog.Attr{slog.String("run", e.Run), slog.Int64("seq", e.Seq)}
		for _, a := range []struct{ key, value string }{
			{"step", e.Step}, {"status", e.Status}, {"reason", e.Reason}, {"by", e.By}, {"message", e.Message},
		} {
			if a.value != "" {
				attrs = append(attrs, slog.String(a.key, a.value))
			}
		}
		if e.Attempt > 0 {
			attrs = append(attrs, slog.Int("attempt", e.Attempt))
		}
		l.LogAttrs(context.Background(), level, string(e.Kind), attrs...)
	})
}

// A Buffer hands events on to a slow Observer from a goroutine of its own. When its buffer is full, events are dropped
// and counted. Make one with [Buffered].
type Buffer struct {
	events  chan Event
	done    chan struct{}
	dropped atomic.Int64

	mu     sync.RWMutex // guards closed and sending while it is false
	closed bool
}

// Buffered returns a Buffer of n events in front of o. Close it when no run uses it any more.
func Buffered(o Observer, n int) *Buffer {
	b := &Buffer{events: make(chan Event, max(n, 1)), done: make(chan struct{})}
	go b.work(o)
	return b
}

// work goes on in another goroutine when o ends this one.
func (b *Buffer) work(o Observer) {
	closed := false
	defer func() {
		if closed {
			close(b.done)
		} else {
			go b.work(o)
		}
	}()
	for e := range b.events {
		notify(o, e)
	}
	closed = true
}

// Observe never blocks. After Close it drops.
func (b *Buffer) Observe(e Event) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		b.dropped.Add(1)
		return
	}
	select {
	case b.events <- e:
	default:
		b.dropped.Add(1)
	}
}

// Dropped is how many events were dropped.
func (b *Buffer) Dropped() int64 { return b.dropped.Load() }

// Close waits until what is buffered has been handed on, and ends the goroutine. It may be called twice.
func (b *Buffer) Close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.events)
	}
	b.mu.Unlock()
	<-b.done
}

// notify keeps a panicking Observer from taking the process down, or the others' events away.
func notify(o Observer, e Event) {
	defer func() { _ = recover() }()
	o.Observe(e)
}
