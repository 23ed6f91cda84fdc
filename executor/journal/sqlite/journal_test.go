package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/executor/journal/journaltest"
	"github.com/remedykit/remedy/executor/journal/sqlite"
)

func open(t *testing.T, path string, o sqlite.Options) *sqlite.Journal {
	t.Helper()
	j, err := sqlite.Open(t.Context(), path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// raw opens the database as another program would.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Exec(`PRAGMA busy_timeout = 10000`)
	require.NoError(t, err)
	return db
}

func exec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.Exec(statement)
	require.NoError(t, err)
}

func fileIn(t *testing.T) string { return filepath.Join(t.TempDir(), "journal.db") }

func TestSQLiteKeepsThePromises(t *testing.T) {
	journaltest.Exercise(t, func(t *testing.T) (journal.Journal, journal.Journal) {
		path := fileIn(t)
		return open(t, path, sqlite.Options{}), open(t, path, sqlite.Options{})
	})
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "100% odd?name#.db")
	require.NoError(t, open(t, path, sqlite.Options{}).Append(t.Context(), journaltest.Chain("r", 1, journal.Record{}, 1)...))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 3, "the database, its log, and the log's index")
	for _, e := range entries {
		require.Contains(t, e.Name(), filepath.Base(path))
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), e.Name())
	}
}

func TestRecordsOutliveTheJournal(t *testing.T) {
	path := fileIn(t)
	all := journaltest.Chain("r", 1, journal.Record{}, 3)
	j := open(t, path, sqlite.Options{})
	require.NoError(t, j.Append(t.Context(), all[:2]...))
	require.NoError(t, j.Close())
	require.NoError(t, j.Close())
	require.NoError(t, j.Release("r"))
	require.Error(t, j.Append(t.Context(), all[2]))
	_, err := j.Read(t.Context(), "r")
	require.Error(t, err)
	_, err = j.Runs(t.Context())
	require.Error(t, err)
	got, err := open(t, path, sqlite.Options{}).Read(t.Context(), "r")
	require.NoError(t, err)
	require.Equal(t, all[:2], got)
}

func TestOddValuesComeBackAsTheyWere(t *testing.T) {
	j := open(t, fileIn(t), sqlite.Options{})
	run := "a/b'; \x00 ü \xff"
	all := []journal.Record{
		{Run: run, Epoch: 1, Seq: 1, Kind: "k"},
		{Run: run, Epoch: 1, Seq: 2, Time: time.Date(12026, 1, 1, 0, 0, 0, 1, time.UTC), Kind: "k\x00l", Step: "\xff", Attempt: -1},
		{Run: run, Epoch: 1, Seq: 3, Time: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), Data: json.RawMessage("not \x00 JSON")},
	}
	prev := ""
	for i := range all {
		all[i].Seal(prev)
		prev = all[i].Hash
	}
	require.NoError(t, j.Append(t.Context(), all...))
	got, err := j.Read(t.Context(), run)
	require.NoError(t, err)
	require.Equal(t, all, got)
	require.Error(t, j.Append(t.Context(), journaltest.Chain("", 1, journal.Record{}, 1)...), "no id")
}

func TestVerifyNamesARecordThatWasChanged(t *testing.T) {
	path := fileIn(t)
	j := open(t, path, sqlite.Options{})
	require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 1, journal.Record{}, 5)...))
	exec(t, raw(t, path), `UPDATE records SET nanos = nanos + 1 WHERE seq = 3`)
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	var broken *journal.BrokenError
	require.ErrorAs(t, journal.Verify(records), &broken)
	require.EqualValues(t, 3, broken.Seq)
}

func TestWhatIsNoJournalOfThisVersionIsRefusedAndNotChanged(t *testing.T) {
	for name, test := range map[string]struct {
		statement, says string
	}{
		"of a newer version":   {`CREATE TABLE remedy_journal (version INTEGER NOT NULL); INSERT INTO remedy_journal VALUES (2)`, "version 2, this program knows version 1"},
		"of no version":        {`CREATE TABLE remedy_journal (version INTEGER NOT NULL)`, "no rows"},
		"of another program":   {`CREATE TABLE records (song TEXT)`, "another program's"},
		"with a version unfit": {`CREATE TABLE remedy_journal (edition TEXT)`, "version"},
	} {
		t.Run(name, func(t *testing.T) {
			path := fileIn(t)
			exec(t, raw(t, path), test.statement)
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			_, err = sqlite.Open(t.Context(), path, sqlite.Options{})
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, path)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
}

func TestWhatCannotBeOpenedIsSaid(t *testing.T) {
	dir := t.TempDir()
	_, err := sqlite.Open(t.Context(), filepath.Join(dir, "missing", "journal.db"), sqlite.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = sqlite.Open(t.Context(), dir, sqlite.Options{})
	require.ErrorContains(t, err, dir)
	_, err = sqlite.Open(t.Context(), "", sqlite.Options{})
	require.ErrorContains(t, err, "no file")
	_, err = sqlite.Open(t.Context(), filepath.Join(dir, "journal.db"), sqlite.Options{Lease: -1})
	require.ErrorContains(t, err, "Lease")
	garbage := filepath.Join(dir, "garbage.db")
	require.NoError(t, os.WriteFile(garbage, []byte("this is a text, and long enough not to be taken for a database header of SQLite, which has a hundred bytes"), 0o600))
	_, err = sqlite.Open(t.Context(), garbage, sqlite.Options{})
	require.ErrorContains(t, err, "not a database")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = sqlite.Open(ctx, filepath.Join(dir, "journal.db"), sqlite.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestManyOpenANewDatabaseAtOnce(t *testing.T) {
	path := fileIn(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			j, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			if err == nil {
				err = errors.Join(j.Append(t.Context(), journaltest.Chain(fmt.Sprint("r", i), 1, journal.Record{}, 1)...), j.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	heads, err := open(t, path, sqlite.Options{}).Runs(t.Context())
	require.NoError(t, err)
	require.Len(t, heads, 16)
}

func TestAppendsThatArriveTogetherShareATransaction(t *testing.T) {
	path := fileIn(t)
	j := open(t, path, sqlite.Options{})
	other, err := raw(t, path).Conn(t.Context())
	require.NoError(t, err)
	defer other.Close()
	_, err = other.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
	require.NoError(t, err)
	before := commits(t, path)

	const n = 32
	var wg sync.WaitGroup
	var refused error
	appends := func(from, to int) {
		for i := from; i < to; i++ {
			wg.Go(func() {
				if err := j.Append(context.Background(), journaltest.Chain(fmt.Sprint("r", i), 1, journal.Record{}, 1)...); err != nil {
					t.Error(err)
				}
			})
		}
	}
	appends(0, n)
	wg.Go(func() {
		refused = j.Append(context.Background(), journaltest.Chain("x", 1, journal.Record{Seq: 7}, 1)...)
	})
	// Some are with the one that waits for the database, the others for their turn; one more says that it has taken them.
	require.Eventually(t, func() bool { return j.Queued() > 0 }, 10*time.Second, time.Millisecond)
	appends(n, 2*n)
	require.Eventually(t, func() bool { return j.Queued() >= n }, 10*time.Second, time.Millisecond)
	_, err = other.ExecContext(t.Context(), `COMMIT`)
	require.NoError(t, err)
	wg.Wait()
	require.ErrorIs(t, refused, journal.ErrConflict, "of those that go together one may be refused")
	// One transaction of those that came first, one or few of those that waited; not one each.
	require.Less(t, commits(t, path)-before, n/4)
	heads, err := j.Runs(t.Context())
	require.NoError(t, err)
	require.Len(t, heads, 2*n)
}

// commits counts the transactions in the write-ahead log: the frames that say how large the database is after them.
func commits(t *testing.T, path string) (n int) {
	t.Helper()
	wal, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	if len(wal) < 32 {
		return 0
	}
	frame := 24 + int(binary.BigEndian.Uint32(wal[8:]))
	for at := 32; at+frame <= len(wal); at += frame {
		if binary.BigEndian.Uint32(wal[at+4:]) != 0 {
			n++
		}
	}
	return n
}

func TestADatabaseThatFailsKeepsNothingOfAnAppend(t *testing.T) {
	path := fileIn(t)
	j, db := open(t, path, sqlite.Options{}), raw(t, path)
	all := journaltest.Chain("r", 1, journal.Record{}, 3)
	require.NoError(t, j.Append(t.Context(), all[0]))
	fails := func() {
		t.Helper()
		err := j.Append(t.Context(), all[1:]...)
		require.ErrorContains(t, err, "run r")
		require.NotErrorIs(t, err, journal.ErrConflict)
	}
	exec(t, db, `CREATE TRIGGER full BEFORE INSERT ON records WHEN NEW.seq = 3 BEGIN SELECT RAISE(ABORT, 'no space left'); END`)
	fails()
	exec(t, db, `DROP TRIGGER full`)
	exec(t, db, `ALTER TABLE holders RENAME TO gone`)
	fails()
	require.Error(t, j.Release("r"))
	exec(t, db, `ALTER TABLE gone RENAME TO holders; ALTER TABLE records RENAME COLUMN epoch TO era`)
	fails()
	_, err := j.Read(t.Context(), "r")
	require.Error(t, err)
	exec(t, db, `ALTER TABLE records RENAME COLUMN era TO epoch; ALTER TABLE records RENAME COLUMN hash TO sum`)
	fails()
	exec(t, db, `ALTER TABLE records RENAME COLUMN sum TO hash`)
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	require.Equal(t, all[:1], records)
	require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 2, all[0], 1)...), "who has read it again can go on")
}
