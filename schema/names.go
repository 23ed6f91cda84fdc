package schema

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/remedykit/remedy/internal/wording"
)

// mark is a number that names which differ only in case share; 0, for names that are not ASCII, says nothing.
func mark(s string) uint16 {
	if len(s) == 0 {
		return 1
	}
	h := uint16(len(s))
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return 0
		}
		h = h*31 + uint16(s[i]|0x20)
	}
	return max(h, 1)
}

// foldCase maps names that strings.EqualFold finds equal to one text.
func foldCase(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		least := r
		for n := unicode.SimpleFold(r); n != r; n = unicode.SimpleFold(n) {
			least = min(least, n)
		}
		if 'A' <= least && least <= 'Z' {
			least += 'a' - 'A'
		}
		return least
	}, s)
}

// fewNames is up to how many names comparing each with each is quicker than a map.
const fewNames = 24

// duplicates appends a finding for every name of an object that repeats an earlier one, be it in another case.
func (t *tape) duplicates(object int32, items int, found []finding) []finding {
	report := func(k, first int32) {
		message := "the name " + wording.Quote(t.text(k)) + " stands twice in this object; keep one"
		if a := t.text(first); a != t.text(k) {
			message = "the names " + wording.Quote(a) + " and " + wording.Quote(t.text(k)) + " differ only in case; keep one"
		}
		found = append(found, finding{code: CodeDuplicateKey, node: k, off: t.nodes[k].off, message: message})
	}
	if items > fewNames {
		seen := make(map[string]int32, items)
		for k := range t.items(object) {
			folded := foldCase(t.text(k))
			if first, ok := seen[folded]; ok {
				report(k, first)
			} else {
				seen[folded] = k
			}
		}
		return found
	}
	var keys [fewNames]int32
	n := 0
next:
	for k := range t.items(object) {
		m := t.nodes[k].mark
		for _, e := range keys[:n] {
			if o := t.nodes[e].mark; (o == m || o == 0 || m == 0) && strings.EqualFold(t.text(e), t.text(k)) {
				report(k, e)
				continue next
			}
		}
		keys[n] = k
		n++
	}
	return found
}

// foldName takes case, hyphens and underscores out of a name.
func foldName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_' || r == '-':
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// nearest returns the candidate that a misspelled name probably means, "" when none is near.
func nearest(name string, candidates ...string) string {
	if len(name) > 40 {
		return ""
	}
	a := foldName(name)
	best, least := "", 1+max(1, min(len(a)/3, 3))
	for _, c := range candidates {
		if d := wording.Distance(a, foldName(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
