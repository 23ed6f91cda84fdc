package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// version is that of the tables. Whoever changes them raises it, and makes the older ones new in prepare.
const version = 1

const tables = `
	CREATE TABLE remedy_journal (version INTEGER NOT NULL) STRICT;
	CREATE TABLE records (
		run TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, seconds INTEGER NOT NULL, nanos INTEGER NOT NULL,
		kind TEXT NOT NULL, step TEXT NOT NULL, attempt INTEGER NOT NULL, data BLOB, prev TEXT NOT NULL, hash TEXT NOT NULL,
		PRIMARY KEY (run, seq)
	) STRICT;
	CREATE TABLE holders (
		run TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, process INTEGER NOT NULL, renewed INTEGER NOT NULL, lease INTEGER NOT NULL
	) STRICT;
	CREATE INDEX holders_owner ON holders (owner);`

// prepare makes the tables of a new database and refuses one that is not a journal of this version.
func prepare(ctx context.Context, db *sql.DB) error {
	if err := makeTables(ctx, db); err != nil {
		return err
	}
	// The database remembers this. While others open it SQLite answers busy, without waiting.
	for deadline := time.Now().Add(busyTimeout); ; {
		var mode string
		err := db.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode)
		switch e, ok := errors.AsType[*driver.Error](err); {
		case err == nil && mode != "wal":
			return fmt.Errorf("this file system cannot share a database: journal mode %s", mode)
		case !ok || e.Code()&0xff != codes.SQLITE_BUSY || time.Now().After(deadline):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func makeTables(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing after Commit
	var all, ours int
	if err := tx.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN name = 'remedy_journal' THEN 1 END) FROM sqlite_schema`).Scan(&all, &ours); err != nil {
		return err
	}
	switch {
	case all == 0:
		if _, err := tx.ExecContext(ctx, tables); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO remedy_journal (version) VALUES (?)`, version); err != nil {
			return err
		}
		return tx.Commit()
	case ours == 0:
		return errors.New("the database is not a journal but another program's")
	}
	var found int
	if err := tx.QueryRowContext(ctx, `SELECT version FROM remedy_journal`).Scan(&found); err != nil {
		return err
	}
	if found != version {
		return fmt.Errorf("the journal has version %d, this program knows version %d; use a newer program", found, version)
	}
	return nil
}
