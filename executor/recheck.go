package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
)

// A finding is what was found of a step before it is asked about.
type finding struct {
	preview *actions.Preview
	touches []actions.Touch
}

// A voided question is asked anew, and says why.
type voided struct {
	why    string
	rounds int // how often that happened
}

// mostRounds is how often a question is asked anew. What changes that often is not for people to decide.
const mostRounds = 16

// looks tells whether anything can be found of a step in advance.
func (r *Run) looks(i int32) bool {
	h := r.handlers[r.info[i].action]
	return h.dryRunner != nil || h.footprinter != nil
}

// predictedLocked is what the dry run of the whole plan found of a step that is asked about before its time; nil for others.
func (r *Run) predictedLocked(i int32) *finding {
	if r.rehearsed == nil || r.m.gate[i].ready {
		return nil
	}
	s := &r.rehearsed.steps[i]
	return &finding{preview: s.preview}
}

// find looks at what a step is about, before people are asked.
func (r *Run) find(i int32) {
	f := r.look(r.ctx, i)
	r.mu.Lock()
	if r.asking > 0 {
		r.asking--
	}
	if r.findings == nil {
		r.findings = map[int32]*finding{}
	}
	r.findings[i] = f
	r.m.asks = append(r.m.asks, i)
	r.pokeLocked()
	r.unlock()
}

// look asks a handler what a step would do to the world as it is. What it cannot say is left out: that keeps nobody from
// being asked.
func (r *Run) look(ctx context.Context, i int32) *finding {
	f, h := &finding{}, r.handlers[r.info[i].action]
	req := &actions.Request{Task: r.plan.Step(int(i)).Task(), Run: r.id, Attempt: 1, Conductor: &rehearsal{}}
	limit := min(r.info[i].timeout, lookTimeout)
	if h.dryRunner != nil {
		p, err := dryRun(ctx, h.dryRunner, req, limit, r.config.Grace)
		switch {
		case err != nil:
			f.preview = &actions.Preview{Verdict: actions.Unverifiable, Change: []string{"the dry run says: " + text(r.secrets.err(err))}}
		case p != nil:
			f.preview = r.secrets.preview(p)
		}
	}
	if h.footprinter != nil {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		func() {
			defer func() { _ = recover() }()
			f.touches, _ = h.footprinter.Footprint(ctx, req)
		}()
	}
	return f
}

// lookTimeout bounds how long people wait to be asked because a handler is slow to say what it would do.
const lookTimeout = 30 * time.Second

// basisDigest binds a decision to the object as it was found.
func basisDigest(digest string, p *actions.Preview) string {
	if p == nil || len(p.Basis) == 0 {
		return digest
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\nfound\n", digest)
	for _, field := range slices.Sorted(maps.Keys(p.Basis)) {
		fmt.Fprintf(h, "%q=%q\n", field, p.Basis[field])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// changed says which fields of an object are not as they were found; "" when all are.
func changed(was, now *actions.Preview) string {
	if was == nil || now == nil || now.Verdict == actions.Unverifiable && len(now.Basis) == 0 {
		return ""
	}
	var all []string
	for _, field := range slices.Sorted(maps.Keys(was.Basis)) {
		value, ok := now.Basis[field]
		switch {
		case !ok:
			all = append(all, fmt.Sprintf("%s was %s and is gone", field, was.Basis[field]))
		case value != was.Basis[field]:
			all = append(all, fmt.Sprintf("%s was %s and is %s now", field, was.Basis[field], value))
		}
	}
	for _, field := range slices.Sorted(maps.Keys(now.Basis)) {
		if _, ok := was.Basis[field]; !ok {
			all = append(all, fmt.Sprintf("%s is %s now", field, now.Basis[field]))
		}
	}
	return strings.Join(all, ", ")
}

// voidLocked has a step asked about anew, because what it was asked about has changed.
func (r *Run) voidLocked(i int32, v *staleError, now time.Duration) {
	r.keepVoid(i, v.why)
	d := &detail{Message: v.why}
	if v.gate != nil {
		record := recordOf(*v.gate)
		d.Gate = &record
		r.regate(i, *v.gate)
	}
	if a := r.asks[i]; a != nil {
		a.tally.Withdraw(v.why, r.startedAt.Add(now))
		r.updateLocked(a, now)
	}
	r.forgetAskLocked(i)
	r.applyWithLocked(fact{kind: factVoided, step: i, at: now}, d)
	r.m.closing = true
}

// keepVoid keeps why a question is asked anew, and that it has been.
func (r *Run) keepVoid(i int32, why string) {
	if r.void == nil {
		r.void = map[int32]voided{}
	}
	r.void[i] = voided{why, r.void[i].rounds + 1}
}

// A staleError withholds an effect because what people said yes to is not so any more.
type staleError struct {
	why  string
	gate *approval.Gate // what it asks for now; nil when that is as before
}

func (e *staleError) Error() string { return "what was approved has changed: " + e.why }

// recheck looks again, now that the step's time has come, at what people were asked about and at what the policy says.
func (a *attempt) recheck() error {
	r, i := a.run, a.step
	r.mu.Lock()
	ask, gate, rounds := r.asks[i], r.gateLocked(i), r.void[i].rounds
	again := r.m.steps[i].flags&(unsure|doubted) != 0 // what is found may be what an attempt before this one did
	r.unlock()
	stale := func(why string, gate *approval.Gate) error {
		if rounds >= mostRounds {
			return actions.Permanent(fmt.Errorf("it was asked about %d times, and still changes: %s", rounds+1, why))
		}
		return &staleError{why, gate}
	}
	policy := r.config.Policy
	if policy.Timed() {
		now, err := policy.Gate(r.plan, int(i), r.options.Confidence, time.Now())
		if err != nil {
			return err
		}
		if now.Required && (!gate.Required || !gate.Terms.Cover(now.Terms)) {
			return stale("the policy asks for more now: "+strings.Join(now.Reasons, "; "), &now)
		}
	}
	if h := a.handler(); policy.Bounds() && h.footprinter != nil {
		touches, err := h.footprinter.Footprint(a, &a.req)
		if err != nil {
			return err
		}
		if err := policy.Exceeds(touches); err != nil {
			return err
		}
	}
	if ask == nil || again || ask.req.Preview == nil || len(ask.req.Preview.Basis) == 0 {
		return nil
	}
	if why := changed(ask.req.Preview, r.look(a, i).preview); why != "" {
		return stale(why, nil)
	}
	return nil
}
