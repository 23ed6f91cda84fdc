package actions

import "slices"

// longestMisspelt bounds the work that a name from a document can cause: nothing longer is compared.
const longestMisspelt = 64

// nearest returns up to n of the candidates that are most like name, the nearest first, ties in their given order.
// What differs in more than a third of its letters is not alike.
func nearest(name string, candidates []string, n int) []string {
	if name == "" || len(name) > longestMisspelt {
		return nil
	}
	type match struct{ at, distance int }
	var found []match
	for i, c := range candidates {
		most := max(len(name), len(c)) / 3
		if most == 0 || len(c) > longestMisspelt || max(len(name)-len(c), len(c)-len(name)) > most {
			continue
		}
		if d := distance(name, c); d <= most {
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

// distance is the number of letters to insert, remove, replace or swap with a neighbour to make b of a; case and the
// kind of separator do not count.
func distance(a, b string) int {
	var rows [3][longestMisspelt + 1]int
	before, last, next := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			same := fold(a[i-1]) == fold(b[j-1])
			d := last[j-1]
			if !same {
				d++
			}
			d = min(d, last[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && fold(a[i-1]) == fold(b[j-2]) && fold(a[i-2]) == fold(b[j-1]) {
				d = min(d, before[j-2]+1)
			}
			next[j] = d
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
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
