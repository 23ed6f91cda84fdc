package wording_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/internal/wording"
)

func TestAQuotedTextIsShortPrintableAndOnOneLine(t *testing.T) {
	require.Equal(t, `"a\n\"b\"\x1b"`, wording.Quote("a\n\"b\"\x1b"))
	require.Equal(t, `"`+strings.Repeat("é", 64)+`"`, wording.Quote(strings.Repeat("é", 64)))
	require.Equal(t, `"`+strings.Repeat("é", 64)+`"…`, wording.Quote(strings.Repeat("é", 65)))
}

func TestADurationLeavesOutTheZeroesAtItsEnd(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", 2 * time.Minute: "2m", 90 * time.Second: "1m30s", time.Hour: "1h", 20 * time.Hour: "20h",
		time.Hour + time.Second: "1h0m1s", time.Hour + 10*time.Minute: "1h10m", 340 * time.Millisecond: "340ms",
	} {
		require.Equal(t, want, wording.Duration(d))
	}
}

func TestTheDistanceIsThatOfTheDefinition(t *testing.T) {
	require.Equal(t, 1, wording.Distance("rec-010", "rec-001"), "neighbours that changed places are one mistake")
	require.Equal(t, 3, wording.Distance("kitten", "sitting"))
	require.Equal(t, 200, wording.Distance("", strings.Repeat("x", 200)))
	letters := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 7, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := letters.Draw(t, "a"), letters.Draw(t, "b")
		require.Equal(t, defined(a, b), wording.Distance(a, b))
		require.Equal(t, wording.Distance(a, b), wording.Distance(b, a))
	})
}

// defined follows the definition without a table.
func defined(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	i, j := len(a)-1, len(b)-1
	d := defined(a[:i], b[:j])
	if a[i] != b[j] {
		d++
	}
	d = min(d, defined(a[:i], b)+1, defined(a, b[:j])+1)
	if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
		d = min(d, defined(a[:i-1], b[:j-1])+1)
	}
	return d
}
