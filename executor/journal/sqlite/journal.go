// Package sqlite keeps journals in a SQLite database, which several processes of one machine may share. It is a module of
// its own, so that only those who use it depend on SQLite; it needs no C compiler.
//
// Records are durable when Append returns. Appends that arrive together share one transaction, so one write to the disk.
//
// # Who is alive
//
// The database notes who writes a run, and until when that is to be believed: the lease, which the writer renews in the
// background. While the lease is fresh, others that want to take the run over get [journal.ErrHeld]. Release and Close give
// it up at once. A killed process cannot: unlike with the journal in files, whose lock ends with the process, its runs can
// be taken over only when the lease has lapsed ([Options].Lease). A writer that was frozen for longer than its lease and
// overtaken gets [journal.ErrConflict] for its next append.
//
// Nothing is ever removed. To forget a run that has finished, delete its rows from the table records.
package sqlite

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/remedykit/remedy/executor/journal"
)

// Options change how a Journal works. The zero Options is fine.
type Options struct {
	// Lease is how long a process that does not show signs of life keeps others from taking its runs over. Defaults to 30s.
	Lease time.Duration
}

// DefaultLease is the default of Options.Lease.
const DefaultLease = 30 * time.Second

// busyTimeout is how long one process waits for the transactions of others.
const busyTimeout = 10 * time.Second

// A Journal is a [journal.Journal] in a database.
type Journal struct {
	db    *sql.DB
	owner string // what holders calls this Journal
	lease time.Duration

	turn   sync.Mutex // whoever has it writes to the database; locked before mu
	closed bool       // guarded by turn

	mu    sync.Mutex
	queue []*appending // guarded by mu; what the next writer takes

	stop    context.CancelFunc // ends renewing
	renewer sync.WaitGroup
}

var _ journal.Journal = (*Journal)(nil)

// Open opens the database in a file, which is made, for its owner only, when it is missing; its folder is not. The file
// must be on a local file system. A database of a newer version, or of another program, is refused and not changed.
func Open(ctx context.Context, path string, o Options) (*Journal, error) {
	if o.Lease < 0 {
		return nil, errors.New("journal: Options.Lease cannot be negative")
	}
	if path == "" {
		return nil, errors.New("journal: no file is named")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	// SQLite would make it readable for all; the files that it makes beside it are as readable as this one.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	db, err := sql.Open("sqlite", source(path))
	if err != nil {
		return nil, fmt.Errorf("journal: %s: %w", path, err)
	}
	db.SetMaxOpenConns(4) // one writes, the others read meanwhile
	db.SetMaxIdleConns(4)
	if err := prepare(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %s: %w", path, err), db.Close())
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	j := &Journal{db: db, owner: rand.Text(), lease: cmp.Or(o.Lease, DefaultLease), stop: stop}
	j.renewer.Go(func() { j.renew(renewing) })
	return j, nil
}

// source names a file to the driver, and sets what holds for one connection.
func source(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	settings := url.Values{
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "synchronous(FULL)"},
		"_txlock": {"immediate"}, // who reads in order to write must be the only one
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: settings.Encode()}).String()
}

// Close gives up all runs. What is used after it fails; a second Close does nothing.
func (j *Journal) Close() error {
	j.stop()
	j.renewer.Wait()
	j.turn.Lock()
	defer j.turn.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	_, err := j.db.Exec(`DELETE FROM holders WHERE owner = ?`, j.owner)
	if err = errors.Join(err, j.db.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Read is [journal.Journal]'s.
func (j *Journal) Read(ctx context.Context, run string) (records []journal.Record, err error) {
	rows, err := j.db.QueryContext(ctx, `SELECT `+columns("r")+` FROM records r WHERE run = ? ORDER BY seq`, run)
	if err == nil {
		err = each(rows, func() error {
			var r row
			err := rows.Scan(r.fields()...)
			records = append(records, r.record())
			return err
		})
	}
	if err == nil && len(records) == 0 {
		err = journal.ErrUnknownRun
	}
	if err != nil {
		return nil, fmt.Errorf("journal: run %s: %w", run, err)
	}
	return records, nil
}

// Runs is journal.Journal's. Runs that began at the same time are in the order in which the database got them.
func (j *Journal) Runs(ctx context.Context) (heads []journal.Head, err error) {
	rows, err := j.db.QueryContext(ctx, `
		SELECT `+columns("f")+`, `+columns("l")+`
		FROM (SELECT run, min(seq) AS first, max(seq) AS last FROM records GROUP BY run) ends
		JOIN records f ON f.run = ends.run AND f.seq = ends.first
		JOIN records l ON l.run = ends.run AND l.seq = ends.last
		ORDER BY f.seconds DESC, f.nanos DESC, f.rowid DESC`)
	if err == nil {
		err = each(rows, func() error {
			var first, last row
			err := rows.Scan(append(first.fields(), last.fields()...)...)
			heads = append(heads, journal.Head{First: first.record(), Last: last.record()})
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return heads, nil
}

// each calls do for every row, until one cannot be had.
func each(rows *sql.Rows, do func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := do(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// columns are those of a row, of a table with another name.
func columns(table string) string {
	names := []string{"run", "epoch", "seq", "seconds", "nanos", "kind", "step", "attempt", "data", "prev", "hash"}
	for i := range names {
		names[i] = table + "." + names[i]
	}
	return strings.Join(names, ", ")
}

// A row is a record as the table has it. Time is in two numbers, as one of nanoseconds ends in the year 2262.
type row struct {
	journal.Record
	seconds, nanos int64
	data           []byte
}

// fields are in the order of columns.
func (r *row) fields() []any {
	return []any{&r.Run, &r.Epoch, &r.Seq, &r.seconds, &r.nanos, &r.Kind, &r.Step, &r.Attempt, &r.data, &r.Prev, &r.Hash}
}

func (r *row) record() journal.Record {
	r.Time = time.Unix(r.seconds, r.nanos).UTC()
	if len(r.data) > 0 {
		r.Data = json.RawMessage(r.data)
	}
	return r.Record
}
