package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/remedykit/remedy/executor/journal"
)

// Release is [journal.Journal]'s.
func (j *Journal) Release(run string) error {
	j.turn.Lock()
	defer j.turn.Unlock()
	if j.closed {
		return nil // Close has given up all
	}
	if _, err := j.db.Exec(`DELETE FROM holders WHERE run = ? AND owner = ?`, run, j.owner); err != nil {
		return fmt.Errorf("journal: run %s: %w", run, err)
	}
	return nil
}

// hold makes this Journal the holder of a run, or says that another is alive; err is when the database fails.
func (j *Journal) hold(tx *sql.Tx, run string) (held, err error) {
	var (
		owner   string
		process int64
		renewed int64 // nanoseconds
		lease   time.Duration
		now     = time.Now().UnixNano()
	)
	err = tx.QueryRow(`SELECT owner, process, renewed, lease FROM holders WHERE run = ?`, run).Scan(&owner, &process, &renewed, &lease)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	// A clock that was set back must not keep a run for as long as it was set back.
	age := time.Duration(max(now-renewed, renewed-now))
	switch fresh := err == nil && age < lease; {
	case fresh && owner == j.owner:
		return nil, nil
	case fresh:
		return fmt.Errorf("%w: process %d has run %s; wait until it ends, or end it and wait %s", journal.ErrHeld, process, run, lease), nil
	}
	_, err = tx.Exec(`INSERT OR REPLACE INTO holders (run, owner, process, renewed, lease) VALUES (?, ?, ?, ?, ?)`,
		run, j.owner, os.Getpid(), now, int64(j.lease))
	return nil, err
}

// renew keeps what this Journal holds fresh until the context ends.
func (j *Journal) renew(ctx context.Context) {
	ticker := time.NewTicker(max(j.lease/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			j.turn.Lock()
			// Nothing is done about an error: a lease that lapses is no harm, and the next append says what is wrong.
			_, _ = j.db.ExecContext(ctx, `UPDATE holders SET renewed = ? WHERE owner = ?`, time.Now().UnixNano(), j.owner)
			j.turn.Unlock()
		}
	}
}
