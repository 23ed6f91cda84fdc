package executor

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
)

// secrets are the values of parameters that their Spec marks secret, the longest first. They are hidden in all that a
// handler says: error, result and the summary of an undo.
type secrets []string

// shortestSecret is the length of the values that are hidden, in bytes: shorter ones would be found everywhere.
const shortestSecret = 4

const hidden = "[secret]"

// add collects the secret values of a step.
func (s secrets) add(step *dag.Step) secrets {
	for _, q := range step.Spec().Parameters {
		if q.Secret {
			s = s.collect(step.Parameters().Get(q.Name))
		}
	}
	return s
}

func (s secrets) collect(v any) secrets {
	switch v := v.(type) {
	case nil:
	case string:
		if len(v) >= shortestSecret && !slices.Contains(s, v) {
			s = append(s, v)
			slices.SortStableFunc(s, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
		}
	case []any:
		for _, e := range v {
			s = s.collect(e)
		}
	case map[string]any:
		for _, e := range v {
			s = s.collect(e)
		}
	default:
		s = s.collect(plain(v))
	}
	return s
}

// plain is a value as JSON knows it, without types of its own; nil when JSON cannot say it.
func plain(v any) (out any) {
	data, err := marshal(v)
	if err != nil || json.Unmarshal(data, &out) != nil {
		return nil
	}
	switch out.(type) {
	case string, []any, map[string]any:
		return out
	}
	return nil
}

func (s secrets) hide(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}

// hideIn hides in all strings of a value as JSON knows it, which it may change.
func (s secrets) hideIn(v any) any {
	switch v := v.(type) {
	case string:
		return s.hide(v)
	case []any:
		for i := range v {
			v[i] = s.hideIn(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, e := range v {
			out[s.hide(key)] = s.hideIn(e)
		}
		return out
	}
	return v
}

// result is what may be told of a result.
func (s secrets) result(r *actions.Result) *actions.Result {
	if len(s) == 0 || r == nil {
		return r
	}
	out := &actions.Result{Message: s.hide(r.Message), Artifacts: slices.Clone(r.Artifacts)}
	if all, ok := plain(r.Outputs).(map[string]any); ok {
		out.Outputs, _ = s.hideIn(all).(map[string]any)
	}
	for i := range out.Artifacts {
		a := &out.Artifacts[i]
		a.Name, a.URI = s.hide(a.Name), s.hide(a.URI)
	}
	return out
}

// preview is what may be told of a preview.
func (s secrets) preview(p *actions.Preview) *actions.Preview {
	if len(s) == 0 || p == nil {
		return p
	}
	out := &actions.Preview{Verdict: p.Verdict, Change: slices.Clone(p.Change), Basis: maps.Clone(p.Basis)}
	for i := range out.Change {
		out.Change[i] = s.hide(out.Change[i])
	}
	for field := range out.Basis {
		out.Basis[field] = s.hide(out.Basis[field])
	}
	return out
}

// err is what may be told of an error.
func (s secrets) err(err error) error {
	if len(s) == 0 || err == nil {
		return err
	}
	return &discreetError{err, s}
}

// undo is what may be told of an undo. Its state must stay whole, so one that holds a secret cannot be kept.
func (s secrets) undo(u *actions.Undo) (out *actions.Undo, err error) {
	if len(s) == 0 || u == nil {
		return u, nil
	}
	if state := plain(u.State); s.in(state) {
		err = errors.New("the state to undo with holds a secret parameter, and would be kept in the journal: " +
			"keep the secret where secrets are kept, and say in the state where")
	}
	told := *u
	told.Summary = s.hide(u.Summary)
	return &told, err
}

// in tells whether a secret is in a value as JSON knows it.
func (s secrets) in(v any) bool {
	switch v := v.(type) {
	case string:
		return s.hide(v) != v
	case []any:
		return slices.ContainsFunc(v, s.in)
	case map[string]any:
		for key, e := range v {
			if s.in(key) || s.in(e) {
				return true
			}
		}
	}
	return false
}

// discreetError says what an error says, but for secrets. It is asked late, as errors of handlers are.
type discreetError struct {
	error
	secrets secrets
}

func (e *discreetError) Error() string { return e.secrets.hide(text(e.error)) }
func (e *discreetError) Unwrap() error { return e.error }
