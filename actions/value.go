package actions

import (
	"encoding/json"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// value checks v against p and returns it in its canonical form, in memory of its own: string, bool, int64, []string,
// map[string]string, or a deep copy. When it does not fit, problem says what is wrong and what is wanted. needed tells
// that a list or map must not be empty and a string not blank.
func (p *Parameter) value(v any, needed bool) (canonical any, problem string) {
	if s, ok := v.(string); ok && slices.Contains(p.Words, s) {
		return v, ""
	}
	switch p.Type {
	case String, Name, Namespace, Path, RelativePath:
		s, ok := v.(string)
		if !ok {
			return nil, p.unfit(v)
		}
		if problem := p.text(s, needed); problem != "" {
			return nil, problem
		}
		return v, ""
	case Integer:
		n, ok := integerOf(v)
		if !ok || !p.within(n) {
			return nil, p.unfit(v)
		}
		if _, same := v.(int64); same {
			return v, "" // without boxing it again
		}
		return n, ""
	case Boolean:
		if _, ok := v.(bool); !ok {
			return nil, p.unfit(v)
		}
		return v, ""
	case Duration:
		s, ok := v.(string)
		if !ok {
			return nil, p.unfit(v)
		}
		d, err := schema.ParseDuration(s)
		if err != nil || d < 0 || p.Min != nil && d < seconds(*p.Min) || p.Max != nil && d > seconds(*p.Max) {
			return nil, p.unfit(v)
		}
		return v, ""
	case Quantity:
		return p.quantity(v)
	case StringList, NameList, PathList:
		return p.listValue(v, needed)
	case StringMap:
		return p.mapValue(v, needed)
	case Object:
		switch m := v.(type) {
		case map[string]any:
			if len(m) == 0 && needed {
				return nil, p.Name + " is empty; it needs at least one entry"
			}
		case []any:
			if len(m) == 0 && needed {
				return nil, p.Name + " is empty; it needs at least one item"
			}
		default:
			return nil, p.unfit(v)
		}
	default:
		if v == nil {
			return nil, p.unfit(v)
		}
	}
	return clone(v), ""
}

func (p *Parameter) text(s string, needed bool) (problem string) {
	if !fits(p.Type, s) || len(p.Enum) > 0 && !slices.Contains(p.Enum, s) {
		return p.unfit(s)
	}
	if needed && strings.TrimSpace(s) == "" {
		return p.Name + " is blank"
	}
	if p.refuses(s) {
		return fmt.Sprintf("%s is %s, which is refused; name what is meant", p.Name, describe(s))
	}
	return ""
}

func (p *Parameter) within(n int64) bool {
	return (p.Min == nil || n >= *p.Min) && (p.Max == nil || n <= *p.Max)
}

func seconds(n int64) time.Duration {
	if n > int64(math.MaxInt64/time.Second) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Second
}

// quantity takes numbers too, as resource.Quantity does, and writes them as strings.
func (p *Parameter) quantity(v any) (canonical any, problem string) {
	s, isString := v.(string)
	if !isString {
		switch n := v.(type) {
		case float64:
			s = strconv.FormatFloat(n, 'f', -1, 64)
		default:
			i, ok := integerOf(v)
			if !ok {
				return nil, p.unfit(v)
			}
			s = strconv.FormatInt(i, 10)
		}
	}
	if q, ok := parseQuantity(s); !ok || !q.positive() {
		return nil, p.unfit(v)
	}
	if isString {
		return v, ""
	}
	return s, ""
}

func (p *Parameter) listValue(v any, needed bool) (canonical any, problem string) {
	var out []string
	switch l := v.(type) {
	case []string:
		out = slices.Clone(l)
	case []any:
		out = make([]string, len(l))
		for i, item := range l {
			s, ok := item.(string)
			if !ok {
				return nil, fmt.Sprintf("item %d of %s is %s; expected %s", i+1, p.Name, describe(item), p.expected())
			}
			out[i] = s
		}
	default:
		return nil, p.unfit(v)
	}
	if len(out) == 0 && needed {
		return nil, p.Name + " is empty; it needs at least one item"
	}
	item := String
	switch p.Type {
	case NameList:
		item = Name
	case PathList:
		item = Path
	}
	var found []string
	patterns := 0
	for i, s := range out {
		if len(p.Refuse) > 0 && isPattern(s) {
			patterns++
		}
		switch {
		case len(found) == mostItemsTold:
			return nil, strings.Join(found, "; ") + "; and maybe more"
		case patterns > mostPatterns:
			return nil, fmt.Sprintf("%s has more than %d patterns; name what is meant", p.Name, mostPatterns)
		case strings.TrimSpace(s) == "":
			found = append(found, fmt.Sprintf("item %d of %s is blank", i+1, p.Name))
		case !fits(item, s):
			found = append(found, fmt.Sprintf("item %d of %s is %s; expected %s", i+1, p.Name, describe(s), p.expected()))
		case p.refuses(s):
			found = append(found, fmt.Sprintf("item %d of %s is %s, which is refused; name what is meant", i+1, p.Name, describe(s)))
		}
	}
	if len(found) > 0 {
		return nil, strings.Join(found, "; ")
	}
	if out == nil {
		out = []string{}
	}
	return out, ""
}

func (p *Parameter) mapValue(v any, needed bool) (canonical any, problem string) {
	out := map[string]string{}
	switch m := v.(type) {
	case map[string]string:
		for k, s := range m {
			out[k] = s
		}
	case map[string]any:
		for _, k := range sortedKeys(m) {
			s, ok := m[k].(string)
			if !ok {
				return nil, fmt.Sprintf("%s in %s is %s; expected a string", wording.Quote(k), p.Name, describe(m[k]))
			}
			out[k] = s
		}
	default:
		return nil, p.unfit(v)
	}
	if len(out) == 0 && needed {
		return nil, p.Name + " is empty; it needs at least one entry"
	}
	return out, ""
}

// refuses tells whether s is one of the refused values or, where there are any, another spelling of match-all.
func (p *Parameter) refuses(s string) bool {
	if len(p.Refuse) == 0 {
		return false
	}
	s = strings.TrimSpace(s)
	return slices.Contains(p.Refuse, s) || matchesAll(s)
}

// mostItemsTold bounds how many unfit items of one list are told of.
const mostItemsTold = 8

// mostPatterns bounds how many patterns of one list are compiled.
const mostPatterns = 64

func isPattern(s string) bool { return strings.ContainsAny(s, `*+?{[(|\^$`) }

// matchesAll tells whether s is a pattern, by wildcards or as a regular expression, that matches names which have
// nothing in common. It errs on the side of yes, and says so of counted repetition, which is dear to compile.
func matchesAll(s string) bool {
	if !isPattern(s) {
		return false
	}
	if len(s) > 256 || strings.Contains(s, "{") || strings.Trim(s, "*?") == "" {
		return true
	}
	re, err := regexp.Compile(`(?s)\A(?:` + s + `)\z`)
	return err == nil && re.MatchString("KubePodCrashLooping") && re.MatchString("z_9-watchdog") && re.MatchString("7")
}

// fits tells whether s has the form that a type of string asks for.
func fits(t ParameterType, s string) bool {
	switch t {
	case Name:
		return isSubdomain(s)
	case Namespace:
		return len(s) <= 63 && isSubdomain(s) && !strings.Contains(s, ".")
	case Path:
		return strings.HasPrefix(s, "/") && path.Clean(s) != "/" && !climbs(s)
	case RelativePath:
		return s != "" && !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "-") && path.Clean(s) != "." && !climbs(s)
	}
	return true
}

func climbs(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// isSubdomain tells whether s is an RFC 1123 subdomain: labels of small letters, digits and inner hyphens, joined by
// dots, at most 253 characters.
func isSubdomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	start := true
	for i := range len(s) {
		c := s[i]
		switch {
		case isLower(c) || isDigit(c):
			start = false
		case c == '-' && !start:
		case c == '.' && !start && s[i-1] != '-':
			start = true
		default:
			return false
		}
	}
	return !start && s[len(s)-1] != '-'
}

// integerOf takes every Go number that is whole.
func integerOf(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case int:
		return int64(n), true
	case int32:
		return int64(n), true
	case int16:
		return int64(n), true
	case int8:
		return int64(n), true
	case uint:
		return int64(n), uint64(n) <= math.MaxInt64
	case uint64:
		return int64(n), n <= math.MaxInt64
	case uint32:
		return int64(n), true
	case uint16:
		return int64(n), true
	case uint8:
		return int64(n), true
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<63
	case float32:
		return integerOf(float64(n))
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i, true
		}
		f, err := n.Float64()
		if err != nil {
			return 0, false
		}
		return integerOf(f)
	}
	return 0, false
}

// unfit says that v is not what p wants.
func (p *Parameter) unfit(v any) string {
	return p.Name + " is " + describe(v) + "; expected " + p.expected()
}

// expected says what p wants, for messages.
func (p *Parameter) expected() string {
	s := p.expectedType()
	for _, w := range p.Words {
		s += " or " + strconv.Quote(w)
	}
	return s
}

func (p *Parameter) expectedType() string {
	switch p.Type {
	case String:
		if len(p.Enum) == 1 {
			return strconv.Quote(p.Enum[0])
		}
		if len(p.Enum) > 1 {
			return "one of " + strings.Join(p.Enum, ", ")
		}
		return "a string"
	case Integer:
		return "an integer" + p.bounds(func(n int64) string { return strconv.FormatInt(n, 10) })
	case Boolean:
		return "true or false"
	case Duration:
		return `a duration such as "90s", "1h30m" or "7d"` + p.bounds(func(n int64) string { return wording.Duration(seconds(n)) })
	case Quantity:
		return `a positive quantity such as "500m" or "2.5Gi"`
	case Name:
		return "a name of small letters, digits, hyphens and dots (RFC 1123 subdomain)"
	case Namespace:
		return "a name of small letters, digits and hyphens, at most 63 (RFC 1123 label)"
	case Path:
		return "an absolute path below / without .."
	case RelativePath:
		return "a relative path without .."
	case StringList:
		return "a list of strings"
	case NameList:
		return "a list of names of small letters, digits, hyphens and dots (RFC 1123 subdomain)"
	case PathList:
		return "a list of absolute paths below / without .."
	case StringMap:
		return "an object whose values are strings"
	case Object:
		return "an object or a list"
	}
	return "a value"
}

func (p *Parameter) bounds(format func(int64) string) string {
	switch {
	case p.Min != nil && p.Max != nil:
		return " from " + format(*p.Min) + " to " + format(*p.Max)
	case p.Min != nil:
		return " of at least " + format(*p.Min)
	case p.Max != nil:
		return " of at most " + format(*p.Max)
	}
	return ""
}

// describe shows a value of the document in a message: short, on one line, printable.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "the string " + wording.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case []any, []string:
		return "a list"
	case map[string]any, map[string]string:
		return "an object"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	if n, ok := integerOf(v); ok {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("a %T", v)
}
