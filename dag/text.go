package dag

import (
	"strconv"
	"strings"
	"time"
)

// isID tells whether s may be a step's id.
func isID(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isAlphanumeric(c) && !('A' <= c && c <= 'Z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// isLabel tells whether s is an RFC 1123 label.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

// isAlphanumeric knows lower case only.
func isAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// quote shows text that a model may have written: on one line, printable, not too long.
func quote(s string) string {
	const most = 64
	n := 0
	for i := range s {
		if n == most {
			return strconv.Quote(s[:i]) + "…"
		}
		n++
	}
	return strconv.Quote(s)
}

// brief writes a duration as people do: 2m, not 2m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// nearestID returns the id of the plan that is most like a misspelt one, the earlier of equals, "" when none is near.
// budget bounds how many ids are looked at, over all calls.
func (b *builder) nearestID(wrong string, self int, budget *int) string {
	best, least := "", min(3, len(wrong)/3)+1
	for i := range b.steps {
		id := b.validID(i)
		if id == "" || i == self || max(len(id)-len(wrong), len(wrong)-len(id)) >= least {
			continue
		}
		if *budget--; *budget < 0 {
			break
		}
		if d := distance(strings.ToLower(wrong), strings.ToLower(id)); d < least {
			best, least = id, d
		}
	}
	return best
}

// distance is the number of insertions, deletions and replacements between two short texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
