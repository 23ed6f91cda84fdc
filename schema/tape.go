package schema

import (
	"iter"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

type kind uint8

const (
	kindBad kind = iota // its text is wrong, which is already reported
	kindNull
	kindFalse
	kindTrue
	kindNumber
	kindString
	kindArray
	kindObject
)

// what names a kind in a message.
func (k kind) what() string {
	return [...]string{"nothing readable", "null", "false", "true", "a number", "a string", "a list", "an object"}[k]
}

const (
	flagKey     uint8 = 1 << iota // the name of a member; its value is the next node
	flagEscaped                   // a string with escapes
	flagText                      // the text is tape.texts[end], not a part of the source
	flagOpen                      // the source ends or breaks before the value's end
)

// none stands for no node.
const none int32 = -1

// A node is one value or one member name of the source.
type node struct {
	off, end int32 // bytes of the source; while a container is open, end counts its items
	next     int32 // the node after this one's last descendant
	parent   int32
	ord      int32 // place in the parent, from 0
	kind     kind
	flags    uint8
	mark     uint16 // of a name: equal for names that differ only in case; 0 says nothing
}

// A tape is a document as a flat list of nodes in the order of the source.
type tape struct {
	src   string
	nodes []node
	texts []string
}

// text returns the string that a string node means, or the digits of a number.
func (t *tape) text(i int32) string {
	n := &t.nodes[i]
	switch {
	case n.flags&flagText != 0:
		return t.texts[n.end]
	case n.kind == kindNumber || n.kind == kindBad:
		return t.src[n.off:n.end]
	case n.flags&flagEscaped != 0:
		return unescape(t.src[n.off+1 : n.end-1])
	}
	return t.src[n.off+1 : n.end-1]
}

// size is at least the length of a string node's text.
func (t *tape) size(i int32) int {
	if n := &t.nodes[i]; n.flags&flagText == 0 {
		return int(n.end - n.off)
	}
	return len(t.text(i))
}

// items yields the items of a list, or the names of an object's members.
func (t *tape) items(container int32) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		step := int32(0)
		if t.nodes[container].kind == kindObject {
			step = 1
		}
		for i := container + 1; i < t.nodes[container].next; i = t.nodes[i+step].next {
			if !yield(i) {
				return
			}
		}
	}
}

// member returns the value of an object's member, or none.
func (t *tape) member(object int32, name string) int32 {
	for k := range t.items(object) {
		if t.text(k) == name {
			return k + 1
		}
	}
	return none
}

// key returns the name of the member whose value is node i, "" when i is no member's value.
func (t *tape) key(i int32) string {
	if p := t.nodes[i].parent; p != none && t.nodes[p].kind == kindObject {
		return t.text(i - 1)
	}
	return ""
}

// isPlaceholder tells a list item that stands for items left out.
func (t *tape) isPlaceholder(i int32) bool {
	n := &t.nodes[i]
	if n.kind != kindString || n.parent == none || t.nodes[n.parent].kind != kindArray {
		return false
	}
	return t.text(i) == "..."
}

// integer returns the number at node i when it is an integer.
func (t *tape) integer(i int32) (int64, bool) {
	if t.nodes[i].kind != kindNumber {
		return 0, false
	}
	v, err := number(t.text(i))
	n, ok := v.(int64)
	return n, ok && err == nil
}

// dependency returns the id that an item of a list of dependencies names; a number names the step with that number.
func (t *tape) dependency(i int32) (id string, ok bool) {
	if t.nodes[i].kind == kindString && !t.isPlaceholder(i) {
		return t.text(i), true
	}
	n, ok := t.integer(i)
	return strconv.FormatInt(n, 10), ok && n > 0
}

// isRead tells whether a list item is among what was read of the list.
func (t *tape) isRead(i int32, f field) bool {
	if f == fieldDependencies {
		_, ok := t.dependency(i)
		return ok
	}
	return !t.isPlaceholder(i)
}

// maxPointer bounds a pointer's length, so that long names and many problems do not multiply. What lies deeper than
// that gets the pointer of a value around it.
const maxPointer = 1024

// pointer returns the JSON pointer of node i; of a name it is that of the member.
func (t *tape) pointer(i int32) string {
	if i == none {
		return ""
	}
	if t.nodes[i].flags&flagKey != 0 {
		i++
	}
	var path []string
	for ; t.nodes[i].parent != none; i = t.nodes[i].parent {
		p := t.nodes[i].parent
		switch {
		case t.nodes[p].kind == kindArray:
			path = append(path, strconv.Itoa(int(t.nodes[i].ord)))
		case t.size(i-1) < maxPointer:
			path = append(path, escapeToken(t.text(i-1)))
		default:
			path = path[:0]
		}
	}
	var b strings.Builder
	for k := len(path) - 1; k >= 0 && b.Len()+len(path[k]) < maxPointer; k-- {
		b.WriteByte('/')
		b.WriteString(path[k])
	}
	return b.String()
}

func escapeToken(s string) string {
	if !strings.ContainsAny(s, "~/") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

func unescapeToken(s string) string {
	if !strings.Contains(s, "~") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
}

// unescape resolves the escapes of a JSON string that the reader has checked.
func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			return string(append(b, s...))
		}
		b = append(b, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, hex4(s[2:]))
				s = s[6:]
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
		}
	}
}

// hex4 reads four hexadecimal digits; -1 when s does not start with them.
func hex4(s string) rune {
	if len(s) < 4 {
		return -1
	}
	var r rune
	for i := range 4 {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
