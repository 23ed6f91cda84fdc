package executor

import "math/bits"

// readySet is a set of small integers that finds its least: a tree of bitmaps, 64 wide, so that every operation touches
// one word per level (four for a million steps) and never allocates.
type readySet struct {
	// levels[0] has a bit per member; a bit of levels[k+1] tells that a word of levels[k] is not zero.
	levels [][]uint64
}

func newReadySet(n int) readySet {
	var s readySet
	for {
		n = (n + 63) / 64
		s.levels = append(s.levels, make([]uint64, n))
		if n <= 1 {
			return s
		}
	}
}

func (s *readySet) add(i int32) {
	for _, level := range s.levels {
		word := &level[i>>6]
		before := *word
		*word |= 1 << (i & 63)
		if before != 0 {
			return
		}
		i >>= 6
	}
}

func (s *readySet) remove(i int32) {
	for _, level := range s.levels {
		word := &level[i>>6]
		*word &^= 1 << (i & 63)
		if *word != 0 {
			return
		}
		i >>= 6
	}
}

// least returns the least member, or -1 when the set is empty.
func (s *readySet) least() int32 {
	i := int32(0)
	for k := len(s.levels) - 1; k >= 0; k-- {
		level := s.levels[k]
		if len(level) == 0 || level[i] == 0 {
			return -1
		}
		i = i<<6 | int32(bits.TrailingZeros64(level[i]))
	}
	return i
}
