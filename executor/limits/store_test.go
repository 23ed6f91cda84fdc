package limits_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor/limits"
)

// TestMain lets the test binary be another process that shares a store.
func TestMain(m *testing.M) {
	dir := os.Getenv("LIMITS_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := limits.OpenFiles(dir)
	if err == nil {
		switch job := os.Getenv("LIMITS_JOB"); job {
		case "ask":
			err = ask(s)
		case "hang":
			err = s.Update(context.Background(), "k", func([]byte) ([]byte, error) {
				fmt.Println("within")
				_, err := io.Copy(io.Discard, os.Stdin)
				return []byte("never"), err
			})
		case "count":
			for err == nil {
				var n int
				err = s.Update(context.Background(), "k", increment(&n))
				fmt.Println(n)
			}
		default:
			err = fmt.Errorf("no job is called %q", job)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ask asks for many effects at once, when it is told to begin, and prints how many were admitted.
func ask(s limits.Store) error {
	l, err := limits.New(s, limits.Rules{Effects: 5, Window: time.Hour})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	results := make(chan error)
	const asked = 10
	for i := range asked {
		go func() {
			me := fmt.Sprintf("%d-%d", os.Getpid(), i)
			results <- l.Admit(context.Background(), restart(me, "s", me))
		}()
	}
	admitted := 0
	for range asked {
		err := <-results
		if err == nil {
			admitted++
		} else if refusal, ok := errors.AsType[*limits.Refusal](err); !ok || refusal.Rule != limits.RuleBudget {
			return err
		}
	}
	fmt.Println(admitted)
	return nil
}

// increment is a change that counts, and tells the count.
func increment(n *int) func([]byte) ([]byte, error) {
	return func(old []byte) ([]byte, error) {
		*n = 0
		if old != nil {
			var err error
			if *n, err = strconv.Atoi(string(old)); err != nil {
				return nil, err
			}
		}
		*n++
		return strconv.AppendInt(nil, int64(*n), 10), nil
	}
}

// A process is another one that shares the store in a folder.
type process struct {
	*exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func begin(t *testing.T, job, dir string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.Env = append(os.Environ(), "LIMITS_DIR="+dir, "LIMITS_JOB="+job)
	p.Stderr = os.Stderr
	in, err := p.StdinPipe()
	require.NoError(t, err)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	p.in, p.out = in, bufio.NewReader(out)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	return p
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

func openFiles(t *testing.T, dir string) limits.Store {
	t.Helper()
	s, err := limits.OpenFiles(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return s
}

// file is where the value of a key is.
func file(dir, key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(dir, hex.EncodeToString(sum[:]))
}

func set(t *testing.T, s limits.Store, key string, value []byte) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), key, func([]byte) ([]byte, error) { return value, nil }))
}

func get(t *testing.T, s limits.Store, key string) []byte {
	t.Helper()
	var value []byte
	require.NoError(t, s.Update(t.Context(), key, func(old []byte) ([]byte, error) {
		value = bytes.Clone(old)
		return old, nil
	}))
	return value
}

func TestMemoryKeepsThePromisesOfAStore(t *testing.T) {
	exercise(t, func(*testing.T) (limits.Store, limits.Store) {
		s := limits.NewMemory()
		return s, s
	})
}

func TestFilesKeepThePromisesOfAStore(t *testing.T) {
	exercise(t, func(t *testing.T) (limits.Store, limits.Store) {
		dir := t.TempDir()
		return openFiles(t, dir), openFiles(t, dir)
	})
}

// exercise tests a Store, which fresh returns twice, as two processes would have it.
func exercise(t *testing.T, fresh func(t *testing.T) (a, b limits.Store)) {
	t.Run("what one wrote the other reads", func(t *testing.T) {
		a, b := fresh(t)
		require.Nil(t, get(t, a, "k"))
		set(t, a, "k", []byte("1"))
		require.Equal(t, []byte("1"), get(t, b, "k"))
		set(t, b, "k", []byte("two\nlines\x00\xff"))
		require.Equal(t, []byte("two\nlines\x00\xff"), get(t, a, "k"))
	})
	t.Run("an empty value is one and nil removes it", func(t *testing.T) {
		a, b := fresh(t)
		set(t, a, "k", []byte{})
		require.NotNil(t, get(t, b, "k"))
		set(t, b, "k", nil)
		require.Nil(t, get(t, a, "k"))
		set(t, a, "k", nil)
		require.Nil(t, get(t, a, "k"))
	})
	t.Run("keys are apart whatever they are", func(t *testing.T) {
		a, b := fresh(t)
		keys := []string{"", "k", "K", "k.tmp", "k.lock", "../k", "/", "a\nb", strings.Repeat("long", 1000), "\xff"}
		for i, key := range keys {
			set(t, a, key, []byte(fmt.Sprint(i)))
		}
		for i, key := range keys {
			require.Equal(t, fmt.Sprint(i), string(get(t, b, key)), "%q", key)
		}
	})
	t.Run("an error of the change is returned and nothing is changed", func(t *testing.T) {
		a, b := fresh(t)
		set(t, a, "k", []byte("before"))
		no := &limits.Refusal{Rule: limits.RuleBudget, Message: "no"}
		err := a.Update(t.Context(), "k", func(old []byte) ([]byte, error) {
			old[0] = 'X'
			return []byte("after"), no
		})
		require.Same(t, no, err)
		require.Equal(t, "before", string(get(t, b, "k")))
	})
	t.Run("a change may be made in the old value", func(t *testing.T) {
		a, b := fresh(t)
		set(t, a, "k", []byte("old"))
		require.NoError(t, a.Update(t.Context(), "k", func(old []byte) ([]byte, error) {
			copy(old, "new")
			return old, nil
		}))
		require.Equal(t, "new", string(get(t, b, "k")))
	})
	t.Run("a context that has ended changes nothing", func(t *testing.T) {
		a, _ := fresh(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, a.Update(ctx, "k", func([]byte) ([]byte, error) {
			t.Error("the change was asked")
			return nil, nil
		}), context.Canceled)
	})
	t.Run("a change that panics holds nobody up", func(t *testing.T) {
		a, b := fresh(t)
		set(t, a, "k", []byte("before"))
		require.Panics(t, func() {
			_ = a.Update(t.Context(), "k", func([]byte) ([]byte, error) { panic("oh") })
		})
		require.Equal(t, "before", string(get(t, b, "k")))
	})
	t.Run("keys do not wait for each other", func(t *testing.T) {
		a, b := fresh(t)
		if a == b {
			t.Skip("one process has one lock")
		}
		require.NoError(t, a.Update(t.Context(), "k", func([]byte) ([]byte, error) {
			return nil, b.Update(t.Context(), "other", func([]byte) ([]byte, error) { return []byte("1"), nil })
		}))
	})
	t.Run("no change is lost among many at once", func(t *testing.T) {
		a, b := fresh(t)
		var all sync.WaitGroup
		for i := range 10 {
			s := a
			if i%2 == 1 {
				s = b
			}
			all.Go(func() {
				for range 10 {
					var n int
					if err := s.Update(t.Context(), "k", increment(&n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		require.Equal(t, "100", string(get(t, a, "k")))
	})
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "limits")
	s := openFiles(t, dir)
	set(t, s, "k", []byte("1"))
	set(t, s, "k", []byte("2"))
	var names []string
	require.NoError(t, filepath.WalkDir(filepath.Dir(dir), func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		if entry.IsDir() {
			require.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), path)
			return nil
		}
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), path)
		names = append(names, path)
		return nil
	}))
	require.Equal(t, []string{file(dir, "k"), file(dir, "k") + ".lock"}, names)
}

func TestAFolderThatCannotBeMadeIsSaid(t *testing.T) {
	openFiles(t, t.TempDir())
	inTheWay := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(inTheWay, nil, 0o600))
	_, err := limits.OpenFiles(inTheWay)
	require.ErrorContains(t, err, inTheWay)
}

func TestADamagedFileForbidsAndIsNamed(t *testing.T) {
	dir := t.TempDir()
	s := openFiles(t, dir)
	l := newLimits(t, s, limits.Rules{Effects: 1})
	admit(t, l, restart("a", "s", "web"))
	name := file(dir, "namespace/shop")
	whole, err := os.ReadFile(name)
	require.NoError(t, err)

	var damaged [][]byte
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		damaged = append(damaged, whole[:i], changed)
	}
	other, err := os.ReadFile(file(dir, "target/restart/Deployment shop/web"))
	require.NoError(t, err)
	damaged = append(damaged, append(bytes.Clone(whole), '\n'), other)
	for _, data := range damaged {
		require.NoError(t, os.WriteFile(name, data, 0o600))
		err := s.Update(t.Context(), "namespace/shop", func([]byte) ([]byte, error) {
			t.Errorf("a change was asked about %q", data)
			return nil, nil
		})
		require.ErrorContains(t, err, name, "%q", data)
	}
	err = l.Admit(t.Context(), restart("b", "s", "db"))
	require.ErrorContains(t, err, name)
	_, ok := errors.AsType[*limits.Refusal](err)
	require.False(t, ok, "it is no rule that forbids it")
	left, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, other, left, "nobody writes over it")

	require.NoError(t, os.Remove(name))
	admit(t, l, restart("b", "s", "db"))
}

func TestAFileThatWasNotFinishedIsNeverTakenForAValue(t *testing.T) {
	dir := t.TempDir()
	s := openFiles(t, dir)
	set(t, s, "k", []byte("other"))
	whole, err := os.ReadFile(file(dir, "k"))
	require.NoError(t, err)
	set(t, s, "k", nil)
	next := file(dir, "k") + ".tmp"
	for _, left := range [][]byte{nil, whole[:10], whole} {
		require.NoError(t, os.WriteFile(next, left, 0o600))
		require.Nil(t, get(t, s, "k"))
		set(t, s, "k", []byte("1"))
		require.Equal(t, "1", string(get(t, s, "k")))
		require.NoFileExists(t, next)
		set(t, s, "k", nil)
	}
}

func TestWhatCannotBeWrittenIsSaidAndChangesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openFiles(t, dir)
	set(t, s, "k", []byte("before"))
	inTheWay := file(dir, "k") + ".tmp"
	require.NoError(t, os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700))
	err := s.Update(t.Context(), "k", func([]byte) ([]byte, error) { return []byte("after"), nil })
	require.ErrorContains(t, err, file(dir, "k"))
	require.Equal(t, "before", string(get(t, s, "k")))
	require.NoError(t, os.RemoveAll(inTheWay))
	set(t, s, "k", []byte("after"))
	require.Equal(t, "after", string(get(t, s, "k")))
}

func TestFourProcessesTogetherStayWithinTheBudget(t *testing.T) {
	dir := t.TempDir()
	openFiles(t, dir)
	var processes []*process
	for range 4 {
		processes = append(processes, begin(t, "ask", dir))
	}
	for _, p := range processes {
		require.Equal(t, "ready", p.line(t))
	}
	for _, p := range processes {
		_, err := io.WriteString(p.in, "\n")
		require.NoError(t, err)
	}
	sum := 0
	for _, p := range processes {
		n, err := strconv.Atoi(p.line(t))
		require.NoError(t, err)
		require.NoError(t, p.Wait())
		sum += n
	}
	require.Equal(t, 5, sum)
}

func TestWhoWaitsForALockStopsWithItsContextAndAKilledProcessLeavesNoLock(t *testing.T) {
	dir := t.TempDir()
	s := openFiles(t, dir)
	set(t, s, "k", []byte("before"))
	p := begin(t, "hang", dir)
	require.Equal(t, "within", p.line(t))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := s.Update(ctx, "k", func([]byte) ([]byte, error) {
		t.Error("two are within")
		return nil, nil
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, file(dir, "k")+".lock")
	set(t, s, "other", []byte("1"))

	waited := make(chan error)
	go func() {
		var killed []byte
		err := s.Update(t.Context(), "k", func(old []byte) ([]byte, error) {
			killed = bytes.Clone(old)
			return []byte("after"), nil
		})
		if err == nil && string(killed) != "before" {
			err = fmt.Errorf("the killed process left %q", killed)
		}
		waited <- err
	}()
	require.NoError(t, p.Process.Kill())
	require.NoError(t, <-waited)
	require.Equal(t, "after", string(get(t, s, "k")))
}

func TestWhereverAProcessIsKilledNoValueThatItWroteIsLost(t *testing.T) {
	dir := t.TempDir()
	s := openFiles(t, dir)
	for round := range 15 {
		p := begin(t, "count", dir)
		var said int
		for range round%4 + 1 {
			n, err := strconv.Atoi(p.line(t))
			require.NoError(t, err)
			said = n
		}
		require.NoError(t, p.Process.Kill())
		for { // what it said until it was killed
			line, err := p.out.ReadString('\n')
			if err != nil {
				break
			}
			n, err := strconv.Atoi(strings.TrimSpace(line))
			require.NoError(t, err)
			said = n
		}
		_ = p.Wait()
		var n int
		require.NoError(t, s.Update(t.Context(), "k", increment(&n)))
		require.GreaterOrEqual(t, n-1, said)
		require.LessOrEqual(t, n-1, said+1)
	}
}

func TestAKeyThatIsRemovedLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	a, b := openFiles(t, dir), openFiles(t, dir)
	var within atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		s := a
		if i%2 == 1 {
			s = b
		}
		all.Go(func() {
			for k := range 200 { // removed and made again while others wait for its lock
				if err := s.Update(t.Context(), "k", func(old []byte) ([]byte, error) {
					if within.Add(1) != 1 {
						t.Error("two are within")
					}
					defer within.Add(-1)
					if (k+i)%3 == 0 {
						return nil, nil
					}
					return append(old, 'x'), nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	set(t, a, "k", []byte("x"))
	set(t, a, "k", nil)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
