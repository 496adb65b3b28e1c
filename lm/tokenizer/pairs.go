package tokenizer

import "math/bits"

// merge says what a pair of neighbours becomes, and which pair goes first.
type merge struct{ rank, id int32 }

// pair is the key of two neighbours.
func pair(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// mergeTable holds the merges: a hash table with linear probing, because
// looking up pairs is what merging mostly does, and a map takes twice as long.
type mergeTable struct {
	slots []mergeSlot // a power of two of them, at least half of them empty
	shift int
}

// mergeSlot holds the complement of a pair, so that 0 is no pair.
type mergeSlot struct {
	notPair uint64
	merge   merge
}

func newMergeTable(merges int) mergeTable {
	n := bits.Len(uint(2*merges + 1))
	return mergeTable{slots: make([]mergeSlot, 1<<n), shift: 64 - n}
}

// slot returns the slot of a pair, or the empty one where it would be.
func (t *mergeTable) slot(p uint64) *mergeSlot {
	const golden = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	for i := p * golden >> t.shift; ; i++ {
		if s := &t.slots[i&uint64(len(t.slots)-1)]; s.notPair == ^p || s.notPair == 0 {
			return s
		}
	}
}

func (t *mergeTable) get(p uint64) (merge, bool) {
	s := t.slot(p)
	return s.merge, s.notPair != 0
}

// add enters a merge; false if the pair has one already. There must not be
// more of them than the table was made for.
func (t *mergeTable) add(p uint64, m merge) bool {
	s := t.slot(p)
	if s.notPair != 0 {
		return false
	}
	*s = mergeSlot{^p, m}
	return true
}
