package dag

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// The first bytes of what is hashed say what it is and in which form, so that no two forms can meet.
const (
	planForm = "remedy plan 1\n"
	stepForm = "remedy step 1\n"
)

// digestPlan hashes the steps in order. Every text is preceded by its length and every list by its count, so that no
// two plans have the same form.
func digestPlan(steps []Step) string {
	h := sha256.New()
	b := appendCount([]byte(planForm), len(steps))
	for i := range steps {
		b = appendStep(b, steps, i)
		if len(b) > 4096 {
			h.Write(b)
			b = b[:0]
		}
	}
	h.Write(b)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func digestStep(steps []Step, i int) string {
	sum := sha256.Sum256(appendStep([]byte(stepForm), steps, i))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func appendStep(b []byte, steps []Step, i int) []byte {
	s := &steps[i]
	b = appendText(b, s.task.Step)
	b = appendText(b, s.spec.Name)
	at := len(b)
	b = s.task.Parameters.AppendJSON(appendCount(b, 0))
	binary.BigEndian.PutUint64(b[at:], uint64(len(b)-at-8))
	b = appendCount(b, len(s.deps))
	for _, d := range s.deps {
		b = appendText(b, steps[d].task.Step)
	}
	b = appendText(b, s.risk.String())
	if s.approval {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(s.timeout))
}

func appendCount(b []byte, n int) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

func appendText(b []byte, s string) []byte { return append(appendCount(b, len(s)), s...) }
