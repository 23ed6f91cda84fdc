package schema

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// Limits bound what Parse accepts. A zero field means its default.
type Limits struct {
	// Steps defaults to DefaultMaxSteps.
	Steps int
	// Bytes defaults to DefaultMaxBytes.
	Bytes int
	// Depth of nested objects and lists; defaults to DefaultMaxDepth.
	Depth int
}

// The default limits.
const (
	DefaultMaxSteps = 256
	DefaultMaxBytes = 1 << 20
	DefaultMaxDepth = 32
)

// An Option changes how Parse reads.
type Option func(*options)

type options struct {
	strict bool
	limits Limits
}

// Strict refuses every repair, also those that building a plan would make: each is an error.
func Strict() Option { return func(o *options) { o.strict = true } }

// WithLimits replaces the default limits.
func WithLimits(l Limits) Option { return func(o *options) { o.limits = l } }

// Parse reads a recommendations document (JSON, both dialects) or a WorkflowExecution manifest (YAML or JSON; it is
// recognised by its kind).
//
// It always returns the document as far as it could be read, with its problems and repairs; the error is an [Error]
// when one of the problems is an error, and nil otherwise.
func Parse(data []byte, opts ...Option) (*Document, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	o.limits = o.limits.orDefault()
	p := parser{options: o, steps: none}
	p.maxDepth, p.maxSteps = o.limits.Depth, o.limits.Steps
	p.open(data, p.document)
	return p.finish()
}

// orDefault fills in the defaults, and keeps places within what the tape can count.
func (l Limits) orDefault() Limits {
	limit := func(n, otherwise int) int {
		if n <= 0 {
			return otherwise
		}
		return min(n, math.MaxInt32-1)
	}
	return Limits{Steps: limit(l.Steps, DefaultMaxSteps), Bytes: limit(l.Bytes, DefaultMaxBytes), Depth: limit(l.Depth, DefaultMaxDepth)}
}

// open takes the source in, unless it is unfit, and has it read.
func (p *parser) open(data []byte, read func()) {
	if len(data) > p.limits.Bytes {
		p.add(finding{code: CodeLimitExceeded, node: none, message: fmt.Sprintf("the input has more than the %d bytes allowed", p.limits.Bytes)})
	} else {
		p.src = string(data)
	}
	src := p.src
	p.positions = sync.OnceValue(func() *positions { return newPositions(src) })
	if len(p.found) == 0 && !p.unreadable() {
		read()
	}
}

// A parser turns one source into a Document.
type parser struct {
	options
	reader
	doc       Document
	positions func() *positions
	manifest  bool
	exact     bool // fields have one spelling, and one that is not known is an error
	cursor    cursor
	steps     int32 // the list of recommendations, or none
	broken    bool  // the source could not be read to its end: say nothing of what is missing
	numbered  bool  // some step has a number for an id
	numbers   []int32
	names     []string
	told      map[told]bool
}

// A told field has a problem already.
type told struct {
	step  int // -1: the document itself
	field string
}

// A finding is a problem or, when it has a repair kind, a repair, before its position is known.
type finding struct {
	code       Code
	repair     RepairKind
	warning    bool
	node       int32 // the value (or name) it is about
	off        int32
	message    string
	suggestion string
}

func (p *parser) add(f finding) { p.found = append(p.found, f) }

// problem adds an error about a node.
func (p *parser) problem(code Code, i int32, message, suggestion string) {
	p.add(finding{code: code, node: i, off: p.nodes[i].off, message: message, suggestion: suggestion})
}

func (p *parser) warn(code Code, i int32, message, suggestion string) {
	p.add(finding{code: code, warning: true, node: i, off: p.nodes[i].off, message: message, suggestion: suggestion})
}

func (p *parser) repaired(kind RepairKind, i int32, message string) {
	p.add(finding{repair: kind, node: i, off: p.nodes[i].off, message: message})
}

const (
	// maxFindings bounds how many problems are listed of one document.
	maxFindings = 1000
	// repairsPerStep bounds the repairs: a step in the other dialect, all its names in snake_case, has fewer.
	repairsPerStep = 32
)

// finish gives the findings their positions and the document its source.
func (p *parser) finish() (*Document, error) {
	d := &p.doc
	d.strict = p.strict
	d.source = &source{tape: p.tape, positions: p.positions}
	slices.SortStableFunc(p.found, func(a, b finding) int { return int(a.off) - int(b.off) })
	maxRepairs := max(maxFindings, p.limits.Steps*repairsPerStep)
	left, first := 0, finding{}
	for _, f := range p.found {
		isRepair := f.repair != "" && !p.strict
		if isRepair && len(d.Repairs) == maxRepairs || !isRepair && len(d.Problems) == maxFindings {
			if left++; left == 1 {
				first = f
			}
			continue
		}
		line, column := d.source.positions().at(f.off)
		if isRepair {
			d.Repairs = append(d.Repairs, Repair{Kind: f.repair, Message: f.message, Pointer: p.pointer(f.node), Line: line, Column: column})
			continue
		}
		d.Problems = append(d.Problems, p.asProblem(f, line, column))
	}
	if left > 0 {
		line, column := d.source.positions().at(first.off)
		d.Problems = append(d.Problems, Problem{Code: CodeLimitExceeded, Severity: SeverityError, Line: line, Column: column,
			Message: fmt.Sprintf("%d problems and repairs from here on are not listed; mend those that are first", left)})
		d.unordered = true
	}
	return d, d.Err()
}

// asProblem makes a problem of a finding, also of a repair that strict reading refuses.
func (p *parser) asProblem(f finding, line, column int) Problem {
	q := Problem{Code: f.code, Severity: SeverityError, Message: f.message, Step: p.doc.stepOf(f.node), Pointer: p.pointer(f.node),
		Line: line, Column: column, Suggestion: f.suggestion}
	switch f.repair {
	case "":
	case RepairComment, RepairTrailingComma, RepairCodeFence, RepairSurroundingText:
		q.Code = CodeInvalidJSON
		q.Message = strictMessage[f.repair]
	default:
		q.Code = CodeRepairRefused
		q.Message += ", which strict reading refuses"
	}
	if f.warning {
		q.Severity = SeverityWarning
	}
	return q
}

// strictMessage says of a repair that strict reading refuses what it would have dropped.
var strictMessage = map[RepairKind]string{
	RepairComment:         "a comment is no JSON",
	RepairTrailingComma:   "a comma after the last item is no JSON",
	RepairCodeFence:       "a code fence is no JSON",
	RepairSurroundingText: "text around the document is no JSON",
}

// stepOf returns the id of the step that node i belongs to, "" when it has none.
func (d *Document) stepOf(i int32) string {
	for ; i != none; i = d.source.nodes[i].parent {
		n, ok := slices.BinarySearchFunc(d.Recommendations, i, func(r Recommendation, i int32) int { return int(r.node - i) })
		if ok && i > 0 && validID(d.Recommendations[n].ID) {
			return d.Recommendations[n].ID
		}
	}
	return ""
}

// ParameterNames returns the parameter names of recommendation r in the order of the document, or sorted when r was
// built by hand.
func (r *Recommendation) ParameterNames() []string {
	if len(r.order) == len(r.Parameters) {
		return slices.Clone(r.order)
	}
	names := make([]string, 0, len(r.Parameters))
	for name := range r.Parameters {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
