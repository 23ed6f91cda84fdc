package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/executor/journal"
)

// The kinds of records. Each is a fact that the machine was told, but for the first and the last.
const (
	recordBegun    = "runBegun"
	recordFinished = journal.KindFinished
)

// factNames are the kinds of the records of facts; a fact without a name follows from others and is not kept.
var factNames = [...]string{
	factStarted: "stepStarted", factEnded: "stepEnded", factAsked: "approvalAsked", factApproved: "approvalGranted",
	factRejected: "approvalDenied", factVoted: "approvalVoted", factEscalated: "approvalEscalated", factAnnounced: "approvalAnnounced", factVoided: "approvalVoided",
	factHalted: "runHalted", factRetry: "retryScheduled", factDue: "", factDoubted: "outcomeDoubted",
	factBegun: "effectBegun", factUndoStarted: "undoStarted", factUndoEnded: "undoEnded", factRollback: "rollbackBegun",
	factRollbackOver: "rollbackExpired", factResumed: "runResumed", factRefused: "stepRefused",
}

// detail is the Data of a record.
type detail struct {
	// At counts from the start of the run, in nanoseconds.
	At       time.Duration `json:"at"`
	Status   string        `json:"status,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Begun    bool          `json:"begun,omitempty"`
	Harmless bool          `json:"harmless,omitempty"`
	Until    time.Duration `json:"until,omitempty"`
	// Message is an error, or what a person said.
	Message string          `json:"message,omitempty"`
	Result  *actions.Result `json:"result,omitempty"`
	Undo    *actions.Undo   `json:"undo,omitempty"`
	By      string          `json:"by,omitempty"`
	Groups  []string        `json:"groups,omitempty"`
	Digest  string          `json:"digest,omitempty"`
	Expires *time.Time      `json:"expires,omitempty"`
	Receipt string          `json:"receipt,omitempty"`
	// Preview and Touches are what was found of the step when it was asked about, Gate what it asks for when that is not as the
	// run began.
	Preview *actions.Preview `json:"preview,omitempty"`
	Touches []actions.Touch  `json:"touches,omitempty"`
	Gate    *gateRecord      `json:"gate,omitempty"`

	err error // whose text is Message
}

// A ledger writes the records of one run. Whoever needs a record durable flushes it together with all that were added
// before, so records that arrive together share one append.
type ledger struct {
	journal journal.Journal
	run     string

	mu       sync.Mutex // guards what follows
	done     sync.Cond  // of a flush
	pending  []entry
	epoch    int64
	seq      int64 // of the last that was added
	durable  int64
	hash     string // of the last that is durable
	flushing bool
	err      error // after which nothing is written any more
}

// An entry is a record that is not written yet.
type entry struct {
	kind    string
	step    string
	attempt int
	time    time.Time
	data    any
}

func newLedger(j journal.Journal, run string) *ledger {
	l := &ledger{journal: j, run: run, epoch: 1}
	l.done.L = &l.mu
	return l
}

// add appends a record to those that wait to be written.
func (l *ledger) add(e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, e)
	l.seq++
}

// settled tells whether all that was added is durable, or never will be.
func (l *ledger) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable == l.seq || l.err != nil
}

// flush returns when all that was added before is durable.
func (l *ledger) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for upto := l.seq; l.durable < upto && l.err == nil; {
		if l.flushing {
			l.done.Wait()
			continue
		}
		l.flushing = true
		batch, first, hash := l.pending, l.durable+1, l.hash
		l.pending = nil
		l.mu.Unlock()
		hash, err := l.write(batch, first, hash)
		l.mu.Lock()
		l.flushing = false
		if err != nil {
			l.err, l.pending = err, nil
		} else {
			l.durable, l.hash = first+int64(len(batch))-1, hash
		}
		l.done.Broadcast()
	}
	return l.err
}

// write seals and appends records; it is called by one goroutine at a time.
func (l *ledger) write(batch []entry, seq int64, hash string) (string, error) {
	records := make([]journal.Record, len(batch))
	for k, e := range batch {
		r := &records[k]
		*r = journal.Record{
			Run: l.run, Epoch: l.epoch, Seq: seq + int64(k), Time: e.time.UTC().Round(0), Kind: e.kind, Step: e.step, Attempt: e.attempt,
		}
		var err error
		if r.Data, err = encode(e.data); err != nil {
			return "", fmt.Errorf("record %s of run %s: %w", e.kind, l.run, err)
		}
		r.Seal(hash)
		hash = r.Hash
	}
	if err := l.journal.Append(context.Background(), records...); err != nil {
		return "", fmt.Errorf("journal of run %s: %w", l.run, err)
	}
	return hash, nil
}

// encode writes the data of a record. What a handler returned may not survive JSON; then its message alone is kept.
func encode(data any) (out []byte, err error) {
	d, ok := data.(*detail)
	if !ok {
		return json.Marshal(data)
	}
	if d.err != nil && d.Message == "" {
		d.Message = text(d.err)
	}
	if out, err = marshal(d); err != nil && d.Result != nil {
		bare := *d
		bare.Result = &actions.Result{Message: d.Result.Message}
		out, err = marshal(&bare)
	}
	return out, err
}

// marshal is json.Marshal that outlives what it is given.
func marshal(v any) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p}
		}
	}()
	return json.Marshal(v)
}

// applyLocked tells the machine a fact, and the journal.
func (r *Run) applyLocked(f fact) {
	r.m.apply(f)
	if r.ledger != nil || r.m.stopping {
		r.followLocked(f, nil)
	}
}

// applyWithLocked is applyLocked with what else the journal is to know.
func (r *Run) applyWithLocked(f fact, d *detail) {
	r.m.apply(f)
	r.followLocked(f, d)
}

// followLocked does what follows on a fact.
func (r *Run) followLocked(f fact, d *detail) {
	if r.ledger != nil && factNames[f.kind] != "" {
		r.recordLocked(f, d)
	}
	if r.m.stopping {
		r.m.stopping = false
		r.stopLocked(ReasonRunFailed, r.m.now)
	}
}

// recordLocked adds the record of a fact that was just applied.
func (r *Run) recordLocked(f fact, d *detail) {
	if d == nil {
		d = &detail{}
	}
	d.At, d.Until, d.Begun, d.Harmless, d.Reason = r.m.now, f.until, f.effect != notBegun, f.effect == noTrace, f.reason.String()
	e := entry{kind: factNames[f.kind], data: d, time: r.startedAt.Add(r.m.now)}
	switch f.kind {
	case factEnded, factUndoEnded:
		d.Status = f.status.String()
	case factHalted, factResumed, factRollback, factRollbackOver:
		if f.kind == factHalted {
			d.Message = r.why.message(f.reason)
		}
		r.ledger.add(e)
		return
	}
	if f.step != planGate {
		e.step = r.plan.Step(int(f.step)).ID()
		if s := &r.m.steps[f.step]; s.flags&started != 0 {
			e.attempt = int(s.tries)
		}
	}
	r.ledger.add(e)
}

// flush makes durable what was recorded. When that fails the run is not this process's any more, or nobody could go on
// with it: it ends without another effect.
func (r *Run) flush() error {
	if r.ledger == nil {
		return nil
	}
	err := r.ledger.flush()
	if err != nil {
		r.mu.Lock()
		if r.broken == nil {
			r.broken = err
			if !r.m.finished() {
				r.why.interrupted = err
				r.haltLocked(ReasonInterrupted, r.now())
			}
			r.pokeLocked()
		}
		r.unlock()
	}
	return err
}
