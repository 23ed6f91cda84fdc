package journal

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
)

// Memory keeps records as long as the process lives. It is the reference for other journals, and for tests.
type Memory struct {
	mu    sync.Mutex // guards what follows
	runs  map[string][]Record
	order []string // as they began
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{runs: map[string][]Record{}} }

var errNothing = errors.New("journal: nothing to append")

// Append is [Journal]'s. It never answers ErrHeld.
func (m *Memory) Append(ctx context.Context, records ...Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(records) == 0 {
		return errNothing
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	run := records[0].Run
	old := m.runs[run]
	var last Record
	if len(old) > 0 {
		last = old[len(old)-1]
	}
	if err := Follows(last, records); err != nil {
		return err
	}
	if len(old) == 0 {
		m.order = append(m.order, run)
	}
	m.runs[run] = append(old, copies(records)...)
	return nil
}

// Read is Journal's.
func (m *Memory) Read(ctx context.Context, run string) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.runs[run]) == 0 {
		return nil, ErrUnknownRun
	}
	return copies(m.runs[run]), nil
}

// Runs is Journal's.
func (m *Memory) Runs(ctx context.Context) ([]Head, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	heads := make([]Head, 0, len(m.order))
	for _, run := range slices.Backward(m.order) {
		all := m.runs[run]
		ends := copies([]Record{all[0], all[len(all)-1]})
		heads = append(heads, Head{First: ends[0], Last: ends[1]})
	}
	return heads, nil
}

// Release does nothing: there is no other process.
func (m *Memory) Release(string) error { return nil }

func copies(records []Record) []Record {
	out := slices.Clone(records)
	for i := range out {
		out[i].Data = bytes.Clone(out[i].Data)
	}
	return out
}
