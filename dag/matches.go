package dag

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// Matches tells whether an archive is of a plan that does the same, under Specs that mean the same: nil when it is. Prose
// may differ, and so may labels, notes, confidence and expected durations. Otherwise the error has a line for each part
// that differs, such as "step rec-003: parameter replicas is 5, was 3". Of a secret parameter it only says that it
// differs.
func (p *Plan) Matches(data []byte) error {
	a, err := readArchive(data)
	if err != nil {
		return err
	}
	return p.matches(a)
}

func (p *Plan) matches(a *archive) error {
	var d differences
	was := make(map[string]int, len(a.Steps))
	for i := range a.Steps {
		was[a.Steps[i].ID] = i
	}
	for i := range p.steps {
		if k, ok := was[p.steps[i].task.Step]; ok {
			p.compareStep(&d, i, &a.Steps[k])
		} else {
			d.add("step %s was not there", p.steps[i].task.Step)
		}
	}
	for i := range a.Steps {
		if _, ok := p.index[a.Steps[i].ID]; !ok {
			d.add("%s is not there any more", a.called(i))
		}
	}
	if a.ApprovalRequired != p.approvalRequired {
		d.differs("the plan: approvalRequired", p.approvalRequired, a.ApprovalRequired)
	}
	p.compareSpecs(&d, a)
	if len(d) == 0 && a.Digest != p.digest {
		inOrder := len(a.Steps) == len(p.steps)
		for i := 0; inOrder && i < len(p.steps); i++ {
			inOrder = p.steps[i].task.Step == a.Steps[i].ID
		}
		if inOrder {
			d.add("the digest is %s, was %s", p.digest, wording.Quote(a.Digest))
		} else {
			d.add("the steps stand in another order")
		}
	}
	return errors.Join(d...)
}

// compareStep adds what is different about step i.
func (p *Plan) compareStep(d *differences, i int, old *archivedStep) {
	s := &p.steps[i]
	at := "step " + s.task.Step + ": "
	before := len(*d)
	if s.continues != old.Continues {
		d.differs(at+"continueOnFailure", s.continues, old.Continues)
	}
	if s.always != old.Always {
		d.differs(at+"always", s.always, old.Always)
	}
	if p.StepDigest(i) == old.Digest {
		return
	}
	if s.spec.Name != old.Action {
		d.differs(at+"action", word(s.spec.Name), word(printable(old.Action)))
	}
	secret := d.compareParameters(at, s, old)
	if ids := p.dependencyIDs(s); !slices.Equal(ids, old.Dependencies) {
		d.differs(at+"dependencies", ids, old.Dependencies)
	}
	if s.risk != old.Risk {
		d.differs(at+"risk", s.risk, old.Risk)
	}
	if s.approval != old.Approval {
		d.differs(at+"requiresApproval", s.approval, old.Approval)
	}
	if s.timeout != old.Timeout {
		d.differs(at+"time-out", word(wording.Duration(s.timeout)), word(wording.Duration(old.Timeout)))
	}
	switch {
	case len(*d) > before:
	case len(secret) > 1:
		d.add("%sone of the secret parameters %s differs", at, strings.Join(secret, ", "))
	case len(secret) > 0:
		d.add("%sthe secret parameter %s differs", at, secret[0])
	default:
		d.add("%sit does something else: its digest is %s, was %s", at, p.StepDigest(i), wording.Quote(old.Digest))
	}
}

// compareParameters returns the secret parameters that both have, of which nobody can say more.
func (d *differences) compareParameters(at string, s *Step, old *archivedStep) (secret []string) {
	then, err := decodeObject(old.Parameters)
	if err != nil {
		d.add("%sits parameters in the archive cannot be read: %w", at, err)
		return nil
	}
	now := map[string]any{}
	for name, v := range s.task.Parameters.All() {
		now[name] = v
	}
	for _, name := range keys(now, then) {
		v, given := now[name]
		o, was := then[name]
		parameter := at + "parameter " + printable(name)
		switch {
		case given && slices.Contains(old.Secrets, name):
			secret = append(secret, name)
		case isSecret(s.spec, name):
			d.compareHidden(at, name, was, v, o)
		case !given:
			d.differs(parameter, word("not given"), o)
		case !was:
			d.differs(parameter, v, word("not given"))
		default:
			d.compareValues(parameter, ".", v, o)
		}
	}
	for _, name := range old.Secrets {
		if _, given := now[name]; !given {
			d.add("%sthe secret parameter %s is not given any more", at, printable(name))
		}
	}
	return secret
}

// compareHidden compares what is secret now and was not there before, or not marked.
func (d *differences) compareHidden(at, name string, was bool, v, o any) {
	switch {
	case !was:
		d.add("%sthe secret parameter %s was not given", at, printable(name))
	case !bytes.Equal(canonical(v), canonical(o)):
		d.add("%sthe secret parameter %s differs", at, printable(name))
	}
}

// compareSpecs adds what the Specs of the plan mean now and did not mean then.
func (p *Plan) compareSpecs(d *differences, a *archive) {
	used := map[string]bool{}
	for i := range a.Steps {
		used[a.Steps[i].Action] = true
	}
	for i := range p.steps {
		spec := p.steps[i].spec
		if !used[spec.Name] {
			continue // compared before, or not there before
		}
		used[spec.Name] = false
		old, ok := a.Specs[spec.Name]
		if ok && bytes.Equal(old, spec.Meaning()) {
			continue
		}
		at := "action " + spec.Name + ": "
		now, err := decodeObject(spec.Meaning())
		then, err2 := decodeObject(old)
		if err != nil || err2 != nil {
			d.add("%sthe archive does not say what it meant", at)
			continue
		}
		d.compareMeanings(at, now, then)
	}
}

func (d *differences) compareMeanings(at string, now, was map[string]any) {
	for _, field := range keys(now, was) {
		a, isObject := now[field].(map[string]any)
		b, wasObject := was[field].(map[string]any)
		if field != "parameters" || !isObject || !wasObject {
			d.compareFields(at+printable(field), now, was, field)
			continue
		}
		for _, name := range keys(a, b) {
			parameter := at + "parameter " + printable(name)
			x, isThere := a[name]
			y, wasThere := b[name]
			switch {
			case !wasThere:
				d.add("%s was not there", parameter)
			case !isThere:
				d.add("%s is not there any more", parameter)
			default:
				d.compareValues(parameter, ": ", x, y)
			}
		}
	}
}

func (d *differences) compareFields(at string, now, was map[string]any, field string) {
	a, isThere := now[field]
	b, wasThere := was[field]
	switch {
	case !wasThere:
		d.differs(at, a, word("not set"))
	case !isThere:
		d.differs(at, word("not set"), b)
	default:
		d.compareValues(at, ".", a, b)
	}
}

// compareValues goes into objects, so that it names what is different and not what it is in.
func (d *differences) compareValues(at, then string, now, was any) {
	if bytes.Equal(canonical(now), canonical(was)) {
		return
	}
	a, isObject := object(now)
	b, wasObject := object(was)
	if !isObject || !wasObject {
		d.differs(at, now, was)
		return
	}
	for _, name := range keys(a, b) {
		d.compareFields(at+then+printable(name), a, b, name)
	}
}

func object(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case map[string]string:
		m := make(map[string]any, len(v))
		for name, text := range v {
			m[name] = text
		}
		return m, true
	}
	return nil, false
}

func keys(a, b map[string]any) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

// canonical is the form in which digests see a value.
func canonical(v any) []byte { return actions.NewParameters(map[string]any{"v": v}).AppendJSON(nil) }

// differences has a line for each part.
type differences []error

func (d *differences) add(format string, args ...any) { *d = append(*d, fmt.Errorf(format, args...)) }

func (d *differences) differs(what string, now, was any) {
	a, b := shown(now), shown(was)
	if a == b { // beyond what is shown
		d.add("%s differs", what)
		return
	}
	d.add("%s is %s, was %s", what, a, b)
}

// A word is shown as it is.
type word string

// mostShown is how many characters of a value a line shows.
const mostShown = 72

// shown writes a value on one line, printable and not too long.
func shown(v any) string {
	switch v := v.(type) {
	case word:
		return string(v)
	case schema.Risk:
		return cmp.Or(v.String(), "not set")
	case string:
		return wording.Quote(v)
	}
	const before = len(`{"v":`)
	text := canonical(v)
	var out strings.Builder
	n := 0
	for _, r := range string(text[before : len(text)-1]) {
		if n++; n > mostShown {
			return out.String() + "…"
		}
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		out.WriteRune(r)
	}
	return out.String()
}
