// Package journal keeps what happened in runs, so that a run can go on after its process died.
//
// A [Journal] is a place for [Record] values: [NewMemory] for tests, [Open] for a folder of files; package journaltest is the
// conformance suite for others. The executor is the writer; each record is one fact of one run, in order.
//
// # One writer
//
// Records of a run carry an epoch and a sequence number. The sequence has no holes, and the epoch never falls. Whoever
// takes a run over appends its next record with a higher epoch; from then on appends of a lower epoch are refused with
// [ErrConflict]. So a process that was frozen, or lost its lease, learns before its next effect that the run is not its
// any more.
//
// # Integrity
//
// Each record holds the hash of the one before and its own ([Record.Seal]); [Verify] names the first that was changed.
package journal
