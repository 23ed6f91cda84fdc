package dag

import (
	"strings"

	"github.com/remedykit/remedy/internal/wording"
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
		if d := wording.Distance(strings.ToLower(wrong), strings.ToLower(id)); d < least {
			best, least = id, d
		}
	}
	return best
}
