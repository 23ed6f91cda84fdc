package schema

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/remedykit/remedy/internal/wording"
)

// parameters reads an object and the order of its names.
func (p *parser) parameters(object int32) (map[string]any, []string) {
	n := 0
	for range p.items(object) {
		n++
	}
	m := make(map[string]any, n)
	from := len(p.names)
	for k := range p.items(object) {
		name := p.text(k)
		if _, ok := m[name]; ok || p.nodes[k].kind == kindBad {
			continue // reported already
		}
		p.names = append(p.names, name)
		m[name] = p.value(k + 1)
	}
	return m, p.names[from:len(p.names):len(p.names)]
}

// value reads any value. Its depth is bounded because the reader bounded it.
func (p *parser) value(i int32) any {
	switch p.nodes[i].kind {
	case kindTrue:
		return true
	case kindFalse:
		return false
	case kindString:
		return p.text(i)
	case kindNumber:
		v, err := number(p.text(i))
		if err != nil {
			p.problem(CodeInvalidValue, i, err.Error(), "")
			return nil
		}
		return v
	case kindArray:
		n := 0
		for range p.items(i) {
			n++
		}
		list := make([]any, 0, n)
		for item := range p.items(i) {
			if p.isPlaceholder(item) {
				p.dropped(item)
				continue
			}
			list = append(list, p.value(item))
		}
		return list
	case kindObject:
		m := make(map[string]any)
		for k := range p.items(i) {
			if name := p.text(k); m[name] == nil && p.nodes[k].kind != kindBad {
				m[name] = p.value(k + 1)
			}
		}
		return m
	}
	return nil
}

// number reads a JSON number: an int64 when it is integral, however it is written, and fits; else a float64. A whole
// number that does not fit is refused, since a float64 would change its digits.
func number(s string) (any, error) {
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if !scientific && fraction == "" {
		if n, err := strconv.ParseInt(whole, 10, 64); err == nil {
			return n, nil
		}
		return nil, fmt.Errorf("the whole number %s does not fit into 64 bits and would lose digits; write it as a string", wording.Quote(s))
	}
	sign := ""
	if rest, ok := strings.CutPrefix(whole, "-"); ok {
		sign, whole = "-", rest
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return int64(0), nil
	}
	shift := -len(fraction)
	if scientific {
		e, err := strconv.Atoi(exponent)
		if err != nil {
			e = math.MaxInt32
			if exponent[0] == '-' {
				e = -e
			}
		}
		shift += e
	}
	short := strings.TrimRight(digits, "0")
	shift += len(digits) - len(short)
	if shift >= 0 && shift+len(short) <= 19 {
		if n, err := strconv.ParseInt(sign+short+strings.Repeat("0", shift), 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f == 0 {
		return nil, fmt.Errorf("the number %s is too large or too small to be represented", wording.Quote(s))
	}
	return f, nil
}
