package gitops

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/remedykit/remedy/actions"
)

// edited is a YAML file with a patch applied: maps are merged, null removes, all else replaces. A name with dots that the file
// does not have as it is leads into what is nested (spec.replicas), and a number in brackets into a list (containers[0]). Of a
// ConfigMap, a name that the file has only in its data is meant there.
func edited(text string, patch any) (string, error) {
	values, ok := patch.(map[string]any)
	if !ok || len(values) == 0 {
		return "", actions.Permanent(errors.New("patch must be an object with the values to change"))
	}
	if n := strings.Count(text, "\r\n"); n > 0 && n == strings.Count(text, "\n") {
		out, err := edited(strings.ReplaceAll(text, "\r\n", "\n"), patch)
		return strings.ReplaceAll(out, "\n", "\r\n"), err
	}
	var documents []*yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		if err := decoder.Decode(&n); err != nil {
			if err.Error() == "EOF" {
				break
			}
			return "", actions.Permanent(fmt.Errorf("the file is no YAML: %w", err))
		}
		documents = append(documents, &n)
	}
	if len(documents) != 1 || documents[0].Kind != yaml.DocumentNode || documents[0].Content[0].Kind != yaml.MappingNode {
		return "", actions.Permanent(fmt.Errorf("the file has %d documents: a patch is for a file with one object", len(documents)))
	}
	root := documents[0].Content[0]
	splice := &splicer{text: text}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		at, path := spot(root, name)
		if err := splice.set(at, path, values[name]); err != nil {
			return "", err
		}
	}
	if !splice.encode {
		if out, ok := splice.apply(); ok && means(out, documents[0]) {
			return out, nil
		}
	}
	out, err := anew(text, documents[0])
	if err != nil {
		return "", err
	}
	var again yaml.Node
	if !means(out, documents[0]) || yaml.Unmarshal([]byte(out), &again) != nil || !slices.Equal(comments(documents[0]), comments(&again)) {
		return "", actions.Permanent(errors.New("the file cannot be written with the patch and keep its meaning and its comments: change it by hand"))
	}
	return out, nil
}

// means tells whether a text reads as a document.
func means(text string, document *yaml.Node) bool {
	var got, want any
	return yaml.Unmarshal([]byte(text), &got) == nil && document.Decode(&want) == nil && reflect.DeepEqual(got, want)
}

// anew writes a document in the manner of a text.
func anew(text string, document *yaml.Node) (string, error) {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	indent, compact := manner(document.Content[0])
	encoder.SetIndent(indent)
	if compact {
		encoder.CompactSeqIndent()
	}
	if err := errors.Join(encoder.Encode(document), encoder.Close()); err != nil {
		return "", actions.Permanent(err)
	}
	out := b.String()
	if strings.HasPrefix(text, "---") && !strings.HasPrefix(out, "---") {
		out = "---\n" + out
	}
	return out, nil
}

// manner is how far a mapping is indented in another, and whether a list is not.
func manner(n *yaml.Node) (indent int, compact bool) {
	const usual = 2
	for i := 1; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		key, value := n.Content[i-1], n.Content[i]
		block := value.Style&yaml.FlowStyle == 0 && key.Line > 0 && value.Line > key.Line
		if d := value.Column - key.Column; indent == 0 && block && value.Kind == yaml.MappingNode && d >= usual && d <= 8 {
			indent = d
		}
		if block && value.Kind == yaml.SequenceNode && value.Column == key.Column {
			compact = true
		}
		inner, innerCompact := manner(value)
		if compact = compact || innerCompact; indent == 0 && inner != usual {
			indent = inner
		}
	}
	return cmp.Or(indent, usual), compact
}

// comments are the lines of comment of a document, in order of the alphabet: some may change their place.
func comments(n *yaml.Node) (all []string) {
	for _, text := range []string{n.HeadComment, n.LineComment, n.FootComment} {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, line)
			}
		}
	}
	for _, child := range n.Content {
		all = append(all, comments(child)...)
	}
	slices.Sort(all)
	return all
}

// spot is where a name of a patch belongs.
func spot(root *yaml.Node, name string) (*yaml.Node, []string) {
	if child(root, name) != nil {
		return root, []string{name}
	}
	if data := child(root, "data"); data != nil && data.Kind == yaml.MappingNode {
		if kind := child(root, "kind"); child(data, name) != nil || kind != nil && kind.Value == "ConfigMap" && !slices.Contains([]string{"data", "metadata", "binaryData"}, strings.SplitN(name, ".", 2)[0]) {
			return data, []string{name}
		}
	}
	path := strings.Split(strings.NewReplacer("[", ".", "]", "").Replace(name), ".")
	if len(path) > 1 && child(root, path[0]) != nil {
		return root, path
	}
	return root, []string{name}
}

// child is the value of a key, or the item of a number.
func child(n *yaml.Node, key string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}

// A splicer changes nodes, and notes which scalars of the text are replaced by others, so that all else stays as it is written.
type splicer struct {
	text   string
	edits  []edit
	encode bool // something else has changed than scalars: the text is written anew
}

type edit struct {
	line, column int
	before       string // as it is written
	after        string
}

// set sets the value at a path below a node.
func (s *splicer) set(n *yaml.Node, path []string, value any) error {
	for _, key := range path[:len(path)-1] {
		next := child(n, key)
		if next != nil && next.Kind == yaml.AliasNode {
			return elsewhere(key, next)
		}
		if next == nil {
			if n.Kind != yaml.MappingNode {
				return actions.Permanent(fmt.Errorf("the file has no %s", strings.Join(path, ".")))
			}
			next = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			s.add(n, key, next)
		}
		n = next
	}
	key := path[len(path)-1]
	old := child(n, key)
	nested, isMap := value.(map[string]any)
	switch {
	case isMap && old != nil && old.Kind == yaml.AliasNode:
		return elsewhere(key, old)
	case isMap && old != nil && old.Kind == yaml.MappingNode:
		for _, k := range slices.Sorted(maps.Keys(nested)) {
			if err := s.set(old, []string{k}, nested[k]); err != nil {
				return err
			}
		}
		return nil
	case value == nil:
		s.remove(n, key)
		return nil
	}
	var fresh yaml.Node
	if err := fresh.Encode(value); err != nil {
		return actions.Permanent(err)
	}
	switch {
	case old == nil && n.Kind == yaml.MappingNode:
		s.add(n, key, &fresh)
	case old == nil:
		return actions.Permanent(fmt.Errorf("the file has no %s", strings.Join(path, ".")))
	default:
		s.replace(old, &fresh)
	}
	return nil
}

// elsewhere refuses what would change all that refers to an anchor, or nothing of what it has.
func elsewhere(key string, alias *yaml.Node) error {
	return actions.Permanent(fmt.Errorf("%s in the file is *%s: patch what is at &%[2]s, or change the file by hand", key, alias.Value))
}

func (s *splicer) add(n *yaml.Node, key string, value *yaml.Node) {
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
	s.encode = true
}

func (s *splicer) remove(n *yaml.Node, key string) {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			s.encode = true
			return
		}
	}
}

func (s *splicer) replace(old, fresh *yaml.Node) {
	if old.Kind == yaml.ScalarNode && fresh.Kind == yaml.ScalarNode {
		if old.Value == fresh.Value && (old.Tag == fresh.Tag || old.Style != 0) {
			return
		}
		style := old.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
		if style != 0 { // a number that was written as a string stays one
			fresh.Tag, fresh.Style = "!!str", style
		}
		before, okBefore := written(old)
		after, okAfter := written(fresh)
		if old.Anchor != "" {
			before, after = "&"+old.Anchor+" "+before, "&"+old.Anchor+" "+after
		}
		if okBefore && okAfter {
			s.edits = append(s.edits, edit{old.Line, old.Column, before, after})
		} else {
			s.encode = true
		}
	} else {
		s.encode = true
	}
	fresh.HeadComment, fresh.LineComment, fresh.FootComment = old.HeadComment, old.LineComment, old.FootComment
	line, column := old.Line, old.Column
	fresh.Anchor = old.Anchor // what refers to it follows
	*old = *fresh
	old.Line, old.Column = line, column
}

// written is how a scalar stands in a line; ok is false when it may take several.
func written(n *yaml.Node) (string, bool) {
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) != 0 || strings.Contains(n.Value, "\n") {
		return "", false
	}
	bare := &yaml.Node{Kind: yaml.ScalarNode, Tag: n.Tag, Value: n.Value, Style: n.Style}
	data, err := yaml.Marshal(bare)
	return strings.TrimSuffix(string(data), "\n"), err == nil && strings.Count(string(data), "\n") == 1
}

// apply writes the edits into the text; ok is false when one is not where it should be.
func (s *splicer) apply() (string, bool) {
	all := strings.SplitAfter(s.text, "\n")
	slices.SortFunc(s.edits, func(a, b edit) int { // from the end, so that places stay
		if a.line != b.line {
			return b.line - a.line
		}
		return b.column - a.column
	})
	for _, e := range s.edits {
		if e.line < 1 || e.line > len(all) {
			return "", false
		}
		line := all[e.line-1]
		at := len(string([]rune(line)[:min(max(e.column-1, 0), len([]rune(line)))])) // columns are characters
		if at < 0 || at > len(line) || !strings.HasPrefix(line[at:], e.before) {
			return "", false
		}
		all[e.line-1] = line[:at] + e.after + line[at+len(e.before):]
	}
	return strings.Join(all, ""), true
}

// secret tells whether a file is a Secret.
func secret(text string) bool {
	var object struct {
		Kind string `yaml:"kind"`
	}
	return yaml.Unmarshal([]byte(text), &object) != nil || object.Kind == "Secret"
}

// lines are what differs between two texts, a line each: what is only in the first with a minus, what is only in the second
// with a plus.
func lines(before, after string) []string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "+ "+l)
		}
	}
	return out
}
