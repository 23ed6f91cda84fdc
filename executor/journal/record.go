package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// KindFinished is the kind of a run's last record. A run whose last record is of another kind can go on.
const KindFinished = "runFinished"

// sealForm begins what is hashed, and says what it is.
const sealForm = "remedy record 1\n"

// Seal sets Prev, which is the hash of the record before ("" for the first), and Hash.
func (r *Record) Seal(prev string) {
	r.Prev = prev
	r.Hash = r.sum()
}

// sum hashes all fields but Hash, every text behind its length, so that no two records have the same form.
func (r *Record) sum() string {
	b := make([]byte, 0, 256+len(r.Data))
	b = append(b, sealForm...)
	text := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n int64) { b = binary.BigEndian.AppendUint64(b, uint64(n)) }
	text(r.Prev)
	text(r.Run)
	number(r.Epoch)
	number(r.Seq)
	number(r.Time.Unix())
	number(int64(r.Time.Nanosecond()))
	text(r.Kind)
	text(r.Step)
	number(int64(r.Attempt))
	text(string(r.Data))
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A BrokenError names the first record of a run that is not as it was written.
type BrokenError struct {
	Run string
	// Seq is where the record should stand.
	Seq int64
	// What is wrong with it.
	What string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("record %d of run %s %s", e.Seq, e.Run, e.What)
}

// Verify checks the chain of a run's records from the first on. The error is a [*BrokenError] that names the first record
// which was changed, is missing or is out of order. It cannot see that records were cut off the end.
func Verify(records []Record) error {
	for i := range records {
		r := &records[i]
		var before Record
		if i > 0 {
			before = records[i-1]
		}
		e := &BrokenError{Run: records[0].Run, Seq: int64(i) + 1}
		switch {
		case r.Seq != e.Seq:
			e.What = fmt.Sprintf("is missing: record %d stands in its place", r.Seq)
		case r.Run != e.Run:
			e.What = fmt.Sprintf("is one of run %q", r.Run)
		case r.Epoch < before.Epoch || r.Epoch < 1:
			e.What = fmt.Sprintf("has epoch %d after %d", r.Epoch, before.Epoch)
		case r.Prev != before.Hash:
			e.What = "does not follow on the record before"
		case r.Hash != r.sum():
			e.What = "was changed"
		default:
			continue
		}
		return e
	}
	return nil
}

// Follows tells why records cannot be appended after last, the zero Record for a new run. It is for those who write a
// Journal: the error wraps ErrConflict when somebody else has written.
func Follows(last Record, records []Record) error {
	for i := range records {
		r := &records[i]
		switch {
		case r.Run != records[0].Run || last.Run != "" && r.Run != last.Run:
			return fmt.Errorf("journal: records of run %q and run %q in one append", records[0].Run, r.Run)
		case r.Epoch < 1 || r.Epoch != records[0].Epoch:
			return fmt.Errorf("journal: record %d of run %s has epoch %d", r.Seq, r.Run, r.Epoch)
		case r.Epoch < last.Epoch:
			return fmt.Errorf("%w: run %s is in epoch %d, this is epoch %d", ErrConflict, r.Run, last.Epoch, r.Epoch)
		case r.Seq != last.Seq+1 || r.Prev != last.Hash:
			return fmt.Errorf("%w: run %s is at record %d, this is record %d of another history", ErrConflict, r.Run, last.Seq, r.Seq)
		case r.Hash != r.sum():
			return fmt.Errorf("journal: record %d of run %s is not sealed", r.Seq, r.Run)
		}
		last = *r
	}
	return nil
}
