package dag

import (
	"math"
	"time"
)

// Remaining returns, for each node, the length of the longest path that begins with it, itself included, for the given
// durations (one each, not negative). The graph must be acyclic.
func (g *Graph) Remaining(durations []time.Duration) []time.Duration {
	rest := make([]time.Duration, g.Len())
	for k := len(g.order) - 1; k >= 0; k-- {
		i := g.order[k]
		longest := time.Duration(0)
		for _, s := range g.Successors(int(i)) {
			longest = max(longest, rest[s])
		}
		rest[i] = plus(durations[i], longest)
	}
	return rest
}

// CriticalPath returns the nodes of a longest path for the given durations (one each, not negative), from a root to a
// leaf, and its length. Of several it is the one whose nodes come first, compared one after the other. The graph must
// be acyclic.
func (g *Graph) CriticalPath(durations []time.Duration) ([]int32, time.Duration) {
	return g.criticalPath(g.Remaining(durations))
}

func (g *Graph) criticalPath(rest []time.Duration) ([]int32, time.Duration) {
	at := int32(-1)
	for i := range int32(g.Len()) {
		if len(g.Predecessors(int(i))) == 0 && (at < 0 || rest[i] > rest[at]) {
			at = i
		}
	}
	if at < 0 {
		return nil, 0
	}
	path := []int32{at}
	for {
		next := int32(-1)
		for _, s := range g.Successors(int(at)) {
			if !g.held(s) && (next < 0 || rest[s] > rest[next]) {
				next = s
			}
		}
		if next < 0 {
			return path, rest[path[0]]
		}
		path = append(path, next)
		at = next
	}
}

// plus adds durations that are not negative; a sum that is too long for the type is the longest there is.
func plus(a, b time.Duration) time.Duration {
	if s := a + b; s >= a {
		return s
	}
	return math.MaxInt64
}
