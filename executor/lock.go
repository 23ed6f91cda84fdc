package executor

import (
	"context"
	"sync"
)

// A Locker keeps writers of one object apart, across runs; a shared one also across processes. It is safe for concurrent
// use.
type Locker interface {
	// Lock waits until nobody else holds key, or ctx ends. unlock may be called once.
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

// NewLocker returns a Locker for this process. Executors that share it keep out of each other's way.
func NewLocker() Locker { return &locks{} }

// locks is a set of named locks. The zero locks is ready to use; names that nobody holds take no memory.
type locks struct {
	mu   sync.Mutex // guards held, and the waiters of each
	held map[string]*lock
}

type lock struct {
	free    chan struct{} // holds a token while nobody has the lock
	waiters int           // who has it or wants it
}

func (l *locks) Lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.held[key]
	if k == nil {
		if l.held == nil {
			l.held = map[string]*lock{}
		}
		k = &lock{free: make(chan struct{}, 1)}
		k.free <- struct{}{}
		l.held[key] = k
	}
	k.waiters++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.waiters--; k.waiters == 0 {
			delete(l.held, key)
		}
	}
	select {
	case <-k.free:
		return func() {
			k.free <- struct{}{}
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
