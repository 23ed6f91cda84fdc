// Package dag turns a recommendations document into a plan: a directed acyclic graph of steps, checked, ordered and
// analysed before anything runs.
//
// [Build] makes a [Plan] of a document and a registry; [Load] reads the document too. A Plan and its [Step]s are
// immutable and safe to share. A [Graph] is the bare structure over integers and can be used on its own.
//
// Steps are addressed by index, their position in the document from 0; people see numbers, which start at 1. Order is
// deterministic everywhere: ties go by position in the document.
package dag
