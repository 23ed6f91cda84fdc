package actions

import (
	"fmt"
	"strings"

	"github.com/remedykit/remedy/schema"
)

// chosen tells whether a rule can be met by giving the parameter, so that an empty value would meet it with nothing.
func (s *Spec) chosen(name string) bool {
	for i := range s.Rules {
		for _, of := range [...][]string{s.Rules[i].OneOf, s.Rules[i].AnyOf} {
			for _, other := range of {
				if other == name {
					return true
				}
			}
		}
	}
	return false
}

func (r *resolver) rule(rule *Rule) {
	switch {
	case len(rule.OneOf) > 0:
		if r.atMostOne(rule.OneOf) == 0 {
			r.report(schema.CodeMissingParameter, place{field: "parameters"},
				r.spec.Name+" needs one of "+strings.Join(rule.OneOf, ", "))
		}
	case len(rule.AnyOf) > 0:
		if !r.anyGiven(rule.AnyOf) {
			r.report(schema.CodeMissingParameter, place{field: "parameters"},
				r.spec.Name+" needs at least one of "+strings.Join(rule.AnyOf, ", "))
		}
	case len(rule.AtMostOne) > 0:
		r.atMostOne(rule.AtMostOne)
	case len(rule.NotGreater) == 2:
		r.notGreater(rule.NotGreater[0], rule.NotGreater[1])
	}
}

// atMostOne reports every parameter of the list after the first that is given, and returns how many are.
func (r *resolver) atMostOne(names []string) (given int) {
	first := ""
	for _, name := range names {
		if !r.given(name) {
			continue
		}
		given++
		if given == 1 {
			first = name
			continue
		}
		r.report(schema.CodeInvalidParameter, r.placeOf(name), fmt.Sprintf("%s and %s exclude each other; %s takes one of %s",
			first, name, r.spec.Name, strings.Join(names, ", ")))
	}
	return given
}

// placeOf is where the document gives a listed parameter.
func (r *resolver) placeOf(name string) place {
	if spelt, ok := r.names[name]; ok {
		name = spelt
	}
	return place{"parameters", name, ""}
}

func (r *resolver) notGreater(least, most string) {
	p := Parameters{list: r.list}
	a, ok := p.given(least)
	b, ok2 := p.given(most)
	if !ok || !ok2 {
		return
	}
	var greater bool
	switch r.spec.parameter(least).Type {
	case Integer:
		greater = p.Int(least) > p.Int(most)
	case Duration:
		greater = p.Duration(least) > p.Duration(most)
	default:
		x, ok := parseQuantity(p.String(least))
		y, ok2 := parseQuantity(p.String(most))
		greater = ok && ok2 && x.rat().Cmp(y.rat()) > 0
	}
	if greater {
		r.report(schema.CodeInvalidParameter, r.placeOf(least), fmt.Sprintf("%s %v is greater than %s %v", least, a, most, b))
	}
}
