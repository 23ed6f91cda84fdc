package dag

import "time"

// A Graph is a directed graph over the nodes 0 to Len()-1, in compressed sparse rows both ways. It is immutable and
// safe to share. The zero Graph has no nodes.
//
// Methods that need an acyclic graph say so; on a graph with a cycle they treat the nodes that a cycle holds back as
// if they did not exist.
type Graph struct {
	succStart, succ []int32 // successors of i: succ[succStart[i]:succStart[i+1]], ascending
	predStart, pred []int32 // predecessors likewise
	order           []int32 // topological, ties by index; shorter than Len() when there is a cycle
}

// An Edge leads from a node to one that depends on it.
type Edge struct{ From, To int32 }

// NewGraph makes a graph of n nodes. Repeated edges count once. It panics when an edge leaves the range.
func NewGraph(n int, edges []Edge) *Graph { return &Graph{} }

// Len is the number of nodes.
func (g *Graph) Len() int { return max(0, len(g.succStart)-1) }

// Successors returns the nodes that depend on i, ascending. The slice must not be changed.
func (g *Graph) Successors(i int) []int32 { return g.succ[g.succStart[i]:g.succStart[i+1]] }

// Predecessors returns the nodes that i depends on, ascending. The slice must not be changed.
func (g *Graph) Predecessors(i int) []int32 { return g.pred[g.predStart[i]:g.predStart[i+1]] }

// Order returns the nodes in topological order, ties by index; it is shorter than Len when there is a cycle. The slice must not be changed.
func (g *Graph) Order() []int32 { return g.order }

// Cycle returns the nodes of one cycle in order, beginning with its smallest, or nil. Self-loops are cycles of one.
func (g *Graph) Cycle() []int32 { return nil }

// Levels returns, for each node, 0 for a root, else 1 plus the highest level of its predecessors.
func (g *Graph) Levels() []int32 { return nil }

// Reduction returns the transitive reduction: the least edges with the same reachability. The graph must be acyclic.
func (g *Graph) Reduction() *Graph { return g }

// CriticalPath returns the nodes of a longest path for the given durations (one each), ties by index, and its length.
// The graph must be acyclic.
func (g *Graph) CriticalPath(durations []time.Duration) ([]int32, time.Duration) { return nil, 0 }

// Remaining returns, for each node, the length of the longest path that begins with it, itself included.
func (g *Graph) Remaining(durations []time.Duration) []time.Duration { return nil }

// Reaches tells whether a path leads from a to b. A node reaches itself.
func (g *Graph) Reaches(a, b int) bool { return false }
