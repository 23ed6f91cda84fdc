package limits

import (
	"bytes"
	"context"
	"sync"
)

// NewMemory returns a Store for one process.
func NewMemory() Store { return &memory{values: map[string][]byte{}} }

type memory struct {
	mu     sync.Mutex // guards values
	values map[string][]byte
}

func (m *memory) Update(ctx context.Context, key string, change func(old []byte) ([]byte, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, err := change(bytes.Clone(m.values[key]))
	if err != nil {
		return err
	}
	if value == nil {
		delete(m.values, key)
	} else {
		m.values[key] = value
	}
	return nil
}
