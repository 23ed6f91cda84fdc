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
//	components: [coredns]
//	timeout: 30m
//
// A row that asks for no risk says "ask: never". Unknown fields and values that contradict each other are errors that
// name their line; all of them are shown at once. A file that says nothing is an error too, because such a policy asks
// for every mutating step and is more likely a mistake: use the zero Policy for that.
func ParsePolicy(data []byte) (*Policy, error) {
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
	r := policyReader{lines: map[string]int{}}
	root := document.Content[0]
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		r.fail(max(root.Line, second.Line), "there is a second document; a policy is one")
	}
	r.policy(root)
	if len(r.faults) == 0 {
		// What a rule says only makes sense of values that could be read.
		r.into.check(func(field, format string, args ...any) {
			r.fail(r.lines[field], "%s: %s", field, fmt.Sprintf(format, args...))
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

type fault struct {
	line int
	text string
}

// A policyReader goes through the nodes and remembers the line of each value by its path, as check names it.
type policyReader struct {
	into   Policy
	lines  map[string]int
	faults []fault
}

func (r *policyReader) fail(line int, format string, args ...any) {
	r.faults = append(r.faults, fault{line, fmt.Sprintf(format, args...)})
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
	const known = "table, maxSteps, risks, protectedNamespaces, components, timeout"
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
		case "timeout":
			p.Timeout = r.timeout(value)
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

func (r *policyReader) timeout(n *yaml.Node) time.Duration {
	d, err := schema.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d <= 0 {
		r.fail(n.Line, "timeout is %s; it must be a duration above zero such as 15m", says(n))
	}
	return d
}
