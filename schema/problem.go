package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Code names a kind of problem. Codes are a contract: they keep their spelling, more may be added.
type Code string

// The codes.
const (
	CodeInvalidJSON        Code = "invalid-json"
	CodeTruncated          Code = "truncated"
	CodeDuplicateKey       Code = "duplicate-key"
	CodeLimitExceeded      Code = "limit-exceeded"
	CodeForbiddenCharacter Code = "forbidden-character"
	CodeMissingField       Code = "missing-field"
	CodeInvalidValue       Code = "invalid-value"
	CodeUnknownField       Code = "unknown-field"
	CodeDuplicateID        Code = "duplicate-id"
	CodeMissingDependency  Code = "missing-dependency"
	CodeSelfDependency     Code = "self-dependency"
	CodeDependencyCycle    Code = "dependency-cycle"
	CodeUnknownAction      Code = "unknown-action"
	CodeMissingParameter   Code = "missing-parameter"
	CodeUnknownParameter   Code = "unknown-parameter"
	CodeInvalidParameter   Code = "invalid-parameter"
	CodeMissingNamespace   Code = "missing-namespace"
	CodeMissingArtifact    Code = "missing-artifact"
	CodeWriteConflict      Code = "write-conflict"
	CodeRedundantStep      Code = "redundant-step"
	// CodeRepairRefused marks, in strict reading, what tolerant reading would have repaired.
	CodeRepairRefused Code = "repair-refused"
	// CodeTimeout warns of a step that is expected to take longer than its time-out.
	CodeTimeout Code = "timeout-too-short"
)

// Severity tells an error, which makes a plan invalid, from a warning, which does not.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// A Problem is one thing that is wrong with a document.
type Problem struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	// Message says what is wrong and what to do, in one line of printable text.
	Message string `json:"message"`
	// Step is the id of the step, "" when the problem is not of one step.
	Step string `json:"step"`
	// Pointer is a JSON pointer (RFC 6901) into the document as it was written.
	Pointer string `json:"pointer"`
	// Line and Column start at 1; a column counts characters. What is missing is placed at the object that lacks it.
	// 0 only in a document built by hand.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Suggestion is what was probably meant, "" when nothing is near.
	Suggestion string `json:"suggestion"`
}

// String returns "severity: code: message (did you mean …?)", with step id and position where they are known.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", p.Line, p.Column)
	}
	fmt.Fprintf(&b, "%s: %s: %s", p.Severity, p.Code, p.Message)
	if p.Suggestion != "" {
		fmt.Fprintf(&b, " (did you mean %s?)", p.Suggestion)
	}
	return b.String()
}

// A RepairKind names a change that the reader may make because it cannot change the document's meaning.
type RepairKind string

// The repairs.
const (
	RepairComment         RepairKind = "comment"
	RepairTrailingComma   RepairKind = "trailing-comma"
	RepairCodeFence       RepairKind = "code-fence"
	RepairSurroundingText RepairKind = "surrounding-text"
	RepairPlaceholder     RepairKind = "placeholder"
	RepairAlias           RepairKind = "alias"
	RepairNamespace       RepairKind = "namespace"
)

// A Repair is one change that the reader made.
type Repair struct {
	Kind    RepairKind `json:"kind"`
	Message string     `json:"message"`
	Pointer string     `json:"pointer"`
	Line    int        `json:"line"`
	Column  int        `json:"column"`
}

// An Error holds every problem of a document that has at least one of severity error.
type Error struct {
	Problems []Problem
}

// Error lists the errors, one per line.
func (e *Error) Error() string {
	var b strings.Builder
	n := 0
	for _, p := range e.Problems {
		if p.Severity != SeverityError {
			continue
		}
		if n++; n > 1 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Err returns an [Error] when a problem of d is of severity error, else nil. It also puts what later stages have
// reported in the order of the document.
func (d *Document) Err() error {
	if d.unordered {
		slices.SortStableFunc(d.Problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
		slices.SortStableFunc(d.Repairs, func(a, b Repair) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
		d.unordered = false
	}
	for _, p := range d.Problems {
		if p.Severity == SeverityError {
			return &Error{Problems: slices.Clone(d.Problems)}
		}
	}
	return nil
}

// Report adds a problem that a later stage found. Line and column are filled in from the pointer, or from the nearest
// value around it that the document has; an empty severity is an error. Problems are in the order of the document
// again once [Document.Err] is called. After a thousand errors, or warnings, nothing more is listed but that there are more.
func (d *Document) Report(p Problem) {
	reported := &d.errors
	if p.Severity == SeverityWarning {
		reported = &d.warnings
	} else {
		p.Severity = SeverityError
	}
	if *reported++; *reported > maxFindings {
		return
	}
	if *reported == maxFindings {
		p = Problem{Code: CodeLimitExceeded, Severity: p.Severity, Pointer: p.Pointer,
			Message: "there are more than can be listed: mend what is listed first"}
	}
	if !validID(p.Step) {
		p.Step = ""
	}
	p.Line, p.Column = d.Position(p.Pointer)
	d.Problems = append(d.Problems, p)
	d.unordered = true
}

// Repaired adds a repair that a later stage made, likewise; in strict reading it is an error instead.
func (d *Document) Repaired(r Repair) {
	if d.strict {
		p := Problem{Code: CodeRepairRefused, Message: r.Message + ", which strict reading refuses", Pointer: r.Pointer}
		if d.source != nil && len(d.source.nodes) > 0 {
			p.Step = d.stepOf(d.source.resolve(r.Pointer))
		}
		d.Report(p)
		return
	}
	r.Line, r.Column = d.Position(r.Pointer)
	d.Repairs = append(d.Repairs, r)
	d.unordered = true
}
