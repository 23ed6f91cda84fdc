package schema

import (
	"slices"
	"sort"
	"strconv"
	"strings"
)

// source locates values in the text a document was read from.
type source struct {
	tape
	positions func() *positions
}

const block = 1024

// positions turns offsets into lines and columns.
type positions struct {
	src   string
	lines []int32 // where each line starts
	runes []int32 // how many characters stand before each block
}

func newPositions(src string) *positions {
	p := &positions{src: src, lines: make([]int32, 1, 64), runes: make([]int32, 1, len(src)/block+1)}
	for i := 0; ; i++ {
		n := strings.IndexByte(src[i:], '\n')
		if n < 0 {
			break
		}
		i += n
		p.lines = append(p.lines, int32(i+1))
	}
	for i := 0; i+block <= len(src); i += block {
		p.runes = append(p.runes, p.runes[len(p.runes)-1]+characters(src[i:i+block]))
	}
	return p
}

// characters counts the bytes that start a character, so that parts of a text add up.
func characters(s string) int32 {
	n := int32(0)
	for i := range len(s) {
		if s[i]&0xc0 != 0x80 {
			n++
		}
	}
	return n
}

func (p *positions) before(off int32) int32 {
	b := off / block
	return p.runes[b] + characters(p.src[b*block:off])
}

func (p *positions) at(off int32) (line, column int) {
	off = min(off, int32(len(p.src)))
	n := sort.Search(len(p.lines), func(i int) bool { return p.lines[i] > off })
	column = int(p.before(off)-p.before(p.lines[n-1])) + 1
	if n == 1 && strings.HasPrefix(p.src, "\ufeff") && off > 0 {
		column-- // a byte order mark is no character of the text
	}
	return n, column
}

// resolve returns the value at a JSON pointer, or the nearest one around it.
func (s *source) resolve(pointer string) int32 {
	at := int32(0)
	path, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return at
	}
	for token := range strings.SplitSeq(path, "/") {
		next := none
		switch s.nodes[at].kind {
		case kindObject:
			next = s.member(at, unescapeToken(token))
		case kindArray:
			if k, err := strconv.Atoi(token); err == nil {
				next = s.item(at, k)
			}
		}
		if next == none {
			break
		}
		at = next
	}
	return at
}

// item returns item k of a list as it was written, or none.
func (s *source) item(list int32, k int) int32 {
	for i := range s.items(list) {
		if int(s.nodes[i].ord) == k {
			return i
		}
	}
	return none
}

// Position returns line and column, from 1, of the value at a JSON pointer, or of the nearest value around it that
// the document has. It returns 0, 0 for a document built by hand.
func (d *Document) Position(pointer string) (line, column int) {
	if d.source == nil {
		return 0, 0
	}
	if len(d.source.nodes) == 0 {
		return 1, 1
	}
	return d.source.positions().at(d.source.nodes[d.source.resolve(pointer)].off)
}

// Pointer returns the JSON pointer of a field of recommendation i, spelled as the document spells it (field is the
// canonical name, path what follows below it: member names as the document spells them, and the places of items in
// the list as it was read). Where the document has nothing there it is the pointer of the nearest value around it, at
// most the recommendation's own.
func (d *Document) Pointer(i int, field string, path ...string) string {
	if i < 0 || i >= len(d.Recommendations) {
		return ""
	}
	at := d.Recommendations[i].node
	if d.source == nil || at == 0 {
		p := "/recommendations/" + strconv.Itoa(i)
		if field != "" {
			path = slices.Insert(slices.Clone(path), 0, field)
		}
		for _, token := range path {
			p += "/" + escapeToken(token)
		}
		return p
	}
	t := &d.source.tape
	want := canonicalField(field)
	if want == fieldUnknown {
		return t.pointer(at)
	}
	value := t.member(at, field)
	if value == none {
		for k := range t.items(at) {
			if lookUpField(t.text(k)) == want {
				value = k + 1
				break
			}
		}
	}
	if value == none {
		return t.pointer(at)
	}
	for _, token := range path {
		next := none
		switch t.nodes[value].kind {
		case kindObject:
			next = t.member(value, token)
		case kindArray:
			k, err := strconv.Atoi(token)
			for item := range t.items(value) {
				if err != nil || !t.isRead(item, want) {
					continue
				}
				if k--; k < 0 {
					next = item
					break
				}
			}
		}
		if next == none {
			break
		}
		value = next
	}
	return t.pointer(value)
}
