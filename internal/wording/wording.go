// Package wording holds what several packages need to write a document's words and their own numbers into messages.
package wording

import (
	"strconv"
	"strings"
	"time"
)

// mostQuoted is how many characters of a text a message shows.
const mostQuoted = 64

// Quote shows a text that a model may have written: on one line, printable, and not too long.
func Quote(s string) string {
	n := 0
	for i := range s {
		if n == mostQuoted {
			return strconv.Quote(s[:i]) + "…"
		}
		n++
	}
	return strconv.Quote(s)
}

// Duration writes a duration as people do: 2m, not 2m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Distance counts the bytes to insert, delete, replace, or swap with their neighbour, to turn a into b. It costs the
// product of their lengths: callers compare short texts only.
func Distance(a, b string) int {
	var few [3 * 65]int
	rows := few[:]
	width := len(b) + 1
	if 3*width > len(rows) {
		rows = make([]int, 3*width)
	}
	before, last, next := rows[:width], rows[width:2*width], rows[2*width:3*width]
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			d := last[j]
			if a[i] != b[j] {
				d++
			}
			d = min(d, last[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			next[j+1] = d
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}
