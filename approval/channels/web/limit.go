package web

import (
	"net/netip"
	"sync"
	"time"
)

// A limiter lets each of many names do something so many times a minute, and that many at once. It keeps one time a name.
type limiter struct {
	every time.Duration
	burst time.Duration

	mu   sync.Mutex           // guards what follows
	next map[string]time.Time // until when what a name did counts; it may run ahead of now by burst
}

// mostNames is how many names a limiter keeps. When all of them have done something lately, another has to wait.
const mostNames = 16384

func newLimiter(perMinute int) limiter {
	return limiter{every: time.Minute / time.Duration(perMinute), burst: time.Minute, next: map[string]time.Time{}}
}

// allow tells whether a name may, and if not, after which wait.
func (l *limiter) allow(name string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next, known := l.next[name]
	if !known && len(l.next) >= mostNames {
		for n, t := range l.next {
			if !t.After(now) {
				delete(l.next, n)
			}
		}
		if len(l.next) >= mostNames {
			return l.every, false
		}
	}
	if next.Before(now) {
		next = now
	}
	if next = next.Add(l.every); next.Sub(now) > l.burst {
		return next.Sub(now) - l.burst, false
	}
	l.next[name] = next
	return 0, true
}

// peerName is what an address is limited by: a whole network of IPv6, which one machine usually has.
func peerName(remote string) string {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := a.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
