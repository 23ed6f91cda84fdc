package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/remedykit/remedy/internal/wording"
)

// outcome tells how the reading of one JSON value ended.
type outcome uint8

const (
	outcomeComplete outcome = iota
	outcomeTruncated
	outcomeBroken
	outcomeTooLarge
)

// A reader reads one JSON value into a tape, in one pass and without recursion. It accepts comments and trailing commas,
// which it notes, and goes on after faults that leave no doubt where the next value starts.
type reader struct {
	tape
	maxDepth int
	maxSteps int // 0: no matter

	cur      int32 // the innermost open container
	depth    int
	end      int       // where the value ended
	keyed    bool      // a name and its colon were read: this is meant to be JSON
	suspects []int32   // strings that may hold forbidden characters
	found    []finding // faults and repairs
}

// reset forgets what was read and keeps the memory.
func (r *reader) reset() {
	r.nodes, r.suspects, r.found = r.nodes[:0], r.suspects[:0], r.found[:0]
	r.cur, r.depth, r.end, r.keyed = none, 0, 0, false
}

func (r *reader) read(pos int) outcome {
	r.reset()
	if r.nodes == nil {
		r.nodes = make([]node, 0, min(len(r.src)/12, 1<<16)+8)
	}
	for {
		pos = r.space(pos)
		if pos >= len(r.src) {
			return r.cut()
		}
		switch c := r.src[pos]; {
		case c == '"':
			next := r.scanString(pos)
			if next < 0 {
				return r.stopped(outcomeBroken)
			}
			if next > len(r.src) {
				return r.cut()
			}
			pos = next
		case c == '{' || c == '[':
			if r.depth++; r.depth > r.maxDepth {
				r.fault(CodeLimitExceeded, pos, fmt.Sprintf("objects and lists are nested more than %d deep", r.maxDepth))
				return r.stopped(outcomeTooLarge)
			}
			k, closer := kindArray, byte(']')
			if c == '{' {
				k, closer = kindObject, '}'
			}
			r.cur = r.add(k, pos, 0, flagOpen)
			pos = r.space(pos + 1)
			if pos >= len(r.src) {
				return r.cut()
			}
			if r.src[pos] == closer {
				pos = r.shut(pos)
				break
			}
			if c == '{' {
				if pos = r.name(pos); pos < 0 {
					return r.stopped(outcomeBroken)
				}
			}
			continue
		case c == '-' || c == '+' || '0' <= c && c <= '9' || c == '.' && digitAt(r.src, pos+1):
			next, whole := r.scanNumber(pos)
			if next >= len(r.src) && !whole {
				return r.cut()
			}
			pos = next
		default:
			next, ok := r.scanWord(pos)
			if !ok {
				return r.stopped(outcomeBroken)
			}
			if next >= len(r.src) {
				return r.cut()
			}
			pos = next
		}

		// A value has ended.
		for due := false; !due; {
			if r.cur == none {
				r.end = pos
				return outcomeComplete
			}
			pos = r.space(pos)
			if pos >= len(r.src) {
				return r.cut()
			}
			k, closer := r.nodes[r.cur].kind, byte(']')
			if k == kindObject {
				closer = '}'
			}
			switch r.src[pos] {
			case closer:
				pos = r.shut(pos)
			case ',':
				comma := pos
				pos = r.space(pos + 1)
				if pos >= len(r.src) {
					return r.cut()
				}
				if r.src[pos] == closer {
					r.found = append(r.found, finding{repair: RepairTrailingComma, node: r.cur, off: int32(comma), message: "the comma after the last item was dropped"})
					pos = r.shut(pos)
					break
				}
				if k == kindObject {
					if pos = r.name(pos); pos < 0 {
						return r.stopped(outcomeBroken)
					}
				} else if int(r.nodes[r.cur].end) == r.maxSteps && r.holdsSteps() {
					r.fault(CodeLimitExceeded, pos, tooManySteps(r.maxSteps))
					return r.stopped(outcomeTooLarge)
				}
				due = true
			default:
				if strings.HasPrefix(r.src[pos:], "```") {
					return r.cut()
				}
				r.fault(CodeInvalidJSON, pos, fmt.Sprintf("expected a comma or %q after the value before, found %s", closer, r.show(pos)))
				// Where a comma was forgotten, the next item says so itself.
				if due = r.src[pos] == '"' || k == kindArray && (r.src[pos] == '{' || r.src[pos] == '['); !due {
					return r.stopped(outcomeBroken)
				}
				if k == kindObject {
					if pos = r.name(pos); pos < 0 {
						return r.stopped(outcomeBroken)
					}
				}
			}
		}
	}
}

// holdsSteps tells whether the open list is where a document has its steps, so that reading can end as soon as there
// are too many.
func (r *reader) holdsSteps() bool {
	if r.depth == 1 {
		return true
	}
	return r.depth == 2 && outerField(r.key(r.cur)) == "recommendations"
}

func tooManySteps(limit int) string {
	return fmt.Sprintf("the document has more than the %d steps allowed", limit)
}

// add appends a node below the open container and counts it there.
func (r *reader) add(k kind, off, end int, flags uint8) int32 {
	i := int32(len(r.nodes))
	n := node{off: int32(off), end: int32(end), next: i + 1, parent: r.cur, kind: k, flags: flags}
	if r.cur != none && flags&flagKey == 0 {
		p := &r.nodes[r.cur]
		n.ord = p.end
		p.end++
	}
	r.nodes = append(r.nodes, n)
	return i
}

// shut closes the open container at its bracket.
func (r *reader) shut(pos int) int {
	n := &r.nodes[r.cur]
	items := n.end
	n.end, n.next = int32(pos+1), int32(len(r.nodes))
	n.flags &^= flagOpen
	if n.kind == kindObject && items > 1 {
		r.found = r.tape.duplicates(r.cur, int(items), r.found)
	}
	r.cur = n.parent
	r.depth--
	return pos + 1
}

// stopped leaves the tape well formed although containers are open.
func (r *reader) stopped(o outcome) outcome {
	if n := len(r.nodes); n > 0 && r.nodes[n-1].flags&flagKey != 0 {
		r.nodes = r.nodes[:n-1]
	}
	for i := r.cur; i != none; i = r.nodes[i].parent {
		r.nodes[i].next = int32(len(r.nodes))
	}
	r.suspects = slices.DeleteFunc(r.suspects, func(i int32) bool { return int(i) >= len(r.nodes) })
	return o
}

// cut reports that the source ends too early.
func (r *reader) cut() outcome {
	off, what := len(r.src), "value"
	if r.cur != none {
		off, what = int(r.nodes[r.cur].off), r.nodes[r.cur].kind.what()
		what = what[strings.IndexByte(what, ' ')+1:]
	}
	r.fault(CodeTruncated, off, "the document was cut off: it ends before this "+what+" does; ask for the whole document")
	return r.stopped(outcomeTruncated)
}

func (r *reader) fault(code Code, pos int, message string) {
	r.found = append(r.found, finding{code: code, node: r.cur, off: int32(pos), message: message})
}

// space skips white space and comments.
func (r *reader) space(pos int) int {
	for pos < len(r.src) {
		switch r.src[pos] {
		case ' ', '\n', '\t', '\r':
			pos++
		case '#', '/':
			end := comment(r.src, pos)
			if end < 0 {
				return pos
			}
			r.found = append(r.found, finding{repair: RepairComment, node: r.cur, off: int32(pos), message: "a comment was dropped"})
			pos = end
		default:
			return pos
		}
	}
	return pos
}

// comment returns the end of the comment at pos, -1 when there is none. A comment that does not end goes on to the end
// of the source.
func comment(src string, pos int) int {
	rest := src[pos:]
	if strings.HasPrefix(rest, "/*") {
		if i := strings.Index(rest[2:], "*/"); i >= 0 {
			return pos + 2 + i + 2
		}
		return len(src)
	}
	if rest[0] != '#' && !strings.HasPrefix(rest, "//") {
		return -1
	}
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		return pos + i
	}
	return len(src)
}

// name reads a member's name and its colon. It returns -1 after a fault, and the end of the source when that comes first.
func (r *reader) name(pos int) int {
	if r.src[pos] != '"' {
		r.fault(CodeInvalidJSON, pos, "expected a name in double quotes, found "+r.show(pos))
		return -1
	}
	i := len(r.nodes)
	pos = r.scanString(pos)
	if pos < 0 || pos > len(r.src) {
		return pos
	}
	n := &r.nodes[i]
	n.flags |= flagKey
	r.nodes[r.cur].end--
	n.mark = mark(r.tape.text(int32(i)))
	pos = r.space(pos)
	if pos >= len(r.src) {
		return pos
	}
	if r.src[pos] != ':' {
		r.fault(CodeInvalidJSON, pos, fmt.Sprintf("expected a colon after the name %s, found %s", wording.Quote(r.text(int32(i))), r.show(pos)))
		return -1
	}
	r.keyed = true
	return pos + 1
}

// plain bytes of a string need no second look.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// scanString reads the string at pos and returns its end. It returns -1 after a fault that ends the reading, and more
// than the source's length when the source ends first.
func (r *reader) scanString(pos int) int {
	src := r.src
	var flags uint8
	suspect, bad := false, false
	i := pos + 1
	for {
		for i < len(src) && plain[src[i]] {
			i++
		}
		if i >= len(src) {
			return len(src) + 1
		}
		switch c := src[i]; {
		case c == '"':
			k := kindString
			if bad {
				k = kindBad
			}
			n := r.add(k, pos, i+1, flags)
			if suspect && !bad {
				r.suspects = append(r.suspects, n)
			}
			return i + 1
		case c == '\\':
			flags |= flagEscaped
			if i+1 >= len(src) {
				return len(src) + 1
			}
			switch src[i+1] {
			case '"', '\\', '/':
				i += 2
			case 'b', 'f', 'n', 'r', 't':
				suspect = true
				i += 2
			case 'u':
				suspect = true
				n, problem := unicodeEscape(src[i:])
				if problem != "" {
					if len(src)-i < 12 && strings.IndexByte(src[i:], '"') < 0 {
						return len(src) + 1
					}
					r.fault(CodeInvalidJSON, i, problem)
					bad = true
				}
				i += n
			default:
				r.fault(CodeInvalidJSON, i, `a backslash may not stand before `+charName(src[i+1:])+`; a backslash itself is written \\`)
				bad = true
				i += 2
			}
		case c == '\n' || c == '\r':
			r.fault(CodeInvalidJSON, i, `a string may not hold a line break: write \n, or close the quote that was opened before`)
			return -1
		case c < ' ':
			r.fault(CodeInvalidJSON, i, fmt.Sprintf("a string may not hold the raw control character U+%04X", c))
			bad = true
			i++
		default:
			// Lead bytes of the blocks that have forbidden characters, and DEL.
			suspect = suspect || c == 0x7f || c == 0xc2 || c == 0xd8 || c == 0xe2 || c == 0xef
			i++
		}
	}
}

// unicodeEscape checks the \u escape, or pair of them, at the start of s. It returns its length and what is wrong.
func unicodeEscape(s string) (int, string) {
	v := hex4(s[2:])
	switch {
	case v < 0:
		return 2, `\u needs four hexadecimal digits`
	case v < 0xd800 || v > 0xdfff:
		return 6, ""
	case v < 0xdc00 && len(s) >= 12 && s[6] == '\\' && s[7] == 'u':
		if low := hex4(s[8:]); 0xdc00 <= low && low <= 0xdfff {
			return 12, ""
		}
	}
	return 6, fmt.Sprintf("the escape %s is one half of a surrogate pair and stands for no character", s[:6])
}

// charName names the character at the start of s.
func charName(s string) string {
	c, _ := utf8.DecodeRuneInString(s)
	if !unicode.IsPrint(c) {
		return fmt.Sprintf("U+%04X", c)
	}
	return strconv.Quote(string(c))
}

// scanNumber reads the number at pos and tells whether it is whole as it stands, should the source end here.
func (r *reader) scanNumber(pos int) (end int, whole bool) {
	src := r.src
	i := pos
	digits := func() bool {
		from := i
		for i < len(src) && '0' <= src[i] && src[i] <= '9' {
			i++
		}
		return i > from
	}
	if src[i] == '-' {
		i++
	}
	first := i
	ok := digits() && (src[first] != '0' || i == first+1)
	if ok && i < len(src) && src[i] == '.' {
		i++
		ok = digits()
	}
	if ok && i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		ok = digits()
	}
	if ok && (i >= len(src) || !wordByte(src[i])) {
		r.add(kindNumber, pos, i, 0)
		return i, true
	}
	for i < len(src) && wordByte(src[i]) {
		i++
	}
	if i >= len(src) {
		return i, false
	}
	r.fault(CodeInvalidJSON, pos, fmt.Sprintf("%s is no JSON number; write it in plain decimal digits, and anything else as a string", wording.Quote(src[pos:i])))
	r.add(kindBad, pos, i, 0)
	return i, true
}

func digitAt(s string, i int) bool { return i < len(s) && '0' <= s[i] && s[i] <= '9' }

func wordByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '.' || c == '+' || c == '-'
}

// scanWord reads true, false, null, or what stands where a value should. ok is false when the reading ends there.
func (r *reader) scanWord(pos int) (end int, ok bool) {
	i := pos
	for i < len(r.src) && wordByte(r.src[i]) {
		i++
	}
	word := r.src[pos:i]
	advice := ""
	switch word {
	case "true":
		r.add(kindTrue, pos, i, 0)
		return i, true
	case "false":
		r.add(kindFalse, pos, i, 0)
		return i, true
	case "null":
		r.add(kindNull, pos, i, 0)
		return i, true
	case "True", "TRUE":
		advice = "true"
	case "False", "FALSE":
		advice = "false"
	case "None", "Null", "NULL", "nil", "undefined":
		advice = "null"
	case "NaN", "Infinity":
		r.fault(CodeInvalidJSON, pos, word+" is no JSON number; leave the field out")
		r.add(kindBad, pos, i, 0)
		return i, true
	}
	if advice != "" {
		r.found = append(r.found, finding{code: CodeInvalidJSON, node: r.cur, off: int32(pos), message: word + " is not JSON", suggestion: advice})
		r.add(kindBad, pos, i, 0)
		return i, true
	}
	if i == len(r.src) && i > pos {
		return i, true // a cut word
	}
	if strings.HasPrefix(r.src[pos:], "```") && r.cur != none {
		return len(r.src), true
	}
	r.fault(CodeInvalidJSON, pos, "expected a value, found "+r.show(pos))
	return pos, false
}

// show names what stands at pos, with advice where the mistake is a common one.
func (r *reader) show(pos int) string {
	src := r.src[pos:]
	c, _ := utf8.DecodeRuneInString(src)
	switch {
	case c == '\'':
		return "a single quote; JSON strings stand in double quotes"
	case c == '“' || c == '”' || c == '‘' || c == '’':
		return "a typographic quote; JSON strings stand in straight double quotes"
	case strings.HasPrefix(src, "..."):
		return `"..."; nothing may be left out`
	case wordByte(byte(c)) && c < utf8.RuneSelf:
		n := 0
		for n < len(src) && wordByte(src[n]) {
			n++
		}
		return wording.Quote(src[:n]) + " without quotes"
	}
	return charName(src)
}
