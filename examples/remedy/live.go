package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/remedykit/remedy/executor"
)

// redraw is how often the picture of a run is drawn anew.
const redraw = 100 * time.Millisecond

// live draws a run in place, over and over.
type live struct {
	out   io.Writer
	size  func() (width, height int)
	color palette
	l     *loaded
	scale float64
	run   *executor.Run
	stop  chan struct{} // closed to end the drawing goroutine
	done  chan struct{} // closed when it has ended

	mu        sync.Mutex // guards what follows, and who writes to out
	frame     frame
	drawn     []int // the width of each line that is on the screen
	width     int   // of the screen when they were drawn
	asides    int   // who uses the terminal; while there is any nothing is drawn
	interrupt bool
}

func newLive(a *app, l *loaded, scale float64) *live {
	return &live{out: a.stdout, size: screenSize(a.terminal), color: a.color, l: l, scale: scale,
		stop: make(chan struct{}), done: make(chan struct{})}
}

// screenSize asks for the size each time: people resize their windows.
func screenSize(f *os.File) func() (width, height int) {
	return func() (int, int) {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
		return 80, 24
	}
}

// Observe leaves it to the next drawing.
func (v *live) Observe(executor.Event) {}

func (v *live) begin(r *executor.Run) {
	v.mu.Lock()
	v.run, v.frame = r, newFrame(v.l, r.Snapshot(), v.scale)
	v.drawLocked(r.Snapshot())
	v.mu.Unlock()
	go func() {
		defer close(v.done)
		t := time.NewTicker(redraw)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				v.mu.Lock()
				v.drawLocked(r.Snapshot())
				v.mu.Unlock()
			case <-v.stop:
				return
			}
		}
	}()
}

func (v *live) interrupted() {
	v.mu.Lock()
	v.interrupt = true
	v.mu.Unlock()
}

func (v *live) aside(ask func()) {
	v.mu.Lock()
	if v.asides++; v.asides == 1 {
		v.eraseLocked()
	}
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		if v.asides--; v.asides == 0 {
			io.WriteString(v.out, "\n")
		}
		v.mu.Unlock()
	}()
	ask()
}

func (v *live) close(last *executor.Report) {
	close(v.stop)
	<-v.done
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asides = 0
	v.drawLocked(last)
}

// The cursor is hidden and lines do not wrap only while a frame is written, so that nothing is left behind whenever the program
// ends. A terminal that knows how shows the frame all at once.
const (
	frameBegin = "\x1b[?2026h\x1b[?25l\x1b[?7l"
	frameEnd   = "\x1b[?7h\x1b[?25h\x1b[?2026l"
	lineEnd    = "\x1b[K\n"
	clearBelow = "\x1b[J"
)

func (v *live) drawLocked(r *executor.Report) {
	if v.asides > 0 {
		return
	}
	width, height := v.size()
	v.frame.report, v.frame.now = r, r.StartedAt().Add(r.Makespan())
	v.frame.tick++
	v.frame.interrupt = v.interrupt
	lines := v.frame.lines(width-1, height, v.color)
	io.WriteString(v.out, frameBegin+v.upLocked(width)+strings.Join(lines, lineEnd)+lineEnd+clearBelow+frameEnd)
	v.drawn, v.width = v.drawn[:0], width
	for _, line := range lines {
		v.drawn = append(v.drawn, cells(uncoloured(line)))
	}
}

// eraseLocked takes the frame off the screen.
func (v *live) eraseLocked() {
	if len(v.drawn) > 0 {
		width, _ := v.size()
		io.WriteString(v.out, v.upLocked(width)+clearBelow)
		v.drawn = v.drawn[:0]
	}
}

// upLocked moves to the first line of the frame on the screen. When the window has become narrower since, the terminal has
// wrapped its lines.
func (v *live) upLocked(width int) string {
	up := 0
	for _, w := range v.drawn {
		up++
		if width < v.width {
			up += max(0, w-1) / width
		}
	}
	if up == 0 {
		return "\r"
	}
	return "\r\x1b[" + strconv.Itoa(up) + "A"
}

// uncoloured takes the colours out of a line that was drawn here.
func uncoloured(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, s, _ = strings.Cut(after, "m")
	}
}
