package executor_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

var update = flag.Bool("update", false, "write the traces of testdata/rules anew")

// A script is a file of testdata/rules: words, a plan in the language of the function plan, what is given, and what must
// come out. The given lines are
//
//	fail STEP [N]        for good before its effect, or N times with an error that passes and asks for a minute's wait
//	late STEP            after its effect
//	drift STEP, stuck STEP   its undo finds that somebody changed it, or fails
//	panic STEP, exit STEP, deaf STEP   panics, ends its goroutine, ignores its context
//	approve STEP by NAME at T, reject STEP by NAME at T, cancel at T, interrupt at T, obsolete at T, breach at T
//	resume at T, undo at T   in another Executor
//	limit N, retries N, runTimeout T, rollbackTimeout T, rollback manual|none, onFailure go-on|cancel, onReject rollback|skip
type script struct {
	*testing.T
	words, plan, given []string
	config             executor.Config
	h                  *hands
	seen               *recorder
	began              time.Time
	ex                 *executor.Executor
	run                *executor.Run
	cancel             context.CancelFunc
	moments            []moment
}

func TestScripts(t *testing.T) {
	names, err := filepath.Glob("testdata/rules/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			input, _, _ := strings.Cut(string(data), "\ntrace\n")
			var got string
			synctest.Test(t, func(t *testing.T) { got = strings.TrimRight(input, "\n") + "\n\n" + newScript(t, input).play() })
			if *update {
				require.NoError(t, os.WriteFile(name, []byte(got), 0o600))
			}
			require.Equal(t, string(data), got)
		})
	}
}

func newScript(t *testing.T, input string) *script {
	s := &script{T: t, h: &hands{}, seen: &recorder{}, began: time.Now()}
	section := &s.words
	for _, line := range strings.Split(input, "\n") {
		switch {
		case line == "plan":
			section = &s.plan
		case line == "given":
			section = &s.given
		case strings.TrimSpace(line) != "":
			*section = append(*section, strings.TrimSpace(line))
		}
	}
	s.config = executor.Config{Handlers: handlers(acting{s}), Observers: []executor.Observer{s.seen}, Journal: journal.NewMemory(), Policy: open()}
	return s
}

// says finds a given line that begins with words.
func (s *script) says(words ...string) (rest []string, ok bool) {
	for _, line := range s.given {
		if f := strings.Fields(line); len(f) >= len(words) && slices.Equal(f[:len(words)], words) {
			return f[len(words):], true
		}
	}
	return nil, false
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	require.NoError(s, err)
	return n
}

// after does something at a time of the script.
func (s *script) after(text string, f func()) {
	s.moments = append(s.moments, moment{duration(s, text), f})
}

// A moment is when something happens from outside.
type moment struct {
	at time.Duration
	do func()
}

func (s *script) play() string {
	for _, line := range s.given {
		f := strings.Fields(line)
		switch f[0] {
		case "limit":
			s.config.MaxParallel = s.number(f[1])
		case "retries":
			s.config.Retries = s.number(f[1])
		case "runTimeout":
			s.config.RunTimeout = duration(s, f[1])
		case "rollbackTimeout":
			s.config.RollbackTimeout = duration(s, f[1])
		case "rollback":
			s.config.Rollback = map[string]executor.RollbackStrategy{"manual": executor.RollbackManual, "none": executor.RollbackNone}[f[1]]
		case "onFailure":
			s.config.OnFailure = map[string]executor.FailurePolicy{"go-on": executor.IndependentBranches, "cancel": executor.CancelRunning}[f[1]]
		case "onReject":
			s.config.OnReject = map[string]executor.RejectPolicy{"rollback": executor.RejectRollback, "skip": executor.RejectSkipBranch}[f[1]]
		case "breach":
			s.config.Guards = []executor.Guard{{Name: "error rate", Interval: time.Second, Probe: func(context.Context) error {
				if time.Since(s.began) > duration(s, f[2]) {
					return errBroken
				}
				return nil
			}}}
		case "obsolete":
			s.config.StillWanted = func(context.Context, *executor.Run) (bool, error) {
				return time.Since(s.began) < duration(s, f[2]), nil
			}
		case "approve", "reject":
			s.after(f[5], func() { s.decide(f[0], f[1], f[3]) })
		case "cancel":
			s.after(f[2], func() { _ = s.ex.Cancel(context.Background(), "r", "enough") })
		case "interrupt":
			s.after(f[2], func() { s.cancel() })
		case "resume":
			s.after(f[2], func() { s.start(false) })
		case "undo":
			s.after(f[2], func() { s.start(true) })
		}
	}
	s.start(false)
	slices.SortStableFunc(s.moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	for _, m := range s.moments {
		time.Sleep(m.at - time.Since(s.began))
		synctest.Wait()
		m.do()
	}
	<-s.run.Done()
	s.cancel()
	time.Sleep(time.Hour) // handlers that were abandoned end
	report, err := s.run.Wait(context.Background())
	require.NoError(s, err)
	var b strings.Builder
	b.WriteString("trace\n")
	for _, e := range s.seen.events {
		line := fmt.Sprintln(e.Kind, e.Step, e.Status, e.Reason)
		if e.Kind == executor.EventRetryScheduled {
			line = fmt.Sprintln(e.Kind, e.Step, "after attempt", e.Attempt)
		}
		fmt.Fprintf(&b, "  %-6s %s\n", "T+"+strconv.FormatFloat(e.Time.Sub(s.began).Seconds(), 'f', -1, 64)+"s", strings.Join(strings.Fields(line), " "))
	}
	fmt.Fprintf(&b, "report\n  %s\n", strings.Join(strings.Fields(outcome(report)), "\n  "))
	for r := range report.Steps() {
		var chain []string
		for _, c := range report.Why(r.ID) {
			if c.Step != "" {
				chain = append(chain, c.Step+" "+c.Status.String()+"/"+c.Reason.String())
			} else {
				chain = append(chain, "the run: "+c.Reason.String())
			}
		}
		if chain != nil {
			fmt.Fprintf(&b, "  why %s: %s\n", r.ID, strings.Join(chain, ", because "))
		}
	}
	return b.String()
}

func (s *script) start(undo bool) {
	var err error
	s.ex, err = executor.New(s.config)
	require.NoError(s, err)
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	if p := plan(s, s.plan...); undo {
		s.run, err = s.ex.Rollback(ctx, p, "r")
	} else {
		s.run, err = s.ex.Start(ctx, p, executor.RunOptions{ID: "r"})
	}
	require.NoError(s, err)
}

func (s *script) decide(verb, step, by string) {
	d := approval.Decision{Verdict: approval.Approved, By: by}
	if verb == "reject" {
		d.Verdict = approval.Rejected
	}
	for _, q := range s.run.Snapshot().Waiting() {
		if q.Step != nil && q.Step.ID() == step {
			d.Digest = q.Digest
		}
	}
	require.NoError(s, s.ex.Decide(context.Background(), "r", step, d))
}

// acting does what the script gives.
type acting struct{ s *script }

func (acting) BeginsItself() bool { return true }

func (a acting) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if _, ok := a.s.says("deaf", req.Step); ok {
		ctx = context.WithoutCancel(ctx)
	}
	if _, err := expected(ctx, req); err != nil {
		return nil, err
	}
	if rest, ok := a.s.says("fail", req.Step); ok && len(rest) == 0 {
		return nil, errBroken
	} else if ok && req.Attempt <= a.s.number(rest[0]) {
		return nil, &actions.HandlerError{Transient: true, RetryAfter: time.Minute, Err: errBroken}
	}
	if _, ok := a.s.says("panic", req.Step); ok {
		panic("no")
	}
	if _, ok := a.s.says("exit", req.Step); ok {
		runtime.Goexit()
	}
	if err := req.Begin(ctx, &actions.Undo{State: map[string]any{"was": req.Step}}); err != nil {
		return nil, err
	}
	a.s.h.note(req.Step)
	if _, ok := a.s.says("late", req.Step); ok {
		return nil, errBroken
	}
	return nil, nil
}

func (a acting) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if _, ok := a.s.says("drift", req.Step); ok {
		return fmt.Errorf("replicas: %w", actions.ErrDrift)
	}
	if _, ok := a.s.says("stuck", req.Step); ok {
		return errBroken
	}
	return a.s.h.Compensate(ctx, req, undo)
}

func (a acting) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	return a.s.h.Probe(ctx, req)
}
