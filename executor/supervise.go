package executor

import (
	"context"
	"fmt"
	"time"
)

// supervise does what is not a step, until the run has finished. A caller that lends its own goroutine gets it back
// when the run is parked; another one goes on then.
func (r *Run) supervise(lent bool) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	interrupt := r.ctx.Done()
	for {
		t := r.turn()
		r.spawn(t.helper)
		for _, ask := range t.asks {
			begun := make(chan struct{}) // so that requests of one moment go out in plan order
			r.group.Go(func() error {
				close(begun)
				ask()
				return nil
			})
			<-begun
		}
		if t.flush {
			_ = r.flush() // which ends the run when it fails
			continue
		}
		if t.finished {
			break
		}
		if t.parked && lent {
			go r.supervise(false)
			return
		}
		timer.Reset(t.alarm)
		select {
		case <-r.wake:
		case <-timer.C:
		case <-interrupt:
			interrupt = nil
		}
	}
	r.unguard()
	if !r.leaked {
		_ = r.group.Wait() // workers return no errors
		r.executor.pool.put(r.idle)
		r.idle, r.slab = nil, nil
	}
	r.mu.Lock()
	r.final = r.reportLocked(false)
	r.unlock()
	if r.ledger != nil {
		if err := r.config.Journal.Release(r.id); err != nil && r.broken == nil {
			r.broken = fmt.Errorf("journal of run %s: %w", r.id, err)
		}
	}
	if l := r.config.Limits; l != nil && r.final.status != RunInterrupted {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), DefaultGrace)
		_ = l.Finished(ctx, r.id) // at worst a run's worth of what it touched is kept
		cancel()
	}
	r.executor.retire(r.id)
	close(r.done)
}

// A turn is what the supervisor has to do outside the lock.
type turn struct {
	helper   *worker
	asks     []func()      // to be called, each on a goroutine of its own
	alarm    time.Duration // from now
	flush    bool
	parked   bool
	finished bool
}

// turn looks at everything that is not a step.
func (r *Run) turn() turn {
	r.mu.Lock()
	defer r.unlock()
	now := r.emptyLocked(r.now())
	r.overLocked(now)
	r.killLocked(now)
	r.closeLocked(now)
	for {
		i, ok := r.m.nextDue(now)
		if !ok {
			break
		}
		r.applyLocked(fact{kind: factDue, step: i, at: now})
	}

	var t turn
	t.helper = r.helperLocked()
	t.asks = r.askLocked(now)
	r.publishLocked()
	over := r.m.finished() && r.live == 0 && r.probing == 0
	if over || r.m.ended != "" {
		r.unguard()
	}
	if over && r.asking > 0 {
		if r.giveUp == never {
			r.giveUp = now + r.config.Grace
		} else if now >= r.giveUp {
			r.asking, r.leaked, r.giveUp = 0, true, never
		}
	}
	over = over && r.asking == 0
	settled := r.ledger == nil || r.ledger.settled()
	r.parkLocked(r.m.idle() && r.asking == 0 && settled, now)
	if over && !r.toldEnd {
		r.toldEnd = true
		if status := r.m.status(); r.ledger != nil && status != RunInterrupted && r.broken == nil {
			r.ledger.add(entry{kind: recordFinished, time: r.startedAt.Add(now), data: &detail{At: now, Status: string(status)}})
			settled = false
		}
		e := remarks{kind: EventRunFinished, status: string(r.m.status())}
		if r.m.cut == ReasonInterrupted {
			e.err = r.why.interrupted
		} else {
			e.message = r.why.message(r.m.cut)
		}
		r.tellLocked(e, now)
	}
	t.flush = !settled && (over || r.m.idle())
	t.finished, t.parked = over && !t.flush && r.quietLocked(), r.isParked
	r.awake = false
	r.timerAt = r.alarmLocked()
	t.alarm = r.timerAt - now
	return t
}

// killLocked abandons the handlers that went on for the whole grace.
func (r *Run) killLocked(now time.Duration) {
	if now < r.nextKill {
		return
	}
	r.nextKill = never
	for w := r.busy; w != nil; {
		next := w.next
		if now >= w.killAt {
			r.leaked, w.abandoned = true, true
			r.unlinkLocked(w)
			w.attempt.end(timedOut)
			step := w.attempt.step
			r.noteLocked(step, outcome{err: fmt.Errorf("the handler went on for %v after its context had ended, and was abandoned", r.config.Grace)})
			if w.attempt.undoing {
				r.applyLocked(fact{kind: factUndoEnded, step: step, at: now, status: RollbackFailed, reason: ReasonAbandoned})
			} else {
				r.applyLocked(fact{kind: factEnded, step: step, at: now, status: Unknown, reason: ReasonAbandoned, effect: mark(w.attempt.mayHaveBegunYet(), false)})
			}
		} else {
			r.nextKill = min(r.nextKill, w.killAt)
		}
		w = next
	}
}

// parkLocked keeps parked in step with idle. Observers are told before waiters are let go.
func (r *Run) parkLocked(idle bool, now time.Duration) {
	switch {
	case !idle:
		r.unparkLocked()
	case !r.toldPark && r.m.recording:
		r.toldPark = true
		r.tellLocked(remarks{kind: EventRunParked, status: string(RunParked)}, now)
		r.quietLocked()
	case !r.isParked && r.quietLocked():
		r.isParked = true
		close(r.parked)
	}
}

func (r *Run) unparkLocked() {
	r.toldPark = false
	if r.isParked {
		r.isParked, r.parked = false, make(chan struct{})
	}
}
