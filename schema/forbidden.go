package schema

import (
	"slices"

	"github.com/remedykit/remedy/internal/wording"
)

// isForbidden tells characters that no text of a document may hold: control characters, and those that are invisible
// or reorder what a person sees.
func isForbidden(r rune) bool {
	switch {
	case r < 0x20, 0x7f <= r && r < 0xa0, r == 0x61c, r == 0xfeff:
		return true
	case 0x200b <= r && r <= 0x200f, 0x202a <= r && r <= 0x202e, 0x2060 <= r && r <= 0x2069:
		return true
	}
	return false
}

// forbidden reports the texts that hold forbidden characters.
func (p *parser) forbidden() {
	slices.Sort(p.suspects)
	for _, i := range p.suspects {
		what := forbiddenIn(p.text(i), p.isProse(i))
		if what == "" {
			continue
		}
		where := "the name of a field"
		if p.nodes[i].flags&flagKey == 0 {
			if where = "a list item"; p.key(i) != "" {
				where = wording.Quote(p.key(i))
			}
		}
		p.problem(CodeForbiddenCharacter, i, where+" holds "+what, "")
	}
}

// isProse tells the texts in which lines and tabs are fine.
func (p *parser) isProse(i int32) bool {
	parent := p.nodes[i].parent
	if p.nodes[i].flags&flagKey != 0 || parent == none || p.nodes[parent].kind != kindObject || p.steps == none {
		return false
	}
	name := p.text(i - 1)
	if p.nodes[parent].parent == p.steps {
		f := lookUpField(name)
		return f == fieldDescription || f == fieldRationale
	}
	outer := p.nodes[parent].parent
	if name != "reason" && name != "message" || outer == none || p.nodes[outer].parent != p.steps {
		return false
	}
	return p.nodes[outer].kind == kindObject && lookUpField(p.text(parent-1)) == fieldParameters
}
