package model

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// arena hands out a backend's memory like a stack: activations are taken one
// after the other during a pass and all given back by Reset, so that nothing is
// allocated from the second pass of the same size on.
type arena struct {
	b      tensor.Backend
	blocks []tensor.Buffer
	at     arenaMark // what is in use
	peak   int       // the most elements ever in use
	// slices are the buffers that were handed out, in order; the first next of
	// them since the last Reset. A pass like the one before gets the same ones
	// again.
	slices []slice
	next   int
}

// slice is a part of a block.
type slice struct {
	tensor.Buffer
	block, offset int
}

// arenaMark is a state of an arena that Release can return to.
type arenaMark struct {
	block, offset int // the block being filled and what is taken of it
	used          int // elements taken in all
}

const (
	arenaAlign = 16      // elements; a cache line
	arenaBlock = 1 << 16 // elements; the smallest allocation
)

// newArena returns an empty arena on b.
func newArena(b tensor.Backend) *arena { return &arena{b: b} }

// Take returns a buffer of n elements with undefined content. It is valid
// until a Release to an earlier mark, or Reset.
func (a *arena) Take(n int) tensor.Buffer {
	if n < 0 {
		panic(fmt.Sprintf("model: arena of %d elements", n))
	}
	size := (n + arenaAlign - 1) / arenaAlign * arenaAlign
	for a.at.block < len(a.blocks) && a.at.offset+size > a.blocks[a.at.block].Len() {
		a.at.block++
		a.at.offset = 0
	}
	if a.at.block == len(a.blocks) {
		a.blocks = append(a.blocks, a.b.Alloc(max(size, a.peak/2, arenaBlock)))
	}
	buf := a.slice(n)
	a.at.offset += size
	a.at.used += size
	a.peak = max(a.peak, a.at.used)
	return buf
}

// slice returns the next n elements.
func (a *arena) slice(n int) tensor.Buffer {
	if a.next == len(a.slices) {
		a.slices = append(a.slices, slice{})
	}
	s, block, offset := &a.slices[a.next], a.at.block, a.at.offset
	a.next++
	if s.Buffer == nil || s.Len() != n || s.block != block || s.offset != offset {
		*s = slice{a.b.Slice(a.blocks[block], offset, offset+n), block, offset}
	}
	return s.Buffer
}

// Zeros is Take with the elements set to 0.
func (a *arena) Zeros(n int) tensor.Buffer {
	buf := a.Take(n)
	a.b.Fill(buf, 0)
	return buf
}

// Mark returns the current state.
func (a *arena) Mark() arenaMark { return a.at }

// Release gives back all that was taken since m.
func (a *arena) Release(m arenaMark) { a.at = m }

// Reset gives back everything. An arena that had to grow becomes one block
// of the size that was needed.
func (a *arena) Reset() {
	a.at, a.next = arenaMark{}, 0
	if len(a.blocks) > 1 {
		a.Free()
		a.blocks = append(a.blocks, a.b.Alloc(a.peak))
	}
}

// Free releases the arena's memory and leaves it empty.
func (a *arena) Free() {
	for _, b := range a.blocks {
		a.b.Free(b)
	}
	a.blocks, a.slices = a.blocks[:0], a.slices[:0]
	a.at, a.next = arenaMark{}, 0
}
