package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor"
)

// settled puts neighbours that have the same key in order: steps that end at one instant do so in any order. Lines
// with an empty key stay where they are.
func settled(lines []string, key func(line string) string) []string {
	for from := 0; from < len(lines); {
		to := from + 1
		for to < len(lines) && key(lines[from]) != "" && key(lines[to]) == key(lines[from]) {
			to++
		}
		slices.Sort(lines[from:to])
		from = to
	}
	return lines
}

func TestRunsOfTheFourIncidents(t *testing.T) {
	for _, i := range incidents {
		args := i.run("--approve", "auto", "--id", i.name+"-1")
		t.Run(i.name+"/text", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lines := strings.SplitAfter(ok(t, args...), "\n")
				golden(t, i.name+"/run.txt", strings.Join(settled(lines, func(line string) string {
					if strings.Contains(line, ") succeeded after ") {
						return strings.Fields(line)[0]
					}
					return ""
				}), ""))
			})
		})
		t.Run(i.name+"/json", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var events []string
				lines := strings.Split(strings.TrimSpace(ok(t, append(args, "-o", "json")...)), "\n")
				for n, line := range lines[:len(lines)-1] {
					var e executor.Event
					require.NoError(t, json.Unmarshal([]byte(line), &e))
					require.Equal(t, int64(n+1), e.Seq)
					require.Equal(t, i.name+"-1", e.Run)
					events = append(events, strings.Replace(line, fmt.Sprintf(`"seq":%d,`, n+1), "", 1)+"\n")
				}
				events = settled(events, func(line string) string {
					if strings.Contains(line, `"kind":"stepFinished"`) {
						return line[:strings.Index(line, `"step"`)]
					}
					return ""
				})
				golden(t, i.name+"/run.json", strings.Join(append(events, lines[len(lines)-1]+"\n"), ""))
			})
		})
	}
}

// Some steps of this plan take exactly their time-outs, and make them.
func TestTheWholeOfOomkillAtRealSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := ok(t, incidents[0].with("run", "--handlers", "simulated", "--approve", "auto", "--id", "x")...)
		require.Contains(t, out, "run x succeeded after 6m10s: 7 succeeded\n")
	})
}

func TestTheReportKeepsItsFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := remedy(t.Context(), nil, incidents[0].run("--approve", "deny", "-o", "json")...)
		require.Equal(t, exitFailed, r.code)
		report := lastReport(t, r.stdout)
		requireFields(t, report, "run", "status", "digest", "makespanSeconds", "steps", "rollback")
		require.Equal(t, "rejected", report["status"])
		require.Equal(t, []any{}, report["rollback"])
		require.Equal(t, 75., report["makespanSeconds"])
		steps := report["steps"].([]any)
		requireFields(t, steps[0], "id", "number", "status", "reason", "cause", "attempts", "startedAt", "endedAt")
		require.Equal(t, "2000-01-01T00:01:00Z", steps[0].(map[string]any)["endedAt"])
		require.Equal(t, "rec-004", steps[4].(map[string]any)["cause"])
	})
}

func lastReport(t *testing.T, stdout string) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var last map[string]map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	require.Contains(t, last, "report")
	return last["report"]
}

func TestARejectedRunExitsWithOneAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := remedy(t.Context(), nil, incidents[0].run("--approve", "deny", "--id", "x")...)
		require.Equal(t, exitFailed, r.code)
		require.Empty(t, r.stderr)
		require.Contains(t, r.stdout, "T+1m15s   step 5 (rec-005 enable_debug_mode) blocked, dependency not succeeded")
		require.Contains(t, r.stdout, "run x rejected after 1m15s: 3 succeeded, 1 rejected, 3 blocked\n"+
			"  step 4 (rec-004 restart_pod) rejected by deny: ")
	})
}

func TestAStepThatTakesTooLongFailsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overlay := file(t, "overlay.yaml", "steps: {rec-003: {timeout: 1m, duration: 2m}}")
		r := remedy(t.Context(), nil, "run", plans+"oomkill.json", "--overlay", overlay, "--handlers", "simulated", "--id", "x")
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.stdout, "run x failed after 3m: 2 succeeded, 1 failed, 4 blocked\n"+
			"  step 3 (rec-003 increase_resources) failed: timeout: ")
	})
}

func TestNobodyHereToDecideParksTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		args := incidents[0].run("--id", "x")
		r := remedy(t.Context(), strings.NewReader("y\n"), args...)
		require.Equal(t, exitParked, r.code)
		require.Empty(t, r.stderr)
		require.Contains(t, r.stdout, "T+1m15s   the run is parked")
		require.Contains(t, r.stdout, "run x parked after 1m15s: 3 pending, 1 waiting approval, 3 succeeded\n"+
			"  step 4 (rec-004 restart_pod) waits for approval: ")

		r = remedy(t.Context(), nil, append(args, "-o", "json")...)
		require.Equal(t, exitParked, r.code)
		require.Equal(t, "parked", lastReport(t, r.stdout)["status"])
	})
}

func TestThePlanAsAWholeIsAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := file(t, "policy.yaml", "maxSteps: 3\ntable: [{confidence: 0.6, ask: critical}]")
		args := []string{"run", plans + "cascading-failure.json", "--policy", policy, "--handlers", "simulated", "--id", "x"}
		r := remedy(t.Context(), nil, args...)
		require.Equal(t, exitParked, r.code)
		require.Contains(t, r.stdout, "T+0s      the plan waits for approval: ")
		require.Contains(t, r.stdout, "run x parked after 0s: 9 pending\n  the plan as a whole waits for approval: ")

		r = remedy(t.Context(), nil, append(args, "--approve", "deny")...)
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.stdout, "T+0s      the plan was rejected by deny after 0s")

		var sim struct{ ApprovalWaitSeconds float64 }
		require.NoError(t, json.Unmarshal([]byte(ok(t, "simulate", plans+"cascading-failure.json", "--policy", policy, "--approval-after", "2m", "-o", "json")), &sim))
		require.Equal(t, 120., sim.ApprovalWaitSeconds)
		timeline := ok(t, "simulate", plans+"cascading-failure.json", "--policy", policy, "--approval-after", "2m")
		require.Contains(t, timeline, "T+2m: ")
		r = remedy(t.Context(), nil, "simulate", plans+"cascading-failure.json", "--policy", policy, "--approval-after", "20m")
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.stdout, "Rejected")
	})
}

func TestEarlyQuestionsAreDecidedWhileWorkRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := ok(t, incidents[0].run("--approve", "auto", "--ask", "early")...)
		require.Contains(t, out, "T+0s      step 4 (rec-004 restart_pod) was approved by auto")
		require.Contains(t, out, "T+1m15s   step 4 (rec-004 restart_pod) started")
	})
}

func TestTimeScaleStretchesAndShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for scale, want := range map[string]struct {
			text    string
			seconds float64
		}{
			"0.02": {"about 6.6s, 50 times as fast", 6.6}, "0.0004": {"2500 times as fast", 0.132},
			"2": {"about 11m, 2 times as slow", 660},
		} {
			start := time.Now()
			out := ok(t, incidents[1].with("run", "--handlers", "simulated", "--time-scale", scale)...)
			require.Contains(t, out, want.text)
			require.InDelta(t, want.seconds, time.Since(start).Seconds(), 0.001)
		}
	})
}

// A safeBuffer can be read while it is written to.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestRunOomkillWithAPersonAtTheTerminal(t *testing.T) {
	for _, test := range []struct {
		answer, want string
		code         int
	}{
		{"y the leak is real\n", "T+2m15s   step 4 (rec-004 restart_pod) was approved by jane after 1m: the leak is real", exitOK},
		{"n not now\n", "T+2m15s   step 4 (rec-004 restart_pod) was rejected by jane after 1m: not now", exitFailed},
	} {
		synctest.Test(t, func(t *testing.T) {
			answers, person := io.Pipe()
			defer person.Close()
			var stdout, stderr safeBuffer
			code := make(chan int, 1)
			go func() {
				args := incidents[0].run("--approve", "terminal", "--by", "jane")
				code <- run(t.Context(), args, answers, &stdout, &stderr)
			}()
			time.Sleep(2*time.Minute + 15*time.Second)
			require.Contains(t, stderr.String(), "Approve step 4, restart_pod?", "a question never stands where a program reads")
			require.NotContains(t, stdout.String(), "Approve step 4")
			io.WriteString(person, test.answer)
			require.Equal(t, test.code, <-code)
			require.Contains(t, stdout.String(), test.want)
		})
	}
}

func TestTheEndOfTheInputIsNoApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := remedy(t.Context(), strings.NewReader(""), incidents[0].run("--approve", "terminal", "--by", "jane")...)
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.stdout, "was rejected by jane")
	})
}

func TestTheAuthorOfAPlanCannotApproveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, person := io.Pipe()
		defer person.Close()
		go func() {
			time.Sleep(5 * time.Minute)
			io.WriteString(person, "y\n")
		}()
		r := remedy(t.Context(), answers, incidents[0].run("--approve", "terminal", "--by", author)...)
		require.Equal(t, exitFailed, r.code)
		require.NotContains(t, r.stdout, "(rec-004 restart_pod) started")
	})
}

func TestInterruptEndsTheRunAndSaysWhatRan(t *testing.T) {
	for _, output := range []string{"text", "json"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
			defer cancel()
			r := remedy(ctx, nil, incidents[0].run("--id", "x", "-o", output)...)
			require.Equal(t, exitInterrupted, r.code)
			if output == "json" {
				report := lastReport(t, r.stdout)
				require.Equal(t, "interrupted", report["status"])
				require.Equal(t, 45., report["makespanSeconds"])
				return
			}
			require.Equal(t, "interrupted: waiting for what runs; interrupt again to end at once\n", r.stderr)
			require.Contains(t, r.stdout, "run x interrupted after 45s: ")
			require.Contains(t, r.stdout, "step 1 (rec-001 collect_diagnostics) cancelled after 45s, interrupted")
			require.NotContains(t, r.stdout, "\n  step 2 (rec-002", "it had succeeded")
			require.Contains(t, r.stdout, "nothing was rolled back; it goes on with: remedy resume x")
		})
	}
}

func TestInterruptWhileAQuestionStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, person := io.Pipe()
		defer person.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		r := remedy(ctx, answers, incidents[0].run("--approve", "terminal", "--by", "jane")...)
		require.Equal(t, exitInterrupted, r.code)
		require.True(t, strings.HasSuffix(r.stderr, "\n"), "the prompt's line is left")
	})
}

func TestAFullDiskWhileARunGoesOn(t *testing.T) {
	for _, output := range []string{"text", "json"} {
		synctest.Test(t, func(t *testing.T) {
			var stderr safeBuffer
			code := run(t.Context(), incidents[1].run("-o", output), nil, full{}, &stderr)
			require.Equal(t, exitUsage, code)
			require.Contains(t, stderr.String(), "no space left on device")
		})
	}
}

func TestEventsAreWrittenAsTheyHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		go func() {
			run(t.Context(), incidents[2].run("-o", "json"), nil, w, io.Discard)
			w.Close()
		}()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var e executor.Event
			require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
			if !e.Time.IsZero() {
				require.Equal(t, e.Time.UTC(), time.Now().UTC())
			}
		}
	})
}

func TestEventsOfAKindThatIsNotKnownYetAreShown(t *testing.T) {
	flags := planFlags{maxBytes: 1 << 20, maxSteps: 100}
	l, err := (&app{}).load(t.Context(), &flags, plans+"oomkill.json")
	require.NoError(t, err)
	var out strings.Builder
	lines := &textLines{w: &out, l: l, scale: 1}
	lines.Observe(executor.Event{Kind: executor.EventRunStarted})
	out.Reset()
	lines.Observe(executor.Event{Kind: "budgetReached"})
	lines.Observe(executor.Event{Kind: "leaseRenewed", Step: "rec-003", Status: "waitingRetry", Message: "in 5s\x1b[2J"})
	require.Equal(t, "T+0s      budget reached\n"+
		"T+0s      lease renewed step 3 (rec-003 increase_resources), waiting retry: in 5s\ufffd[2J\n", out.String())
	lines.close(nil)
	lines.Observe(executor.Event{Kind: "late"})
	require.Equal(t, 2, strings.Count(out.String(), "\n"), "nothing is shown after the end")
}
