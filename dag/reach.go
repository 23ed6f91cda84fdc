package dag

import (
	"cmp"
	"slices"
)

// Reaches tells whether a path leads from a to b. A node reaches itself. The graph must be acyclic. It looks only at
// nodes that stand between a and b in the order.
func (g *Graph) Reaches(a, b int) bool {
	if a == b {
		return true
	}
	if g.place[a] >= g.place[b] || g.level[a] >= g.level[b] {
		return false
	}
	return newSearch(g).reaches(int32(a), int32(b))
}

// A search walks a graph again and again without clearing what it noted: a mark counts only for the walk that made it.
type search struct {
	g      *Graph
	marks  []int32
	wanted []int32 // likewise; only while reducing
	walk   int32
	stack  []int32
}

func newSearch(g *Graph) *search { return &search{g: g, marks: make([]int32, g.Len())} }

func (s *search) marked(i int32) bool { return s.marks[i] == s.walk }

// reaches is Graph.Reaches for nodes that differ.
func (s *search) reaches(a, b int32) bool {
	return s.ancestors(b, s.g.place[a], s.g.level[a], func(i int32) bool { return i == a })
}

// ancestors marks the ancestors of b that do not stand before place in the order, without going on from those at
// level or below. It stops when done, unless nil, says so of one, and tells whether it did.
func (s *search) ancestors(b, place, level int32, done func(i int32) bool) bool {
	g := s.g
	s.walk++
	s.stack = append(s.stack[:0], b)
	for len(s.stack) > 0 {
		i := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		if g.level[i] <= level {
			continue
		}
		for _, p := range g.Predecessors(int(i)) {
			if s.marked(p) || g.place[p] < place {
				continue
			}
			s.marks[p] = s.walk
			if done != nil && done(p) {
				return true
			}
			s.stack = append(s.stack, p)
		}
	}
	return false
}

// Reduction returns the transitive reduction: the least edges with the same reachability. The graph must be acyclic;
// nodes that a cycle holds back have no edges in the result.
//
// For each node with several predecessors it walks back from them, no further than the first of them stands in the
// order and never below the lowest level among them. That is near linear for graphs that look like work plans; at worst
// it is nodes times edges.
func (g *Graph) Reduction() *Graph {
	kept := make([]Edge, 0, len(g.succ))
	s := newSearch(g)
	s.wanted = make([]int32, g.Len())
	var near []int32
	for _, to := range g.order {
		preds := g.Predecessors(int(to))
		if len(preds) == 1 {
			kept = append(kept, Edge{preds[0], to})
			continue
		}
		near = append(near[:0], preds...)
		slices.SortFunc(near, func(a, b int32) int { return cmp.Compare(g.place[b], g.place[a]) })
		for _, from := range s.reduce(near) {
			kept = append(kept, Edge{from, to})
		}
	}
	return NewGraph(g.Len(), kept)
}

// reduce returns, in place, those predecessors of one node that no other of them can be reached from. They come and
// go with the last in the order first.
func (s *search) reduce(preds []int32) []int32 {
	if len(preds) < 2 {
		return preds
	}
	g := s.g
	s.walk++
	place, lowest := g.place[preds[len(preds)-1]], g.level[preds[0]]
	for _, p := range preds {
		lowest = min(lowest, g.level[p])
		s.wanted[p] = s.walk
	}
	kept, left := preds[:0], len(preds) // left: neither kept nor marked
	for _, from := range preds {
		if s.marked(from) {
			continue
		}
		kept = append(kept, from)
		left--
		for s.stack = append(s.stack[:0], from); left > 0 && len(s.stack) > 0; {
			i := s.stack[len(s.stack)-1]
			s.stack = s.stack[:len(s.stack)-1]
			if g.level[i] <= lowest {
				continue
			}
			for _, p := range g.Predecessors(int(i)) {
				if s.marked(p) || g.place[p] < place {
					continue
				}
				s.marks[p] = s.walk
				if s.wanted[p] == s.walk {
					left--
				}
				s.stack = append(s.stack, p)
			}
		}
	}
	return kept
}
