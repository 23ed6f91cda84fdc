package controlplane

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A process is a program of a cluster. It dies with this process.
type process struct {
	cmd  *exec.Cmd
	out  *tail // read once gone is closed
	err  error // set before gone is closed
	gone chan struct{}
}

// stopTimeout is how long a program may take to end when it is asked to.
const stopTimeout = 5 * time.Second

func begin(program, dir string, log io.Writer, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), out: &tail{}, gone: make(chan struct{})}
	p.cmd.Dir, p.cmd.SysProcAttr = dir, withParent()
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if log != nil {
		both := io.MultiWriter(p.out, log)
		p.cmd.Stdout, p.cmd.Stderr = both, both
	}
	started := make(chan error)
	go func() {
		// The kernel ends the program with the thread that started it, so that thread has to stay.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.gone)
		}
	}()
	return p, <-started
}

// died says why a program has ended; nil while it runs.
func (p *process) died() error {
	select {
	case <-p.gone:
		return fmt.Errorf("%s ended: %v: %s", filepath.Base(p.cmd.Path), p.err, strings.TrimSpace(p.out.buf.String()))
	default:
		return nil
	}
}

// end asks the program to end, and kills it when it does not.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.gone:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
}

// alive tells whether a process of this machine runs.
func alive(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }
