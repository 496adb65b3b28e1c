package model

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// arena hands out a backend's memory: activations are taken one after the other
// during a pass and all given back by Reset, so that nothing is allocated from the
// second pass of the same size on.
type arena struct {
	wide *stack
	half *stack // of 16 bits; nil = wide
}

// arenaMark is a state of an arena that Release can return to.
type arenaMark struct{ wide, half stackMark }

// newArena returns an empty arena on b.
func newArena(b tensor.Backend) *arena {
	a := &arena{wide: &stack{b: b}}
	if b != nil {
		a.wide.alloc = b.Alloc
	}
	if halves(b) {
		a.half = &stack{b: b, alloc: func(n int) tensor.Buffer { return tensor.Alloc16(b, n) }}
	}
	return a
}

// halves says whether activations and caches are of 16 bits on b: if it has such
// buffers, and its products round their inputs to bfloat16 anyway.
func halves(b tensor.Backend) bool {
	_, ok := b.(tensor.Allocator16)
	return ok && tensor.PrecisionOf(b) == tensor.PrecisionBFloat16
}

// Take returns a buffer of n elements with undefined content. It is valid
// until a Release to an earlier mark, or Reset.
func (a *arena) Take(n int) tensor.Buffer { return a.wide.take(n) }

// Half is Take for what goes into products: activations other than the residual
// stream, and their gradients. Where the backend has them they are of 16 bits.
func (a *arena) Half(n int) tensor.Buffer {
	if a.half == nil {
		return a.wide.take(n)
	}
	return a.half.take(n)
}

// Zeros is Take with the elements set to 0.
func (a *arena) Zeros(n int) tensor.Buffer { return a.zeroed(a.Take(n)) }

// HalfZeros is Half with the elements set to 0.
func (a *arena) HalfZeros(n int) tensor.Buffer { return a.zeroed(a.Half(n)) }

func (a *arena) zeroed(buf tensor.Buffer) tensor.Buffer {
	a.wide.b.Fill(buf, 0)
	return buf
}

// Mark returns the current state.
func (a *arena) Mark() arenaMark {
	m := arenaMark{wide: a.wide.at}
	if a.half != nil {
		m.half = a.half.at
	}
	return m
}

// Release gives back all that was taken since m.
func (a *arena) Release(m arenaMark) {
	a.wide.at = m.wide
	if a.half != nil {
		a.half.at = m.half
	}
}

// Reset gives back everything. An arena that failed to grow begins anew: it has blocks
// without memory, and holds what a pass needed that was too large.
func (a *arena) Reset() {
	if a.wide.failed || a.half != nil && a.half.failed {
		a.Free()
		a.wide.peak, a.wide.failed = 0, false
		if a.half != nil {
			a.half.peak, a.half.failed = 0, false
		}
		return
	}
	a.wide.reset()
	if a.half != nil {
		a.half.reset()
	}
}

// Free releases the arena's memory and leaves it empty.
func (a *arena) Free() {
	a.wide.free()
	if a.half != nil {
		a.half.free()
	}
}

// bytes returns the most memory that was ever taken.
func (a *arena) bytes() int {
	n := 4 * a.wide.peak
	if a.half != nil {
		n += 2 * a.half.peak
	}
	return n
}

// stack hands out a backend's memory like a stack, of elements of one size.
type stack struct {
	b      tensor.Backend
	alloc  func(n int) tensor.Buffer
	blocks []tensor.Buffer
	at     stackMark // what is in use
	peak   int       // the most elements ever in use
	failed bool      // the backend had an error when a block was allocated
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

// stackMark is a state of a stack that release can return to.
type stackMark struct {
	block, offset int // the block being filled and what is taken of it
	used          int // elements taken in all
}

const (
	arenaAlign = 16      // elements; a cache line
	arenaBlock = 1 << 16 // elements; the smallest allocation
)

// take returns a buffer of n elements with undefined content. It is valid
// until a release to an earlier mark, or reset.
func (a *stack) take(n int) tensor.Buffer {
	if n < 0 {
		panic(fmt.Sprintf("model: arena of %d elements", n))
	}
	size := (n + arenaAlign - 1) / arenaAlign * arenaAlign
	for a.at.block < len(a.blocks) && a.at.offset+size > a.blocks[a.at.block].Len() {
		a.at.block++
		a.at.offset = 0
	}
	if a.at.block == len(a.blocks) {
		a.grow(max(size, a.peak/2, arenaBlock))
	}
	buf := a.slice(n)
	a.at.offset += size
	a.at.used += size
	a.peak = max(a.peak, a.at.used)
	return buf
}

// grow adds a block of n elements. If memory is short the backend gives one that no
// operation can use.
func (a *stack) grow(n int) {
	a.blocks = append(a.blocks, a.alloc(n))
	a.failed = a.failed || tensor.Err(a.b) != nil
}

// slice returns the next n elements.
func (a *stack) slice(n int) tensor.Buffer {
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

// reset gives back everything. A stack that had to grow becomes one block of the
// size that was needed.
func (a *stack) reset() {
	a.at, a.next = stackMark{}, 0
	if len(a.blocks) > 1 {
		a.free()
		a.grow(a.peak)
	}
}

// free releases the stack's memory and leaves it empty.
func (a *stack) free() {
	for _, b := range a.blocks {
		a.b.Free(b)
	}
	a.blocks, a.slices = a.blocks[:0], a.slices[:0]
	a.at, a.next = stackMark{}, 0
}
