package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/remedykit/remedy/approval"
)

const (
	// tries is how many answers that are none are asked again, views how often one question is shown.
	tries = 5
	views = 20
)

// An Approver shows each request at a terminal, one at a time, and reads the answer. It is safe for concurrent use.
type Approver struct {
	by string
	// turn holds one token; whoever took it out owns the fields below.
	turn      chan struct{}
	out       io.Writer
	lines     *lineReader
	withdrawn string // what the last question was about, when it ended without an answer
}

// New returns an Approver that reads answers from in and writes to out, in the name of by. Each question is a single
// Write, so that other lines written to the same terminal do not tear it.
func New(in io.Reader, out io.Writer, by string) *Approver {
	a := &Approver{by: by, turn: make(chan struct{}, 1), out: out, lines: newLineReader(in)}
	a.turn <- struct{}{}
	return a
}

// Approve shows the request and waits for an answer until ctx ends. Requests are shown in the order in which they came;
// one whose ctx ends before its turn is never shown.
func (a *Approver) Approve(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
	if a.by == "" {
		return nil, errors.New("terminal: a decision needs a name behind it; give one to New")
	}
	if req == nil || req.Plan == nil {
		return nil, errors.New("terminal: the request has no plan to show")
	}
	select {
	case <-a.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { a.turn <- struct{}{} }()
	if !req.ExpiresAt.IsZero() && time.Now().After(req.ExpiresAt) {
		return nil, fmt.Errorf("terminal: the question about %s expired before its turn", req.Subject())
	}
	d, err := a.ask(ctx, req)
	if d != nil {
		d.By, d.Digest = a.by, req.Digest
	}
	return d, err
}

func no(format string, args ...any) *approval.Decision {
	return &approval.Decision{Verdict: approval.Rejected, Reason: fmt.Sprintf(format, args...)}
}

// ask holds the turn.
func (a *Approver) ask(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
	dropped, err := a.lines.silence(ctx)
	switch {
	case errors.Is(err, errNoSilence):
		return no("the input did not fall silent before the question: no person is typing there"), nil
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, io.EOF):
		err = a.write(fmt.Sprintf("\n%s needs approval, but the input has ended: the answer is no.\n", sentence(req.Subject())))
		return no("the input had ended before the question"), err
	case err != nil:
		return nil, fmt.Errorf("terminal: reading the answer: %w", err)
	}
	var note strings.Builder
	if a.withdrawn != "" {
		fmt.Fprintf(&note, "The question about %s was withdrawn.\n", a.withdrawn)
		a.withdrawn = ""
	}
	if dropped {
		note.WriteString("What was typed before this question was dropped.\n")
	}
	if err := a.write("\n" + note.String() + question(req, time.Now())); err != nil {
		return nil, err
	}
	for tried, shown := 0, 1; ; {
		line, err := a.lines.next(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			a.withdrawn = req.Subject()
			return nil, context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return no("the input ended without an answer"), nil
		case errors.Is(err, errTooLong), errors.Is(err, errHalfTyped):
		case err != nil:
			return nil, fmt.Errorf("terminal: reading the answer: %w", err)
		}
		if err == nil {
			if d := answer(line); d != nil {
				return d, nil
			}
			if line == "?" && shown < views {
				shown++
				if err := a.write("\n" + question(req, time.Now())); err != nil {
					return nil, err
				}
				continue
			}
		}
		if tried++; tried == tries {
			return no("no clear answer in %d tries", tries), nil
		}
		again := "Please answer y or n"
		switch {
		case errors.Is(err, errTooLong):
			again = fmt.Sprintf("That is longer than %d bytes. Please answer y or n", maxLine)
		case errors.Is(err, errHalfTyped):
			again = "That line was begun before the question. Please answer y or n"
		}
		if err := a.write(again + " (a reason may follow, ? shows the question again): "); err != nil {
			return nil, err
		}
	}
}

func (a *Approver) write(s string) error {
	if _, err := io.WriteString(a.out, s); err != nil {
		return fmt.Errorf("terminal: showing the question: %w", err)
	}
	return nil
}

// answer reads a line, nil when it says neither yes nor no.
func answer(line string) *approval.Decision {
	word, reason, _ := strings.Cut(line, " ")
	reason = strings.TrimSpace(reason)
	switch strings.ToLower(word) {
	case "y", "yes":
		return &approval.Decision{Verdict: approval.Approved, Reason: reason}
	case "n", "no":
		return &approval.Decision{Verdict: approval.Rejected, Reason: reason}
	}
	return nil
}
