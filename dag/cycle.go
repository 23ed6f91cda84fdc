package dag

// Cycle returns the nodes of one cycle, each a predecessor of the next and the last of the first, beginning with the
// smallest; nil when there is none. A node that leads to itself is a cycle of one.
func (g *Graph) Cycle() []int32 {
	if all := g.cycles(1); len(all) > 0 {
		return all[0]
	}
	return nil
}

// cycles returns a shortest cycle through the smallest node of each strongly connected component that has one, at
// most limit of them, ordered by that node.
func (g *Graph) cycles(limit int) [][]int32 {
	n := g.Len()
	if len(g.order) == n {
		return nil
	}
	component := g.components()
	var (
		found [][]int32
		seen  = make([]bool, n) // by component
		from  = make([]int32, n)
		queue []int32
	)
	for i := range from {
		from[i] = -1
	}
	for root := range int32(n) {
		c := component[root]
		if !g.held(root) || seen[c] {
			continue
		}
		seen[c] = true
		queue = append(queue[:0], root)
	search:
		for k := 0; k < len(queue); k++ {
			i := queue[k]
			for _, s := range g.Successors(int(i)) {
				if component[s] != c {
					continue
				}
				if s == root {
					found = append(found, trace(from, root, i))
					break search
				}
				if from[s] < 0 {
					from[s] = i
					queue = append(queue, s)
				}
			}
		}
		if len(found) == limit {
			break
		}
	}
	return found
}

// trace follows from back from last to root and returns the way there.
func trace(from []int32, root, last int32) []int32 {
	length := 1
	for i := last; i != root; i = from[i] {
		length++
	}
	path := make([]int32, length)
	for i := last; length > 0; i = from[i] {
		length--
		path[length] = i
		if i == root {
			break
		}
	}
	return path
}

// components numbers the strongly connected components of the nodes that a cycle holds back, with Tarjan's algorithm
// on a stack of its own: a document must not be able to exhaust the goroutine's.
func (g *Graph) components() []int32 {
	n := g.Len()
	var (
		component = make([]int32, n) // -1 while it is not known
		index     = make([]int32, n) // 0: not visited
		low       = make([]int32, n)
		next      = make([]int32, n) // the successor to look at next
		open      []int32            // visited, component not known yet
		path      []int32            // the nodes being visited
		visited   int32
		number    int32
	)
	for root := range int32(n) {
		if !g.held(root) || index[root] != 0 {
			continue
		}
		path = append(path[:0], root)
		for len(path) > 0 {
			i := path[len(path)-1]
			if index[i] == 0 {
				visited++
				index[i], low[i], next[i], component[i] = visited, visited, g.succStart[i], -1
				open = append(open, i)
			}
			if next[i] < g.succStart[i+1] {
				s := g.succ[next[i]]
				switch {
				case index[s] == 0:
					path = append(path, s)
					continue // and look at s again, when its low is known
				case component[s] < 0:
					low[i] = min(low[i], low[s])
				}
				next[i]++
				continue
			}
			path = path[:len(path)-1]
			if low[i] != index[i] {
				continue
			}
			for {
				last := open[len(open)-1]
				open = open[:len(open)-1]
				component[last] = number
				if last == i {
					break
				}
			}
			number++
		}
	}
	return component
}
