package bench

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	heimdalr "github.com/heimdalr/dag"
	"github.com/sourcegraph/conc"

	"github.com/remedykit/remedy/dag"
)

// A peer prepares a graph for a library and returns a function that runs task for every node, each after those that it
// depends on.
type peer struct {
	name string
	of   func(tb testing.TB, g *dag.Graph, task func(i int)) func()
}

var peers = []peer{{"conc", withConc}, {"heimdalr", withHeimdalr}}

// peerShapes are small enough for libraries that copy what the ancestors of a node returned.
func peerShapes() []shape {
	return []shape{
		{"chain-1000", func() [][]int { return chain(1000) }},
		{"fan-1000", func() [][]int { return fan(1000) }},
		{"layers-20x20", func() [][]int { return layers(20, 20, 3) }},
		{"random-1000", func() [][]int { return random(1000, 2) }},
	}
}

// withConc has conc start a goroutine per node when its last dependency has ended: it knows no graphs itself. Its pools
// take no tasks once somebody waits for them, so this is its WaitGroup.
func withConc(_ testing.TB, g *dag.Graph, task func(i int)) func() {
	unmet := make([]atomic.Int32, g.Len())
	return func() {
		for i := range unmet {
			unmet[i].Store(int32(len(g.Predecessors(i))))
		}
		var group conc.WaitGroup
		var start func(i int)
		start = func(i int) {
			group.Go(func() {
				task(i)
				for _, next := range g.Successors(i) {
					if unmet[next].Add(-1) == 0 {
						start(int(next))
					}
				}
			})
		}
		for i := range unmet {
			if len(g.Predecessors(i)) == 0 {
				start(i)
			}
		}
		group.Wait()
	}
}

// withHeimdalr has a node before all roots, since a flow begins at one.
func withHeimdalr(tb testing.TB, g *dag.Graph, task func(i int)) func() {
	d := heimdalr.NewDAG()
	check := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	check(d.AddVertexByID("root", -1))
	for i := range g.Len() {
		check(d.AddVertexByID(strconv.Itoa(i), i))
	}
	for i := range g.Len() {
		if len(g.Predecessors(i)) == 0 {
			check(d.AddEdge("root", strconv.Itoa(i)))
		}
		for _, next := range g.Successors(i) {
			check(d.AddEdge(strconv.Itoa(i), strconv.Itoa(int(next))))
		}
	}
	return func() {
		_, err := d.DescendantsFlow("root", nil, func(d *heimdalr.DAG, id string, _ []heimdalr.FlowResult) (any, error) {
			if id != "root" {
				i, err := strconv.Atoi(id)
				check(err)
				task(i)
			}
			return nil, nil
		})
		check(err)
	}
}

func TestPeersRunEveryNodeOnceAndInOrder(t *testing.T) {
	for _, p := range peers {
		for _, s := range peerShapes() {
			g := plan(t, s.deps()).Graph()
			ended := make([]atomic.Int32, g.Len())
			run := p.of(t, g, func(i int) {
				for _, d := range g.Predecessors(i) {
					if ended[d].Load() != 1 {
						t.Errorf("%s, %s: %d ran before %d", p.name, s.name, i, d)
					}
				}
				ended[i].Add(1)
			})
			run()
			for i := range ended {
				if n := ended[i].Load(); n != 1 {
					t.Errorf("%s, %s: %d ran %d times", p.name, s.name, i, n)
				}
			}
		}
	}
}

// BenchmarkPeers runs the floor, an observed run with time-outs and report, and the peers by turns.
func BenchmarkPeers(b *testing.B) {
	for _, s := range peerShapes() {
		p := plan(b, s.deps())
		b.Run(s.name, func(b *testing.B) {
			nothing := func(int) {}
			runs := []func(){floor(b, p.Graph()), observed(b, p, -1)}
			names := []string{"floor", "remedy"}
			for _, peer := range peers {
				runs, names = append(runs, peer.of(b, p.Graph(), nothing)), append(names, peer.name)
			}
			spent := make([]time.Duration, len(runs))
			for b.Loop() {
				for k, run := range runs {
					start := time.Now()
					run()
					spent[k] += time.Since(start)
				}
			}
			for k, name := range names[1:] {
				b.ReportMetric(float64(spent[k+1])/float64(spent[0]), name+"-x-floor")
			}
		})
	}
}
