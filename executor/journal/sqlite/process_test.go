//go:build unix

package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/executor/journal/journaltest"
	"github.com/remedykit/remedy/executor/journal/sqlite"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("SQLITE_JOURNAL"); path != "" {
		if err := another(path, os.Getenv("SQLITE_LEASE")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// another is another process. It opens the journal, and does for every line what it says:
//
//	next RUN         appends a record in epoch 1, and says "kept"
//	race NAME RUN N  takes the run over until it has N records, and says which it won
func another(path, lease string) error {
	d, err := time.ParseDuration(lease)
	if err != nil {
		return err
	}
	ctx := context.Background()
	j, err := sqlite.Open(ctx, path, sqlite.Options{Lease: d})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	last := map[string]journal.Record{}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		words := strings.Fields(in.Text())
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "next":
			r := journaltest.Chain(words[1], 1, last[words[1]], 1)[0]
			if err := j.Append(ctx, r); err != nil {
				fmt.Println(err)
				continue
			}
			last[r.Run] = r
			fmt.Println("kept")
		case "race":
			n, err := strconv.ParseInt(words[3], 10, 64)
			if err != nil {
				return err
			}
			won, err := race(ctx, j, words[1], words[2], n)
			if err != nil {
				return err
			}
			fmt.Println(won)
		}
	}
	return j.Close()
}

// race tries each record of a run once, in an epoch of its own, and marks those that it won with its name.
func race(ctx context.Context, j journal.Journal, name, run string, n int64) (won []int64, err error) {
	for tried := int64(0); ; {
		records, err := j.Read(ctx, run)
		if err != nil && !errors.Is(err, journal.ErrUnknownRun) {
			return nil, err
		}
		var last journal.Record
		if len(records) > 0 {
			last = records[len(records)-1]
		}
		if last.Seq >= n {
			return won, nil
		}
		if tried == last.Seq+1 {
			return nil, fmt.Errorf("record %d was refused, and nobody else has written it", tried)
		}
		r := journaltest.Chain(run, last.Epoch+1, last, 1)[0]
		r.Step = name
		r.Seal(last.Hash)
		switch err := j.Append(ctx, r); {
		case err == nil:
			won = append(won, r.Seq)
			if err := j.Release(run); err != nil {
				return nil, err
			}
		case errors.Is(err, journal.ErrConflict):
			tried = r.Seq
		case !errors.Is(err, journal.ErrHeld):
			return nil, err
		}
	}
}

type process struct {
	t   *testing.T
	cmd *osexec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts another process and waits until it has the journal open.
func start(t *testing.T, path string, lease time.Duration) *process {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "SQLITE_JOURNAL="+path, "SQLITE_LEASE="+lease.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p := &process{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	require.Equal(t, "ready", p.hear())
	return p
}

func (p *process) tell(format string, args ...any) {
	p.t.Helper()
	_, err := fmt.Fprintf(p.in, format+"\n", args...)
	require.NoError(p.t, err)
}

func (p *process) hear() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(p.t, err, line)
	return strings.TrimSpace(line)
}

func TestOfTwoProcessesOneWinsEachRecord(t *testing.T) {
	const n = 60
	path := fileIn(t)
	a, b := start(t, path, time.Minute), start(t, path, time.Minute)
	a.tell("race a r %d", n)
	b.tell("race b r %d", n)
	said := map[string]string{"a": a.hear(), "b": b.hear()}
	records, err := open(t, path, sqlite.Options{}).Read(t.Context(), "r")
	require.NoError(t, err)
	require.Len(t, records, n)
	require.NoError(t, journal.Verify(records))
	won := map[string][]int64{"a": nil, "b": nil}
	for _, r := range records {
		won[r.Step] = append(won[r.Step], r.Seq)
	}
	for name, seqs := range won {
		require.Equal(t, fmt.Sprint(seqs), said[name], "who wrote a record knows it, and nobody else thinks so")
	}
}

func TestTwoProcessesWriteDifferentRunsAtOnce(t *testing.T) {
	const n = 60
	path := fileIn(t)
	a, b := start(t, path, time.Minute), start(t, path, time.Minute)
	a.tell("%s", strings.Repeat("next a\n", n))
	b.tell("%s", strings.Repeat("next b\n", n))
	for range n {
		require.Equal(t, "kept", a.hear())
		require.Equal(t, "kept", b.hear())
	}
	j := open(t, path, sqlite.Options{})
	for _, run := range []string{"a", "b"} {
		records, err := j.Read(t.Context(), run)
		require.NoError(t, err)
		require.Len(t, records, n)
		require.NoError(t, journal.Verify(records))
	}
}

func TestAProcessThatIsFrozenAndOvertakenWritesNothingMore(t *testing.T) {
	path := fileIn(t)
	p := start(t, path, time.Hour)
	p.tell("next r")
	require.Equal(t, "kept", p.hear())
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	age(t, path, time.Hour)
	j := open(t, path, sqlite.Options{})
	records, err := j.Read(t.Context(), "r")
	require.NoError(t, err)
	require.NoError(t, j.Append(t.Context(), journaltest.Chain("r", 2, records[0], 1)...))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
	p.tell("next r")
	require.Contains(t, p.hear(), journal.ErrConflict.Error())
	records, err = j.Read(t.Context(), "r")
	require.NoError(t, err)
	require.Len(t, records, 2)
}

func TestTheLeaseOfAKilledProcessLapses(t *testing.T) {
	path := fileIn(t)
	patient, hasty := start(t, path, time.Hour), start(t, path, 300*time.Millisecond)
	for run, p := range map[string]*process{"patient": patient, "hasty": hasty} {
		p.tell("next %s", run)
		require.Equal(t, "kept", p.hear())
		require.NoError(t, p.cmd.Process.Kill())
		_ = p.cmd.Wait()
	}
	j := open(t, path, sqlite.Options{})
	next := func(run string) []journal.Record {
		records, err := j.Read(t.Context(), run)
		require.NoError(t, err)
		return journaltest.Chain(run, 2, records[0], 1)
	}
	require.ErrorIs(t, j.Append(t.Context(), next("patient")...), journal.ErrHeld)
	require.Eventually(t, func() bool {
		err := j.Append(t.Context(), next("hasty")...)
		if err != nil {
			require.ErrorIs(t, err, journal.ErrHeld)
		}
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	age(t, path, time.Hour)
	require.NoError(t, j.Append(t.Context(), next("patient")...))
}
