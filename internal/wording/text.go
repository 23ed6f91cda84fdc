package wording

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible shows what a terminal would obey or hide (control characters and escapes, direction marks, invalid UTF-8) as
// <U+001B>; white space becomes a space.
func Visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, "<0x%02X>", s[i])
		case r == '\n', r == '\t', unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, "<U+%04X>", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Cut keeps the first characters of a text and says how many it leaves out, so that nobody takes the part for the
// whole. It looks at no more of the text than it must.
func Cut(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			return fmt.Sprintf("%s … (%d more characters)", s[:i], utf8.RuneCountInString(s[i:]))
		}
		n++
	}
	return s
}

// Unlink writes addresses of the web so that no program that shows the text makes links of them: http[:]//, www[.].
func Unlink(s string) string {
	return strings.NewReplacer("://", "[:]//", "www.", "www[.]", "WWW.", "WWW[.]", "mailto:", "mailto[:]").Replace(s)
}

// Wrap breaks a printable text at spaces into lines of at most width characters, longer words where they must.
func Wrap(s string, width int) []string {
	var lines []string
	line, length := "", 0
	for word := range strings.FieldsSeq(s) {
		for n := utf8.RuneCountInString(word); ; n = utf8.RuneCountInString(word) {
			if length > 0 && length+1+n <= width {
				line, length = line+" "+word, length+1+n
				break
			}
			if length > 0 {
				lines = append(lines, line)
			}
			if line, length = word, n; n <= width {
				break
			}
			i := 0
			for range width {
				_, size := utf8.DecodeRuneInString(word[i:])
				i += size
			}
			lines, line, length, word = append(lines, word[:i]), "", 0, word[i:]
		}
	}
	if length > 0 || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}
