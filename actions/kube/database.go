package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/remedykit/remedy/actions"
)

// repair runs a repair of the site's. That of deadlocks is built in for PostgreSQL.
type repair struct{ command }

const terminateDeadlocks = "terminate_deadlocks"

// builtIn tells whether the site leaves deadlocks to this package.
func (h *repair) builtIn(req *actions.Request) bool {
	_, own := h.c.commands[h.key(req)]
	return req.Parameters.String("repairType") == terminateDeadlocks && !own
}

func (h *repair) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if err := h.ready(req); err != nil {
		return nil, err
	}
	var kept []actions.Artifact
	if req.Parameters.Bool("backupBeforeRepair") {
		copied, err := (&backup{h.c}).database(ctx, req, "before_repair_"+req.Step)
		if err != nil {
			return nil, fmt.Errorf("the backup before the repair failed, and nothing was repaired: %w", err)
		}
		kept = copied.Artifacts
	}
	r, err := h.mend(ctx, req)
	if r != nil {
		r.Artifacts = kept
	}
	return r, err
}

// ready says what is not configured.
func (h *repair) ready(req *actions.Request) error {
	if req.Parameters.Bool("backupBeforeRepair") {
		if _, err := h.c.configured("backup_data"); err != nil {
			return err
		}
		if err := h.c.stored(); err != nil {
			return err
		}
	}
	if h.builtIn(req) {
		return nil
	}
	_, err := h.c.configured(h.key(req))
	return err
}

// mend repairs, by the site's command or by ending sessions.
func (h *repair) mend(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if !h.builtIn(req) {
		return h.command.Execute(ctx, req)
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return nil, err
	}
	victims, err := h.victims(ctx, req, p)
	if err != nil {
		return nil, err
	}
	if len(victims) == 0 {
		if err := req.Begin(ctx, nil); err != nil {
			return nil, err
		}
		return &actions.Result{Message: "no session blocks others"}, nil
	}
	var told []any
	for _, v := range victims {
		told = append(told, v.String())
	}
	undo := &actions.Undo{Summary: "nothing: ended sessions do not come back", State: map[string]any{"uid": string(p.pod.UID), "sessions": told}}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	ended, failed := []any{}, []error(nil)
	for _, v := range victims {
		was, err := h.end(ctx, req, p, v)
		if was {
			ended = append(ended, v.String())
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%v: %w", v, err))
			if ctx.Err() != nil || actions.IsTransient(err) { // which the next would meet too
				break
			}
		}
	}
	if failed != nil {
		return nil, fmt.Errorf("%d of %d sessions that blocked others were ended: %w", len(ended), len(victims), errors.Join(failed...))
	}
	r := &actions.Result{Message: fmt.Sprintf("ended %d sessions that blocked others", len(ended)), Outputs: map[string]any{"sessions": ended}}
	if n := len(victims) - len(ended); n > 0 {
		r.Message += fmt.Sprintf("; %d had ended by themselves", n)
	}
	return r, nil
}

// end ends a session, and tells whether it was this that ended it. One that is gone is no failure.
func (h *repair) end(ctx context.Context, req *actions.Request, p place, v *session) (bool, error) {
	// The start of the session goes with its number, which may have become another's. It is waited for: until it is gone it blocks.
	it := fmt.Sprintf(" FROM pg_stat_activity WHERE pid = %d AND extract(epoch FROM backend_start)::text = '%s'", v.pid, v.began)
	out, err := h.psql(ctx, req, p, "SELECT pg_terminate_backend(pid, 10000)"+it)
	if err != nil || out != "f" {
		return out == "t", err
	}
	if out, err = h.psql(ctx, req, p, "SELECT pid"+it); err != nil || out == "" { // no is also said of one that ended just then
		return false, err
	}
	return false, actions.Permanent(errors.New("it was told to end, and goes on after 10s"))
}

// DryRun says which sessions would be ended.
func (h *repair) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if err := h.ready(req); err != nil {
		return nil, err
	}
	if !h.builtIn(req) {
		return h.command.DryRun(ctx, req)
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return nil, err
	}
	victims, err := h.victims(ctx, req, p)
	if err != nil {
		return nil, err
	}
	preview := &actions.Preview{Verdict: actions.Verified}
	for _, v := range victims {
		preview.Change = append(preview.Change, "end "+v.String())
	}
	return preview, nil
}

// Probe tells whether nobody blocks others any more.
func (h *repair) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if !h.builtIn(req) || req.Begun == nil {
		return h.command.Probe(ctx, req)
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	victims, err := h.victims(ctx, req, p)
	switch {
	case err != nil:
		return actions.OutcomeUnknown, err
	case len(victims) == 0:
		return actions.OutcomeHappened, nil
	}
	return actions.OutcomeDidNotHappen, nil // what is ended now blocks now
}

// A session of a database.
type session struct {
	pid      int64
	began    string // in seconds, as PostgreSQL writes it
	age      float64
	seconds  float64 // that others wait for it
	waiters  int
	program  string
	blockers []int64
}

func (s *session) String() string {
	return fmt.Sprintf("session %d (%s), for which %d wait since %.0fs", s.pid, s.program, s.waiters, s.seconds)
}

// locks are the sessions that wait for a lock, and those that they wait for.
const locks = `SELECT a.pid, extract(epoch FROM a.backend_start)::text, coalesce(extract(epoch FROM now() - a.xact_start), 0),
 coalesce(extract(epoch FROM now() - a.state_change), 0), array_to_string(pg_blocking_pids(a.pid), ','), translate(left(a.application_name, 40), E'\n\r\t', '   ')
 FROM pg_stat_activity a WHERE coalesce(a.backend_type, 'client backend') = 'client backend' AND a.pid <> pg_backend_pid()`

// victims are the sessions to end: those that wait for nobody and make others wait, and of those that wait for each other in a
// circle the one whose transaction is youngest.
func (h *repair) victims(ctx context.Context, req *actions.Request, p place) ([]*session, error) {
	out, err := h.psql(ctx, req, p, locks)
	if err != nil {
		return nil, err
	}
	all := map[int64]*session{}
	waits := map[int64]float64{}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 6 {
			continue
		}
		s := &session{began: f[1], program: cmp.Or(f[5], "unnamed")}
		s.pid, _ = strconv.ParseInt(f[0], 10, 64)
		s.age, _ = strconv.ParseFloat(f[2], 64)
		waits[s.pid], _ = strconv.ParseFloat(f[3], 64)
		for pid := range strings.SplitSeq(f[4], ",") {
			if n, err := strconv.ParseInt(pid, 10, 64); err == nil {
				s.blockers = append(s.blockers, n)
			}
		}
		all[s.pid] = s
	}
	for _, waiter := range all {
		for _, pid := range waiter.blockers {
			if b := all[pid]; b != nil {
				b.waiters++
				b.seconds = max(b.seconds, waits[waiter.pid])
			}
		}
	}
	var victims []*session
	seen := map[int64]bool{}
	for _, pid := range slices.Sorted(maps.Keys(all)) {
		s := all[pid]
		switch {
		case s.began == "" && s.waiters > 0: // PostgreSQL tells only some roles about the sessions of others
			return nil, actions.Permanent(fmt.Errorf("session %d makes %d wait, and the role that psql uses may not see since when: "+
				"grant it pg_read_all_stats and pg_signal_backend", s.pid, s.waiters))
		case s.waiters == 0 || s.seconds < h.c.blockedFor.Seconds() || seen[pid]:
		case len(s.blockers) == 0:
			victims = append(victims, s)
		default:
			if circle := circleOf(all, pid); circle != nil {
				for _, one := range circle {
					seen[one.pid] = true
				}
				victims = append(victims, slices.MinFunc(circle, func(a, b *session) int { return cmp.Or(cmp.Compare(a.age, b.age), cmp.Compare(a.pid, b.pid)) }))
			}
		}
	}
	return victims, nil
}

// circleOf are the sessions on a way from one through those it waits for back to itself; nil when there is none.
func circleOf(all map[int64]*session, from int64) []*session {
	var path []*session
	visited := map[int64]bool{}
	var walk func(pid int64) bool
	walk = func(pid int64) bool {
		s := all[pid]
		if s == nil || visited[pid] {
			return false
		}
		visited[pid] = true
		path = append(path, s)
		for _, next := range s.blockers {
			if next == from || walk(next) {
				return true
			}
		}
		path = path[:len(path)-1]
		return false
	}
	if walk(from) {
		return path
	}
	return nil
}

// psql runs a query that this package wrote.
func (h *repair) psql(ctx context.Context, req *actions.Request, p place, query string) (string, error) {
	args := []string{"psql"}
	if own, ok := h.c.commands["psql"]; ok {
		var err error
		if args, err = arguments(own.Args, own.Env, req); err != nil {
			return "", err
		}
	}
	return h.c.output(ctx, p, append(args, "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", query)...)
}
