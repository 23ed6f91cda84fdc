// Package journaltest checks that a [journal.Journal] keeps its promises.
package journaltest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor/journal"
)

// Exercise checks every promise of the interface on two handles of the same new, empty storage. The handles may stand for
// two processes; where a journal can tell that a writer is alive, Exercise releases a run before the other handle takes it.
func Exercise(t *testing.T, open func(t *testing.T) (first, second journal.Journal)) {
	t.Helper()
	for name, check := range map[string]func(t *testing.T, a, b journal.Journal){
		"records come back as they were written, in order": order,
		"what does not follow is refused":                  follows,
		"of two writers of one record one wins":            oneWins,
		"a run that was taken over is lost to its writer":  takenOver,
		"an unknown run is unknown":                        unknown,
		"runs are listed newest first with their ends":     heads,
		"an ended context writes nothing":                  ended,
		"many runs are written at once":                    many,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			check(t, a, b)
		})
	}
}

// Chain makes n sealed records of a run that follow on one, the zero Record for a new run, in an epoch.
func Chain(run string, epoch int64, last journal.Record, n int) []journal.Record {
	records := make([]journal.Record, n)
	for i := range records {
		r := &records[i]
		*r = journal.Record{
			Run: run, Epoch: epoch, Seq: last.Seq + 1, Time: time.Date(2026, 1, 2, 3, 4, 5, 678_900_001, time.UTC).Add(time.Duration(last.Seq) * time.Hour),
			Kind: "stepStarted", Step: "rec-001", Attempt: 1, Data: json.RawMessage(fmt.Sprintf(`{"at":%d,"message":"a \"line\"\u000a of <text> & more"}`, last.Seq)),
		}
		r.Seal(last.Hash)
		last = *r
	}
	return records
}

func order(t *testing.T, a, b journal.Journal) {
	all := Chain("r", 1, journal.Record{}, 5)
	all = append(all, large(all[4]))
	require.NoError(t, a.Append(t.Context(), all[0]))
	require.NoError(t, a.Append(t.Context(), all[1:4]...))
	require.NoError(t, a.Append(t.Context(), all[4:]...))
	for _, j := range []journal.Journal{a, b} {
		got, err := j.Read(t.Context(), "r")
		require.NoError(t, err)
		require.Equal(t, all, got)
		require.NoError(t, journal.Verify(got))
	}
	all[0].Data[0] = 'x'
	got, err := a.Read(t.Context(), "r")
	require.NoError(t, err)
	require.NoError(t, journal.Verify(got), "the journal keeps a copy")
}

func large(last journal.Record) journal.Record {
	r := Chain("r", 1, last, 1)[0]
	r.Data = json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	r.Seal(last.Hash)
	return r
}

func follows(t *testing.T, a, _ journal.Journal) {
	all := Chain("r", 2, journal.Record{}, 4)
	require.ErrorIs(t, a.Append(t.Context(), all[1]), journal.ErrConflict, "a run begins with record 1")
	require.NoError(t, a.Append(t.Context(), all[:2]...))
	require.ErrorIs(t, a.Append(t.Context(), all[3]), journal.ErrConflict, "a hole")
	require.ErrorIs(t, a.Append(t.Context(), all[1]), journal.ErrConflict, "twice")
	require.ErrorIs(t, a.Append(t.Context(), Chain("r", 1, all[1], 1)...), journal.ErrConflict, "a lower epoch")
	forged := all[2]
	forged.Step = "rec-002"
	require.Error(t, a.Append(t.Context(), forged), "not sealed")
	require.Error(t, a.Append(t.Context()), "nothing")
	require.Error(t, a.Append(t.Context(), append(Chain("r", 2, all[1], 1), Chain("s", 2, journal.Record{}, 1)...)...), "two runs")
	got, err := a.Read(t.Context(), "r")
	require.NoError(t, err)
	require.Equal(t, all[:2], got, "what was refused left nothing")
}

func oneWins(t *testing.T, a, b journal.Journal) {
	first := Chain("r", 1, journal.Record{}, 1)
	require.NoError(t, a.Append(t.Context(), first...))
	require.NoError(t, a.Release("r"))
	last := first[0]
	for epoch := int64(2); epoch < 12; epoch++ {
		var wg sync.WaitGroup
		var won atomic.Int64
		for _, j := range []journal.Journal{a, b} {
			wg.Go(func() {
				if err := j.Append(context.Background(), Chain("r", epoch, last, 1)...); err == nil {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, won.Load(), int64(1))
		require.NoError(t, a.Release("r"))
		require.NoError(t, b.Release("r"))
		got, err := b.Read(t.Context(), "r")
		require.NoError(t, err)
		require.NoError(t, journal.Verify(got))
		require.Equal(t, last.Seq+won.Load(), got[len(got)-1].Seq)
		last = got[len(got)-1]
	}
	require.Greater(t, last.Seq, int64(1), "somebody wins now and then")
}

func takenOver(t *testing.T, a, b journal.Journal) {
	mine := Chain("r", 1, journal.Record{}, 3)
	require.NoError(t, a.Append(t.Context(), mine[:2]...))
	require.NoError(t, a.Release("r"))
	theirs := Chain("r", 2, mine[1], 2)
	require.NoError(t, b.Append(t.Context(), theirs[0]))
	require.ErrorIs(t, a.Append(t.Context(), mine[2]), journal.ErrConflict)
	require.NoError(t, b.Append(t.Context(), theirs[1]))
	got, err := a.Read(t.Context(), "r")
	require.NoError(t, err)
	require.Equal(t, append(mine[:2:2], theirs...), got)
}

func unknown(t *testing.T, a, _ journal.Journal) {
	_, err := a.Read(t.Context(), "r")
	require.ErrorIs(t, err, journal.ErrUnknownRun)
	heads, err := a.Runs(t.Context())
	require.NoError(t, err)
	require.Empty(t, heads)
	require.NoError(t, a.Release("r"))
}

func heads(t *testing.T, a, b journal.Journal) {
	for i, run := range []string{"b", "c", "a"} {
		all := Chain(run, 1, journal.Record{}, 3)
		last := journal.Record{}
		for k := range all {
			all[k].Time = all[k].Time.Add(time.Duration(i) * time.Minute)
			all[k].Seal(last.Hash)
			last = all[k]
		}
		require.NoError(t, a.Append(t.Context(), all...))
	}
	heads, err := b.Runs(t.Context())
	require.NoError(t, err)
	require.Len(t, heads, 3)
	for i, run := range []string{"a", "c", "b"} {
		require.Equal(t, run, heads[i].First.Run)
		require.EqualValues(t, 1, heads[i].First.Seq)
		require.EqualValues(t, 3, heads[i].Last.Seq)
	}
}

func ended(t *testing.T, a, _ journal.Journal) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, a.Append(ctx, Chain("r", 1, journal.Record{}, 1)...), context.Canceled)
	_, err := a.Read(t.Context(), "r")
	require.ErrorIs(t, err, journal.ErrUnknownRun)
}

func many(t *testing.T, a, b journal.Journal) {
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			j := a
			if i%2 == 1 {
				j = b
			}
			run := fmt.Sprintf("run-%d", i)
			all := Chain(run, 1, journal.Record{}, 8)
			for k := range all {
				if err := j.Append(context.Background(), all[k]); err != nil {
					t.Errorf("%s: %v", run, err)
				}
			}
		})
	}
	wg.Wait()
	runs, err := a.Runs(t.Context())
	require.NoError(t, err)
	require.Len(t, runs, 64)
	for _, h := range runs {
		got, err := a.Read(t.Context(), h.First.Run)
		require.NoError(t, err)
		require.Len(t, got, 8)
		require.NoError(t, journal.Verify(got))
	}
}
