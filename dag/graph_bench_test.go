package dag_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/remedykit/remedy/dag"
)

// BenchmarkGraph analyses 100,000 nodes with two dependencies each, drawn from all earlier nodes under shuffled
// numbers, so that neither memory nor order helps.
func BenchmarkGraph(b *testing.B) {
	const n = 100_000
	r := rand.New(rand.NewPCG(1, 2))
	name := r.Perm(n)
	edges := make([]dag.Edge, 0, 2*n)
	durations := make([]time.Duration, n)
	for i := 1; i < n; i++ {
		durations[i] = time.Duration(r.IntN(1000))
		for range 2 {
			edges = append(edges, dag.Edge{From: int32(name[r.IntN(i)]), To: int32(name[i])})
		}
	}
	g := dag.NewGraph(n, edges)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(edges)), "ns/edge")
		})
	}
	run("NewGraph with order and levels", func() { dag.NewGraph(n, edges) })
	run("CriticalPath", func() { g.CriticalPath(durations) })
	run("Remaining", func() { g.Remaining(durations) })
	run("Reduction", func() { g.Reduction() })
	run("Reaches", func() { g.Reaches(name[n/2], name[n-1]) })
	back := append(edges[:len(edges):len(edges)], dag.Edge{From: int32(name[n-1]), To: int32(name[0])})
	cyclic := dag.NewGraph(n, back)
	run("Cycle", func() { cyclic.Cycle() })
}
