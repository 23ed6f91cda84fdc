package actions

import (
	"math/big"
	"strconv"
	"strings"
)

// A quantity is a number in the notation of Kubernetes: digits × 10^ten × 2^two.
type quantity struct {
	digits   string // no sign, no point
	ten, two int
	negative bool
}

// Bounds of a quantity from a document. Nobody writes more, and comparing stays cheap.
const (
	longestQuantity = 40
	largestExponent = 30
)

// parseQuantity reads a number with an optional suffix: n u m k M G T P E (decimal), Ki Mi Gi Ti Pi Ei (binary), or an
// exponent.
func parseQuantity(s string) (quantity, bool) {
	var q quantity
	if len(s) > longestQuantity {
		return q, false
	}
	if s != "" && (s[0] == '+' || s[0] == '-') {
		q.negative = s[0] == '-'
		s = s[1:]
	}
	end := 0
	for end < len(s) && (isDigit(s[end]) || s[end] == '.') {
		end++
	}
	whole, fraction, _ := strings.Cut(s[:end], ".")
	if whole+fraction == "" || strings.Contains(fraction, ".") {
		return q, false
	}
	q.digits, q.ten = whole+fraction, -len(fraction)
	suffix := s[end:]
	switch suffix {
	case "":
		return q, true
	case "n":
		q.ten -= 9
		return q, true
	case "u":
		q.ten -= 6
		return q, true
	case "m":
		q.ten -= 3
		return q, true
	}
	if i := strings.IndexByte("kMGTPE", suffix[0]); i >= 0 && len(suffix) == 1 {
		q.ten += 3 * (i + 1)
		return q, true
	}
	if i := strings.IndexByte("KMGTPE", suffix[0]); i >= 0 && len(suffix) == 2 && suffix[1] == 'i' {
		q.two = 10 * (i + 1)
		return q, true
	}
	if suffix[0] == 'e' || suffix[0] == 'E' {
		n, err := strconv.Atoi(suffix[1:])
		if err != nil || n < -largestExponent || n > largestExponent {
			return q, false
		}
		q.ten += n
		return q, true
	}
	return q, false
}

func (q quantity) positive() bool { return !q.negative && strings.Trim(q.digits, "0") != "" }

func (q quantity) rat() *big.Rat {
	n, _ := new(big.Int).SetString(q.digits, 10)
	if q.negative {
		n.Neg(n)
	}
	n.Lsh(n, uint(q.two))
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(q.ten, -q.ten))), nil)
	if q.ten < 0 {
		return new(big.Rat).SetFrac(n, power)
	}
	return new(big.Rat).SetInt(n.Mul(n, power))
}
