package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// An edit is the handler of an action that writes some fields of one object.
type edit struct {
	c    *Cluster
	kind resource
	verb verb
}

// A resource reads and patches objects of one kind.
type resource interface {
	// name is what RBAC calls it.
	name(t schema.Target) (group, resource string)
	get(ctx context.Context, c *Cluster, t schema.Target) (object, error)
	// patch writes fields onto the version of the object that live is.
	patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error)
}

// A verb says which fields an action writes.
type verb interface {
	// want are the fields of a request, for an object as it is.
	want(req *actions.Request, live object) []field
	// check refuses an object that must not be written; it changes nothing.
	check(ctx context.Context, c *Cluster, req *actions.Request, live object) error
	// settle returns once what was written is done; live is the object as it was written.
	settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (message string, err error)
}

// An object is one of the cluster as JSON has it.
type object map[string]any

// A field is a place in an object, and its value; nil for none.
type field struct {
	path  []string
	value any
}

func (o object) at(path ...string) any {
	var v any = map[string]any(o)
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func (o object) uid() string     { s, _ := o.at("metadata", "uid").(string); return s }
func (o object) version() string { s, _ := o.at("metadata", "resourceVersion").(string); return s }

// count is a number of the object; 0 when it has none.
func (o object) count(path ...string) int64 { n, _ := o.at(path...).(int64); return n }

// same tells whether two values are the same JSON.
func same(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// has tells whether fields are in an object.
func (o object) has(fields []field) bool {
	return !slices.ContainsFunc(fields, func(f field) bool { return !same(o.at(f.path...), f.value) })
}

// now are the values that fields have in an object.
func (o object) now(fields []field) []field {
	values := make([]field, len(fields))
	for i, f := range fields {
		values[i] = field{f.path, o.at(f.path...)}
	}
	return values
}

// patchOf is the merge patch that writes fields onto an object in the version that was read.
func patchOf(live object, fields []field) ([]byte, error) {
	patch := map[string]any{"metadata": map[string]any{"resourceVersion": live.version()}}
	for _, f := range fields {
		in := patch
		for _, name := range f.path[:len(f.path)-1] {
			next, ok := in[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				in[name] = next
			}
			in = next
		}
		in[f.path[len(f.path)-1]] = instead(live.at(f.path...), f.value)
	}
	return json.Marshal(patch)
}

// instead is what a merge patch must have so that a value is replaced, not merged.
func instead(old, value any) any {
	m, ok := value.(map[string]any)
	if !ok {
		return value
	}
	was, _ := old.(map[string]any)
	out := map[string]any{}
	for k := range was {
		out[k] = nil
	}
	for k, v := range m {
		out[k] = instead(was[k], v)
	}
	return out
}

// maxShown is how much is shown of a value.
const maxShown = 200

func show(v any) string {
	if v == nil {
		return "unset"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if r := []rune(string(text)); len(r) > maxShown {
		return string(r[:maxShown]) + "…"
	}
	return string(text)
}

// BeginsItself tells the executor that Begin is called with what is needed to undo.
func (e *edit) BeginsItself() bool { return true }

// Execute writes the fields and waits until that is done.
func (e *edit) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	live, err := e.latest(ctx, req)
	if err != nil {
		return nil, err
	}
	if written, err := e.written(ctx, req, live); err != nil || written {
		if err == nil {
			err = req.Begin(ctx, nil)
		}
		if err != nil {
			return nil, err
		}
		message, err := e.verb.settle(ctx, e.c, req, live)
		return &actions.Result{Message: message}, err
	}
	if err := e.check(ctx, req, live); err != nil {
		return nil, err
	}
	want := e.verb.want(req, live)
	if _, ok := e.kind.(defaulted); ok {
		if want, err = e.asWritten(ctx, req, live, want); err != nil {
			return nil, err
		}
	}
	before := live.now(want)
	changes := e.describe(before, want)
	if len(changes) == 0 {
		if err := req.Begin(ctx, nil); err != nil {
			return nil, err
		}
		message, err := e.verb.settle(ctx, e.c, req, live)
		return &actions.Result{Message: "it already was so: " + message}, err
	}
	undo, err := e.undo(ctx, req, live, before, want)
	if err != nil {
		return nil, err
	}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	owner := gitOwner(live)
	check := func(now object) error { return e.check(ctx, req, now) }
	if live, err = e.commit(ctx, req, live, before, want, check); err != nil {
		return nil, err
	}
	message, err := e.verb.settle(ctx, e.c, req, live)
	if err != nil {
		return nil, err
	}
	if owner != "" {
		message += "; " + owner + " may change it back"
	}
	return &actions.Result{Message: message}, nil
}

// Objects of a defaulted kind have more in their fields than was written: the API server fills in what was left out.
type defaulted interface{ defaulted() }

// asWritten are fields as the API server will have them.
func (e *edit) asWritten(ctx context.Context, req *actions.Request, live object, want []field) (after []field, err error) {
	o := e.c.patchOptions()
	o.DryRun = []string{metav1.DryRunAll}
	err = patiently(ctx, func() error {
		written, err := e.kind.patch(ctx, e.c, req.Target, live, want, o)
		if err == nil {
			after = written.now(want)
			return nil
		}
		if now, again := e.kind.get(ctx, e.c, req.Target); again == nil {
			live = now
		}
		return e.explain(err, "patch", req)
	})
	return after, err
}

// A confirming verb looks once more when it has written: others may have written elsewhere at the same moment what it must not meet.
type confirming interface {
	confirm(ctx context.Context, c *Cluster, req *actions.Request) error
}

// commit is writeChecked that takes back at once what must not stay.
func (e *edit) commit(ctx context.Context, req *actions.Request, live object, before, want []field, check func(object) error) (object, error) {
	written, err := e.writeChecked(ctx, req, live, before, want, check)
	if err != nil {
		return nil, err
	}
	if v, ok := e.verb.(confirming); ok {
		if refused := patiently(ctx, func() error { return v.confirm(ctx, e.c, req) }); refused != nil {
			_, err := e.write(ctx, req, written, want, before)
			return nil, errors.Join(refused, err)
		}
	}
	return written, nil
}

// DryRun has the API server check the patch, or works it out where an earlier step would have changed the object.
func (e *edit) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if predicted, ok := req.World().Object(req.Target); ok && predicted != nil {
		want := e.verb.want(req, predicted)
		before := object(predicted).now(want)
		req.World().Predict(req.Target, merged(predicted, want))
		return &actions.Preview{Verdict: actions.Simulated, Change: e.describe(before, want), Basis: e.basis(predicted, before)}, nil
	}
	var p *actions.Preview
	err := patiently(ctx, func() error { // controllers write the object's status all the time
		live, err := e.kind.get(ctx, e.c, req.Target)
		if err != nil {
			return e.explain(err, "get", req)
		}
		if err := e.check(ctx, req, live); err != nil {
			return err
		}
		want := e.verb.want(req, live)
		o := e.c.patchOptions()
		o.DryRun = []string{metav1.DryRunAll}
		after, err := e.kind.patch(ctx, e.c, req.Target, live, want, o)
		if err != nil {
			return e.explain(err, "patch", req)
		}
		req.World().Predict(req.Target, after)
		before := live.now(want)
		p = &actions.Preview{Verdict: actions.Verified, Change: e.describe(before, after.now(want)), Basis: e.basis(live, before)}
		if owner := gitOwner(live); owner != "" {
			p.Change = append(p.Change, "warning: "+owner+" writes it from git, and may change it back")
		}
		return nil
	})
	return p, err
}

// A lenient verb may write what is written from git as well: it changes nothing that git has.
type lenient interface{ lenient() }

// check refuses an object that must not be written, or would be changed back.
func (e *edit) check(ctx context.Context, req *actions.Request, live object) error {
	if live.at("metadata", "labels", controlPlane) != nil {
		return actions.Permanent(fmt.Errorf("%s is a node of the control plane, which only people change", req.Target))
	}
	if err := e.verb.check(ctx, e.c, req, live); err != nil {
		return err
	}
	owner := gitOwner(live)
	if _, ok := e.verb.(lenient); ok || owner == "" || req.Parameters.Bool("force") {
		return nil
	}
	return actions.Permanent(fmt.Errorf("%s is written from git by %s, which would change it back: change it there, as update_git_manifests does", req.Target, owner))
}

// A waiting verb is done some time after its fields were written.
type waiting interface {
	waits(req *actions.Request) bool
}

// Probe tells whether the fields are as the step wanted them when it began, else as it wants them now.
func (e *edit) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	live, err := e.read(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	happened := live.has(e.verb.want(req, live))
	if req.Begun != nil {
		if happened, err = e.written(ctx, req, live); err != nil {
			return actions.OutcomeUnknown, err
		}
	}
	v, waits := e.verb.(waiting)
	switch {
	case !happened:
		return actions.OutcomeDidNotHappen, nil
	case waits && v.waits(req):
		return actions.OutcomeUnfinished, nil
	}
	return actions.OutcomeHappened, nil
}

// written tells whether the object has what an attempt before this one began to write.
func (e *edit) written(ctx context.Context, req *actions.Request, live object) (bool, error) {
	if req.Begun == nil {
		return false, nil
	}
	plain, err := e.c.unseal(ctx, req.Begun.State)
	if err != nil {
		return false, err
	}
	uid, _, after, err := restore(plain)
	if err != nil {
		return false, err
	}
	if uid != live.uid() {
		return false, actions.Permanent(fmt.Errorf("%s was deleted and made again meanwhile", req.Target))
	}
	return live.has(after), nil
}

// A disturbing verb takes replicas away.
type disturbing interface {
	disturbs(req *actions.Request, live object) (replicas, of int)
}

// Footprint is the object itself.
func (e *edit) Footprint(ctx context.Context, req *actions.Request) ([]actions.Touch, error) {
	touch := actions.Touch{Target: req.Target}
	if v, ok := e.verb.(disturbing); ok {
		live, err := e.latest(ctx, req)
		if err != nil {
			return nil, err
		}
		touch.Replicas, touch.Of = v.disturbs(req, live)
	}
	return []actions.Touch{touch}, nil
}

// write patches an object until its fields are as wanted. An answer that got lost, and a change of something else, are
// looked into; nobody else's change of the fields is overwritten.
func (e *edit) write(ctx context.Context, req *actions.Request, live object, before, want []field) (object, error) {
	return e.writeChecked(ctx, req, live, before, want, nil)
}

// writeChecked is write that has an object checked again which is not as it was any more. A nil check refuses nothing.
func (e *edit) writeChecked(ctx context.Context, req *actions.Request, live object, before, want []field, check func(object) error) (written object, err error) {
	checked := live
	err = patiently(ctx, func() error {
		if live == nil {
			now, err := e.kind.get(ctx, e.c, req.Target)
			if err != nil {
				return e.explain(err, "get", req)
			}
			live = now
		}
		if written = live; live.has(want) {
			return nil
		}
		if !live.has(before) {
			return actions.Permanent(fmt.Errorf("%s was changed meanwhile: %s", req.Target, strings.Join(e.describe(before, live.now(want)), ", ")))
		}
		if check != nil && live.version() != checked.version() {
			if err := check(live); err != nil {
				return err
			}
			checked = live
		}
		uid := live.uid()
		if written, err = e.kind.patch(ctx, e.c, req.Target, live, want, e.c.patchOptions()); err == nil {
			return nil
		}
		now, again := e.kind.get(ctx, e.c, req.Target)
		switch {
		case again != nil:
			live = nil // it is read again when the server answers
		case now.uid() != uid:
			return actions.Permanent(fmt.Errorf("%s was deleted and made again meanwhile", req.Target))
		default:
			live = now
		}
		return e.explain(err, "patch", req)
	})
	if err == nil {
		_, resource := e.kind.name(req.Target)
		e.c.wrote(resource, req.Target, written)
	}
	return written, err
}

func (e *edit) explain(err error, verb string, req *actions.Request) error {
	_, resource := e.kind.name(req.Target)
	if verb == "get" {
		resource = whole(resource)
	}
	return explain(err, verb, resource, req.Target)
}

// whole is the resource of which one may be a part, as deployments/scale is: the part is written, and the whole is read.
func whole(resource string) string {
	name, _, _ := strings.Cut(resource, "/")
	return name
}

func (e *edit) rights(t *actions.Task) []Right {
	group, resource := e.kind.name(t.Target)
	all := append(rightsTo("get", group, whole(resource), t.Target.Namespace, t.Target.Name), rightsTo("patch", group, resource, t.Target.Namespace, t.Target.Name)...)
	if more, ok := e.verb.(interface{ rights(t *actions.Task) []Right }); ok {
		all = append(all, more.rights(t)...)
	}
	if _, ok := e.verb.(interface{ seals() }); ok { // what it replaces may be secret
		all = append(all, e.c.sealRights(t.Target.Namespace)...)
	}
	return all
}

// latest is the object as an open watch shows it, when there is something to write onto that version; else it is read.
func (e *edit) latest(ctx context.Context, req *actions.Request) (object, error) {
	if watched, ok := e.kind.(interface {
		seen(c *Cluster, t schema.Target) object
	}); ok {
		if live := watched.seen(e.c, req.Target); live != nil && !live.has(e.verb.want(req, live)) {
			return live, nil
		}
	}
	return e.read(ctx, req)
}

func (e *edit) read(ctx context.Context, req *actions.Request) (live object, err error) {
	err = patiently(ctx, func() error {
		if live, err = e.kind.get(ctx, e.c, req.Target); err != nil {
			return e.explain(err, "get", req)
		}
		return nil
	})
	return live, err
}

func (c *Cluster) patchOptions() metav1.PatchOptions {
	return metav1.PatchOptions{FieldManager: c.fieldManager, FieldValidation: metav1.FieldValidationStrict}
}

// merged is an object with fields written into it.
func merged(o map[string]any, fields []field) map[string]any {
	for _, f := range fields {
		o = with(o, f.path, f.value)
	}
	return o
}

// with is a copy of an object that has a value at a path.
func with(o map[string]any, path []string, value any) map[string]any {
	out := maps.Clone(o)
	if out == nil {
		out = map[string]any{}
	}
	switch {
	case len(path) > 1:
		inner, _ := o[path[0]].(map[string]any)
		out[path[0]] = with(inner, path[1:], value)
	case value == nil:
		delete(out, path[0])
	default:
		out[path[0]] = value
	}
	return out
}
