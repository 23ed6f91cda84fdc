package bench

import (
	"context"
	"flag"
	"testing"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

var steps = flag.Int("steps", 20_000, "the largest plan of BenchmarkScale")

// BenchmarkScale runs random plans, each ten times as large as the one before: ns/step must stay about the same.
func BenchmarkScale(b *testing.B) {
	nothing := actions.HandlerFunc(func(context.Context, *actions.Request) (*actions.Result, error) { return nil, nil })
	all := &approval.Policy{Table: []approval.Row{{}}, MaxSteps: -1}
	for n := *steps; n >= 200; n /= 10 {
		p := plan(b, random(n, 2))
		b.Run(thousands(n), func(b *testing.B) {
			ex, err := executor.New(executor.Config{Handlers: actions.Handlers{"nothing": nothing}, Policy: all})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				report, err := ex.Run(b.Context(), p, executor.RunOptions{})
				if err != nil {
					b.Fatal(err)
				}
				ran := 0
				for s := range report.Steps() {
					if s.Status == executor.Succeeded {
						ran++
					}
				}
				if ran != n {
					b.Fatalf("%d of %d steps succeeded", ran, n)
				}
			}
			perStep(b, n)
		})
	}
}

func thousands(n int) string {
	if n%1000 == 0 {
		return itoa(n/1000) + "k"
	}
	return itoa(n)
}
