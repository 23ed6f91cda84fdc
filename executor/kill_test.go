//go:build unix

package executor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// TestMain lets the test binary be a runner that dies: it runs RUNNER_PLAN in the folder RUNNER_DIR and kills itself after
// record RUNNER_KILL, or has room for files of RUNNER_DISK bytes only.
func TestMain(m *testing.M) {
	dir := os.Getenv("RUNNER_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	after, err := strconv.ParseInt(os.Getenv("RUNNER_KILL"), 10, 64)
	if limit, err := strconv.ParseUint(os.Getenv("RUNNER_DISK"), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			panic(err)
		}
	}
	if err == nil {
		_, err = conduct(context.Background(), dir, os.Getenv("RUNNER_PLAN"), after)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// conduct begins or resumes the run in a folder; after 0 it is not killed.
func conduct(ctx context.Context, dir, name string, after int64) (*executor.Report, error) {
	p, fails := namedPlan(name)
	files, err := journal.Open(filepath.Join(dir, "journal"), journal.Options{})
	if err != nil {
		return nil, err
	}
	defer files.Close()
	h := &outside{file: filepath.Join(dir, "effects"), fails: fails}
	all := actions.Handlers{}
	for i := range p.Len() {
		all[p.Step(i).Action()] = h
	}
	ex, err := executor.New(executor.Config{Handlers: all, Journal: killer{files, after}, Approver: approval.Auto(), Policy: open()})
	if err != nil {
		return nil, err
	}
	return ex.Run(ctx, p, executor.RunOptions{ID: "r"})
}

// failer is a require.TestingT for programs.
type failer struct{}

func (failer) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (failer) FailNow()                          { panic("failed") }

// namedPlan is a plan by the path of its file, with the id of the step that fails behind a colon, or by a seed.
func namedPlan(name string) (p *dag.Plan, fails string) {
	if seed, err := strconv.ParseUint(name, 10, 64); err == nil {
		lines, fails := drawLines(rand.New(rand.NewPCG(seed, 7)))
		return plan(failer{}, lines...), fails
	}
	path, fails, _ := strings.Cut(name, ":")
	data, err := os.ReadFile(path)
	if err == nil {
		p, err = dag.Load(data, actions.Canonical())
	}
	if err != nil {
		panic(err)
	}
	return p, fails
}

// killer kills its own process once a record is durable.
type killer struct {
	journal.Journal
	after int64
}

func (k killer) Append(ctx context.Context, records ...journal.Record) error {
	err := k.Journal.Append(ctx, records...)
	if err == nil && k.after > 0 && records[len(records)-1].Seq >= k.after {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return err
}

// outside has its effects in a file, a line each.
type outside struct {
	file  string
	fails string
}

func (o *outside) BeginsItself() bool { return true }

func (o *outside) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if req.Step == o.fails {
		return nil, errBroken
	}
	if err := req.Begin(ctx, &actions.Undo{Summary: "back"}); err != nil {
		return nil, err
	}
	return nil, o.note(req.Step)
}

func (o *outside) Compensate(_ context.Context, req *actions.Request, _ *actions.Undo) error {
	return o.note("undo " + req.Step)
}

func (o *outside) Probe(_ context.Context, req *actions.Request) (actions.Outcome, error) {
	if slices.Contains(lines(o.file), req.Step) {
		return actions.OutcomeHappened, nil
	}
	return actions.OutcomeDidNotHappen, nil
}

func (o *outside) note(line string) error {
	f, err := os.OpenFile(o.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line + "\n")
	return err
}

func lines(file string) []string {
	data, _ := os.ReadFile(file)
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// killed runs a plan in a process of its own that dies after a record, resumes it here, and checks what a person would.
func killed(t *testing.T, name string, after int64) (more bool) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "RUNNER_DIR="+dir, "RUNNER_PLAN="+name, fmt.Sprint("RUNNER_KILL=", after))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false // it had fewer records
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%v: %s", err, out)
	goesOn(t, dir, name, fmt.Sprint("killed after record ", after))
	return true
}

// goesOn resumes the run of a process that died and checks what a person would.
func goesOn(t *testing.T, dir, name, how string) {
	t.Helper()
	before := lines(filepath.Join(dir, "effects"))
	report, err := conduct(t.Context(), dir, name, 0)
	at := fmt.Sprintf("plan %s, %s, effects %q", name, how, before)
	require.NoError(t, err, at)
	require.True(t, report.Status().Final(), at)
	p, fails := namedPlan(name)
	effects := lines(filepath.Join(dir, "effects"))
	for s := range report.Steps() {
		step := p.Step(s.Number - 1)
		did, undid := 0, 0
		for _, e := range effects {
			switch e {
			case s.ID:
				did++
			case "undo " + s.ID:
				undid++
			}
		}
		if step.Mutating() {
			require.LessOrEqual(t, did, 1, "%s: %s was sent again", at, s.ID)
		}
		switch report.Status() {
		case executor.RunSucceeded:
			require.GreaterOrEqual(t, did, 1, "%s: %s", at, s.ID)
			require.Zero(t, undid, at)
		case executor.RunRolledBack, executor.RunFailed:
			if did > 0 && step.Reversible() {
				require.GreaterOrEqual(t, undid, 1, "%s: %s was left", at, s.ID)
			} else if did > 0 && step.Mutating() {
				require.Contains(t, report.Irreversible(), s.ID, at)
			}
		case executor.RunSucceededWithWarnings:
		default:
			t.Errorf("%s: %s", at, report)
		}
	}
	if fails == "" {
		require.Equal(t, executor.RunSucceeded, report.Status(), at)
	}
}

func TestARunThatIsKilledAfterAnyRecordGoesOn(t *testing.T) {
	for _, name := range []string{"oomkill.json", "oomkill.json:rec-005", "cascading-failure.json", "alert-storm.json", "database-deadlock.json"} {
		name = filepath.Join("..", "examples", "plans", name)
		for after := int64(1); killed(t, name, after); after++ {
			if after > 1000 {
				t.Fatal("it never ends")
			}
		}
	}
}

func TestRandomRunsThatAreKilledGoOn(t *testing.T) {
	for seed := range 200 {
		killed(t, strconv.Itoa(seed), int64(1+seed%23))
	}
}

// TestARunWhoseDiskIsFullEndsAndGoesOnOnceThereIsRoom has the journal grow to a size and not further.
func TestARunWhoseDiskIsFullEndsAndGoesOnOnceThereIsRoom(t *testing.T) {
	name := filepath.Join("..", "examples", "plans", "oomkill.json")
	for room := 100; ; room += 731 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "RUNNER_DIR="+dir, "RUNNER_PLAN="+name, "RUNNER_KILL=0", fmt.Sprint("RUNNER_DISK=", room))
		out, err := cmd.CombinedOutput()
		if err == nil {
			require.Greater(t, room, 2000, "the journal had room at once")
			return
		}
		require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%s", out)
		require.Contains(t, string(out), "file too large", "room for %d", room)
		require.Contains(t, string(out), "journal", "room for %d", room)

		files, err := journal.Open(filepath.Join(dir, "journal"), journal.Options{})
		require.NoError(t, err)
		records, err := files.Read(t.Context(), "r")
		if err == nil {
			require.NoError(t, journal.Verify(records))
		}
		require.NoError(t, files.Close())
		sure, maybe := effectsAt(records)
		for _, effect := range lines(filepath.Join(dir, "effects")) {
			if effect != "" {
				require.Contains(t, append(sure, maybe...), effect, "room for %d: sent without a record", room)
			}
		}
		goesOn(t, dir, name, fmt.Sprintf("with room for %d bytes", room))
	}
}
