package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// program is the program in a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "REMEDY_TEST_MAIN=1", "XDG_STATE_HOME="+t.TempDir(), "TERM=xterm-256color", "NO_COLOR=")
	return cmd
}

func TestSignalsInterruptARun(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := program(t, incidents[0].run("--id", "x")...)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		lines := bufio.NewReader(stdout)
		first, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, first, "run x started")
		for line := first; !strings.Contains(line, "(rec-001 collect_diagnostics) started"); {
			line, err = lines.ReadString('\n')
			require.NoError(t, err)
		}
		require.NoError(t, cmd.Process.Signal(signal))
		rest, err := io.ReadAll(lines)
		require.NoError(t, err)
		cmd.Wait()
		require.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
		require.Contains(t, string(rest), "run x interrupted after ")
		require.Contains(t, string(rest), "(rec-001 collect_diagnostics) cancelled after")
		require.Contains(t, stderr.String(), "interrupted: waiting for what runs")
	}
}

func TestASignalEndsACommandThatWaitsForInput(t *testing.T) {
	cmd := program(t, "validate", "-")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	require.NoError(t, cmd.Start())
	// More than a pipe holds: once it is written the program reads, and has long been listening for signals.
	_, err = io.WriteString(in, strings.Repeat(" ", 256<<10))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	cmd.Wait()
	require.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
}

// A terminal is the far side of a pseudo terminal.
type terminalPair struct {
	master *os.File
	mu     sync.Mutex
	seen   strings.Builder
	ended  chan struct{} // closed when nobody has the near side open any more
}

// atTerminal starts the program with a terminal of its own.
func atTerminal(t *testing.T, columns, rows uint16, env []string, args ...string) (*terminalPair, *exec.Cmd) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}))
	near, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	defer near.Close()
	cmd := program(t, args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = near, near, near
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	p := &terminalPair{master: master, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			p.mu.Lock()
			p.seen.Write(buffer[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return p, cmd
}

func (p *terminalPair) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

func (p *terminalPair) await(t *testing.T, what string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(p.text(), what) }, 20*time.Second, 10*time.Millisecond, "%s", what)
}

// finish waits for the end of the program and returns what was to be seen.
func (p *terminalPair) finish(t *testing.T, cmd *exec.Cmd, code int) string {
	t.Helper()
	cmd.Wait()
	<-p.ended
	require.Equal(t, code, cmd.ProcessState.ExitCode(), "%s", p.text())
	return p.text()
}

func TestARunOnATerminalIsShownLiveAndAsksThere(t *testing.T) {
	fast := incidents[0].with("run", "--handlers", "simulated", "--time-scale", "0.002", "--by", "jane")
	for answer, code := range map[string]int{"y\n": exitOK, "n too risky\n": exitFailed, "\x03": exitInterrupted} {
		p, cmd := atTerminal(t, 90, 30, nil, fast...)
		p.await(t, "Approve step 4, restart_pod?")
		time.Sleep(50 * time.Millisecond)
		io.WriteString(p.master, answer)
		seen := p.finish(t, cmd, code)
		require.Contains(t, seen, "\x1b[?25l", "it is drawn in place")
		require.Greater(t, strings.LastIndex(seen, "\x1b[?25h"), strings.LastIndex(seen, "\x1b[?25l"), "the cursor is there at the end")
		require.Greater(t, strings.LastIndex(seen, "\x1b[?7h"), strings.LastIndex(seen, "\x1b[?7l"))
		require.Contains(t, seen, "\x1b[32m✓", "in colour")
	}
}

func TestAPlanThatIsTypedLeavesNobodyToAsk(t *testing.T) {
	p, cmd := atTerminal(t, 90, 30, nil, "run", "-", "--handlers", "simulated", "--id", "x")
	io.WriteString(p.master, `[{"id":"a","action":"cordon_node","parameters":{"node":"n1"}}]`+"\n\x04")
	seen := p.finish(t, cmd, exitParked)
	require.Contains(t, seen, "step 1 (a cordon_node) waits for approval")
}

func TestNoColorAndDumbTerminals(t *testing.T) {
	fast := incidents[1].with("run", "--handlers", "simulated", "--time-scale", "0.0001")
	p, cmd := atTerminal(t, 90, 30, []string{"NO_COLOR=1"}, fast...)
	seen := p.finish(t, cmd, exitOK)
	require.Contains(t, seen, "\x1b[?25l")
	require.NotContains(t, seen, "\x1b[32m")

	p, cmd = atTerminal(t, 90, 30, []string{"TERM=dumb"}, fast...)
	seen = p.finish(t, cmd, exitOK)
	require.NotContains(t, seen, "\x1b")
	require.Contains(t, seen, "T+0s ")

	p, cmd = atTerminal(t, 90, 30, nil, incidents[0].with("plan")...)
	require.Contains(t, p.finish(t, cmd, exitOK), "\x1b[33mapproval\x1b[0m")
}
