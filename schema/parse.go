package schema

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
	d := &Document{}
	return d, d.Err()
}

// source locates values in the text a document was read from.
type source struct{}

// Position returns line and column, from 1, of the value at a JSON pointer, or of the nearest value around it that
// the document has. It returns 0, 0 for a document built by hand.
func (d *Document) Position(pointer string) (line, column int) {
	return 0, 0
}

// Pointer returns the JSON pointer of a field of recommendation i, spelled as the document spells it (field is the
// canonical name, path what follows below it). When the document has no such field it is the pointer of the
// recommendation itself.
func (d *Document) Pointer(i int, field string, path ...string) string {
	return ""
}

// ParameterNames returns the parameter names of recommendation r in the order of the document, or sorted when r was
// built by hand.
func (r *Recommendation) ParameterNames() []string {
	return r.order
}
