package web

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/internal/wording"
)

// What is kept has bounds, whatever runs do.
const (
	mostEvents   = 128  // of one run, the latest
	mostMessage  = 400  // characters of an event's message
	mostRequests = 64   // closed ones of one run
	mostFinished = 1024 // runs that have finished
	sweepEvery   = time.Minute
)

// A shelf keeps what the pages show and an executor does not: the requests, what became of them, and the last events.
type shelf struct {
	keep time.Duration

	mu    sync.Mutex // guards what follows; held for moments only
	runs  map[string]*record
	open  map[string]*entry // by key
	swept time.Time
}

// A record is what is kept of a run.
type record struct {
	run     string
	events  []executor.Event
	dropped int
	entries []*entry // in the order in which they were asked
	status  string   // of the run, as the last event said
	ended   time.Time
	touched time.Time
	version int
	signals map[chan struct{}]struct{} // of the streams that follow the run; each holds one token
}

// An entry is a request and how it stands. What it points to never changes.
type entry struct {
	req      *approval.Request
	standing approval.Standing
	closed   time.Time
	spent    map[string]bool // links whose decision counted, or is being handed in
}

func newShelf(keep time.Duration) shelf {
	return shelf{keep: keep, runs: map[string]*record{}, open: map[string]*entry{}}
}

func (s *shelf) recordLocked(run string, now time.Time) *record {
	r := s.runs[run]
	if r == nil {
		r = &record{run: run}
		s.runs[run] = r
	}
	r.touched = now
	return r
}

func (r *record) entry(key string) *entry {
	for _, e := range r.entries {
		if e.req.Key == key {
			return e
		}
	}
	return nil
}

// changed tells the streams.
func (r *record) changed() {
	r.version++
	for signal := range r.signals {
		select {
		case signal <- struct{}{}:
		default: // it has one that it has not looked at
		}
	}
}

func (s *shelf) ask(req *approval.Request, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked(now)
	r := s.recordLocked(req.Run, now)
	e := r.entry(req.Key)
	if e == nil {
		e = &entry{}
		r.entries = append(r.entries, e)
	}
	e.req = req
	if e.standing.State == approval.Open && r.ended.IsZero() { // news of its end may have been faster
		s.open[req.Key] = e
	}
	r.changed()
}

func (s *shelf) update(req *approval.Request, to approval.Standing, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked(now)
	r := s.recordLocked(req.Run, now)
	e := r.entry(req.Key)
	if e == nil {
		e = &entry{req: req}
		r.entries = append(r.entries, e)
	}
	if e.standing.State != approval.Open && to.State == approval.Open {
		return // an older piece of news that was late
	}
	if e.standing = to; to.State != approval.Open {
		if e.closed.IsZero() {
			e.closed = now
		}
		delete(s.open, req.Key)
		r.trim()
	}
	r.changed()
}

// trim forgets the oldest closed requests of a run that has very many.
func (r *record) trim() {
	closed := 0
	for _, e := range r.entries {
		if !e.closed.IsZero() {
			closed++
		}
	}
	r.entries = slices.DeleteFunc(r.entries, func(e *entry) bool {
		if e.closed.IsZero() || closed <= mostRequests {
			return false
		}
		closed--
		return true
	})
}

func (s *shelf) observe(e executor.Event, now time.Time) {
	e.Message = wording.Cut(e.Message, mostMessage)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked(now)
	r := s.recordLocked(e.Run, now)
	if len(r.events) >= 2*mostEvents {
		r.events = slices.Clone(r.events[mostEvents:])
		r.dropped += mostEvents
	}
	r.events = append(r.events, e)
	switch e.Kind {
	case executor.EventRunStarted, executor.EventRunResumed, executor.EventRunParked:
		r.status, r.ended = e.Status, time.Time{}
	case executor.EventRunFinished:
		r.status, r.ended = e.Status, now
		for _, e := range r.entries { // nobody need wait for news of each
			delete(s.open, e.req.Key)
		}
	}
	r.changed()
}

// sweepLocked forgets what has been closed for long, and the oldest of very many runs that have finished.
func (s *shelf) sweepLocked(now time.Time) {
	if now.Sub(s.swept) < sweepEvery && now.After(s.swept) {
		return
	}
	s.swept = now
	var finished []*record
	for run, r := range s.runs {
		done := !r.ended.IsZero() || len(r.events) == 0 // without events only requests tell
		if !done || slices.ContainsFunc(r.entries, func(e *entry) bool { return s.open[e.req.Key] == e }) {
			continue
		}
		if now.Sub(r.touched) > s.keep {
			delete(s.runs, run)
			continue
		}
		finished = append(finished, r)
	}
	if more := len(finished) - mostFinished; more > 0 {
		slices.SortFunc(finished, func(a, b *record) int { return a.touched.Compare(b.touched) })
		for _, r := range finished[:more] {
			delete(s.runs, r.run)
		}
	}
}

// A view is a copy of a record that a page is made of.
type view struct {
	run     string
	known   bool
	events  []executor.Event // the latest
	dropped int
	entries []entry
	status  string
	version int
}

func (s *shelf) view(run string) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runs[run]
	if r == nil {
		return view{run: run}
	}
	v := view{run: run, known: true, dropped: r.dropped, status: r.status, version: r.version}
	from := max(0, len(r.events)-mostEvents)
	v.events, v.dropped = slices.Clone(r.events[from:]), r.dropped+from
	for _, e := range r.entries {
		v.entries = append(v.entries, *e)
	}
	return v
}

// waiting are all open requests, those whose time is up first, first, from one place on, and how many there are in all.
func (s *shelf) waiting(from, most int) (page []entry, all int) {
	s.mu.Lock()
	found := slices.Collect(maps.Values(s.open))
	copies := make([]entry, len(found))
	for i, e := range found {
		copies[i] = *e
	}
	s.mu.Unlock()
	slices.SortFunc(copies, func(a, b entry) int {
		return cmp.Or(a.expiry().Compare(b.expiry()), cmp.Compare(a.req.Key, b.req.Key))
	})
	from = min(max(0, from), len(copies))
	return copies[from:min(len(copies), from+most)], len(copies)
}

// expiry is far away for what never expires.
func (e *entry) expiry() time.Time {
	if e.req.ExpiresAt.IsZero() {
		return time.Unix(1<<40, 0)
	}
	return e.req.ExpiresAt
}

// follow returns a channel that gets a token when a run changes, and what ends that; nil for a run that is not known.
func (s *shelf) follow(run string) (signal chan struct{}, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runs[run]
	if r == nil {
		return nil, nil
	}
	if r.signals == nil {
		r.signals = map[chan struct{}]struct{}{}
	}
	signal = make(chan struct{}, 1)
	r.signals[signal] = struct{}{}
	return signal, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(r.signals, signal)
	}
}

func (s *shelf) version(run string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runs[run]; r != nil {
		return r.version
	}
	return 0
}

// spend claims a link for a decision. It returns false when that was done before, and otherwise what takes the claim back.
func (s *shelf) spend(run, key, link string) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runs[run]
	if r == nil {
		return nil, false
	}
	e := r.entry(key)
	if e == nil || e.spent[link] {
		return nil, false
	}
	if e.spent == nil {
		e.spent = map[string]bool{}
	}
	e.spent[link] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(e.spent, link)
	}, true
}
