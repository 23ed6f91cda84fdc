package terminal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/terminal"
)

const prompt = "? y or n (a reason may follow), ? shows this again: "

// A screen keeps every Write apart.
type screen struct {
	mu     sync.Mutex
	writes []string
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, string(p))
	return len(p), nil
}

func (s *screen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.writes...)
}

// A desk is a terminal with a person before it, inside a synctest bubble.
type desk struct {
	t *testing.T
	*screen
	keys     *io.PipeWriter
	approver *terminal.Approver
}

// atDesk runs f in a bubble and hangs up at its end, so that the bubble proves that nothing stays behind.
func atDesk(t *testing.T, f func(t *testing.T, d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		in, keys := io.Pipe()
		d := &desk{t: t, screen: &screen{}, keys: keys}
		d.approver = terminal.New(in, d, "eva")
		f(t, d)
		keys.Close()
	})
}

func (d *desk) type_(s string) {
	_, err := io.WriteString(d.keys, s)
	require.NoError(d.t, err)
	synctest.Wait()
}

// An outcome is what an Approve returned.
type outcome struct {
	decision *approval.Decision
	err      error
	at       time.Time
}

// ask puts a request and waits until it is shown or stands in line.
func (d *desk) ask(ctx context.Context, req *approval.Request) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		decision, err := d.approver.Approve(ctx, req)
		done <- outcome{decision, err, time.Now()}
	}()
	time.Sleep(150 * time.Millisecond)
	synctest.Wait()
	return done
}

func (d *desk) answered(done <-chan outcome) outcome {
	d.t.Helper()
	synctest.Wait()
	select {
	case o := <-done:
		return o
	default:
		require.FailNow(d.t, "Approve has not returned", "the screen shows %q", d.all())
		panic("unreachable")
	}
}

func (d *desk) waits(done <-chan outcome) {
	d.t.Helper()
	synctest.Wait()
	require.Empty(d.t, done, "Approve has returned")
}

func TestAnAnswerAndItsReason(t *testing.T) {
	for _, tt := range []struct {
		line   string
		want   approval.Verdict
		reason string
	}{
		{"y\n", approval.Approved, ""},
		{"Yes\n", approval.Approved, ""},
		{"  YES   go ahead, I watch it \r\n", approval.Approved, "go ahead, I watch it"},
		{"n too risky now\n", approval.Rejected, "too risky now"},
		{"N\n", approval.Rejected, ""},
		{"no\tnot on a Friday\n", approval.Rejected, "not on a Friday"},
		{"n oops\x1b[D\xff\n", approval.Rejected, "oops<U+001B>[D<0xFF>"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				done := d.ask(t.Context(), stepRequest(t))
				d.waits(done)
				require.Len(t, d.all(), 1, "a question is one Write")
				require.True(t, strings.HasSuffix(d.all()[0], prompt), d.all()[0])
				d.type_(tt.line)
				o := d.answered(done)
				require.NoError(t, o.err)
				require.Equal(t, &approval.Decision{Verdict: tt.want, By: "eva", Reason: tt.reason, Digest: "sha256:d"}, o.decision)
			})
		})
	}
}

func TestWhatIsNoAnswerIsAskedAgainAndThenMeansNo(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		done := d.ask(t.Context(), stepRequest(t))
		for _, line := range []string{"\n", "yess\n", "sure\n", "y,go\n"} {
			d.type_(line)
			d.waits(done)
		}
		require.Equal(t, []string{
			"Please answer y or n (a reason may follow, ? shows the question again): ",
			"Please answer y or n (a reason may follow, ? shows the question again): ",
			"Please answer y or n (a reason may follow, ? shows the question again): ",
			"Please answer y or n (a reason may follow, ? shows the question again): ",
		}, d.all()[1:])
		d.type_("1\n")
		o := d.answered(done)
		require.NoError(t, o.err)
		require.Equal(t, approval.Rejected, o.decision.Verdict)
		require.Equal(t, "no clear answer in 5 tries", o.decision.Reason)
		require.Equal(t, "eva", o.decision.By)
	})
}

func TestAYesAfterAMistakeCounts(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		done := d.ask(t.Context(), stepRequest(t))
		d.type_("yse\n")
		d.type_("yes\n")
		require.Equal(t, approval.Approved, d.answered(done).decision.Verdict)
	})
}

func TestAQuestionMarkShowsTheQuestionAgainWithTheTimeThatIsLeft(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		done := d.ask(t.Context(), stepRequest(t))
		require.Contains(t, d.all()[0], "no answer within 15m (until 00:15:00 UTC) means no")
		time.Sleep(4*time.Minute + 30*time.Second - 150*time.Millisecond)
		d.type_("?\n")
		require.Len(t, d.all(), 2)
		require.Contains(t, d.all()[1], "no answer within 10m30s (until 00:15:00 UTC) means no")
		require.Contains(t, d.all()[1], "Step 4: restart_pod")
		time.Sleep(time.Hour)
		d.type_("?\n")
		require.Contains(t, d.all()[2], "no answer within 0s (until 00:15:00 UTC) means no")
		d.waits(done)
		for range 17 + 4 {
			d.type_("?\n")
			d.waits(done)
		}
		d.type_("?\n")
		require.Equal(t, "no clear answer in 5 tries", d.answered(done).decision.Reason, "nobody looks at a question forever")
	})
}

func TestALineThatIsTooLongIsNoAnswer(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		done := d.ask(t.Context(), stepRequest(t))
		d.type_("y " + strings.Repeat("because ", 10_000) + "\n")
		require.Equal(t, "That is longer than 1024 bytes. Please answer y or n (a reason may follow, ? shows the question again): ", d.all()[1])
		d.waits(done)
		reason := strings.Repeat("x", 1022)
		d.type_("n " + reason + "\n")
		require.Equal(t, reason, d.answered(done).decision.Reason)
	})
}

func TestTheEndOfTheInputMeansNo(t *testing.T) {
	t.Run("before the first question", func(t *testing.T) {
		out := &screen{}
		a := terminal.New(strings.NewReader("y\n"), out, "eva")
		for range 2 {
			d, err := a.Approve(t.Context(), stepRequest(t))
			require.NoError(t, err)
			require.Equal(t, approval.Rejected, d.Verdict)
			require.Equal(t, "the input had ended before the question", d.Reason)
		}
		require.Equal(t, "\nStep 4, restart_pod needs approval, but the input has ended: the answer is no.\n", out.all()[0])
	})
	for _, typed := range []string{"", "y", "yes", "what\ny"} {
		t.Run("after "+typed, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				done := d.ask(t.Context(), stepRequest(t))
				if typed != "" {
					d.type_(typed)
				}
				d.waits(done)
				d.keys.Close()
				o := d.answered(done)
				require.NoError(t, o.err)
				require.Equal(t, approval.Rejected, o.decision.Verdict)
				require.Equal(t, "the input ended without an answer", o.decision.Reason)
			})
		})
	}
}

func TestAnInputThatCannotBeReadIsAnError(t *testing.T) {
	broken := errors.New("broken wire")
	a := terminal.New(iotest.ErrReader(broken), &screen{}, "eva")
	d, err := a.Approve(t.Context(), stepRequest(t))
	require.ErrorIs(t, err, broken)
	require.Nil(t, d)

	atDesk(t, func(t *testing.T, d *desk) {
		done := d.ask(t.Context(), stepRequest(t))
		d.keys.CloseWithError(broken)
		o := d.answered(done)
		require.ErrorIs(t, o.err, broken)
		require.Nil(t, o.decision)
	})

	idle := terminal.New(readerFunc(func([]byte) (int, error) { return 0, nil }), &screen{}, "eva")
	_, err = idle.Approve(t.Context(), stepRequest(t))
	require.ErrorIs(t, err, io.ErrNoProgress)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAScreenThatCannotBeWrittenIsAnError(t *testing.T) {
	gone := errors.New("gone")
	for _, typed := range []string{"", "?\n", "what\n"} {
		synctest.Test(t, func(t *testing.T) {
			in, keys := io.Pipe()
			shown := 0
			out := writerFunc(func(p []byte) (int, error) {
				if shown++; typed == "" || shown > 1 {
					return 0, gone
				}
				return len(p), nil
			})
			d := &desk{t: t, screen: &screen{}, keys: keys, approver: terminal.New(in, out, "eva")}
			done := d.ask(t.Context(), stepRequest(t))
			if typed != "" {
				d.type_(typed)
			}
			o := d.answered(done)
			require.ErrorIs(t, o.err, gone)
			require.Nil(t, o.decision)
			keys.Close()
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWhatWasTypedBeforeAQuestionDoesNotAnswerIt(t *testing.T) {
	t.Run("whole lines before the first question", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			in, keys := io.Pipe()
			d := &desk{t: t, screen: &screen{}, keys: keys, approver: terminal.New(in, &screen{}, "eva")}
			go func() { _, _ = io.WriteString(keys, "y\ny\n") }()
			done := d.ask(t.Context(), stepRequest(t))
			d.waits(done)
			d.type_("n\n")
			require.Equal(t, approval.Rejected, d.answered(done).decision.Verdict)
			keys.Close()
		})
	})
	t.Run("more lines than were asked for", func(t *testing.T) {
		atDesk(t, func(t *testing.T, d *desk) {
			first := d.ask(t.Context(), stepRequest(t))
			d.type_("y\ny\ny\n")
			require.Equal(t, approval.Approved, d.answered(first).decision.Verdict)
			d.type_("y\n")
			second := d.ask(t.Context(), stepRequest(t))
			d.waits(second)
			require.Contains(t, d.all()[1], "What was typed before this question was dropped.\n")
			d.type_("n\n")
			require.Equal(t, approval.Rejected, d.answered(second).decision.Verdict)
		})
	})
	t.Run("while one more stands in line", func(t *testing.T) {
		atDesk(t, func(t *testing.T, d *desk) {
			first := d.ask(t.Context(), stepRequest(t))
			second := d.ask(t.Context(), stepRequest(t))
			d.type_("y\ny\n")
			require.Equal(t, approval.Approved, d.answered(first).decision.Verdict)
			time.Sleep(time.Minute)
			d.waits(second)
			d.type_("n\n")
			require.Equal(t, approval.Rejected, d.answered(second).decision.Verdict)
		})
	})
	t.Run("the beginning of a line", func(t *testing.T) {
		atDesk(t, func(t *testing.T, d *desk) {
			first := d.ask(t.Context(), stepRequest(t))
			d.type_("y\nye")
			require.Equal(t, approval.Approved, d.answered(first).decision.Verdict)
			second := d.ask(t.Context(), stepRequest(t))
			d.type_("s\n")
			d.waits(second)
			require.Equal(t, "That line was begun before the question. Please answer y or n (a reason may follow, ? shows the question again): ", d.all()[2])
			d.type_("yes\n")
			require.Equal(t, approval.Approved, d.answered(second).decision.Verdict)
		})
	})
}

func TestAnInputThatNeverFallsSilentIsNoPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, keys := io.Pipe()
		go func() {
			for {
				if _, err := io.WriteString(keys, "y\n"); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		out := &screen{}
		start := time.Now()
		a := terminal.New(in, out, "eva")
		d, err := a.Approve(t.Context(), stepRequest(t))
		require.NoError(t, err)
		require.Equal(t, approval.Rejected, d.Verdict)
		require.Contains(t, d.Reason, "the input did not fall silent")
		require.Empty(t, out.all())
		require.Less(t, time.Since(start), 3*time.Second)

		// The reader holds what it has read until somebody asks again.
		in.Close()
		d, err = a.Approve(t.Context(), stepRequest(t))
		require.ErrorIs(t, err, io.ErrClosedPipe)
		require.Nil(t, d)
		time.Sleep(time.Second)
	})
}

func TestRequestsAreAskedOneAfterAnotherInTheirOrder(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		var waiting []<-chan outcome
		for i := range 6 {
			req := stepRequest(t)
			req.Run = fmt.Sprintf("run-%d", i)
			waiting = append(waiting, d.ask(t.Context(), req))
		}
		for i, done := range waiting {
			require.Len(t, d.all(), i+1, "one question at a time, each in one Write")
			require.Contains(t, d.all()[i], fmt.Sprintf("run-%d\n", i))
			d.type_(fmt.Sprintf("n reason %d\n", i))
			require.Equal(t, fmt.Sprintf("reason %d", i), d.answered(done).decision.Reason)
			time.Sleep(150 * time.Millisecond)
			synctest.Wait()
		}
	})
}

func TestAnEndedContextEndsTheQuestionAtOnceAndLeavesTheNextItsAnswer(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		enough := errors.New("the run was cancelled")
		ctx, cancel := context.WithCancelCause(t.Context())
		first := d.ask(ctx, stepRequest(t))
		d.type_("hold on ")
		d.waits(first)
		before := time.Now()
		cancel(enough)
		o := d.answered(first)
		require.ErrorIs(t, o.err, enough)
		require.Nil(t, o.decision)
		require.Equal(t, before, o.at)

		second := d.ask(t.Context(), planRequest(t))
		require.Contains(t, d.all()[1], "The question about step 4, restart_pod was withdrawn.\n")
		d.type_("y\n")
		d.waits(second)
		d.type_("yes looks good\n")
		require.Equal(t, "looks good", d.answered(second).decision.Reason)

		third := d.ask(t.Context(), stepRequest(t))
		require.NotContains(t, d.all()[3], "withdrawn")
		d.type_("y\n")
		require.Equal(t, approval.Approved, d.answered(third).decision.Verdict)
	})
}

func TestAWholeLineForAWithdrawnQuestionIsNotTakenByTheNext(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		ctx, cancel := context.WithCancel(t.Context())
		first := d.ask(ctx, stepRequest(t))
		cancel()
		require.ErrorIs(t, d.answered(first).err, context.Canceled)
		d.type_("y\n")
		second := d.ask(t.Context(), stepRequest(t))
		d.waits(second)
		d.type_("n\n")
		require.Equal(t, approval.Rejected, d.answered(second).decision.Verdict)
	})
}

func TestARequestThatEndsWhileItStandsInLineIsNeverShown(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		first := d.ask(t.Context(), stepRequest(t))
		ctx, cancel := context.WithCancel(t.Context())
		second := d.ask(ctx, planRequest(t))
		cancel()
		require.ErrorIs(t, d.answered(second).err, context.Canceled)
		d.type_("y\n")
		require.Equal(t, approval.Approved, d.answered(first).decision.Verdict)

		_, err := d.approver.Approve(ctx, planRequest(t))
		require.ErrorIs(t, err, context.Canceled)

		// Ended while the Approver waits for silence.
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = d.approver.Approve(ctx, planRequest(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)

		late := stepRequest(t)
		late.ExpiresAt = time.Now().Add(-time.Second)
		_, err = d.approver.Approve(t.Context(), late)
		require.EqualError(t, err, "terminal: the question about step 4, restart_pod expired before its turn")
		require.Equal(t, 1, len(d.all()))
	})
}

func TestARequestThatHasEndedIsNotShownEvenIfTheInputHasEndedToo(t *testing.T) {
	out := &screen{}
	a := terminal.New(strings.NewReader(""), out, "eva")
	_, err := a.Approve(t.Context(), stepRequest(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		_, err = a.Approve(ctx, stepRequest(t))
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Len(t, out.all(), 1)
}

func TestApproveNeedsANameAndAPlan(t *testing.T) {
	_, err := terminal.New(strings.NewReader(""), io.Discard, "").Approve(t.Context(), stepRequest(t))
	require.ErrorContains(t, err, "needs a name")
	for _, req := range []*approval.Request{nil, {}} {
		_, err = terminal.New(strings.NewReader(""), io.Discard, "eva").Approve(t.Context(), req)
		require.ErrorContains(t, err, "no plan to show")
	}
}

// A whole conversation over two pipes, on the real clock.
func TestAConversationOverPipes(t *testing.T) {
	in, keys := io.Pipe()
	view, out := io.Pipe()
	defer keys.Close()
	a := terminal.New(in, out, "eva")
	done := make(chan outcome, 1)
	go func() {
		for range 2 {
			d, err := a.Approve(context.Background(), stepRequest(t))
			done <- outcome{decision: d, err: err}
		}
	}()
	read := func() string {
		var b bytes.Buffer
		buf := make([]byte, 512)
		for !strings.HasSuffix(b.String(), ": ") {
			n, err := view.Read(buf)
			if err != nil {
				return b.String()
			}
			b.Write(buf[:n])
		}
		return b.String()
	}
	require.Contains(t, read(), "Step 4: restart_pod")
	_, _ = io.WriteString(keys, "hm\n")
	require.Contains(t, read(), "Please answer")
	_, _ = io.WriteString(keys, "n later\n")
	o := <-done
	require.NoError(t, o.err)
	require.Equal(t, "later", o.decision.Reason)
	require.Contains(t, read(), "Step 4: restart_pod")
	_, _ = io.WriteString(keys, "y\n")
	o = <-done
	require.NoError(t, o.err)
	require.Equal(t, approval.Approved, o.decision.Verdict)
}
