package approval

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/remedykit/remedy/schema"
)

// ParsePolicy reads a policy in YAML (or JSON):
//
//	table:                      # the highest confidence first
//	  - {confidence: 0.90, ask: critical}
//	  - {confidence: 0.60, ask: medium}
//	maxSteps: 20                # -1: no limit
//	risks: {restart_pod: high}
//	protectedNamespaces: [billing]
//	protectedObjects: [Deployment/shop/ledger]
//	components: [coredns]
//	caps: {replicas: 50, nodes: 2, share: 0.5}
//	freezes:
//	  - {name: sale, from: 2026-11-27T00:00:00Z, until: 2026-11-30T00:00:00Z}
//	  - {name: nights, days: [mon, tue], start: "22:00", end: "06:00", zone: Europe/Berlin, ask: true}
//	groups: {sre: [ann, bob]}
//	approvers: {groups: [sre]}  # of every gate
//	rules:
//	  - name: two for databases
//	    when: step.target.kind == "StatefulSet"
//	    quorum: 2
//	    approvers: {people: [carol], groups: [sre]}
//	    escalation: {after: 5m, to: {groups: [leads]}}
//	timeout: 30m
//
// What a rule's "when" means is read by compile, such as that of package approval/cel; without one a policy that has conditions is
// an error. A row that asks for no risk says "ask: never". Unknown fields and values that contradict each other are errors that
// name their line; all of them are shown at once. A file that says nothing is an error too, because such a policy asks
// for every mutating step and is more likely a mistake: use the zero Policy for that.
func ParsePolicy(data []byte, compile ...Compiler) (*Policy, error) {
	var document, second yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && says(document.Content[0]) == nothing {
		return nil, errors.New("approval: the policy is empty; it would ask for every step that changes something " +
			"(leave the policy out if that is meant)")
	}
	if err != nil {
		return nil, fmt.Errorf("approval: policy: %w", err)
	}
	r := policyReader{lines: map[string]int{}, compilers: compile, source: strings.Split(string(data), "\n")}
	root := document.Content[0]
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		r.fail(max(root.Line, second.Line), "there is a second document; a policy is one")
	}
	r.policy(root)
	if len(r.faults) == 0 {
		// What a rule says only makes sense of values that could be read.
		r.into.check(func(field, format string, args ...any) {
			r.fail(r.line(field), "%s: %s", field, fmt.Sprintf(format, args...))
		})
	}
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
		errs := make([]error, len(r.faults))
		for i, f := range r.faults {
			errs[i] = fmt.Errorf("approval: policy: line %d: %s", f.line, f.text)
		}
		return nil, errors.Join(errs...)
	}
	return &r.into, nil
}

const nothing = "nothing"

// says names a node's kind for people.
func says(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) == 0, n.Tag == "!!null":
		return nothing
	case n.Kind == yaml.MappingNode:
		return "an object"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias, which is not read here"
	}
	return strconv.Quote(n.Value)
}

// A Compiler reads a rule's condition. plan tells that the rule is about the plan as a whole, so that there is no step. An
// error that has a method Position() (line, column int), from 1 within the text, is shown where it is.
type Compiler func(when string, plan bool) (Condition, error)

type fault struct {
	line int
	text string
}

// A policyReader goes through the nodes and remembers the line of each value by its path, as check names it.
type policyReader struct {
	into      Policy
	compilers []Compiler
	source    []string // the lines of the file
	lines     map[string]int
	faults    []fault
}

func (r *policyReader) fail(line int, format string, args ...any) {
	r.faults = append(r.faults, fault{line, fmt.Sprintf(format, args...)})
}

// line is that of a field, or of the object that lacks it.
func (r *policyReader) line(field string) int {
	for {
		if line, ok := r.lines[field]; ok {
			return line
		}
		dot := strings.LastIndexByte(field, '.')
		if dot < 0 {
			return 1
		}
		field = field[:dot]
	}
}

// fields calls read for each field of an object; read returns false for a field that it does not know.
func (r *policyReader) fields(n *yaml.Node, path, known string, read func(name string, key, value *yaml.Node) bool) {
	if n.Kind != yaml.MappingNode {
		r.fail(n.Line, "%s is %s; an object belongs here", cmp.Or(path, "the policy"), says(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case seen[key.Value]:
			r.fail(key.Line, "%q is there twice", key.Value)
		case key.Kind != yaml.ScalarNode || !read(key.Value, key, value):
			r.fail(key.Line, "unknown field %s; the fields are %s", says(key), known)
		}
		seen[key.Value] = true
	}
}

// items calls read for each item of a list.
func (r *policyReader) items(n *yaml.Node, path string, read func(path string, item *yaml.Node)) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		what := says(n)
		if n.Kind == yaml.SequenceNode {
			what = "an empty list"
		}
		r.fail(n.Line, "%s is %s; give it a list, or leave it out", path, what)
		return
	}
	for i, item := range n.Content {
		read(fmt.Sprintf("%s[%d]", path, i), item)
	}
}

func (r *policyReader) policy(n *yaml.Node) {
	const known = "table, maxSteps, risks, protectedNamespaces, protectedObjects, components, caps, freezes, rules, groups, quorum, approvers, escalation, timeout"
	p := &r.into
	r.fields(n, "", known, func(name string, key, value *yaml.Node) bool {
		r.lines[name] = value.Line
		switch name {
		case "table":
			r.items(value, name, func(path string, item *yaml.Node) { p.Table = append(p.Table, r.row(path, item)) })
		case "maxSteps":
			steps, err := strconv.Atoi(value.Value)
			if value.Tag != "!!int" || err != nil {
				r.fail(value.Line, "maxSteps is %s; it must be a whole number", says(value))
			} else if steps == 0 {
				r.fail(value.Line, "maxSteps is 0; leave it out for %d, or write -1 for no limit", DefaultMaxSteps)
			}
			p.MaxSteps = steps
		case "risks":
			p.Risks = map[string]schema.Risk{}
			r.fields(value, name, "action types", func(action string, key, value *yaml.Node) bool {
				r.lines[name+"."+action] = value.Line
				p.Risks[action] = r.risk(name+"."+action, value)
				return true
			})
		case "protectedNamespaces":
			p.ProtectedNamespaces = r.names(name, value)
		case "components":
			p.Components = r.names(name, value)
		case "protectedObjects":
			p.ProtectedObjects = r.names(name, value)
		case "caps":
			p.Caps = r.caps(value)
		case "freezes":
			r.items(value, name, func(path string, item *yaml.Node) { p.Freezes = append(p.Freezes, r.freeze(path, item)) })
		case "rules":
			r.items(value, name, func(path string, item *yaml.Node) { p.Rules = append(p.Rules, r.rule(path, item)) })
		case "groups":
			p.Groups = map[string][]string{}
			r.fields(value, name, "names of groups", func(group string, key, value *yaml.Node) bool {
				p.Groups[group] = r.names(name+"."+group, value)
				return true
			})
		case "quorum":
			p.Quorum = r.whole(name, value)
		case "approvers":
			p.Approvers = r.approvers(name, value)
		case "escalation":
			p.Escalation = r.escalation(name, value)
		case "timeout":
			p.Timeout = r.duration(name, value)
		default:
			return false
		}
		return true
	})
	if line, ok := r.lines["maxSteps"]; ok && r.lines["table"] == 0 {
		r.fail(line, "maxSteps counts only beside a table; add one, or leave it out")
	}
}

func (r *policyReader) row(path string, n *yaml.Node) Row {
	row := Row{}
	r.lines[path] = n.Line
	r.fields(n, path, "confidence, ask", func(name string, key, value *yaml.Node) bool {
		field := path + "." + name
		r.lines[field] = value.Line
		switch name {
		case "confidence":
			v, err := strconv.ParseFloat(value.Value, 64)
			if value.Tag != "!!float" && value.Tag != "!!int" || err != nil || math.IsNaN(v) {
				r.fail(value.Line, "%s is %s; it must be a number between 0 and 1", field, says(value))
			}
			row.Confidence = v
		case "ask":
			if value.Value != never || value.Kind != yaml.ScalarNode {
				row.Ask = r.risk(field, value)
			}
		default:
			return false
		}
		return true
	})
	if n.Kind == yaml.MappingNode {
		for _, name := range []string{"confidence", "ask"} {
			if _, ok := r.lines[path+"."+name]; !ok {
				r.fail(n.Line, "%s has no %s", path, name)
			}
		}
	}
	return row
}

func (r *policyReader) risk(field string, n *yaml.Node) schema.Risk {
	v, err := schema.ParseRisk(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		words := "none, low, medium, high, critical"
		if strings.HasPrefix(field, "table") {
			words += ", " + never
		}
		r.fail(n.Line, "%s is %s; it must be one of %s", field, says(n), words)
	}
	return v
}

func (r *policyReader) names(field string, n *yaml.Node) []string {
	var names []string
	r.items(n, field, func(path string, item *yaml.Node) {
		r.lines[path] = item.Line
		if item.Kind != yaml.ScalarNode || item.Tag != "!!str" {
			r.fail(item.Line, "%s is %s; it must be a name", path, says(item))
		}
		names = append(names, item.Value)
	})
	return names
}

func (r *policyReader) duration(field string, n *yaml.Node) time.Duration {
	d, err := schema.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d <= 0 {
		r.fail(n.Line, "%s is %s; it must be a duration above zero such as 15m", field, says(n))
	}
	return d
}

func (r *policyReader) caps(n *yaml.Node) (c Caps) {
	r.fields(n, "caps", "replicas, nodes, share", func(name string, key, value *yaml.Node) bool {
		field := "caps." + name
		r.lines[field] = value.Line
		switch name {
		case "replicas":
			c.Replicas = r.whole(field, value)
		case "nodes":
			c.Nodes = r.whole(field, value)
		case "share":
			v, err := strconv.ParseFloat(value.Value, 64)
			if value.Tag != "!!float" && value.Tag != "!!int" || err != nil || !(v > 0 && v <= 1) {
				r.fail(value.Line, "%s is %s; it must be a number above 0 and up to 1", field, says(value))
			}
			c.Share = v
		default:
			return false
		}
		return true
	})
	return c
}

func (r *policyReader) whole(field string, n *yaml.Node) int {
	v, err := strconv.Atoi(n.Value)
	if n.Tag != "!!int" || err != nil || v < 1 {
		r.fail(n.Line, "%s is %s; it must be a whole number above 0", field, says(n))
	}
	return v
}

func (r *policyReader) text(field string, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || strings.TrimSpace(n.Value) == "" {
		r.fail(n.Line, "%s is %s; it must be a text", field, says(n))
	}
	return n.Value
}

func (r *policyReader) yes(field string, n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.fail(n.Line, "%s is %s; it must be true or false", field, says(n))
	}
	return strings.EqualFold(n.Value, "true")
}

func (r *policyReader) freeze(path string, n *yaml.Node) (f Freeze) {
	r.lines[path] = n.Line
	r.fields(n, path, "name, from, until, days, start, end, zone, ask", func(name string, key, value *yaml.Node) bool {
		field := path + "." + name
		r.lines[field] = value.Line
		switch name {
		case "name":
			f.Name = r.text(field, value)
		case "from":
			f.From = r.moment(field, value)
		case "until":
			f.Until = r.moment(field, value)
		case "days":
			for _, day := range r.names(field, value) {
				f.Days = append(f.Days, r.weekday(field, value, day))
			}
		case "start":
			f.Start = r.clock(field, value)
		case "end":
			f.End = r.clock(field, value)
		case "zone":
			f.Zone = r.text(field, value)
		case "ask":
			f.Ask = r.yes(field, value)
		default:
			return false
		}
		return true
	})
	return f
}

func (r *policyReader) moment(field string, n *yaml.Node) time.Time {
	t, err := time.Parse(time.RFC3339, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.fail(n.Line, "%s is %s; it must be a time such as 2026-11-27T08:00:00Z", field, says(n))
	}
	return t
}

func (r *policyReader) weekday(field string, n *yaml.Node, name string) time.Weekday {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if full := strings.ToLower(d.String()); strings.EqualFold(name, full) || strings.EqualFold(name, full[:3]) {
			return d
		}
	}
	r.fail(n.Line, "%s: %q is no day; use mon, tue, wed, thu, fri, sat, sun", field, name)
	return 0
}

// clock reads a time of the day.
func (r *policyReader) clock(field string, n *yaml.Node) time.Duration {
	hour, minute, ok := strings.Cut(n.Value, ":")
	h, errH := strconv.Atoi(hour)
	m, errM := strconv.Atoi(minute)
	if n.Kind != yaml.ScalarNode || !ok || len(minute) != 2 || errH != nil || errM != nil || h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		r.fail(n.Line, "%s is %s; it must be a time of the day such as \"22:00\"", field, says(n))
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
}

func (r *policyReader) rule(path string, n *yaml.Node) (rule Rule) {
	const known = "name, when, plan, forbid, risk, require, quorum, approvers, escalation, timeout"
	r.lines[path] = n.Line
	var when *yaml.Node
	r.fields(n, path, known, func(name string, key, value *yaml.Node) bool {
		field := path + "." + name
		r.lines[field] = value.Line
		switch name {
		case "name":
			rule.Name = r.text(field, value)
		case "when":
			when = value
			rule.When = r.text(field, value)
		case "plan":
			rule.Plan = r.yes(field, value)
		case "forbid":
			rule.Forbid = r.text(field, value)
		case "risk":
			rule.Risk = r.risk(field, value)
		case "require":
			rule.Require = r.yes(field, value)
		case "quorum":
			rule.Quorum = r.whole(field, value)
		case "approvers":
			rule.Approvers = r.approvers(field, value)
		case "escalation":
			rule.Escalation = r.escalation(field, value)
		case "timeout":
			rule.Timeout = r.duration(field, value)
		default:
			return false
		}
		return true
	})
	if when != nil && rule.When != "" {
		rule.Condition = r.condition(path+".when", when, rule.Plan)
	}
	return rule
}

func (r *policyReader) condition(field string, n *yaml.Node, plan bool) Condition {
	if len(r.compilers) == 0 {
		return nil // Validate says what to do
	}
	c, err := r.compilers[0](n.Value, plan)
	if err == nil {
		return c
	}
	line := n.Line
	if at, ok := err.(positioned); ok {
		var character int
		line, character = place(r.source, n, at)
		err = fmt.Errorf("character %d: %w", character, err)
	}
	r.fail(line, "%s: %v", field, err)
	return nil
}

func (r *policyReader) approvers(field string, n *yaml.Node) (a Approvers) {
	r.lines[field] = n.Line
	r.fields(n, field, "people, groups", func(name string, key, value *yaml.Node) bool {
		switch name {
		case "people":
			a.People = r.names(field+"."+name, value)
		case "groups":
			a.Groups = r.names(field+"."+name, value)
		default:
			return false
		}
		return true
	})
	if len(n.Content) == 0 {
		r.fail(n.Line, "%s names nobody; leave it out for everybody", field)
	}
	return a
}

func (r *policyReader) escalation(field string, n *yaml.Node) *Escalation {
	e := &Escalation{}
	r.lines[field], r.lines[field+".to"] = n.Line, n.Line
	r.fields(n, field, "after, to", func(name string, key, value *yaml.Node) bool {
		r.lines[field+"."+name] = value.Line
		switch name {
		case "after":
			e.After = r.duration(field+"."+name, value)
		case "to":
			e.To = r.approvers(field+"."+name, value)
		default:
			return false
		}
		return true
	})
	return e
}
