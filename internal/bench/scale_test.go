package bench

import (
	"flag"
	"testing"
)

var steps = flag.Int("steps", 20_000, "the largest plan of BenchmarkScale")

// BenchmarkScale runs random plans, each ten times as large as the one before: ns/step must stay about the same.
func BenchmarkScale(b *testing.B) {
	for n := *steps; n >= 200; n /= 10 {
		p := plan(b, random(n, 2))
		b.Run(thousands(n), func(b *testing.B) {
			measure(b, ours(b, p, 5), n)
		})
	}
}

func thousands(n int) string {
	if n%1000 == 0 {
		return itoa(n/1000) + "k"
	}
	return itoa(n)
}
