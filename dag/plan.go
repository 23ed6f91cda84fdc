package dag

import (
	"cmp"
	"slices"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// A Plan is a validated document: steps, their graph, and what can be said of them before anything runs. The slices
// that its methods return must not be changed.
type Plan struct {
	steps            []Step
	index            map[string]int32
	graph            *Graph
	digest           string
	ranks            []int32
	groups           [][]int
	parallel         int
	pattern          Pattern
	critical         []int
	length, work     time.Duration
	writers          [][]int
	data             []Edge
	final            []int
	warnings         []schema.Problem
	estimate         schema.Estimate
	rate             float64
	rated            bool
	approvalRequired bool
	protect          []string
	components       []string
	manifest         bool
}

// finish makes the plan of steps that are known to be right.
func (b *builder) finish() *Plan {
	g, doc := b.graph, b.doc
	p := &Plan{steps: b.steps, index: b.index, graph: g, writers: b.writers, data: b.data, estimate: doc.EstimatedDuration,
		protect: slices.Clone(b.protected), components: slices.Clone(b.components)}
	if doc.HistoricalSuccessRate != nil {
		p.rate, p.rated = *doc.HistoricalSuccessRate, true
	}
	if doc.Workflow != nil {
		p.manifest = true
		p.approvalRequired = doc.Workflow.Spec.ExecutionStrategy.ApprovalRequired
	}
	for _, problem := range doc.Problems {
		if problem.Severity == schema.SeverityWarning {
			p.warnings = append(p.warnings, problem)
		}
	}
	deps := make([]int, 0, len(g.pred))
	durations := make([]time.Duration, len(p.steps))
	for i := range p.steps {
		s := &p.steps[i]
		s.group = int(g.level[i])
		from := len(deps)
		for _, d := range g.Predecessors(i) {
			deps = append(deps, int(d))
		}
		s.deps = deps[from:len(deps):len(deps)]
		durations[i] = s.task.Expected
		p.work = plus(p.work, s.task.Expected)
		if s.spec.Effect == actions.Mutates && !s.Reversible() {
			p.final = append(p.final, i)
		}
	}
	p.groupSteps()
	p.rankSteps(g.Remaining(durations))
	p.pattern = recognise(p.steps, g)
	p.digest = digestPlan(p.steps)
	return p
}

func (p *Plan) groupSteps() {
	depth := 0
	for i := range p.steps {
		depth = max(depth, p.steps[i].group+1)
	}
	sizes := make([]int, depth)
	for i := range p.steps {
		sizes[p.steps[i].group]++
	}
	p.groups = make([][]int, depth)
	members := make([]int, len(p.steps))
	for l, size := range sizes {
		p.groups[l], members = members[:0:size], members[size:]
		if size > 1 {
			p.parallel++
		}
	}
	for i := range p.steps {
		l := p.steps[i].group
		p.groups[l] = append(p.groups[l], i)
	}
}

// rankSteps orders the steps by what is left when they begin.
func (p *Plan) rankSteps(rest []time.Duration) {
	path, length := p.graph.criticalPath(rest)
	p.length = length
	for _, i := range path {
		p.critical = append(p.critical, int(i))
	}
	byRest := make([]int32, len(rest))
	for i := range byRest {
		byRest[i] = int32(i)
	}
	slices.SortFunc(byRest, func(x, y int32) int { return cmp.Or(cmp.Compare(rest[y], rest[x]), cmp.Compare(x, y)) })
	p.ranks = make([]int32, len(rest))
	for place, i := range byRest {
		p.ranks[i] = int32(place)
	}
}

// Len is the number of steps.
func (p *Plan) Len() int { return len(p.steps) }

// Step returns step i, from 0.
func (p *Plan) Step(i int) *Step { return &p.steps[i] }

// Index returns the index of the step with an id.
func (p *Plan) Index(id string) (int, bool) {
	i, ok := p.index[id]
	return int(i), ok
}

// Graph returns the graph of the dependencies.
func (p *Plan) Graph() *Graph { return p.graph }

// Digest identifies what the plan does: "sha256:" and hex over id, action, canonical parameters, dependencies, effective
// risk, requiresApproval and time-out of the steps in order. White space, key order, repairs, prose, labels, notes,
// durations and confidence do not change it.
func (p *Plan) Digest() string { return p.digest }

// StepDigest identifies what one step does, likewise. A decision about a step is bound to it.
func (p *Plan) StepDigest(i int) string { return digestStep(p.steps, i) }

// Ranks orders the steps for a scheduler that must choose: Ranks()[i] is the place of step i when sorted by longest
// remaining path, then document position.
func (p *Plan) Ranks() []int32 { return p.ranks }

// Strategy is a plan's overall shape.
type Strategy string

// The strategies.
const (
	Sequential             Strategy = "sequential"
	Parallel               Strategy = "parallel"
	SequentialWithParallel Strategy = "sequential-with-parallel"
)

// Strategy is Sequential when no two steps share a group, Parallel when no step waits for another (and there are
// several), else SequentialWithParallel.
func (p *Plan) Strategy() Strategy {
	switch {
	case p.parallel == 0:
		return Sequential
	case len(p.groups) == 1:
		return Parallel
	}
	return SequentialWithParallel
}

// Groups returns the indexes of the steps by level: group 0 holds the roots, a step's group is one more than the
// highest of its dependencies. Groups describe; the executor starts a step when its own dependencies are done.
func (p *Plan) Groups() [][]int { return p.groups }

// Group returns the group of step i, from 0.
func (p *Plan) Group(i int) int { return p.steps[i].group }

// ParallelGroups is the number of groups with more than one step.
func (p *Plan) ParallelGroups() int { return p.parallel }

// Pattern names the pattern that the plan follows, "" when it follows none.
func (p *Plan) Pattern() Pattern { return p.pattern }

// CriticalPath returns the steps of the longest path by expected duration, and that duration.
func (p *Plan) CriticalPath() ([]int, time.Duration) { return p.critical, p.length }

// Work is what the steps take one after the other.
func (p *Plan) Work() time.Duration { return p.work }

// Writers returns the groups of steps that write the same object and are not all ordered by dependencies: a scheduler
// must not run two of one group at once. Each group is ascending; a step is in one at most.
func (p *Plan) Writers() [][]int { return p.writers }

// DataEdges returns the edges along which one step uses the artifact of another.
func (p *Plan) DataEdges() []Edge { return p.data }

// PointsOfNoReturn returns the steps that change the cluster in a way that no rollback takes back, in order.
func (p *Plan) PointsOfNoReturn() []int { return p.final }

// Warnings returns the problems that do not make the plan invalid.
func (p *Plan) Warnings() []schema.Problem { return p.warnings }

// Estimate is what the document says the whole takes.
func (p *Plan) Estimate() schema.Estimate { return p.estimate }

// SuccessRate is the document's historical success rate; ok is false when it gives none.
func (p *Plan) SuccessRate() (rate float64, ok bool) { return p.rate, p.rated }

// ApprovalRequired tells that the document (a manifest) asks for the plan to be approved as a whole.
func (p *Plan) ApprovalRequired() bool { return p.approvalRequired }
