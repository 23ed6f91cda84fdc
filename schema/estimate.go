package schema

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/internal/wording"
)

// An Estimate is a duration as people write it: "4 minutes", "4-5 minutes", "5m30s". The zero Estimate is not given.
type Estimate struct {
	// Text is what the document says.
	Text string
	// Min and Max are the range it means; they are equal when it names one duration.
	Min, Max time.Duration
}

// MarshalText writes the text, or the range when there is no text.
func (e Estimate) MarshalText() ([]byte, error) {
	switch {
	case e.Text != "" || e.Max == 0:
		return []byte(e.Text), nil
	case e.Min == e.Max:
		return []byte(e.Max.String()), nil
	}
	return []byte(e.Min.String() + "-" + e.Max.String()), nil
}

// UnmarshalText reads an estimate. Of one that cannot be read it keeps the text alone: an estimate is only shown.
func (e *Estimate) UnmarshalText(b []byte) error {
	v, err := ParseEstimate(string(b))
	if err != nil {
		v = Estimate{Text: string(b)}
	}
	*e = v
	return nil
}

// ParseEstimate reads a lenient duration: a Go duration, days ("7d"), a number with a unit word, several of these one
// after the other, or a range of two ("4-5 minutes", "90s to 2m"). A leading "about" or "~" is read over.
func ParseEstimate(s string) (Estimate, error) {
	fail := func() (Estimate, error) {
		return Estimate{}, fmt.Errorf(`%s is no duration such as "5m30s", "4 minutes" or "4-5 minutes"`, wording.Quote(s))
	}
	if len(s) > 100 {
		return fail()
	}
	text := strings.ToLower(strings.TrimSpace(s))
	for _, about := range []string{"~", "about ", "approximately "} {
		text = strings.TrimSpace(strings.TrimPrefix(text, about))
	}
	low, high, ranged := text, "", false
	for _, separator := range []string{" to ", "–", "-"} {
		if low, high, ranged = strings.Cut(text, separator); ranged {
			break
		}
	}
	if !ranged {
		d, ok := quantities(text)
		if !ok {
			return fail()
		}
		return Estimate{Text: s, Min: d, Max: d}, nil
	}
	most, ok := quantities(high)
	if !ok {
		return fail()
	}
	least, ok := quantities(low)
	if !ok {
		// "4-5 minutes": the unit is said once.
		unit := strings.TrimLeft(strings.TrimSpace(high), "0123456789. ")
		if least, ok = quantities(low + unit); !ok || strings.ContainsAny(unit, "0123456789") {
			return fail()
		}
	}
	if least > most {
		return fail()
	}
	return Estimate{Text: s, Min: least, Max: most}, nil
}

// quantities reads numbers with units, one after the other, and adds them up.
func quantities(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	total, given := 0.0, s != ""
	for s != "" {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789."))
		n, err := strconv.ParseFloat(s[:digits], 64)
		if err != nil {
			return 0, false
		}
		s = strings.TrimLeft(s[digits:], " ")
		letters := strings.IndexFunc(s, func(r rune) bool { return r != 'µ' && (r < 'a' || r > 'z') })
		if letters < 0 {
			letters = len(s)
		}
		unit, ok := unitOf(s[:letters])
		if !ok {
			return 0, false
		}
		total += n * float64(unit)
		s = strings.TrimLeft(s[letters:], " ")
		if rest, ok := strings.CutPrefix(s, "and "); ok && rest != "" {
			s = strings.TrimLeft(rest, " ")
		}
	}
	if !given || total > math.MaxInt64/2 {
		return 0, false
	}
	return time.Duration(math.Round(total)), true
}

func unitOf(word string) (time.Duration, bool) {
	switch word {
	case "ns":
		return time.Nanosecond, true
	case "us", "µs":
		return time.Microsecond, true
	case "ms", "millisecond", "milliseconds":
		return time.Millisecond, true
	case "s", "sec", "secs", "second", "seconds":
		return time.Second, true
	case "m", "min", "mins", "minute", "minutes":
		return time.Minute, true
	case "h", "hr", "hrs", "hour", "hours":
		return time.Hour, true
	case "d", "day", "days":
		return 24 * time.Hour, true
	}
	return 0, false
}

// ParseDuration reads a duration as parameters have it: Go's syntax, or a whole number of days ("7d"). Negative
// durations are errors.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 64)
		if err != nil || n > uint64(math.MaxInt64/(24*time.Hour)) {
			return 0, fmt.Errorf("%s is no whole number of days such as \"7d\"", wording.Quote(s))
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is no duration such as \"90s\", \"5m\" or \"7d\"", wording.Quote(s))
	case d < 0:
		return 0, errors.New("a duration must not be negative")
	}
	return d, nil
}
