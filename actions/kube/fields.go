package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A hider knows fields that may be secret: their former values are in no journal and no message, nor their latter ones.
type hider interface {
	hides(path []string) (former, latter bool)
}

func (e *edit) hides(path []string) (former, latter bool) {
	if h, ok := e.kind.(hider); ok {
		return h.hides(path)
	}
	return false, false
}

// hidesAny tells whether fields, or what is in them, may be secret.
func (e *edit) hidesAny(fields []field) bool {
	return slices.ContainsFunc(fields, func(f field) bool {
		if former, _ := e.hides(f.path); former {
			return true
		}
		var inner []field
		for k, v := range parts(f.value) {
			inner = append(inner, field{append(slices.Clone(f.path), k), v})
		}
		return e.hidesAny(inner)
	})
}

// parts are what is in an object, or in a list of objects with names, by name; nil for anything else.
func parts(v any) map[string]any {
	if m, ok := v.(map[string]any); ok {
		return m
	}
	m := byName(v)
	if list, _ := v.([]any); m[""] != nil || len(m) != len(list) {
		return nil
	}
	return m
}

// describe says a change, a line for each field. Of objects on both sides it says what differs in them.
func (e *edit) describe(before, after []field) []string {
	var lines []string
	for i, f := range after {
		n := len(lines)
		if lines = e.diff(lines, f.path, before[i].value, f.value); len(lines) == n && !same(before[i].value, f.value) {
			lines = append(lines, strings.Join(f.path, ".")+": in another order")
		}
	}
	return lines
}

func (e *edit) diff(lines []string, path []string, before, after any) []string {
	if same(before, after) {
		return lines
	}
	if a, b := parts(before), parts(after); a != nil && b != nil {
		all := maps.Clone(a)
		maps.Copy(all, b)
		for _, k := range slices.Sorted(maps.Keys(all)) {
			lines = e.diff(lines, append(path[:len(path):len(path)], k), a[k], b[k])
		}
		return lines
	}
	former, latter := e.hides(path)
	return append(lines, fmt.Sprintf("%s: %s → %s", strings.Join(path, "."), shown(before, former), shown(after, latter)))
}

// shown is a value as people see it.
func shown(v any, hidden bool) string {
	if hidden && v != nil {
		return "(hidden)"
	}
	return show(v)
}
