package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor/journal"
)

// decideParked notes a decision about a run that no process conducts. It needs no plan: what was asked, of whom and
// until when is in the journal.
func (e *Executor) decideParked(ctx context.Context, run, step string, d approval.Decision) error {
	if e.config.Journal == nil || !validID(run) {
		return fmt.Errorf("%w: %s", ErrUnknownRun, run)
	}
	unlock, err := e.ids.Lock(ctx, run)
	if err != nil {
		return err
	}
	defer unlock()
	if r := e.Lookup(run); r != nil {
		return r.decide(step, d)
	}
	records, err := e.config.Journal.Read(ctx, run)
	if err != nil {
		return unknownRun(run, err)
	}
	b, err := readBeginning(run, records)
	if err != nil {
		return err
	}
	f, at, err := judgeParked(b, records, step, d)
	if err != nil {
		return err
	}
	l := newLedger(e.config.Journal, run)
	last := records[len(records)-1]
	l.epoch, l.seq, l.durable, l.hash = last.Epoch+1, last.Seq, last.Seq, last.Hash
	l.add(entry{kind: factNames[f.kind], step: step, time: time.Now(), data: &detail{
		At: at, Reason: f.reason.String(), By: d.By, Message: d.Reason, Digest: d.Digest}})
	defer func() { _ = e.config.Journal.Release(run) }()
	return l.flush()
}

// judgeParked checks a decision against the records of a run.
func judgeParked(b *beginning, records []journal.Record, step string, d approval.Decision) (f fact, at time.Duration, err error) {
	if d.Verdict != approval.Approved && d.Verdict != approval.Rejected {
		return f, 0, fmt.Errorf("the verdict is %s: a decision approves or rejects", d.Verdict)
	}
	var asked, answer *detail
	for i := range records[1:] {
		rec := &records[1+i]
		if rec.Kind == recordFinished {
			return f, 0, fmt.Errorf("%w: %w", approval.ErrNotAsked, ErrFinished)
		}
		var dt detail
		if err := json.Unmarshal(rec.Data, &dt); err != nil {
			return f, 0, fmt.Errorf("record %d: %w", rec.Seq, err)
		}
		at = max(at, dt.At)
		if rec.Step != step {
			continue
		}
		switch factKinds[rec.Kind] {
		case factAsked:
			if rec.Kind == factNames[factAsked] {
				asked, answer = &dt, nil
			}
		case factApproved, factRejected:
			answer = &dt
		case factEnded, factDoubted:
			asked, answer = nil, nil
		}
	}
	now := time.Now()
	at = max(at, now.Sub(records[0].Time))
	switch {
	case asked == nil:
		return f, 0, approval.ErrNotAsked
	case answer != nil && answer.Reason == ReasonApprovalTimeout.String():
		return f, 0, approval.ErrExpired
	case answer != nil:
		return f, 0, fmt.Errorf("%w: by %s", approval.ErrDecided, answer.By)
	case asked.Expires == nil || !now.Before(*asked.Expires):
		return f, 0, approval.ErrExpired
	case d.Digest != asked.Digest:
		return f, 0, approval.ErrDigest
	}
	if err := identityErr(b.Author, d.By); err != nil {
		return f, 0, err
	}
	f.kind = factApproved
	if d.Verdict == approval.Rejected {
		f.kind, f.reason = factRejected, ReasonRejected
	}
	return f, at, nil
}

// identityErr refuses deciders that may not decide, for yes and no alike. Case and space around a name make nobody
// another person.
func identityErr(author, by string) error {
	name := strings.TrimSpace(by)
	switch {
	case name == "":
		return fmt.Errorf("%w: it names nobody in By", approval.ErrNotApprover)
	case strings.EqualFold(name, strings.TrimSpace(author)):
		return fmt.Errorf("%w: %q is the author of the plan", approval.ErrNotApprover, by)
	}
	return nil
}
