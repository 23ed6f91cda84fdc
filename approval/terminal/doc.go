// Package terminal asks for approval at a terminal.
//
// An [Approver] shows a request (the graph with the step in question, what the step does, why a person is asked, what
// can be undone, what yes, no and silence lead to) and reads one line: y or yes, n or no, each with a reason behind it
// if one likes ("n too risky now"), or ? to see it all again. Anything else is asked again a few times and is then a
// no, as is the end of the input.
//
// # Only what is typed at a question answers it
//
// A line that was typed earlier, for another question or for nothing at all, must not approve the next one. A reader
// cannot tell when a byte was typed, so before it shows a question the Approver reads until the input has been silent
// for a tenth of a second and drops what came; a line that was half typed by then is dropped up to its end. What
// cannot be seen through a reader is a line that the terminal driver still holds for editing: pressing Enter sends all
// of it. An input that does not fall silent is not a person, and the answer is no.
//
// # The goroutine that reads
//
// A Read cannot be interrupted. One goroutine per Approver, started with the first question, does the reading, so that
// Approve returns at once when its context ends. It reads ahead by two small buffers at most, and after the program's
// last question it stays behind, blocked in Read (or, if more was typed than was asked for, holding that) until the
// program ends. Nothing else may read from the same input.
package terminal
