package schema

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxTries bounds how many brackets of a prose are tried as the start of the document.
const maxTries = 100

// find reads the JSON document in the source: the whole of it, the content of a code fence, or what stands in prose.
//
// A bracket is taken at its word as soon as a member name follows it: what then breaks or ends early is a broken or cut
// document, and no part of it is ever taken in its place.
func (p *parser) find() outcome {
	start := p.lead()
	if start >= len(p.src) {
		p.found = append(p.found, finding{code: CodeInvalidJSON, node: none, message: "the input is empty, or nothing but comments; it should hold a recommendations document"})
		return outcomeBroken
	}
	lead := slices.Clone(p.found)
	fallback, tries := -1, 0
	try := func(pos int) (outcome, bool) {
		tries++
		o := p.read(pos)
		switch {
		case o == outcomeComplete && p.looksLikeDocument():
			return o, true
		case o == outcomeComplete:
			if fallback < 0 {
				fallback = pos
			}
			return o, false
		}
		return o, p.keyed || o == outcomeTruncated || o == outcomeTooLarge
	}
	finish := func(pos, fence int, o outcome) outcome {
		if open := unclosed(p.src[start:pos]); open >= 0 && fence < 0 {
			// What was read stands inside something that is no JSON: it is a part, not the document.
			pos = start + open
			if o = p.read(pos); o == outcomeComplete {
				o = outcomeBroken
				p.fault(CodeInvalidJSON, pos, "this bracket is never closed")
			}
		} else if o == outcomeComplete && insideYAML(p.src[start:pos], p.src[pos] == '[') {
			p.reset()
			p.fault(CodeInvalidJSON, start, "this is YAML around a piece of JSON; give a manifest by itself, not fenced or indented")
			o = outcomeBroken
		}
		p.found = append(lead[:len(lead):len(lead)], p.found...)
		p.around(start, pos, fence, o)
		return o
	}
	if p.src[start] == '"' {
		if end := p.scanString(start); end >= 0 && end <= len(p.src) && strings.TrimSpace(p.src[end:]) == "" {
			message := "a JSON string is no recommendations document"
			if strings.ContainsAny(p.src, "{[") {
				message = "the document stands inside a string; give it as JSON itself"
			}
			p.reset()
			p.found = append(lead, finding{code: CodeInvalidJSON, node: none, off: int32(start), message: message})
			return outcomeBroken
		}
	}
	resume := start
	if c := p.src[start]; c == '{' || c == '[' {
		o, done := try(start)
		if done {
			return finish(start, -1, o)
		}
		resume = start + 1
		if o == outcomeComplete {
			resume = p.end
		}
	}
	for fence := resume; tries < maxTries; {
		i := nextFence(p.src, fence)
		if i < 0 {
			break
		}
		pos := p.fenceContent(i)
		fence = i + 3
		if pos < len(p.src) && (p.src[pos] == '{' || p.src[pos] == '[') {
			o, done := try(pos)
			if done {
				o = finish(pos, i, o)
				if first := p.another(start, i, true); first >= 0 {
					p.found = append(p.found, finding{code: CodeInvalidJSON, node: none, off: int32(first), message: "another JSON document stands before the fenced one; give one"})
				}
				return o
			}
			if o == outcomeComplete {
				fence = p.end
			}
		}
	}
	for tries < maxTries {
		i := strings.IndexAny(p.src[resume:], "{[")
		if i < 0 {
			break
		}
		pos := resume + i
		o, done := try(pos)
		if done {
			return finish(pos, -1, o)
		}
		resume = pos + 1
		if o == outcomeComplete {
			resume = p.end
		}
	}
	if fallback >= 0 {
		return finish(fallback, -1, p.read(fallback))
	}
	if c := p.src[start]; c == '{' || c == '[' {
		return finish(start, -1, p.read(start))
	}
	p.reset()
	p.found = lead
	message := "there is no JSON object in the input"
	if strings.ContainsAny(p.src, "{[") {
		message = "there is no recommendations document in the input"
	}
	p.found = append(p.found, finding{code: CodeInvalidJSON, node: none, off: int32(start), message: message})
	return outcomeBroken
}

// lead skips the byte order mark, white space and comments in front.
func (p *parser) lead() int {
	p.reset()
	pos := 0
	if strings.HasPrefix(p.src, "\ufeff") {
		pos = len("\ufeff")
	}
	return p.space(pos)
}

// nextFence returns the next ``` that starts a line, indented or quoted as it may be, -1 when there is none.
func nextFence(src string, from int) int {
	line := strings.LastIndexByte(src[:from], '\n') + 1
	if line == 0 && strings.HasPrefix(src, "\ufeff") {
		line = len("\ufeff")
	}
	for {
		indent := len(src[line:]) - len(strings.TrimLeft(src[line:], " \t>"))
		if i := line + indent; i >= from && strings.HasPrefix(src[i:], "```") {
			return i
		}
		next := strings.IndexByte(src[line:], '\n')
		if next < 0 {
			return -1
		}
		line += next + 1
	}
}

// fenceContent returns where the content of the code fence at pos starts.
func (p *parser) fenceContent(pos int) int {
	pos += 3
	for pos < len(p.src) && p.src[pos] == '`' {
		pos++
	}
	for pos < len(p.src) && (wordByte(p.src[pos]) || p.src[pos] == ' ') {
		pos++
	}
	for pos < len(p.src) {
		switch p.src[pos] {
		case ' ', '\t', '\n', '\r':
			pos++
			continue
		}
		end := comment(p.src, pos)
		if end < 0 {
			break
		}
		pos = end
	}
	return pos
}

// insideYAML tells whether what stands before a value makes it a part of a manifest, or a list the value of some field,
// and not the document that prose leads to.
func insideYAML(before string, list bool) bool {
	var last string
	for last = range strings.Lines(before) {
		name, _, ok := strings.Cut(strings.TrimLeft(last, "- \t"), ":")
		if !ok {
			continue
		}
		switch name {
		case "apiVersion", "kind", "metadata", "spec", "workflowDefinition", "stepNumber", "step_number", "action", "actionType", "action_type", "parameters":
			return true
		}
	}
	field := strings.TrimRight(last, " \t")
	return list && strings.HasSuffix(field, ":") && strings.IndexAny(field, "- \t") == 0
}

// looksLikeDocument tells whether the complete value on the tape is meant to be a plan.
func (p *parser) looksLikeDocument() bool {
	if p.nodes[0].kind == kindArray {
		for i := range p.items(0) {
			if p.nodes[i].kind != kindObject && !p.isPlaceholder(i) {
				return false
			}
		}
		return true
	}
	for k := range p.items(0) {
		switch foldName(p.text(k)) {
		case "recommendations", "steps", "apiversion":
			return true
		}
	}
	return false
}

// around notes what stands before and after the value that was read from pos on, and refuses a second document.
func (p *parser) around(start, pos, fence int, o outcome) {
	before := pos
	if fence >= 0 {
		before = fence
		p.found = append(p.found, finding{repair: RepairCodeFence, node: none, off: int32(fence), message: "the code fence around the document was dropped"})
	}
	if strings.TrimSpace(p.src[start:before]) != "" {
		p.found = append(p.found, finding{repair: RepairSurroundingText, node: none, off: int32(start), message: "the text before the document was dropped"})
	}
	if fence >= 0 {
		p.fenceComments(fence, pos)
	}
	if o != outcomeComplete {
		return
	}
	rest := p.end
	for rest < len(p.src) {
		rest += len(p.src[rest:]) - len(strings.TrimLeft(p.src[rest:], " \t\r\n"))
		if fence >= 0 && strings.HasPrefix(p.src[rest:], "```") {
			fence = -1
			for rest < len(p.src) && p.src[rest] == '`' {
				rest++
			}
			continue
		}
		if rest >= len(p.src) {
			return
		}
		end := comment(p.src, rest)
		if end < 0 {
			break
		}
		p.found = append(p.found, finding{repair: RepairComment, node: none, off: int32(rest), message: "a comment was dropped"})
		rest = end
	}
	if rest >= len(p.src) {
		return
	}
	if second := p.another(rest, len(p.src), false); second >= 0 {
		p.found = append(p.found, finding{code: CodeInvalidJSON, node: none, off: int32(second), message: "a second JSON document follows the first; give one"})
		return
	}
	if i := unopened(p.src[rest:]); i >= 0 {
		p.found = append(p.found, finding{code: CodeInvalidJSON, node: none, off: int32(rest + i), message: fmt.Sprintf("the document ended before this %q", p.src[rest+i])})
		return
	}
	p.found = append(p.found, finding{repair: RepairSurroundingText, node: none, off: int32(rest), message: "the text after the document was dropped"})
}

// fenceComments notes the comments between the fence and its document.
func (p *parser) fenceComments(fence, pos int) {
	line := strings.IndexByte(p.src[fence:pos], '\n')
	if line < 0 {
		return
	}
	for i := fence + line; i < pos; {
		if end := comment(p.src, i); end >= 0 {
			p.found = append(p.found, finding{repair: RepairComment, node: none, off: int32(i), message: "a comment was dropped"})
			i = end
			continue
		}
		i++
	}
}

// another returns where between two places of the source a JSON value with named members starts, -1 when there is none.
// Of those before the document only one that could be a document itself, or part of one, counts.
func (p *parser) another(from, to int, before bool) int {
	other := parser{reader: reader{tape: tape{src: p.src}, maxDepth: p.maxDepth}}
	for range maxTries {
		i := strings.IndexAny(p.src[from:to], "{[")
		if i < 0 {
			return -1
		}
		from += i
		o := other.read(from)
		if (other.keyed || o == outcomeTooLarge) && (!before || o != outcomeComplete || other.looksLikeDocument()) {
			return from
		}
		from++
		if o == outcomeComplete {
			from = other.end
		}
		if from >= to {
			return -1
		}
	}
	return from
}

// unclosed returns the first bracket of a text that stays open, -1 when there is none.
func unclosed(s string) int {
	depth, first := 0, -1
	for i := range len(s) {
		switch s[i] {
		case '{', '[':
			if depth++; depth == 1 {
				first = i
			}
		case '}', ']':
			depth = max(depth-1, 0)
		}
	}
	if depth == 0 {
		return -1
	}
	return first
}

// unopened returns the first bracket of a text that closes nothing in it, or a comma in front; -1 when there is none.
func unopened(s string) int {
	if s[0] == ',' {
		return 0
	}
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		}
	}
	return -1
}

// unreadable reports what makes the whole input unfit to be read.
func (p *parser) unreadable() bool {
	if i := strings.IndexByte(p.src, 0); i >= 0 {
		p.found = append(p.found, finding{code: CodeInvalidJSON, node: none, off: int32(i), message: "the input holds a NUL byte: it is no text in UTF-8"})
		return true
	}
	if utf8.ValidString(p.src) {
		return false
	}
	for i := 0; ; {
		r, n := utf8.DecodeRuneInString(p.src[i:])
		if r == utf8.RuneError && n == 1 {
			p.found = append(p.found, finding{code: CodeInvalidJSON, node: none, off: int32(i), message: fmt.Sprintf("the byte 0x%02X is not UTF-8", p.src[i])})
			return true
		}
		i += n
	}
}
