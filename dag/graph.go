package dag

import (
	"fmt"
	"math/bits"
	"slices"
)

// A Graph is a directed graph over the nodes 0 to Len()-1, in compressed sparse rows both ways. It is immutable and
// safe to share. The zero Graph has no nodes.
//
// Methods that need an acyclic graph say so; on a graph with a cycle they treat the nodes that a cycle holds back (its
// own, and all that can be reached from them) as if they did not exist. The slices that methods return must not be changed.
type Graph struct {
	succStart, succ []int32 // successors of i: succ[succStart[i]:succStart[i+1]], ascending
	predStart, pred []int32 // predecessors likewise
	order           []int32 // topological, ties by index; shorter than Len() when there is a cycle
	place           []int32 // place[order[k]] == k; Len() for a node that a cycle holds back
	level           []int32 // longest path from a root, in edges; 0 for a node that a cycle holds back
}

// An Edge leads from a node to one that depends on it.
type Edge struct{ From, To int32 }

// NewGraph makes a graph of n nodes in time linear in nodes and edges. Repeated edges count once. It panics when an
// edge leaves the range.
func NewGraph(n int, edges []Edge) *Graph {
	m := len(edges)
	slab := make([]int32, 2*(n+1)+2*m+3*n)
	cut := func(length int) []int32 {
		s := slab[:length:length]
		slab = slab[length:]
		return s
	}
	g := &Graph{
		succStart: cut(n + 1), predStart: cut(n + 1), succ: cut(m), pred: cut(m),
		order: cut(n)[:0], place: cut(n), level: cut(n),
	}
	for _, e := range edges {
		if e.From < 0 || e.To < 0 || int(e.From) >= n || int(e.To) >= n {
			panic(fmt.Sprintf("dag: edge %d to %d in a graph of %d nodes", e.From, e.To, n))
		}
		g.succStart[e.From+1]++
		g.predStart[e.To+1]++
	}
	sum(g.succStart)
	sum(g.predStart)

	// Three counting passes sort both ways: by To in the order given, then by From (each row comes out ascending, repeats
	// side by side), then by To again.
	fill := make([]int32, n)
	copy(fill, g.predStart)
	for _, e := range edges {
		g.pred[fill[e.To]] = e.From
		fill[e.To]++
	}
	copy(fill, g.succStart)
	for to := range int32(n) {
		for _, from := range g.pred[g.predStart[to]:g.predStart[to+1]] {
			if k := fill[from]; k == g.succStart[from] || g.succ[k-1] != to {
				g.succ[k] = to
				fill[from]++
			}
		}
	}
	g.closeGaps(fill)
	clear(g.predStart)
	for _, to := range g.succ {
		g.predStart[to+1]++
	}
	sum(g.predStart)
	g.pred = g.pred[:len(g.succ)]
	copy(fill, g.predStart)
	for from := range int32(n) {
		for _, to := range g.Successors(int(from)) {
			g.pred[fill[to]] = from
			fill[to]++
		}
	}
	g.sort(fill)
	return g
}

// sum turns counts, each one place to the right, into where rows start.
func sum(counts []int32) {
	for i := 1; i < len(counts); i++ {
		counts[i] += counts[i-1]
	}
}

// closeGaps moves the rows of succ together when repeats left room: row i ends at ends[i].
func (g *Graph) closeGaps(ends []int32) {
	at := int32(0)
	for i, end := range ends {
		start := g.succStart[i]
		g.succStart[i] = at
		at += int32(copy(g.succ[at:], g.succ[start:end]))
	}
	if n := len(ends); n > 0 {
		g.succStart[n] = at
	}
	g.succ = g.succ[:at]
}

// sort fills in order, place and level; waiting is scratch space.
func (g *Graph) sort(waiting []int32) {
	ready := newIndexSet(len(waiting))
	for i := range waiting {
		g.place[i] = int32(len(waiting))
		if waiting[i] = g.predStart[i+1] - g.predStart[i]; waiting[i] == 0 {
			ready.add(int32(i))
		}
	}
	for {
		i, ok := ready.takeLeast()
		if !ok {
			break
		}
		g.place[i] = int32(len(g.order))
		g.order = append(g.order, i)
		below := g.level[i] + 1
		for _, s := range g.Successors(int(i)) {
			g.level[s] = max(g.level[s], below)
			if waiting[s]--; waiting[s] == 0 {
				ready.add(s)
			}
		}
	}
	if len(g.order) < len(waiting) {
		for i, w := range waiting {
			if w > 0 {
				g.level[i] = 0
			}
		}
	}
}

// Len is the number of nodes.
func (g *Graph) Len() int { return max(0, len(g.succStart)-1) }

// Successors returns the nodes that depend on i, ascending.
func (g *Graph) Successors(i int) []int32 { return g.succ[g.succStart[i]:g.succStart[i+1]] }

// Predecessors returns the nodes that i depends on, ascending.
func (g *Graph) Predecessors(i int) []int32 { return g.pred[g.predStart[i]:g.predStart[i+1]] }

// Order returns the nodes in topological order, at each place the smallest that can stand there; it is shorter than
// Len when there is a cycle.
func (g *Graph) Order() []int32 { return g.order }

// Levels returns, for each node, 0 for a root, else 1 plus the highest level of its predecessors. The graph must be
// acyclic.
func (g *Graph) Levels() []int32 { return g.level }

// held tells whether a cycle keeps node i out of the order.
func (g *Graph) held(i int32) bool { return int(g.place[i]) == len(g.place) }

// indexSet is a set of small integers that gives up its least one in a few steps: a tree of bitmaps, 64 to a word, in
// which a bit says that the word below it is not empty.
type indexSet struct {
	layers [][]uint64 // the last has one word
}

func newIndexSet(n int) indexSet {
	var s indexSet
	for {
		n = (n + 63) / 64
		s.layers = append(s.layers, make([]uint64, max(n, 1)))
		if n <= 1 {
			return s
		}
	}
}

func (s indexSet) add(i int32) {
	for _, words := range s.layers {
		w := &words[i>>6]
		full := *w != 0
		*w |= 1 << (i & 63)
		if full {
			return
		}
		i >>= 6
	}
}

func (s indexSet) takeLeast() (int32, bool) {
	top := len(s.layers) - 1
	if s.layers[top][0] == 0 {
		return 0, false
	}
	i := int32(0)
	for _, words := range slices.Backward(s.layers) {
		i = i<<6 | int32(bits.TrailingZeros64(words[i]))
	}
	k := i
	for _, words := range s.layers {
		w := &words[k>>6]
		if *w &^= 1 << (k & 63); *w != 0 {
			break
		}
		k >>= 6
	}
	return i, true
}
