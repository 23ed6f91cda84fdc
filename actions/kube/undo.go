package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/remedykit/remedy/actions"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// aftermath is where an undo has what follows from it.
const aftermath = "then"

// undo is what puts the fields back.
func (e *edit) undo(ctx context.Context, req *actions.Request, live object, before, want []field) (*actions.Undo, error) {
	if v, ok := e.verb.(interface{ forgets() bool }); ok && v.forgets() { // nobody wants the former values to be anywhere
		before = make([]field, len(want))
	}
	u := &actions.Undo{State: state(live, before, want)}
	if !e.hidesAny(before) && !e.hidesAny(want) {
		u.Summary = "put " + strings.Join(e.describe(want, before), ", ") + " back on " + req.Target.String()
		if v, ok := e.verb.(interface{ aftermath(live object) string }); ok {
			if then := v.aftermath(live); then != "" {
				u.Summary, u.State[aftermath] = u.Summary+"; "+then, then
			}
		}
		return u, nil
	}
	paths := make([]string, len(want))
	for i, f := range want {
		paths[i] = strings.Join(f.path, ".")
	}
	u.Summary = "put the former " + strings.Join(paths, ", ") + " back on " + req.Target.String()
	var err error
	u.State, err = e.c.seal(ctx, req, live, u.State)
	return u, err
}

// Compensate changes back what still is as it was written.
func (e *edit) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo == nil {
		return nil
	}
	live, err := e.read(ctx, req)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s is gone: %w", req.Target, actions.ErrDrift)
	}
	if err != nil {
		return err
	}
	if live.uid() != undo.State["uid"] { // what was sealed beside it has gone with it
		return fmt.Errorf("%s was deleted and made again: %w", req.Target, actions.ErrDrift)
	}
	plain, err := e.c.unseal(ctx, undo.State)
	if err != nil {
		return err
	}
	uid, before, after, err := restore(plain)
	if err != nil {
		return err
	}
	if live.uid() != uid {
		return fmt.Errorf("%s was deleted and made again: %w", req.Target, actions.ErrDrift)
	}
	var from, to []field
	var drifted []string
	for i := range after {
		switch now := live.at(after[i].path...); {
		case same(now, after[i].value):
			from, to = append(from, after[i]), append(to, before[i])
		case !same(now, before[i].value):
			hidden, _ := e.hides(after[i].path)
			drifted = append(drifted, fmt.Sprintf("%s is %s, not %s", strings.Join(after[i].path, "."), shown(now, hidden), shown(after[i].value, hidden)))
		}
	}
	if len(to) > 0 {
		if live, err = e.write(ctx, req, live, from, to); err != nil {
			return err
		}
		if _, err := e.verb.settle(ctx, e.c, req, live); err != nil {
			return err
		}
	}
	if req.Target.Kind == "ConfigMap" || req.Target.Kind == "Secret" { // also when it was put back before, by a process that died then
		if err := e.c.rollReaders(ctx, req, undo); err != nil {
			return err
		}
	}
	if drifted != nil {
		return fmt.Errorf("%s: %s: %w", req.Target, strings.Join(drifted, ", "), actions.ErrDrift)
	}
	return nil
}

// state is what a rollback needs.
func state(live object, before, after []field) map[string]any {
	var fields []any
	for i := range after {
		fields = append(fields, map[string]any{"path": after[i].path, "before": before[i].value, "after": after[i].value})
	}
	return map[string]any{"uid": live.uid(), "fields": fields}
}

func restore(state map[string]any) (uid string, before, after []field, err error) {
	data, err := json.Marshal(state)
	if err != nil {
		return "", nil, nil, err
	}
	var s struct {
		UID    string `json:"uid"`
		Fields []struct {
			Path          []string `json:"path"`
			Before, After any
		} `json:"fields"`
	}
	if err := json.Unmarshal(data, &s); err != nil || s.UID == "" || len(s.Fields) == 0 {
		return "", nil, nil, actions.Permanent(fmt.Errorf("what was kept for the rollback cannot be read: %w", err))
	}
	for _, f := range s.Fields {
		if len(f.Path) == 0 {
			return "", nil, nil, actions.Permanent(fmt.Errorf("what was kept for the rollback names no field"))
		}
		before, after = append(before, field{f.Path, f.Before}), append(after, field{f.Path, f.After})
	}
	return s.UID, before, after, nil
}
