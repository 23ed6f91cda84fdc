package render

import "slices"

// A piece is one thing of a sequence: a step, or branches that run beside each other. In a sequence each piece waits
// for the one before it, as far as a drawing can show; what it cannot show, the steps' dependency lines say.
type piece struct {
	step     int // index of the step, or planStep; meaningful when there are no branches
	branches [][]piece
	exits    []int // what the next piece waits for, as the drawing reads, ascending
}

// planStep stands for the approval of the plan as a whole.
const planStep = -1

// maxNesting bounds how deep branches are drawn inside branches.
const maxNesting = 24

func single(i int) piece { return piece{step: i, exits: []int{i}} }

// A splitter takes a graph apart into sequences and branches. Its slices are indexed by step; the recursion uses them
// for one set of steps at a time.
type splitter struct {
	d     *drawing
	rank  []int32 // position in topological order
	mark  []int32 // the set that a step is in
	next  int32
	level []int32 // longest path within the set
	last  []int32 // the lowest level among the successors within the set
}

// shape takes the whole plan apart.
func (d *drawing) shape() []piece {
	n := d.plan.Len()
	s := &splitter{d: d, rank: make([]int32, n), mark: make([]int32, n), level: make([]int32, n), last: make([]int32, n)}
	all := make([]int, 0, n)
	for k, i := range d.reduced.Order() {
		s.rank[i] = int32(k)
		all = append(all, int(i))
	}
	seq := s.split(all, 0)
	if d.planGated() {
		seq = slices.Insert(seq, 0, single(planStep))
	}
	return seq
}

// split takes a set of steps apart. The set is in topological order.
func (s *splitter) split(set []int, depth int) []piece {
	if depth > maxNesting {
		return singles(set)
	}
	var seq []piece
	for len(set) > 0 {
		if len(set) == 1 {
			return append(seq, single(set[0]))
		}
		parts := s.components(set)
		if len(parts) > 1 {
			return append(seq, s.fan(parts, depth))
		}
		blocks := s.series(set)
		if len(blocks) == 1 {
			// Neither in series nor apart, so there are several that wait for nothing: they come first, the rest as if
			// it waited for all of them.
			first := s.sources(set)
			head := make([][]int, len(first))
			for k, i := range first {
				head[k] = []int{i}
			}
			seq = append(seq, s.fan(head, depth))
			set = without(set, first)
			continue
		}
		for _, block := range blocks {
			if len(block) == 1 {
				seq = append(seq, single(block[0]))
			} else {
				seq = append(seq, s.split(block, depth)...)
			}
		}
		return seq
	}
	return seq
}

func singles(set []int) []piece {
	seq := make([]piece, len(set))
	for k, i := range set {
		seq[k] = single(i)
	}
	return seq
}

// fan draws sets of steps beside each other, in the order of their first steps.
func (s *splitter) fan(parts [][]int, depth int) piece {
	slices.SortFunc(parts, func(a, b []int) int { return slices.Min(a) - slices.Min(b) })
	var p piece
	for _, part := range parts {
		p.exits = append(p.exits, s.sinks(part)...)
		p.branches = append(p.branches, s.split(part, depth+1))
	}
	slices.Sort(p.exits)
	return p
}

// enter makes set the one that inSet knows.
func (s *splitter) enter(set []int) {
	s.next++
	for _, i := range set {
		s.mark[i] = s.next
	}
}

func (s *splitter) inSet(i int32) bool { return s.mark[i] == s.next }

// components parts a set into those that no edge connects, each in topological order.
func (s *splitter) components(set []int) [][]int {
	s.enter(set)
	inside := s.next
	var parts [][]int
	for _, i := range set {
		if s.mark[i] != inside {
			continue
		}
		s.mark[i] = -1
		part := []int{i}
		for k := 0; k < len(part); k++ {
			for _, near := range [2][]int32{s.d.reduced.Predecessors(part[k]), s.d.reduced.Successors(part[k])} {
				for _, j := range near {
					if s.mark[j] == inside {
						s.mark[j] = -1
						part = append(part, int(j))
					}
				}
			}
		}
		parts = append(parts, part)
	}
	for _, part := range parts {
		slices.SortFunc(part, func(a, b int) int { return int(s.rank[a] - s.rank[b]) })
	}
	return parts
}

// series cuts a set into blocks of which each waits for the whole of the block before. Such a cut lies between two
// levels L and L+1 where every step up to L that nothing up to L follows has an edge to every step of level L+1.
func (s *splitter) series(set []int) [][]int {
	s.enter(set)
	top := int32(0)
	for _, i := range set {
		s.level[i] = 0
		for _, j := range s.d.reduced.Predecessors(i) {
			if s.inSet(j) {
				s.level[i] = max(s.level[i], s.level[j]+1)
			}
		}
		top = max(top, s.level[i])
	}
	for _, i := range set {
		s.last[i] = top + 1
		for _, j := range s.d.reduced.Successors(i) {
			if s.inSet(j) {
				s.last[i] = min(s.last[i], s.level[j])
			}
		}
	}
	ends := make([]int, top+3)   // change of the number of steps up to a level that nothing up to it follows
	starts := make([]int, top+2) // steps of the next level
	edges := make([]int, top+2)  // edges from those ends to these starts
	for _, i := range set {
		ends[s.level[i]]++
		ends[s.last[i]]--
		if s.level[i] > 0 {
			starts[s.level[i]-1]++
		}
		for _, j := range s.d.reduced.Predecessors(i) {
			if s.inSet(j) && s.last[j] == s.level[i] {
				edges[s.level[i]-1]++
			}
		}
	}
	block := make([]int, top+1) // of a level
	n, open := 0, 0
	for l := range top + 1 {
		block[l] = n
		open += ends[l]
		if l < top && edges[l] == open*starts[l] {
			n++
		}
	}
	blocks := make([][]int, n+1)
	for _, i := range set {
		k := block[s.level[i]]
		blocks[k] = append(blocks[k], i)
	}
	return blocks
}

// sources returns the steps of a set that wait for none of it, ascending.
func (s *splitter) sources(set []int) []int {
	s.enter(set)
	var first []int
	for _, i := range set {
		if !slices.ContainsFunc(s.d.reduced.Predecessors(i), s.inSet) {
			first = append(first, i)
		}
	}
	slices.Sort(first)
	return first
}

// sinks returns the steps of a set that nothing of it waits for.
func (s *splitter) sinks(set []int) []int {
	s.enter(set)
	var final []int
	for _, i := range set {
		if !slices.ContainsFunc(s.d.reduced.Successors(i), s.inSet) {
			final = append(final, i)
		}
	}
	return final
}

func without(set, sorted []int) []int {
	return slices.DeleteFunc(set, func(i int) bool {
		_, found := slices.BinarySearch(sorted, i)
		return found
	})
}
