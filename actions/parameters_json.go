package actions

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the given parameters as one JSON object in canonical form: sorted keys, no white space, whole
// numbers without point or exponent. Equal parameters give equal bytes.
func (p Parameters) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	for i, one := range p.list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, one.name)
		b = append(b, ':')
		b = appendValue(b, one.value)
	}
	return append(b, '}')
}

// MarshalJSON is AppendJSON.
func (p Parameters) MarshalJSON() ([]byte, error) { return p.AppendJSON(nil), nil }

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case time.Duration:
		return appendString(b, v.String())
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s)
		}
		return append(b, ']')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, item)
		}
		return append(b, ']')
	case map[string]string:
		return appendMap(b, v, appendString)
	case map[string]any:
		return appendMap(b, v, appendValue)
	}
	if n, ok := integerOf(v); ok {
		return strconv.AppendInt(b, n, 10)
	}
	switch n := v.(type) {
	case float64:
		return appendFloat(b, n)
	case float32:
		return appendFloat(b, float64(n))
	case uint:
		return strconv.AppendUint(b, uint64(n), 10)
	case uint64:
		return strconv.AppendUint(b, n, 10)
	case json.Number:
		if f, err := n.Float64(); err == nil {
			return appendFloat(b, f)
		}
	}
	// Only a hand-made value comes this far.
	if data, err := json.Marshal(v); err == nil {
		return append(b, data...)
	}
	return append(b, "null"...)
}

func appendMap[V any](b []byte, m map[string]V, appendOne func([]byte, V) []byte) []byte {
	b = append(b, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k)
		b = append(b, ':')
		b = appendOne(b, m[k])
	}
	return append(b, '}')
}

// appendFloat writes whole numbers as integers; JSON has no NaN and no infinity.
func appendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return append(b, "null"...)
	case f == math.Trunc(f) && math.Abs(f) < 1e21:
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string as encoding/json does without its escapes for HTML.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + size
			case r == '\u2028' || r == '\u2029':
				b = append(append(b, s[start:i]...), '\\', 'u', '2', '0', '2', hexDigits[r&0xf])
				start = i + size
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
