package dag_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/dag"
)

// naive is the second implementation: a set of edges and definitions taken literally.
type naive struct {
	n    int
	edge map[dag.Edge]bool
	far  [][]bool // far[a][b]: a path of at least one edge leads from a to b
}

func newNaive(n int, edges []dag.Edge) *naive {
	v := &naive{n: n, edge: map[dag.Edge]bool{}, far: make([][]bool, n)}
	for i := range v.far {
		v.far[i] = make([]bool, n)
	}
	for _, e := range edges {
		v.edge[e] = true
	}
	for a := range n {
		next := []int{a}
		for len(next) > 0 {
			i := next[0]
			next = next[1:]
			for b := range n {
				if v.has(i, b) && !v.far[a][b] {
					v.far[a][b] = true
					next = append(next, b)
				}
			}
		}
	}
	return v
}

func (v *naive) has(a, b int) bool { return v.edge[dag.Edge{From: int32(a), To: int32(b)}] }

func (v *naive) cyclic() bool {
	return slices.ContainsFunc(upTo(v.n), func(i int) bool { return v.far[i][i] })
}

// order takes the smallest node that has no predecessor left, again and again.
func (v *naive) order() []int32 {
	order := []int32{}
	done := make([]bool, v.n)
	for {
		i := slices.IndexFunc(upTo(v.n), func(i int) bool {
			return !done[i] && !slices.ContainsFunc(upTo(v.n), func(p int) bool { return v.has(p, i) && !done[p] })
		})
		if i < 0 {
			return order
		}
		done[i] = true
		order = append(order, int32(i))
	}
}

// longest tries every path that begins with i and returns the best, the smallest nodes first among equals.
func (v *naive) longest(i int, d []time.Duration, memo map[int][]int32) ([]int32, time.Duration) {
	length := func(path []int32) (sum time.Duration) {
		for _, i := range path {
			sum += d[i]
		}
		return sum
	}
	if p, ok := memo[i]; ok {
		return p, length(p)
	}
	var best []int32
	for s := range v.n {
		if v.has(i, s) {
			if p, l := v.longest(s, d, memo); best == nil || l > length(best) {
				best = p
			}
		}
	}
	memo[i] = append([]int32{int32(i)}, best...)
	return memo[i], length(memo[i])
}

func upTo(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// drawGraph draws up to most nodes and edges between them; acyclic ones follow a drawn permutation, so that the order
// of the numbers says nothing.
func drawGraph(t *rapid.T, most int, acyclic bool) (int, []dag.Edge) {
	n := rapid.IntRange(0, most).Draw(t, "nodes")
	if n == 0 {
		return 0, nil
	}
	rank := rapid.Permutation(upTo(n)).Draw(t, "rank")
	m := rapid.IntRange(0, min(3*n, n*n)).Draw(t, "edges")
	node := rapid.IntRange(0, n-1)
	var edges []dag.Edge
	for range m {
		a, b := node.Draw(t, "a"), node.Draw(t, "b")
		if acyclic {
			if a == b {
				continue
			}
			a, b = rank[min(a, b)], rank[max(a, b)]
		}
		edges = append(edges, dag.Edge{From: int32(a), To: int32(b)})
	}
	return n, edges
}

func TestGraph_agrees_with_the_definitions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.SampledFrom([]int{4, 8, 40, 40, 40, 500}).Draw(t, "most")
		n, edges := drawGraph(t, most, true)
		d := make([]time.Duration, n)
		for i := range d {
			d[i] = time.Duration(rapid.IntRange(0, 3).Draw(t, "duration"))
		}
		g, v := dag.NewGraph(n, edges), newNaive(n, edges)

		require.Equal(t, n, g.Len())
		require.Equal(t, v.order(), g.Order()[:n:n])
		require.Nil(t, g.Cycle())

		var best []int32
		var length time.Duration
		memo := map[int][]int32{}
		for i := range n {
			var succ, pred []int32
			level := int32(0)
			for k := range n {
				if v.has(i, k) {
					succ = append(succ, int32(k))
				}
				if v.has(k, i) {
					pred = append(pred, int32(k))
					level = max(level, g.Levels()[k]+1)
				}
			}
			require.ElementsMatch(t, succ, g.Successors(i))
			require.True(t, slices.IsSorted(g.Successors(i)))
			require.ElementsMatch(t, pred, g.Predecessors(i))
			require.True(t, slices.IsSorted(g.Predecessors(i)))
			require.Equal(t, level, g.Levels()[i])
			path, l := v.longest(i, d, memo)
			require.Equal(t, l, g.Remaining(d)[i])
			if len(pred) == 0 && (best == nil || l > length) {
				best, length = path, l
			}
		}
		path, l := g.CriticalPath(d)
		require.Equal(t, best, path)
		require.Equal(t, length, l)

		pairs := min(n*n, 2000)
		for k := range pairs {
			a, b := k%n, (k/n*7+k)%n
			require.Equal(t, a == b || v.far[a][b], g.Reaches(a, b), "%d to %d", a, b)
		}
		requireReduced(t, v, g)
	})
}

// requireReduced holds the reduction against its definition: an edge stays exactly when no other path joins its ends.
func requireReduced(t *rapid.T, v *naive, g *dag.Graph) {
	var want, got []dag.Edge
	r := g.Reduction()
	for a := range v.n {
		for _, b := range g.Successors(a) {
			if !slices.ContainsFunc(g.Successors(a), func(c int32) bool { return c != b && v.far[c][b] }) {
				want = append(want, dag.Edge{From: int32(a), To: b})
			}
		}
		for _, b := range r.Successors(a) {
			got = append(got, dag.Edge{From: int32(a), To: b})
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, v.n, r.Len())
}

func TestGraph_finds_a_cycle_if_and_only_if_there_is_one(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, edges := drawGraph(t, rapid.SampledFrom([]int{5, 40, 200}).Draw(t, "most"), false)
		g, v := dag.NewGraph(n, edges), newNaive(n, edges)
		cycle := g.Cycle()
		require.Equal(t, v.cyclic(), cycle != nil)
		require.Equal(t, v.order(), append([]int32{}, g.Order()...))
		if cycle == nil {
			return
		}
		require.Less(t, len(g.Order()), n)
		require.Equal(t, cycle[0], slices.Min(cycle), "it begins with its smallest node")
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(cycle))), len(cycle), "no node comes twice")
		for k, i := range cycle {
			require.True(t, v.has(int(i), int(cycle[(k+1)%len(cycle)])), "%v is not a cycle", cycle)
		}
	})
}

func TestGraph_treats_what_a_cycle_holds_back_as_absent(t *testing.T) {
	// 0 leads to 1, 1 and 2 form a cycle, 3 hangs on it, 4 stands alone.
	g := dag.NewGraph(5, []dag.Edge{{From: 0, To: 1}, {From: 1, To: 2}, {From: 2, To: 1}, {From: 2, To: 3}, {From: 0, To: 3}})
	require.Equal(t, []int32{0, 4}, g.Order())
	require.Equal(t, []int32{1, 2}, g.Cycle())
	require.Equal(t, []int32{0, 0, 0, 0, 0}, g.Levels())
	path, length := g.CriticalPath([]time.Duration{1, 9, 9, 9, 2})
	require.Equal(t, []int32{4}, path)
	require.Equal(t, time.Duration(2), length)
	require.False(t, g.Reaches(0, 3))
	require.True(t, g.Reaches(3, 3))
	require.Empty(t, g.Reduction().Successors(0))
}

func TestGraph_loops_and_edges_of_the_range(t *testing.T) {
	require.Equal(t, []int32{1}, dag.NewGraph(2, []dag.Edge{{From: 1, To: 1}}).Cycle())
	var zero dag.Graph
	require.Zero(t, zero.Len())
	require.Empty(t, zero.Order())
	require.Nil(t, zero.Cycle())
	path, length := zero.CriticalPath(nil)
	require.Empty(t, path)
	require.Zero(t, length)
	require.Zero(t, zero.Reduction().Len())
	for _, e := range []dag.Edge{{From: 2, To: 0}, {From: 0, To: 2}, {From: -1, To: 0}, {From: 0, To: -1}} {
		require.Panics(t, func() { dag.NewGraph(2, []dag.Edge{e}) })
	}
}

func TestCriticalPath_prefers_the_smallest_nodes_and_does_not_overflow(t *testing.T) {
	g := dag.NewGraph(5, []dag.Edge{{From: 0, To: 3}, {From: 0, To: 2}, {From: 3, To: 4}, {From: 2, To: 4}, {From: 1, To: 4}})
	path, length := g.CriticalPath([]time.Duration{time.Minute, 0, time.Second, time.Second, 0})
	require.Equal(t, []int32{0, 2, 4}, path)
	require.Equal(t, time.Minute+time.Second, length)
	path, length = g.CriticalPath([]time.Duration{math.MaxInt64, 0, math.MaxInt64, 0, 1})
	require.Equal(t, []int32{0, 2, 4}, path)
	require.Equal(t, time.Duration(math.MaxInt64), length)
}

func TestReduction_of_a_chain_with_shortcuts_is_linear(t *testing.T) {
	// Without an early end this walk is quadratic: 10^10 steps.
	const n = 100_000
	edges := make([]dag.Edge, 0, 2*n)
	for i := int32(1); i < n; i++ {
		edges = append(edges, dag.Edge{From: i - 1, To: i}, dag.Edge{From: 0, To: i})
	}
	r := dag.NewGraph(n, edges).Reduction()
	for i := range n - 1 {
		require.Equal(t, []int32{int32(i + 1)}, r.Successors(i))
	}
}
