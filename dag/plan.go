package dag

import (
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// An Option changes how Build makes a plan.
type Option func(*options)

type options struct {
	namespace string
	overlay   *schema.Overlay
	protected []string
	parse     []schema.Option
}

// Namespace is used for steps that need a namespace and name none. It is the caller's word, not a repair.
func Namespace(ns string) Option { return func(o *options) { o.namespace = ns } }

// WithOverlay lays an overlay over the document.
func WithOverlay(v *schema.Overlay) Option { return func(o *options) { o.overlay = v } }

// Protect adds namespaces that mutating actions must not touch, beside kube-system, kube-public and kube-node-lease.
func Protect(namespaces ...string) Option {
	return func(o *options) { o.protected = append(o.protected, namespaces...) }
}

// Reading passes options on to schema.Parse. Build ignores it.
func Reading(opts ...schema.Option) Option {
	return func(o *options) { o.parse = append(o.parse, opts...) }
}

// Load reads a document and builds its plan: [schema.Parse] and [Build]. The error is a [*schema.Error] that holds the
// problems of both.
func Load(data []byte, reg *actions.Registry, opts ...Option) (*Plan, error) { return nil, nil }

// Build makes a plan of a document. It resolves aliases, fills in namespaces, checks every step against the registry
// and analyses the whole, adding its problems and repairs to those of the document, so that one pass shows all. The
// error is a [*schema.Error] when one of the problems is an error; then there is no plan.
//
// A document is built once; the plan keeps nothing that a later change of it could reach.
func Build(doc *schema.Document, reg *actions.Registry, opts ...Option) (*Plan, error) {
	return nil, nil
}

// A Plan is a validated document: steps, their graph, and what can be said of them before anything runs.
type Plan struct {
	steps  []Step
	graph  *Graph
	digest string
	ranks  []int32
	// …
}

// Len is the number of steps.
func (p *Plan) Len() int { return len(p.steps) }

// Step returns step i, from 0.
func (p *Plan) Step(i int) *Step { return &p.steps[i] }

// Index returns the index of the step with an id.
func (p *Plan) Index(id string) (int, bool) { return 0, false }

// Graph returns the graph of the dependencies.
func (p *Plan) Graph() *Graph { return p.graph }

// Digest identifies what the plan does: "sha256:" and hex over id, action, canonical parameters, dependencies, effective
// risk, requiresApproval and time-out of the steps in order. White space, key order, repairs, prose, labels, notes,
// durations and confidence do not change it.
func (p *Plan) Digest() string { return p.digest }

// StepDigest identifies what one step does, likewise. A decision about a step is bound to it.
func (p *Plan) StepDigest(i int) string { return "" }

// Ranks orders the steps for a scheduler that must choose: Ranks()[i] is the place of step i when sorted by longest
// remaining path, then document position. The slice must not be changed.
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
func (p *Plan) Strategy() Strategy { return "" }

// Groups returns the indexes of the steps by level: group 0 holds the roots, a step's group is one more than the
// highest of its dependencies. Groups describe; the executor starts a step when its own dependencies are done.
func (p *Plan) Groups() [][]int { return nil }

// Group returns the group of step i, from 0.
func (p *Plan) Group(i int) int { return 0 }

// ParallelGroups is the number of groups with more than one step.
func (p *Plan) ParallelGroups() int { return 0 }

// Pattern names the pattern that the plan follows, "" when it follows none.
func (p *Plan) Pattern() Pattern { return "" }

// CriticalPath returns the steps of the longest path by expected duration, and that duration.
func (p *Plan) CriticalPath() ([]int, time.Duration) { return nil, 0 }

// Work is what the steps take one after the other.
func (p *Plan) Work() time.Duration { return 0 }

// Writers returns the groups of steps that write the same object and are not all ordered by dependencies: a scheduler
// must not run two of one group at once. Each group is ascending; a step is in one at most.
func (p *Plan) Writers() [][]int { return nil }

// DataEdges returns the edges along which one step uses the artifact of another.
func (p *Plan) DataEdges() []Edge { return nil }

// PointsOfNoReturn returns the steps that change the cluster in a way that no rollback takes back, in order.
func (p *Plan) PointsOfNoReturn() []int { return nil }

// Warnings returns the problems that do not make the plan invalid.
func (p *Plan) Warnings() []schema.Problem { return nil }

// Estimate is what the document says the whole takes.
func (p *Plan) Estimate() schema.Estimate { return schema.Estimate{} }

// SuccessRate is the document's historical success rate; ok is false when it gives none.
func (p *Plan) SuccessRate() (rate float64, ok bool) { return 0, false }

// ApprovalRequired tells that the document (a manifest) asks for the plan to be approved as a whole.
func (p *Plan) ApprovalRequired() bool { return false }

// Manifest returns the plan as a WorkflowExecution. name and request are its metadata ("" request: none); gated tells
// which steps wait for a person, nil meaning those whose document says so.
func (p *Plan) Manifest(name, namespace, request string, gated func(i int) bool) *schema.WorkflowExecution {
	return nil
}
