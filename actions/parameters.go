package actions

import (
	"iter"
	"time"
)

// Parameters are the canonical parameters of a step: checked against the Spec, under their canonical names, sorted,
// immutable and safe to share. The zero Parameters is empty.
type Parameters struct {
	list []parameter // sorted by name
	spec *Spec       // for defaults; nil: none
}

type parameter struct {
	name  string
	value any
}

// NewParameters makes Parameters from a map, for tests and handlers' examples; nothing is checked and there are no
// defaults.
func NewParameters(m map[string]any) Parameters { return Parameters{} }

// Len is the number of parameters that the document gives.
func (p Parameters) Len() int { return len(p.list) }

// Given tells whether the document gives the parameter.
func (p Parameters) Given(name string) bool { return false }

// Get returns the value that is given, else the Spec's default, else nil. Lists and objects are copies.
func (p Parameters) Get(name string) any { return nil }

// String returns a string, "" when there is none.
func (p Parameters) String(name string) string { return "" }

// Int returns an integer, 0 when there is none.
func (p Parameters) Int(name string) int64 { return 0 }

// Bool returns a bool, false when there is none.
func (p Parameters) Bool(name string) bool { return false }

// Duration returns a duration, 0 when there is none.
func (p Parameters) Duration(name string) time.Duration { return 0 }

// Strings returns a list of strings, nil when there is none. The list is a copy.
func (p Parameters) Strings(name string) []string { return nil }

// All yields the given parameters by name, in sorted order.
func (p Parameters) All() iter.Seq2[string, any] { return func(func(string, any) bool) {} }

// AppendJSON appends the given parameters as one JSON object in canonical form: sorted keys, no white space. Equal
// parameters give equal bytes.
func (p Parameters) AppendJSON(b []byte) []byte { return b }

// MarshalJSON is AppendJSON.
func (p Parameters) MarshalJSON() ([]byte, error) { return p.AppendJSON(nil), nil }

// Decode stores the parameters, defaults included, in a struct by its json tags. A parameter without a field, and a
// value that does not fit, is an error.
func (p Parameters) Decode(into any) error { return nil }
