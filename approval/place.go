package approval

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A positioned error is about a place in a text, from 1.
type positioned interface{ Position() (line, column int) }

// place finds a place of a scalar in the lines of its file. The character is counted in what that line has of the text.
func place(source []string, n *yaml.Node, at positioned) (line, character int) {
	wantLine, wantColumn := at.Position()
	if n.Style&yaml.LiteralStyle != 0 {
		return n.Line + wantLine, wantColumn // the text begins below its mark
	}
	text, offset := n.Value, 0
	for range wantLine - 1 {
		_, after, ok := strings.Cut(text[offset:], "\n")
		if !ok {
			break
		}
		offset = len(text) - len(after)
	}
	for range wantColumn - 1 {
		_, size := utf8.DecodeRuneInString(text[offset:])
		offset += size
	}
	// YAML has joined lines: look for what each of them has of the text, one after the other.
	first := n.Line - 1
	if n.Style&yaml.FoldedStyle != 0 {
		first++
	}
	line, begins, ends := n.Line, 0, 0
	for k := first; k < len(source); k++ {
		part := source[k]
		if k == n.Line-1 {
			whole := []rune(part)
			part = string(whole[min(n.Column-1, len(whole)):])
		}
		part = strings.Trim(part, " \t\r")
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			part = strings.Trim(part, `"'`)
		}
		found := strings.Index(text[ends:], part)
		if found < 0 || ends+found > offset {
			break
		}
		if part != "" {
			line, begins, ends = k+1, ends+found, ends+found+len(part)
		}
	}
	return line, utf8.RuneCountInString(text[begins:offset]) + 1
}
