package journal_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/executor/journal/journaltest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("JOURNAL_WRITER"); dir != "" {
		writeForever(dir)
		return
	}
	os.Exit(m.Run())
}

// writeForever is another process: it begins run "r" and appends a record for every line that it reads, and says how it
// went.
func writeForever(dir string) {
	j, err := journal.Open(dir, journal.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	last := journal.Record{}
	for in := bufio.NewScanner(os.Stdin); ; {
		r := journaltest.Chain("r", 1, last, 1)[0]
		if err := j.Append(context.Background(), r); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("kept", r.Seq)
			last = r
		}
		if !in.Scan() {
			return
		}
	}
}

func open(t *testing.T, dir string) *journal.Files {
	t.Helper()
	j, err := journal.Open(dir, journal.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func TestMemoryKeepsThePromises(t *testing.T) {
	journaltest.Exercise(t, func(*testing.T) (journal.Journal, journal.Journal) {
		m := journal.NewMemory()
		return m, m
	})
}

func TestFilesKeepThePromises(t *testing.T) {
	journaltest.Exercise(t, func(t *testing.T) (journal.Journal, journal.Journal) {
		dir := t.TempDir()
		return open(t, dir), open(t, dir)
	})
}

func TestFilesThatGrowAreFollowedByOthers(t *testing.T) {
	journaltest.Exercise(t, func(t *testing.T) (journal.Journal, journal.Journal) {
		dir := t.TempDir()
		a, b := open(t, dir), open(t, dir)
		a.FullAt(1)
		b.FullAt(1)
		return a, b
	})
	dir := t.TempDir()
	j := open(t, dir)
	j.FullAt(1000)
	for last := (journal.Record{}); last.Seq < 30; {
		next := journaltest.Chain("r", 1, last, 2)
		require.NoError(t, j.Append(t.Context(), next...))
		last = next[1]
	}
	files, err := filepath.Glob(filepath.Join(dir, "r", "*.jsonl"))
	require.NoError(t, err)
	require.Greater(t, len(files), 3)
	for _, name := range files {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(2000))
	}
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	require.Len(t, records, 30)
	require.NoError(t, journal.Verify(records))
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, open(t, dir).Append(t.Context(), journaltest.Chain("r", 1, journal.Record{}, 1)...))
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
		return nil
	}))
}

func TestWhereverAWriteIsTornNoCompleteRecordIsLostAndNoHalfOneCounts(t *testing.T) {
	dir := t.TempDir()
	all := journaltest.Chain("r", 1, journal.Record{}, 4)
	first := open(t, dir)
	require.NoError(t, first.Append(t.Context(), all...))
	require.NoError(t, first.Close())
	name := filepath.Join(dir, "r", "000001.jsonl")
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	for cut := range len(whole) + 1 {
		other := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(other, "r"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(other, "r", "000001.jsonl"), whole[:cut], 0o600))
		j, err := journal.Open(other, journal.Options{})
		require.NoError(t, err)
		complete := bytes.Count(whole[:cut], []byte("\n"))
		got, err := j.Read(t.Context(), "r")
		heads, headsErr := j.Runs(t.Context())
		require.NoError(t, headsErr)
		if complete == 0 {
			require.ErrorIs(t, err, journal.ErrUnknownRun)
			require.Empty(t, heads, "without its complete first record it is not a run")
		} else {
			require.NoError(t, err)
			require.Equal(t, all[:complete], got)
			require.Len(t, heads, 1)
		}
		last := journal.Record{}
		if complete > 0 {
			last = got[complete-1]
		}
		require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 2, last, 2)...), "it can go on")
		got, err = j.Read(t.Context(), "r")
		require.NoError(t, err)
		require.Len(t, got, complete+2)
		require.NoError(t, journal.Verify(got))
		require.NoError(t, j.Close())
	}
}

func TestAChangedByteIsFound(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 1, journal.Record{}, 4)...))
	name := filepath.Join(dir, "r", "000001.jsonl")
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	for at := 0; at < len(whole); at += 3 {
		if whole[at] == '\n' {
			continue
		}
		changed := bytes.Clone(whole)
		changed[at] ^= 1
		require.NoError(t, os.WriteFile(name, changed, 0o600))
		records, err := j.Read(t.Context(), "r")
		if err == nil {
			err = journal.Verify(records)
		}
		broken, ok := errors.AsType[*journal.BrokenError](err)
		line := int64(bytes.Count(whole[:at], []byte("\n"))) + 1
		if !ok {
			require.Equal(t, int64(4), line, "only in the last line a change may look like a torn write: byte %d", at)
			require.Len(t, records, 3)
			continue
		}
		require.LessOrEqual(t, broken.Seq, line+1, "byte %d", at)
	}
}

func TestALiveWriterIsNotOvertakenAndALapsedOneIsLost(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	all := journaltest.Chain("r", 1, journal.Record{}, 3)
	require.NoError(t, a.Append(t.Context(), all[0]))
	err := b.Append(t.Context(), journaltest.Chain("r", 2, all[0], 1)...)
	require.ErrorIs(t, err, journal.ErrHeld)
	require.ErrorContains(t, err, fmt.Sprint("process ", os.Getpid()))
	require.NoError(t, a.Append(t.Context(), all[1]), "the attempt did the writer no harm")
	long := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "r", "owner"), long, long))
	require.NoError(t, b.Append(t.Context(), journaltest.Chain("r", 2, all[1], 1)...))
	require.ErrorIs(t, a.Append(t.Context(), all[2]), journal.ErrConflict)
	got, err := b.Read(t.Context(), "r")
	require.NoError(t, err)
	require.Len(t, got, 3, "what the loser wrote does not count")
	require.EqualValues(t, 2, got[2].Epoch)
}

func TestADiskThatFailsEndsTheWriter(t *testing.T) {
	j := open(t, t.TempDir())
	all := journaltest.Chain("r", 1, journal.Record{}, 3)
	require.NoError(t, j.Append(t.Context(), all[0]))
	full := errors.New("no space left on device")
	j.FailSync(full)
	require.ErrorIs(t, j.Append(t.Context(), all[1]), full)
	j.FailSync(nil)
	require.ErrorIs(t, j.Append(t.Context(), all[1]), full, "nobody knows what is on the disk")
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 2, records[len(records)-1], 1)...), "who has read it again can go on")
}

func TestAFolderThatCannotBeWrittenIsSaid(t *testing.T) {
	_, err := journal.Open("/proc/nowhere", journal.Options{})
	require.ErrorContains(t, err, "/proc/nowhere")
}

func TestOldFinishedRunsAreRemovedAndOthersNever(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Options{Keep: 2})
	require.NoError(t, err)
	defer j.Close()
	for i := range 8 {
		r := journaltest.Chain(fmt.Sprintf("run-%d", i), 1, journal.Record{}, 1)[0]
		r.Time = r.Time.Add(time.Duration(i) * time.Hour)
		if i > 0 {
			r.Kind = journal.KindFinished
		}
		r.Seal("")
		require.NoError(t, j.Append(t.Context(), r))
		require.NoError(t, j.Release(r.Run))
	}
	heads, err := j.Runs(t.Context())
	require.NoError(t, err)
	var names []string
	for _, h := range heads {
		names = append(names, h.First.Run)
	}
	require.LessOrEqual(t, len(names), 6)
	require.Contains(t, names, "run-0", "a run that has not finished stays")
	require.Contains(t, names, "run-7")
}

func TestAProcessThatIsFrozenAndOvertakenWritesNothingMore(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "JOURNAL_WRITER="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "kept 1\n", line)
	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
	long := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "r", "owner"), long, long))
	j := open(t, dir)
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 2, records[0], 1)...))
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	_, err = in.Write([]byte("\n"))
	require.NoError(t, err)
	line, err = lines.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, journal.ErrConflict.Error())
	records, err = j.Read(t.Context(), "r")
	require.NoError(t, err)
	require.Len(t, records, 2)
}

func TestAKilledProcessLeavesNoLockBehind(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "JOURNAL_WRITER="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "kept"))
	j := open(t, dir)
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	require.ErrorIs(t, j.Append(t.Context(), journaltest.Chain("r", 2, records[0], 1)...), journal.ErrHeld)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 2, records[0], 1)...))
}

func TestNamesThatAreNoRunsAreRefused(t *testing.T) {
	j := open(t, t.TempDir())
	for _, run := range []string{"", ".", "..", "a/b", "../x", strings.Repeat("x", 64)} {
		require.Error(t, j.Append(t.Context(), journaltest.Chain(run, 1, journal.Record{}, 1)...), run)
		_, err := j.Read(t.Context(), run)
		require.ErrorIs(t, err, journal.ErrUnknownRun)
	}
}

func FuzzReadFile(f *testing.F) {
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"run":"r","epoch":1,"seq":1,"time":"2026-01-02T03:04:05Z","kind":"runBegun","hash":"x"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "r"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "r", "000001.jsonl"), data, 0o600))
		j, err := journal.Open(dir, journal.Options{})
		require.NoError(t, err)
		defer j.Close()
		if records, err := j.Read(t.Context(), "r"); err == nil {
			_ = journal.Verify(records)
		}
		_, err = j.Runs(t.Context())
		require.NoError(t, err)
	})
}
