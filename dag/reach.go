package dag

import "slices"

// Reaches tells whether a path leads from a to b. A node reaches itself. The graph must be acyclic. It looks only at
// nodes that stand between a and b in the order.
func (g *Graph) Reaches(a, b int) bool {
	if a == b {
		return true
	}
	if g.place[a] >= g.place[b] || g.level[a] >= g.level[b] {
		return false
	}
	return newSearch(g).ancestors(int32(b), g.place[a], g.level[a], func(i int32) bool { return i == int32(a) })
}

// A search walks a graph again and again without clearing what it noted: a mark counts only for the walk that made it.
type search struct {
	g      *Graph
	marks  []int32
	wanted []int32 // likewise; only while reducing
	walk   int32
	stack  []int32
	rows   []uint64 // bit a of row b: a is an ancestor of b; nil until it is asked for
}

func newSearch(g *Graph) *search { return &search{g: g, marks: make([]int32, g.Len())} }

func (s *search) marked(i int32) bool { return s.marks[i] == s.walk }

// mostRows is up to how many nodes all ancestors of all nodes are kept, in 2 MB at most: however dense such a graph is,
// any number of questions then costs what one walk for each node would.
const mostRows = 1 << 12

// reaches is Graph.Reaches for nodes that differ.
func (s *search) reaches(a, b int32) bool {
	if n := s.g.Len(); n <= mostRows {
		words := (n + 63) / 64
		if s.rows == nil {
			s.fill(words)
		}
		return s.rows[int(b)*words+int(a>>6)]>>(a&63)&1 == 1
	}
	return s.ancestors(b, s.g.place[a], s.g.level[a], func(i int32) bool { return i == a })
}

func (s *search) fill(words int) {
	s.rows = make([]uint64, s.g.Len()*words)
	for _, b := range s.g.order {
		row := s.rows[int(b)*words:][:words]
		for _, p := range s.g.Predecessors(int(b)) {
			for k, w := range s.rows[int(p)*words:][:words] {
				row[k] |= w
			}
			row[p>>6] |= 1 << (p & 63)
		}
	}
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
	n := g.Len()
	if n == 0 {
		return &Graph{}
	}
	r := &Graph{
		succStart: make([]int32, n+1), predStart: make([]int32, n+1), pred: make([]int32, 0, len(g.pred)),
		order: g.order, place: g.place, level: g.level, // the same reachability gives the same order
	}
	s := newSearch(g)
	s.wanted = make([]int32, n)
	var near []int32
	for to := range int32(n) {
		if !g.held(to) {
			near = append(near[:0], g.Predecessors(int(to))...)
			near = s.reduce(near)
			r.pred = append(r.pred, near...)
			for _, from := range near {
				r.succStart[from+1]++
			}
		}
		r.predStart[to+1] = int32(len(r.pred))
	}
	sum(r.succStart)
	r.succ = make([]int32, len(r.pred))
	fill := slices.Clone(r.succStart)
	for to := range int32(n) {
		for _, from := range r.Predecessors(int(to)) {
			r.succ[fill[from]] = to
			fill[from]++
		}
	}
	return r
}

// reduce returns, in place and in the order given, those predecessors of one node that no other of them can be reached
// from.
func (s *search) reduce(preds []int32) []int32 {
	if len(preds) < 2 {
		return preds
	}
	g := s.g
	s.walk++
	place, lowest := int32(g.Len()), int32(g.Len())
	for _, p := range preds {
		place, lowest = min(place, g.place[p]), min(lowest, g.level[p])
		s.wanted[p] = s.walk
	}
	left := len(preds) // those that no walk has met
	s.stack = append(s.stack[:0], preds...)
	for left > 1 && len(s.stack) > 0 {
		i := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		for _, p := range g.Predecessors(int(i)) {
			if s.marked(p) || g.place[p] < place {
				continue
			}
			s.marks[p] = s.walk
			switch {
			case s.wanted[p] == s.walk:
				left-- // it is on the stack already, or was
			case g.level[p] > lowest:
				s.stack = append(s.stack, p)
			}
		}
	}
	return slices.DeleteFunc(preds, s.marked)
}
