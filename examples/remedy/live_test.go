package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

// A screen is a terminal as far as the live progress uses one. It wraps lines and scrolls, and checks each frame.
type screen struct {
	t             *testing.T
	mu            sync.Mutex // guards what follows
	width, height int
	rows          [][]rune
	row, column   int
	wrap, cursor  bool
}

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height, rows: make([][]rune, 1), wrap: true, cursor: true}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := string(p)
	require.True(s.t, utf8.ValidString(text))
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			s.control(rest[:end], rest[end])
			text = rest[end+1:]
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		s.put(r)
		text = text[n:]
	}
	require.True(s.t, s.wrap && s.cursor, "every write leaves the terminal as it was")
	return len(p), nil
}

func (s *screen) control(arguments string, final byte) {
	switch n, _ := strconv.Atoi(arguments); {
	case final == 'A':
		s.row = max(s.row-n, len(s.rows)-s.height, 0)
	case final == 'K':
		s.rows[s.row] = s.rows[s.row][:min(s.column, len(s.rows[s.row]))]
	case final == 'J':
		s.rows[s.row] = s.rows[s.row][:min(s.column, len(s.rows[s.row]))]
		s.rows = s.rows[:s.row+1]
	case arguments == "?7":
		s.wrap = final == 'h'
	case arguments == "?25":
		s.cursor = final == 'h'
	case arguments == "?2026", final == 'm':
	default:
		s.t.Fatalf("unknown control sequence %q%c", arguments, final)
	}
}

func (s *screen) put(r rune) {
	switch r {
	case '\r':
		s.column = 0
		return
	case '\n':
		s.column = 0
		s.down()
		return
	}
	if r < ' ' {
		s.t.Fatalf("control character %q", r)
	}
	if s.column == s.width {
		if !s.wrap {
			s.t.Fatalf("wider than the window: %q", string(s.rows[s.row]))
		}
		s.column = 0
		s.down()
	}
	for len(s.rows[s.row]) <= s.column {
		s.rows[s.row] = append(s.rows[s.row], ' ')
	}
	s.rows[s.row][s.column] = r
	s.column++
}

func (s *screen) down() {
	if s.row++; s.row == len(s.rows) {
		s.rows = append(s.rows, nil)
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, row := range s.rows {
		b.WriteString(strings.TrimRight(string(row), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// A liveRun is a run that is shown live on a screen.
type liveRun struct {
	screen *screen
	show   *live
	ex     *executor.Executor
	run    *executor.Run
}

// watch starts a run of a plan and shows it. Gates are decided with Decide.
func watch(t *testing.T, width, height int, flags planFlags, file string, options simulated.Options, configure ...func(*executor.Config, *live, *screen)) *liveRun {
	a := &app{}
	flags.maxBytes, flags.maxSteps = 10_000_000, 10_000
	l, err := a.load(t.Context(), &flags, file)
	require.NoError(t, err)
	s := newScreen(t, width, height)
	v := newLive(&app{stdout: s}, l, cmp.Or(options.Scale, 1))
	v.size = func() (int, int) { return s.width, s.height }
	config := executor.Config{Handlers: simulated.New(options).Handlers(actions.Canonical()), Policy: l.policy, Observers: []executor.Observer{v}}
	for _, c := range configure {
		c(&config, v, s)
	}
	ex, err := executor.New(config)
	require.NoError(t, err)
	r, err := ex.Start(t.Context(), l.plan, executor.RunOptions{ID: "x", Author: author, Confidence: flags.confidence.Confidence})
	require.NoError(t, err)
	v.begin(r)
	return &liveRun{screen: s, show: v, ex: ex, run: r}
}

// end lets the run end and draws it for the last time.
func (r *liveRun) end(t *testing.T) {
	<-r.run.Done()
	r.show.close(r.run.Snapshot())
}

func (r *liveRun) decide(t *testing.T, verdict approval.Verdict) {
	for _, q := range r.run.Snapshot().Waiting() {
		step := ""
		if q.Step != nil {
			step = q.Step.ID()
		}
		require.NoError(t, r.ex.Decide(t.Context(), "x", step, approval.Decision{Verdict: verdict, By: "jane", Reason: "looked at it", Digest: q.Digest}))
	}
}

func oomkillFlags() planFlags {
	f := planFlags{overlay: plans + "oomkill.overlay.yaml"}
	f.confidence.Value, f.confidence.Given = 0.725, true
	return f
}

func TestLiveProgressTellsWhatRunsAndWhatWaits(t *testing.T) {
	for _, size := range []struct{ width, height int }{{120, 40}, {80, 24}, {40, 12}} {
		synctest.Test(t, func(t *testing.T) {
			r := watch(t, size.width, size.height, oomkillFlags(), plans+"oomkill.json", simulated.Options{Scale: 0.1})
			var film strings.Builder
			shot := func(after time.Duration, what string) {
				time.Sleep(after)
				synctest.Wait()
				fmt.Fprintf(&film, "--- %s\n%s", what, strings.Map(func(c rune) rune {
					if strings.ContainsRune(string(wheel), c) {
						return '*' // how often it was drawn is nobody's business
					}
					return c
				}, r.screen.String()))
			}
			shot(4*time.Second, "4s: two steps run")
			shot(4*time.Second, "8s: one of them has ended")
			shot(16*time.Second, "24s: a person is waited for")
			r.decide(t, approval.Approved)
			shot(time.Second, "approved")
			r.end(t)
			shot(0, "the end")
			golden(t, fmt.Sprintf("live/oomkill-%d.txt", size.width), film.String())
		})
	}
}

func TestLiveProgressOfARejectedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch(t, 80, 24, oomkillFlags(), plans+"oomkill.json", simulated.Options{Scale: 0.1})
		time.Sleep(20 * time.Second)
		r.decide(t, approval.Rejected)
		r.end(t)
		golden(t, "live/rejected.txt", r.screen.String())
	})
}

func TestLiveProgressOfAFailedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch(t, 80, 24, planFlags{}, plans+"oomkill.json", simulated.Options{Scale: 0.1, Fail: func(req *actions.Request) error {
			if req.Step == "rec-003" {
				return fmt.Errorf("quota exceeded\x1b[2J\nby far")
			}
			return nil
		}})
		r.end(t)
		golden(t, "live/failed.txt", r.screen.String())
	})
}

func TestLiveProgressOfAnInterruptedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch(t, 120, 24, oomkillFlags(), plans+"oomkill.json", simulated.Options{Scale: 0.1})
		time.Sleep(5 * time.Second)
		r.show.interrupted()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Contains(t, r.screen.String(), "interrupted: waiting for what runs (ctrl-C again ends at once)")
		time.Sleep(20 * time.Second)
		r.decide(t, approval.Approved)
		r.end(t)
	})
}

func TestLiveProgressShowsTheGateOfThePlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := file(t, "policy.yaml", "maxSteps: 3\ntable: [{confidence: 0.6, ask: critical}]")
		r := watch(t, 80, 24, planFlags{policy: policy}, plans+"cascading-failure.json", simulated.Options{Scale: 0.1})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Contains(t, r.screen.String(), "◆ the plan as a whole waits for approval 5.0s\n")
		require.Contains(t, r.screen.String(), "· 1 collect_diagnostics   waits for the approval of the plan\n")
		r.decide(t, approval.Approved)
		r.end(t)
		require.NotContains(t, r.screen.String(), "waits")
	})
}

func TestLiveProgressShowsQuestionsThatWereAskedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early := func(c *executor.Config, _ *live, _ *screen) { c.EarlyApproval = true }
		r := watch(t, 80, 24, oomkillFlags(), plans+"oomkill.json", simulated.Options{Scale: 0.1}, early)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Contains(t, r.screen.String(), "· 4 restart_pod          waits for 3; approval asked 5.0s ago\n")
		r.decide(t, approval.Approved)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Contains(t, r.screen.String(), "· 4 restart_pod          waits for 3; approved by jane\n")
		r.end(t)
	})
}

func TestLiveProgressSaysWhyAReadyStepWaits(t *testing.T) {
	document := `[{"id":"a","action":"update_hpa","parameters":{"namespace":"n","hpa":"x","maxReplicas":5}},
		{"id":"b","action":"update_hpa","parameters":{"namespace":"n","hpa":"x","minReplicas":2}},
		{"id":"c","action":"collect_diagnostics","parameters":{"namespace":"n"}},
		{"id":"d","action":"collect_diagnostics","parameters":{"namespace":"m"}}]`
	synctest.Test(t, func(t *testing.T) {
		two := func(c *executor.Config, _ *live, _ *screen) { c.MaxParallel = 2 }
		r := watch(t, 80, 24, planFlags{}, file(t, "plan.json", document), simulated.Options{}, two)
		time.Sleep(time.Second)
		synctest.Wait()
		shown := r.screen.String()
		require.Contains(t, shown, "waits for a free slot\n")
		time.Sleep(75 * time.Second)
		synctest.Wait()
		require.Contains(t, r.screen.String()+shown, ", which writes the same object\n", shown)
		r.end(t)
	})
}

// What a question wrote stays on the screen, and the frame goes on below it.
func TestLiveProgressKeepsOutOfTheWayOfAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch(t, 80, 30, oomkillFlags(), plans+"oomkill.json", simulated.Options{Scale: 0.1}, func(c *executor.Config, v *live, s *screen) {
			c.Approver = approval.ApproverFunc(func(context.Context, *approval.Request) (*approval.Decision, error) {
				v.aside(func() {
					fmt.Fprint(s, "Approve? ")
					time.Sleep(time.Minute)
					fmt.Fprint(s, "y\n")
				})
				return &approval.Decision{Verdict: approval.Approved, By: "jane"}, nil
			})
		})
		time.Sleep(30 * time.Second)
		require.Equal(t, "Approve?\n", r.screen.String())
		r.end(t)
		require.True(t, strings.HasPrefix(r.screen.String(), "Approve? y\n\nrun x of "), r.screen.String())
		require.Equal(t, 1, strings.Count(r.screen.String(), "run x of "))
		require.Contains(t, r.screen.String(), "✓ 4 restart_pod          18s, approved by jane\n")
	})
}

// widePlan is a plan of n steps that wait for the first.
func widePlan(t *testing.T, n int) string {
	var b strings.Builder
	b.WriteString(`[{"id":"s0","action":"collect_diagnostics","parameters":{"namespace":"a"}}`)
	for i := range n - 1 {
		fmt.Fprintf(&b, `,{"id":"s%d","action":"collect_diagnostics","dependencies":["s0"],"parameters":{"namespace":"a"}}`, i+1)
	}
	return file(t, "wide.json", b.String()+"]")
}

func TestLiveProgressFitsAnyWindow(t *testing.T) {
	plan := widePlan(t, 60)
	policy := file(t, "policy.yaml", "maxSteps: -1\ntable: [{confidence: 0.6, ask: critical}]")
	for _, size := range [][2]int{{200, 80}, {80, 24}, {60, 10}, {20, 8}, {10, 3}, {3, 2}, {1, 2}} {
		synctest.Test(t, func(t *testing.T) {
			r := watch(t, size[0], size[1], planFlags{policy: policy}, plan, simulated.Options{Scale: 0.02})
			for range 12 {
				time.Sleep(time.Second)
				synctest.Wait()
				require.LessOrEqual(t, strings.Count(r.screen.String(), "\n"), size[1]-1)
				if size[1] >= 10 && size[0] >= 60 {
					require.Contains(t, r.screen.String(), " of about 1.5s", "something that runs is among the lines that are shown")
				}
			}
			r.end(t)
		})
	}
}

func TestLiveProgressFollowsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch(t, 120, 40, oomkillFlags(), plans+"oomkill.json", simulated.Options{Scale: 0.1})
		time.Sleep(4 * time.Second)
		r.show.mu.Lock()                      // in which the screen is not written to
		r.screen.width, r.show.width = 70, 70 // the screen of the test does not wrap anew what it has
		r.show.mu.Unlock()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(r.screen.String(), "run x of "))
		for line := range strings.Lines(r.screen.String()) {
			require.LessOrEqual(t, utf8.RuneCountInString(line), 70)
		}
		time.Sleep(10 * time.Second)
		r.decide(t, approval.Approved)
		r.end(t)
	})
}

func TestAFrameThatTheTerminalWrappedIsTakenBackWhole(t *testing.T) {
	v := &live{drawn: []int{50, 10, 41, 0}, width: 60}
	require.Equal(t, "\r\x1b[4A", v.upLocked(60))
	require.Equal(t, "\r\x1b[4A", v.upLocked(100), "a wider window wraps nothing")
	require.Equal(t, "\r\x1b[8A", v.upLocked(20), "3 + 1 + 3 + 1 rows")
	require.Equal(t, "\r", (&live{}).upLocked(20))
}

func TestTextIsCutByCells(t *testing.T) {
	for _, test := range []struct {
		s    string
		n    int
		want string
	}{
		{"abc", 5, "abc  "}, {"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abcd", 1, "…"}, {"abcd", 0, ""}, {"", 2, "  "},
		{"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日… "}, {"e\u0301e", 2, "e\u0301e"},
	} {
		require.Equal(t, test.want, fit(test.s, test.n), "%q in %d", test.s, test.n)
	}
	line := new(text).add(plain, "one ").add(palette.red, "two").add(plain, " three")
	require.Equal(t, "one \x1b[31mtwo\x1b[0m three", line.cut(20, palette{on: true}))
	require.Equal(t, "one two three", line.cut(13, palette{}))
	require.Equal(t, "one two thr…", line.cut(12, palette{}))
	require.Equal(t, "one t…", line.cut(6, palette{}))
	require.Equal(t, "one two three", uncoloured(line.cut(20, palette{on: true})))
}
