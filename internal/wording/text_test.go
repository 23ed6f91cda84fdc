package wording_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/remedykit/remedy/internal/wording"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWrappedTextKeepsItsWordsAndItsWidth(t *testing.T) {
	require.Equal(t, []string{""}, wording.Wrap(" ", 5))
	require.Equal(t, []string{"ab cd", "efghi", "jk l"}, wording.Wrap("ab cd  efghijk l", 5))
	rapid.Check(t, func(t *rapid.T) {
		s, width := wording.Visible(rapid.String().Draw(t, "text")), rapid.IntRange(1, 20).Draw(t, "width")
		lines := wording.Wrap(s, width)
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > width {
				t.Fatalf("%q has %d characters", line, n)
			}
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if squeeze(strings.Join(lines, " ")) != squeeze(s) {
			t.Fatalf("%q became %q", s, lines)
		}
	})
}

func TestVisibleTextHoldsNothingThatATerminalObeys(t *testing.T) {
	require.Equal(t, "a b<U+0007><U+009B><U+202E><U+FEFF><U+00AD><0xFF>� é ⚠️", wording.Visible("a\tb\a\u009b\u202e\ufeff\u00ad\xff� é\u00a0⚠️"))
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		s := wording.Visible(string(b))
		if !utf8.ValidString(s) || wording.Visible(s) != s {
			t.Fatalf("%q became %q", b, s)
		}
	})
}

func TestACutSaysHowMuchIsMissing(t *testing.T) {
	require.Equal(t, "äöü", wording.Cut("äöü", 3))
	require.Equal(t, "äö … (1 more characters)", wording.Cut("äöü", 2))
}

func TestAnAddressOfTheWebIsNoLink(t *testing.T) {
	require.Equal(t, "see HTTPS[:]//a.example/x, www[.]b.example or mailto[:]c@d.example", wording.Unlink("see HTTPS://a.example/x, www.b.example or mailto:c@d.example"))
	require.Equal(t, "key: value // 3:4", wording.Unlink("key: value // 3:4"))
}
