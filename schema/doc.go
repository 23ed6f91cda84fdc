// Package schema reads and writes the wire formats of remedy: the recommendations document that a model wrote after it
// investigated an incident, the overlay that people lay over it, and the WorkflowExecution manifest.
//
// [Parse] reads a document (JSON in either dialect, or a manifest in YAML or JSON) and reports everything that is wrong
// with it in one pass, each [Problem] with its code, JSON pointer, line and column. It repairs only what cannot change
// the document's meaning, and lists each [Repair]. It never completes a truncated document, never picks between
// duplicate keys and never guesses.
//
// A document's text is data: nothing in it is run, rendered or followed. The package runs nothing and knows no cluster.
package schema
