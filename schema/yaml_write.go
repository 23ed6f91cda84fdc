package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A yamlWriter writes the few forms of YAML that a manifest needs.
type yamlWriter struct{ b []byte }

func (y *yamlWriter) line(indent int, parts ...string) {
	y.b = append(y.b, strings.Repeat(" ", indent)...)
	for _, s := range parts {
		y.b = append(y.b, s...)
	}
	y.b = append(y.b, '\n')
}

func (y *yamlWriter) step(s *WorkflowStep) {
	y.line(6, "- stepNumber: ", strconv.Itoa(s.StepNumber))
	y.line(8, "name: ", quoteYAML(s.Name))
	y.line(8, "action: ", quoteYAML(s.Action))
	if len(s.Parameters) == 0 {
		y.line(8, "parameters: {}")
	} else {
		y.line(8, "parameters:")
	}
	for _, p := range s.Parameters {
		y.member(10, p.Name, p.Value)
	}
	numbers := make([]string, len(s.Dependencies))
	for i, n := range s.Dependencies {
		numbers[i] = strconv.Itoa(n)
	}
	y.line(8, "dependencies: [", strings.Join(numbers, ", "), "]")
	if s.RequiresApproval {
		y.line(8, "requiresApproval: true")
	}
	if s.Timeout != "" {
		y.line(8, "timeout: ", quoteYAML(s.Timeout))
	}
	y.b = append(y.b, '\n')
}

// member writes a name and its value, an object one member a line.
func (y *yamlWriter) member(indent int, name string, value any) {
	object, ok := value.(map[string]any)
	if !ok || len(object) == 0 {
		y.line(indent, plainOrQuoted(name), ": ", flow(value))
		return
	}
	y.line(indent, plainOrQuoted(name), ":")
	for _, inner := range sortedKeys(object) {
		y.member(indent+2, inner, object[inner])
	}
}

// flow writes a value on one line.
func flow(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return quoteYAML(v)
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		if jsonNumber.MatchString(v.String()) {
			return v.String()
		}
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = flow(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case []string:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = quoteYAML(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		items := make([]string, 0, len(v))
		for _, name := range sortedKeys(v) {
			items = append(items, plainOrQuoted(name)+": "+flow(v[name]))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	case v.CanFloat() && !math.IsNaN(v.Float()) && !math.IsInf(v.Float(), 0):
		return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())
	}
	return quoteYAML(fmt.Sprint(value))
}

// plainOrQuoted leaves out the quotes where nothing else than this text can be meant.
func plainOrQuoted(s string) string {
	switch strings.ToLower(s) {
	case "", "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return quoteYAML(s)
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || !('0' <= c && c <= '9') && !strings.ContainsRune("._/-", rune(c))) {
			return quoteYAML(s)
		}
	}
	return s
}

// quoteYAML writes a text in double quotes, everything that is not plainly visible escaped.
func quoteYAML(s string) string {
	b := make([]byte, 1, len(s)+2)
	b[0] = '"'
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\t':
			b = append(b, `\t`...)
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r < 0x100:
			b = fmt.Appendf(b, `\x%02X`, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04X`, r)
		default:
			b = fmt.Appendf(b, `\U%08X`, r)
		}
	}
	return string(append(b, '"'))
}
