package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/remedykit/remedy/executor/journal"
)

// appending is one call of Append. Whoever has the turn writes done and err.
type appending struct {
	records []journal.Record
	done    bool
	err     error
}

// Append is [journal.Journal]'s. All of the records are kept or none, also by a crash. A context that ends after Append has
// begun changes nothing: it returns when it knows the outcome.
func (j *Journal) Append(ctx context.Context, records ...journal.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(records) == 0 {
		return errors.New("journal: nothing to append")
	}
	if records[0].Run == "" {
		return errors.New("journal: a run needs an id")
	}
	a := &appending{records: records}
	j.mu.Lock()
	j.queue = append(j.queue, a)
	j.mu.Unlock()

	// The first that gets the turn writes for all that wait for it; they find that they are done.
	j.turn.Lock()
	defer j.turn.Unlock()
	if !a.done {
		j.mu.Lock()
		batch := j.queue
		j.queue = nil
		j.mu.Unlock()
		j.write(batch)
	}
	return a.err
}

// write keeps what can be kept of a batch, in one transaction.
func (j *Journal) write(batch []*appending) {
	err := j.transact(func(tx *sql.Tx) error {
		insert, err := tx.Prepare(`
			INSERT INTO records (run, epoch, seq, seconds, nanos, kind, step, attempt, data, prev, hash)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, a := range batch {
			if a.err, err = j.admit(tx, a.records); err != nil {
				return err
			}
			if a.err != nil {
				continue
			}
			for i := range a.records {
				r := &a.records[i]
				var data any // NULL when there is none
				if len(r.Data) > 0 {
					data = []byte(r.Data)
				}
				if _, err := insert.Exec(r.Run, r.Epoch, r.Seq, r.Time.Unix(), int64(r.Time.Nanosecond()), r.Kind, r.Step, r.Attempt, data,
					r.Prev, r.Hash); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, a := range batch {
		if err != nil { // also where records were refused: perhaps because of others that are not kept now
			a.err = fmt.Errorf("journal: run %s: %w", a.records[0].Run, err)
		}
		a.done = true
	}
}

// admit says why records are refused; err is when the database fails. It makes this Journal the holder of their run.
func (j *Journal) admit(tx *sql.Tx, records []journal.Record) (refused, err error) {
	run := records[0].Run
	last := journal.Record{Run: run}
	err = tx.QueryRow(`SELECT epoch, seq, hash FROM records WHERE run = ? ORDER BY seq DESC LIMIT 1`, run).Scan(&last.Epoch, &last.Seq, &last.Hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if err := journal.Follows(last, records); err != nil {
		return err, nil
	}
	return j.hold(tx, run)
}

// transact does what do does, all or nothing. Whoever calls has the turn.
func (j *Journal) transact(do func(tx *sql.Tx) error) error {
	tx, err := j.db.Begin()
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
