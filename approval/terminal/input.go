package terminal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/remedykit/remedy/internal/wording"
)

const (
	// maxLine bounds an answer in bytes, its reason included.
	maxLine = 1024
	// quiet is how long the input must be silent before a question is shown, patience how long that is waited for.
	quiet    = 100 * time.Millisecond
	patience = 2 * time.Second
)

var (
	errNoSilence = errors.New("the input does not fall silent")
	errTooLong   = errors.New("the line is too long")
	errHalfTyped = errors.New("the line was begun before the question")
)

// A lineReader reads lines that are typed after a moment of silence. Its methods must not be called at the same time.
type lineReader struct {
	in    io.Reader
	start sync.Once
	// chunks carries what Read returned; closed after the last, when err has been set.
	chunks chan []byte
	err    error
	// rest is what came in one chunk with the line last returned.
	rest []byte
	// stale tells that the line under way began before the silence.
	stale bool
}

func newLineReader(in io.Reader) *lineReader {
	return &lineReader{in: in, chunks: make(chan []byte, 1)}
}

func (r *lineReader) read() {
	defer close(r.chunks)
	empty := 0
	for {
		chunk := make([]byte, maxLine)
		n, err := r.in.Read(chunk)
		if n > 0 {
			r.chunks <- chunk[:n]
			empty = 0
		} else if empty++; empty == 100 && err == nil {
			err = io.ErrNoProgress
		}
		if err != nil {
			r.err = err
			return
		}
	}
}

// silence drops what has been typed, and tells whether there was any. It returns the reader's error when the input has
// ended.
func (r *lineReader) silence(ctx context.Context) (dropped bool, err error) {
	r.start.Do(func() { go r.read() })
	drop := func(chunk []byte) {
		if len(chunk) > 0 {
			dropped = true
			r.stale = chunk[len(chunk)-1] != '\n'
		}
	}
	drop(r.rest)
	r.rest = nil
	impatient := time.NewTimer(patience)
	defer impatient.Stop()
	for {
		silent := time.NewTimer(quiet)
		select {
		case chunk, ok := <-r.chunks:
			silent.Stop()
			if !ok {
				return dropped, r.err
			}
			drop(chunk)
		case <-silent.C:
			return dropped, ctx.Err()
		case <-ctx.Done():
			silent.Stop()
			return dropped, ctx.Err()
		}
		select {
		case <-impatient.C:
			return dropped, errNoSilence
		default:
		}
	}
}

// next returns the next line without its end and made printable. After errTooLong and errHalfTyped the line has been
// dropped and the next one can be read; a last line without an end is no line.
func (r *lineReader) next(ctx context.Context) (string, error) {
	var line []byte
	tooLong := false
	for {
		if i := bytes.IndexByte(r.rest, '\n'); i >= 0 {
			stale := r.stale
			tooLong = tooLong || len(line)+i > maxLine
			if !tooLong {
				line = append(line, r.rest[:i]...)
			}
			r.rest, r.stale = r.rest[i+1:], false
			switch {
			case stale:
				return "", errHalfTyped
			case tooLong:
				return "", errTooLong
			}
			return wording.Visible(strings.TrimSpace(string(line))), nil
		}
		if tooLong = tooLong || len(line)+len(r.rest) > maxLine; !tooLong {
			line = append(line, r.rest...)
		}
		r.rest = nil
		select {
		case chunk, ok := <-r.chunks:
			if !ok {
				return "", r.err
			}
			r.rest = chunk
		case <-ctx.Done():
			// What was typed of this line must not begin an answer to the next question.
			r.stale = r.stale || tooLong || len(line) > 0
			return "", ctx.Err()
		}
	}
}
