package schema

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/remedykit/remedy/internal/wording"
)

// looksLikeYAML tells a manifest in YAML by a field of it at the start of a line, before anything of JSON.
func looksLikeYAML(src string) bool {
	src = strings.TrimPrefix(src, "\ufeff")
	for line := range strings.Lines(src) {
		name, _, ok := strings.Cut(line, ":")
		if ok {
			switch name {
			case "apiVersion", "kind", "metadata", "spec", "status":
				return true
			}
		}
		if line[0] != '#' && (strings.ContainsAny(line, "{[") || strings.HasPrefix(line, "```")) {
			return false
		}
	}
	return false
}

// readYAML reads the source as YAML into the tape, and tells whether there is something on it.
func (p *parser) readYAML() bool {
	root, line, err := decodeYAML(p.src)
	if err == nil && root == nil && !p.exact {
		err = errors.New("there is no document")
	}
	if err != nil {
		p.broken = true
		p.add(finding{code: CodeInvalidJSON, node: none, off: p.offset(line, 1), message: "invalid YAML: " + err.Error()})
		return false
	}
	if root == nil {
		return false
	}
	p.reset()
	p.fromYAML(root, none)
	return true
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)
	yamlGrammar = regexp.MustCompile(`^did not find expected (<document start>|node content|'-' indicator|key|',' or)`)
)

// decodeYAML reads the one document of src; there may be none. line is where the error is.
func decodeYAML(src string) (root *yaml.Node, line int, err error) {
	defer func() {
		// The YAML reader is not ours; whatever it makes of hostile input must not end the process.
		if r := recover(); r != nil {
			root, line, err = nil, 1, errors.New("it cannot be read")
		}
	}()
	fail := func(err error) (*yaml.Node, int, error) {
		text := err.Error()
		at := yamlLine.FindStringSubmatch(text)
		line, _ := strconv.Atoi(at[1])
		text = text[len(at[0]):]
		switch {
		case yamlGrammar.MatchString(text):
			line++ // these count from 0
		case strings.Contains(text, "control characters"):
			bad := strings.IndexFunc(src, func(r rune) bool {
				return r < ' ' && r != '\n' && r != '\t' && r != '\r' || 0x7f <= r && r < 0xa0 && r != 0x85
			})
			line = 1 + strings.Count(src[:max(bad, 0)], "\n")
		}
		return nil, max(line, 1), errors.New(oneLine(text))
	}
	var doc, more yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(src))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, 1, nil
	case err != nil:
		return fail(err)
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		return nil, max(more.Line, 1), errors.New("a second document follows the first; give one")
	case !errors.Is(err, io.EOF):
		return fail(err)
	}
	return doc.Content[0], 0, nil
}

// oneLine keeps a foreign message on one printable line.
func oneLine(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// A cursor turns lines and columns into bytes. Going forward along a line costs only the way gone.
type cursor struct {
	line, column int
	off          int
}

func (p *parser) offset(line, column int) int32 {
	lines := p.positions().lines
	line = min(max(line, 1), len(lines))
	c := &p.cursor
	if c.line != line || c.column > column {
		*c = cursor{line: line, column: 1, off: int(lines[line-1])}
	}
	for c.column < column && c.off < len(p.src) && p.src[c.off] != '\n' {
		_, n := utf8.DecodeRuneInString(p.src[c.off:])
		c.off += n
		c.column++
	}
	return int32(c.off)
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// fromYAML appends a YAML node to the tape. Aliases, tags and merge keys are refused: they make small texts large and
// say less than they seem to.
func (p *parser) fromYAML(y *yaml.Node, parent int32) {
	off := int(p.offset(y.Line, y.Column))
	p.cur = parent
	refuse := func(message string) {
		i := p.reader.add(kindBad, off, off, 0)
		p.problem(CodeInvalidValue, i, message, "")
	}
	switch {
	case y.Kind == yaml.AliasNode || y.Anchor != "":
		refuse("anchors and aliases of YAML are not allowed; write the value out")
		return
	case y.Style&yaml.TaggedStyle != 0:
		refuse("tags of YAML are not allowed: " + wording.Quote(y.Tag))
		return
	}
	switch y.Kind {
	case yaml.MappingNode, yaml.SequenceNode:
		if p.depth++; p.depth > p.maxDepth {
			if !p.broken {
				p.broken = true
				p.fault(CodeLimitExceeded, off, fmt.Sprintf("objects and lists are nested more than %d deep", p.maxDepth))
			}
			p.reader.add(kindBad, off, off, 0)
			p.depth--
			return
		}
		k := kindArray
		if y.Kind == yaml.MappingNode {
			k = kindObject
		}
		i := p.reader.add(k, off, 0, flagOpen)
		p.cur = i
		if k == kindArray {
			for _, item := range y.Content {
				p.fromYAML(item, i)
			}
		} else {
			for n := 0; n+1 < len(y.Content); n += 2 {
				p.yamlName(y.Content[n], i)
				p.fromYAML(y.Content[n+1], i)
			}
		}
		p.cur = i
		p.shut(off)
	default:
		p.yamlScalar(y, off)
	}
}

// yamlName appends the name of a member.
func (p *parser) yamlName(y *yaml.Node, parent int32) {
	p.cur = parent
	off := int(p.offset(y.Line, y.Column))
	if y.Kind != yaml.ScalarNode || y.Anchor != "" || y.Style&yaml.TaggedStyle != 0 || y.ShortTag() == "!!merge" {
		p.fault(CodeInvalidValue, off, "a name must be plain text: no list, mapping, anchor, alias, tag or merge key")
		p.reader.add(kindBad, off, off, flagKey)
		return
	}
	p.nodes[p.yamlText(y.Value, off, flagKey)].mark = mark(y.Value)
}

// yamlText appends a string whose text is not a part of the source.
func (p *parser) yamlText(text string, off int, flags uint8) int32 {
	i := p.reader.add(kindString, off, len(p.texts), flags|flagText)
	p.texts = append(p.texts, text)
	if strings.ContainsFunc(text, isForbidden) {
		p.suspects = append(p.suspects, i)
	}
	return i
}

func (p *parser) yamlScalar(y *yaml.Node, off int) {
	switch y.ShortTag() {
	case "!!null":
		p.reader.add(kindNull, off, off, 0)
	case "!!bool":
		k := kindFalse
		if strings.EqualFold(y.Value, "true") {
			k = kindTrue
		}
		p.reader.add(k, off, off, 0)
	case "!!int", "!!float":
		if !jsonNumber.MatchString(y.Value) {
			i := p.reader.add(kindBad, off, off, 0)
			p.problem(CodeInvalidValue, i, fmt.Sprintf("the number %s must be written in plain decimal digits", wording.Quote(y.Value)), "")
			return
		}
		i := p.yamlText(y.Value, off, 0)
		p.nodes[i].kind = kindNumber
	default:
		p.yamlText(y.Value, off, 0)
	}
}
