package executor

import (
	"context"
	"encoding/json"
	"fmt"
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
		return r.decide(ctx, step, d)
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
		At: at, Reason: f.reason.String(), By: d.By, Groups: d.Groups, Message: d.Reason, Digest: d.Digest}})
	defer func() { _ = e.config.Journal.Release(run) }()
	return l.flush()
}

// judgeParked checks a decision against the records of a run.
func judgeParked(b *beginning, records []journal.Record, step string, d approval.Decision) (f fact, at time.Duration, err error) {
	if d.Verdict != approval.Approved && d.Verdict != approval.Rejected {
		return f, 0, fmt.Errorf("the verdict is %s: a decision approves or rejects", d.Verdict)
	}
	gate := b.PlanGate
	if step != "" {
		gate = b.Gates[step]
	}
	began := records[0].Time
	var tally *approval.Tally
	asked := ""
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
		kind, ok := factKinds[rec.Kind]
		if !ok {
			continue
		}
		if dt.Gate != nil {
			gate = *dt.Gate
		}
		switch when := began.Add(dt.At); kind {
		case factAsked:
			req := &approval.Request{Author: b.Author, Model: b.Model, Digest: dt.Digest, AskedAt: when}
			gate.into(&req.Gate)
			if dt.Expires != nil {
				req.ExpiresAt = *dt.Expires
			} else {
				req.ExpiresAt = when // nobody knows: too late
			}
			tally, asked = approval.NewTally(req), dt.Digest
		case factVoted, factApproved, factRejected:
			if tally == nil {
				return f, 0, fmt.Errorf("record %d: nobody was asked", rec.Seq)
			}
			if err := recount(tally, kind, asked, &dt, when); err != nil {
				return f, 0, fmt.Errorf("record %d: %w", rec.Seq, err)
			}
		case factEnded, factDoubted, factVoided:
			tally = nil
		}
	}
	now := time.Now()
	at = max(at, now.Sub(began))
	if tally == nil {
		return f, 0, approval.ErrNotAsked
	}
	state, err := tally.Cast(d, began.Add(at))
	if err != nil {
		return f, 0, err
	}
	f.kind = factVoted
	switch state {
	case approval.Granted:
		f.kind = factApproved
	case approval.Denied:
		f.kind, f.reason = factRejected, ReasonRejected
	}
	return f, at, nil
}

// recount counts a decision that was counted before, from its record.
func recount(t *approval.Tally, kind factKind, digest string, d *detail, at time.Time) error {
	vote := approval.Decision{Verdict: approval.Approved, By: d.By, Groups: d.Groups, Reason: d.Message, Digest: digest}
	want := approval.Granted
	switch {
	case d.Reason == ReasonApprovalTimeout.String():
		t.Expire(at)
		return nil
	case kind == factRejected && d.By == "":
		t.Deny(d.Message, at)
		return nil
	case kind == factRejected:
		vote.Verdict, want = approval.Rejected, approval.Denied
	case kind == factVoted:
		want = approval.Open
	}
	state, err := t.Cast(vote, at)
	if err == nil && state != want {
		err = fmt.Errorf("the gate is %s by it, not %s", state, want)
	}
	return err
}
