package sqlite_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/executor/journal/journaltest"
	"github.com/remedykit/remedy/executor/journal/sqlite"
)

// long is a lease that is not renewed while a test runs.
var long = sqlite.Options{Lease: time.Hour}

// age makes all signs of life older, or those of a clock that was set back since.
func age(t *testing.T, path string, by time.Duration) {
	t.Helper()
	exec(t, raw(t, path), fmt.Sprintf(`UPDATE holders SET renewed = renewed - %d`, by))
}

func TestALiveWriterIsNotOvertakenAndALapsedOneIsLost(t *testing.T) {
	for name, by := range map[string]time.Duration{"lapsed": time.Hour, "of a clock that was set back": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			path := fileIn(t)
			a, b := open(t, path, long), open(t, path, sqlite.Options{Lease: time.Minute})
			all := journaltest.Chain("r", 1, journal.Record{}, 3)
			require.NoError(t, a.Append(t.Context(), all[0]))
			age(t, path, 59*time.Minute)
			err := b.Append(t.Context(), journaltest.Chain("r", 2, all[0], 1)...)
			require.ErrorIs(t, err, journal.ErrHeld, "the lease is the writer's, not the taker's")
			require.ErrorContains(t, err, fmt.Sprint("process ", os.Getpid()))
			require.ErrorIs(t, b.Append(t.Context(), all[1]), journal.ErrHeld, "nor in the same epoch")
			require.NoError(t, a.Append(t.Context(), all[1]), "the attempt did the writer no harm")
			age(t, path, by)
			require.NoError(t, b.Append(t.Context(), journaltest.Chain("r", 2, all[1], 1)...))
			require.ErrorIs(t, a.Append(t.Context(), all[2]), journal.ErrConflict)
			require.NoError(t, a.Release("r"), "what is not a's stays")
			got, err := a.Read(t.Context(), "r")
			require.NoError(t, err)
			require.Len(t, got, 3)
			require.ErrorIs(t, a.Append(t.Context(), journaltest.Chain("r", 3, got[2], 1)...), journal.ErrHeld)
		})
	}
}

func TestAWriterGoesOnAfterItsLeaseLapsedWhenNobodyTookTheRun(t *testing.T) {
	path := fileIn(t)
	a, b := open(t, path, long), open(t, path, long)
	all := journaltest.Chain("r", 1, journal.Record{}, 2)
	require.NoError(t, a.Append(t.Context(), all[0]))
	age(t, path, time.Hour)
	require.NoError(t, a.Append(t.Context(), all[1]))
	require.ErrorIs(t, b.Append(t.Context(), journaltest.Chain("r", 2, all[1], 1)...), journal.ErrHeld, "and is alive again")
}

func TestWhatIsReleasedCanBeTakenAtOnce(t *testing.T) {
	path := fileIn(t)
	a, b := open(t, path, long), open(t, path, long)
	r, s := journaltest.Chain("r", 1, journal.Record{}, 1), journaltest.Chain("s", 1, journal.Record{}, 1)
	require.NoError(t, a.Append(t.Context(), r...))
	require.NoError(t, a.Append(t.Context(), s...))
	require.NoError(t, a.Release("r"))
	require.NoError(t, b.Append(t.Context(), journaltest.Chain("r", 2, r[0], 1)...))
	require.ErrorIs(t, b.Append(t.Context(), journaltest.Chain("s", 2, s[0], 1)...), journal.ErrHeld)
	require.NoError(t, a.Close())
	require.NoError(t, b.Append(t.Context(), journaltest.Chain("s", 2, s[0], 1)...))
}

func TestALeaseIsRenewed(t *testing.T) {
	path := fileIn(t)
	j, db := open(t, path, sqlite.Options{Lease: 40 * time.Millisecond}), raw(t, path)
	require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 1, journal.Record{}, 1)...))
	at := func() (renewed int64) {
		require.NoError(t, db.QueryRow(`SELECT renewed FROM holders`).Scan(&renewed))
		return renewed
	}
	for range 3 {
		before := at()
		require.Eventually(t, func() bool { return at() > before }, 10*time.Second, 5*time.Millisecond)
	}
}
