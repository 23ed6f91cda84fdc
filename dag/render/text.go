package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/remedykit/remedy/internal/wording"
)

// Longer texts are cut, in code points, so that one hostile label cannot flood a drawing.
const (
	maxLabel = 200
	maxState = 80
	// wrapAt is where a list of dependencies goes on in the next line.
	wrapAt = 100
)

// clean makes a text fit to stand in one line of any drawing: white space becomes a space, and what a terminal or
// a browser would obey instead of showing becomes U+FFFD.
func clean(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit-1 && utf8.RuneCountInString(s) > limit {
			b.WriteRune('…')
			break
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029':
			r = ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Co) || r&0xFFFE == 0xFFFE || r >= 0xFDD0 && r <= 0xFDEF:
			r = utf8.RuneError
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// label is what a drawing calls step i, its note left out.
func (d *drawing) label(i int) string { return clean(d.plan.Step(i).Label(), maxLabel) }

func (d *drawing) note(i int) string { return clean(d.plan.Step(i).Note(), maxLabel) }

// title is the line of step i in the text drawings.
func (d *drawing) title(i int) string {
	var b strings.Builder
	if d.marked(i) {
		b.WriteString("▶ ")
	}
	fmt.Fprintf(&b, "Step %d: %s", i+1, d.label(i))
	gated, note := d.gated(i), d.note(i)
	if note != "" && !gated {
		fmt.Fprintf(&b, " (%s)", note)
	}
	if d.parallel[i] {
		b.WriteString(" (parallel)")
	}
	if gated {
		b.WriteString(" " + gateMark)
	}
	if s := d.state(i); s != "" {
		fmt.Fprintf(&b, " [%s]", s)
	}
	return b.String()
}

// riskLine is the line that a gated step has below its title.
func (d *drawing) riskLine(i int) string {
	line := "  Risk: " + titled(d.risk(i).String())
	if note := d.note(i); note != "" {
		line += " (" + note + ")"
	}
	return line
}

// dependencyLines lists step numbers, in several lines when there are many.
func dependencyLines(numbers []int) []string {
	const head = "  Dependencies: ["
	line := head
	var lines []string
	for k, n := range numbers {
		item := strconv.Itoa(n)
		if k < len(numbers)-1 {
			item += ","
		}
		switch {
		case k == 0:
			line += item
		case len(line)+1+len(item) > wrapAt:
			lines = append(lines, line)
			line = strings.Repeat(" ", len(head)) + item
		default:
			line += " " + item
		}
	}
	return append(lines, line+"]")
}

// totalSteps is the first of the totals.
func (d *drawing) totalSteps() string {
	line := fmt.Sprintf("Total Steps: %d", d.plan.Len())
	if n := d.plan.ParallelGroups(); n > 0 {
		line += fmt.Sprintf(" (%s)", count(n, "parallel group"))
	}
	return line
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// percent writes a rate with at most one decimal.
func percent(rate float64) string {
	return strconv.FormatFloat(math.Round(rate*1000)/10, 'f', -1, 64) + "%"
}

// words writes a duration as people say it, in the largest unit that it fills, with at most one decimal; "" when it is
// less than half a second.
func words(d time.Duration) string {
	unit, name := time.Hour, "hour"
	switch {
	case d < 500*time.Millisecond:
		return ""
	case d < 59500*time.Millisecond:
		return count(int(d.Round(time.Second)/time.Second), "second")
	case d < 59*time.Minute+57*time.Second:
		unit, name = time.Minute, "minute"
	}
	tenths := int64((d + unit/20) / (unit / 10))
	if tenths == 10 {
		return "1 " + name
	}
	return strconv.FormatFloat(float64(tenths)/10, 'f', -1, 64) + " " + name + "s"
}

// short writes a duration as a timeline does: "2m30s", "1h", "340ms". What a person would not read off a clock is
// rounded away: below a minute to a tenth of a second, above to a second.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + short(-d)
	case d < time.Second:
		d = d.Round(time.Millisecond)
	case d < time.Minute:
		d = d.Round(100 * time.Millisecond)
	default:
		d = d.Round(time.Second)
	}
	return wording.Duration(d)
}

// spaced turns "rolledBack" into "rolled back".
func spaced(status string) string {
	var b strings.Builder
	for _, r := range clean(status, maxState) {
		if unicode.IsUpper(r) {
			b.WriteByte(' ')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// titled is spaced with capitals: "Rolled Back".
func titled(status string) string {
	parts := strings.Fields(spaced(status))
	for k, w := range parts {
		r, n := utf8.DecodeRuneInString(w)
		parts[k] = string(unicode.ToUpper(r)) + w[n:]
	}
	return strings.Join(parts, " ")
}
