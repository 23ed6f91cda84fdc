package actions

import (
	"slices"
	"strings"

	"github.com/remedykit/remedy/internal/wording"
)

// longestMisspelt bounds the work that a name from a document can cause: nothing longer is compared.
const longestMisspelt = 64

// nearest returns up to n of the candidates that are most like name, the nearest first, ties in their given order.
// What differs in more than a third of its letters is not alike, unless it only lacks words at the end.
func nearest(name string, candidates []string, n int) []string {
	if name == "" || len(name) > longestMisspelt {
		return nil
	}
	spelt := folded(name)
	type match struct{ at, distance int }
	var found []match
	for i, c := range candidates {
		most := max(len(name), len(c)) / 3
		if len(c) <= longestMisspelt && strings.HasPrefix(folded(c), spelt+"_") {
			found = append(found, match{i, len(c) - len(name)})
			continue
		}
		if most == 0 || len(c) > longestMisspelt || max(len(name)-len(c), len(c)-len(name)) > most {
			continue
		}
		if d := wording.Distance(spelt, folded(c)); d <= most {
			found = append(found, match{i, d})
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return a.distance - b.distance })
	found = found[:min(n, len(found))]
	out := make([]string, len(found))
	for i, m := range found {
		out[i] = candidates[m.at]
	}
	return out
}

// folded brings a name to small letters and one kind of separator: those do not count.
func folded(name string) string {
	b := []byte(name)
	for i, c := range b {
		b[i] = fold(c)
	}
	return string(b)
}

func fold(c byte) byte {
	switch {
	case isUpper(c):
		return c + 'a' - 'A'
	case c == '-' || c == ' ':
		return '_'
	}
	return c
}
