// Package bench measures a run of remedy beside a hand-written errgroup, the floor that nothing can go much below. Only
// the ratios of one run of the benchmarks mean something: README.md has them and the command.
package bench

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/schema"
)

// A shape is a graph as lists of dependencies.
type shape struct {
	name string
	deps func() [][]int // made anew, so that no benchmark pays for marking the others'
}

func shapes() []shape {
	return []shape{
		{"chain-1000", func() [][]int { return chain(1000) }},
		{"fan-1000", func() [][]int { return fan(1000) }},
		{"layers-100x100", func() [][]int { return layers(100, 100, 3) }},
		{"random-100000", func() [][]int { return random(100_000, 2) }},
	}
}

func chain(n int) [][]int {
	deps := make([][]int, n)
	for i := 1; i < n; i++ {
		deps[i] = []int{i - 1}
	}
	return deps
}

// fan is one root, n steps, and one that waits for all.
func fan(n int) [][]int {
	deps := make([][]int, n+2)
	for i := range n {
		deps[i+1] = []int{0}
		deps[n+1] = append(deps[n+1], i+1)
	}
	return deps
}

func layers(depth, width, k int) [][]int {
	r := rand.New(rand.NewPCG(1, 2))
	deps := make([][]int, depth*width)
	for l := 1; l < depth; l++ {
		for i := range width {
			for _, d := range r.Perm(width)[:k] {
				deps[l*width+i] = append(deps[l*width+i], (l-1)*width+d)
			}
		}
	}
	return deps
}

func random(n, k int) [][]int {
	r := rand.New(rand.NewPCG(3, 4))
	deps := make([][]int, n)
	for i := 1; i < n; i++ {
		for range min(i, k) {
			deps[i] = append(deps[i], r.IntN(i))
		}
	}
	return deps
}

func plan(tb testing.TB, deps [][]int) *dag.Plan {
	reg := &actions.Registry{}
	if err := reg.Add(actions.Spec{Name: "nothing", Effect: actions.Reads}); err != nil {
		tb.Fatal(err)
	}
	doc := &schema.Document{Recommendations: make([]schema.Recommendation, len(deps))}
	for i, ds := range deps {
		rec := &doc.Recommendations[i]
		rec.ID, rec.Action = "s"+strconv.Itoa(i), "nothing"
		seen := map[int]bool{}
		for _, d := range ds {
			if !seen[d] {
				seen[d] = true
				rec.Dependencies = append(rec.Dependencies, "s"+strconv.Itoa(d))
			}
		}
	}
	p, err := dag.Build(doc, reg)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// floor returns a function that starts a goroutine per step with errgroup.Go when its last dependency has ended, and
// does nothing else.
func floor(tb testing.TB, g *dag.Graph) func() {
	unmet := make([]atomic.Int32, g.Len())
	var ran atomic.Int64
	return func() {
		for i := range unmet {
			unmet[i].Store(int32(len(g.Predecessors(i))))
		}
		group, ctx := errgroup.WithContext(context.Background())
		var start func(i int32)
		start = func(i int32) {
			group.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				ran.Add(1)
				for _, next := range g.Successors(int(i)) {
					if unmet[next].Add(-1) == 0 {
						start(next)
					}
				}
				return nil
			})
		}
		for i := range unmet {
			if len(g.Predecessors(i)) == 0 {
				start(int32(i))
			}
		}
		if err := group.Wait(); err != nil {
			tb.Fatal(err)
		}
	}
}

// ours returns a function that runs a plan of steps that do nothing, with the whole duty of the executor.
func ours(tb testing.TB, p *dag.Plan, limit int) func() { return run(tb, p, limit) }

// observed is ours with an observer who is told of everything.
func observed(tb testing.TB, p *dag.Plan, limit int) func() {
	return run(tb, p, limit, executor.ObserverFunc(func(executor.Event) {}))
}

func run(tb testing.TB, p *dag.Plan, limit int, observers ...executor.Observer) func() {
	nothing := actions.HandlerFunc(func(context.Context, *actions.Request) (*actions.Result, error) { return nil, nil })
	ex, err := executor.New(executor.Config{
		Handlers: actions.Handlers{"nothing": nothing}, MaxParallel: limit, Observers: observers,
		Policy: &approval.Policy{Table: []approval.Row{{}}, MaxSteps: -1},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		report, err := ex.Run(tb.Context(), p, executor.RunOptions{})
		if err != nil || report.Status() != executor.RunSucceeded {
			tb.Fatal(err, report.Status())
		}
	}
}

// limits are the two ways in which plans are run.
var limits = []struct {
	name string
	n    int
}{{"unlimited", -1}, {"limit=procs", runtime.GOMAXPROCS(0)}}

// BenchmarkFloor and BenchmarkRun show time and allocations of each by itself.
func BenchmarkFloor(b *testing.B) {
	for _, s := range shapes() {
		g := plan(b, s.deps()).Graph()
		b.Run(s.name, func(b *testing.B) { measure(b, floor(b, g), g.Len()) })
	}
}

func BenchmarkRun(b *testing.B) {
	for _, limit := range limits {
		for _, s := range shapes() {
			p := plan(b, s.deps())
			b.Run(limit.name+"/"+s.name, func(b *testing.B) { measure(b, ours(b, p, limit.n), p.Len()) })
		}
	}
}

func measure(b *testing.B, run func(), steps int) {
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	perStep(b, steps)
}

// BenchmarkRatio runs them by turns, so that what else the machine does touches them alike. x-floor and observed-x-floor
// are the figures to quote.
func BenchmarkRatio(b *testing.B) {
	for _, limit := range limits {
		for _, s := range shapes() {
			p := plan(b, s.deps())
			b.Run(limit.name+"/"+s.name, func(b *testing.B) {
				runs := [3]func(){floor(b, p.Graph()), ours(b, p, limit.n), observed(b, p, limit.n)}
				var spent [3]time.Duration
				for b.Loop() {
					for k, run := range runs {
						start := time.Now()
						run()
						spent[k] += time.Since(start)
					}
				}
				b.ReportMetric(float64(spent[1])/float64(spent[0]), "x-floor")
				b.ReportMetric(float64(spent[2])/float64(spent[0]), "observed-x-floor")
			})
		}
	}
}

func perStep(b *testing.B, steps int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(steps), "ns/step")
}
