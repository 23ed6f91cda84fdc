package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A stream tells a page that its run has changed, no more; the page fetches itself again. So nothing queues up for a
// client that does not read, and what is shown has one source.
const (
	streamWrite = 10 * time.Second // a client that takes longer to read is dropped
	streamPause = 300 * time.Millisecond
	streamBeat  = 20 * time.Second
	streamFor   = 15 * time.Minute // then the browser comes again, and is asked again who it is
)

// streams bounds how many there are.
type streams struct {
	most, each int
	ctx        context.Context // ends with the server
	close      context.CancelFunc

	mu  sync.Mutex     // guards what follows
	all map[string]int // by person
	n   int
}

func newStreams(most int) *streams {
	s := &streams{most: most, each: max(8, most/16), all: map[string]int{}}
	s.ctx, s.close = context.WithCancel(context.Background())
	return s
}

// enter takes a place; false when there is none.
func (s *streams) enter(who string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n >= s.most || s.all[who] >= s.each {
		return nil, false
	}
	s.n++
	s.all[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.n--
		if s.all[who]--; s.all[who] == 0 {
			delete(s.all, who)
		}
	}, true
}

// version names how a run stands, for this process only.
func (c *Channel) version(n int) string { return fmt.Sprintf("%s-%d", c.epoch, n) }

// live tells a page when its run has changed.
func (c *Channel) live(w http.ResponseWriter, r *http.Request) {
	p, ok := c.known(w, r)
	if !ok {
		return
	}
	leave, ok := c.streams.enter(strings.ToLower(p.name))
	if !ok {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages are open", http.StatusTooManyRequests)
		return
	}
	defer leave()
	run := c.runOf(p, r)
	signal, end := c.shelf.follow(run)
	if signal == nil {
		http.Error(w, "this run is not known here", http.StatusNotFound)
		return
	}
	defer end()
	ctx, cancel := context.WithTimeout(r.Context(), streamFor)
	defer cancel()
	defer context.AfterFunc(c.streams.ctx, cancel)()
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // it would end the stream
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite))
		_, err := w.Write([]byte(text))
		return err == nil && control.Flush() == nil
	}
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	text, told := "retry: 3000\n\n", ""
	for {
		if version := c.version(c.shelf.version(run)); version != told {
			text, told = text+"event: change\ndata: "+version+"\n\n", version
		}
		if text != "" && !send(text) {
			return
		}
		text = ""
		select {
		case <-signal:
			select { // what changes in the meantime is told at once
			case <-time.After(streamPause):
			case <-ctx.Done():
				return
			}
		case <-beat.C:
			text = ": still here\n\n"
		case <-ctx.Done():
			return
		}
	}
}
