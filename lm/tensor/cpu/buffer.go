package cpu

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// buffer is a tensor.Buffer: a block of the heap, or a slice of one.
type buffer struct {
	data  []float32
	block *block
	// whole says that Alloc returned this buffer: it is not a slice.
	whole bool
}

func (b *buffer) Len() int { return len(b.data) }

// block is the memory of one Alloc.
type block struct {
	owner *Backend
	mem   []float32
	freed bool
}

// Alloc returns a zeroed buffer of n elements.
func (b *Backend) Alloc(n int) tensor.Buffer {
	shape.Alloc(n)
	mem := b.heap.get(n)
	return &buffer{data: mem[:n:n], block: &block{owner: b, mem: mem}, whole: true}
}

// Free releases a buffer of Alloc. The memory is kept for later calls of Alloc.
// It panics for a slice and for a buffer that was already freed.
func (b *Backend) Free(buf tensor.Buffer) {
	x, ok := buf.(*buffer)
	if !ok || x.block.owner != b {
		panic("cpu: Free of a buffer of another backend")
	}
	if !x.whole {
		panic("cpu: Free of a slice")
	}
	if x.block.freed {
		panic("cpu: Free of a buffer that was freed before")
	}
	x.block.freed = true
	b.heap.put(x.block.mem)
	x.block.mem, x.data = nil, nil
}

// Slice returns elements [from, to) of buf, sharing memory.
func (b *Backend) Slice(buf tensor.Buffer, from, to int) tensor.Buffer {
	shape.Slice(buf, from, to)
	return &buffer{data: b.data(buf)[from:to:to], block: buf.(*buffer).block}
}

// Write copies src into dst.
func (b *Backend) Write(dst tensor.Buffer, src []float32) {
	shape.Write(dst, len(src))
	copy(b.data(dst), src)
}

// Read copies src into dst. Its error is always nil.
func (b *Backend) Read(dst []float32, src tensor.Buffer) error {
	shape.Read(len(dst), src)
	x := b.data(src)
	b.sweep(len(dst), chunk, moveCost, func(_ *scratch, from, to int) { copy(dst[from:to], x[from:to]) })
	return nil
}

// data returns the elements of buf. It panics unless buf is a buffer of this
// backend that was not freed.
func (b *Backend) data(buf tensor.Buffer) []float32 {
	x, ok := buf.(*buffer)
	if !ok {
		panic(fmt.Sprintf("cpu: buffer of another backend (%T)", buf))
	}
	if x.block.owner != b {
		panic("cpu: buffer of another instance of the backend")
	}
	if x.block.freed {
		panic("cpu: use of a buffer after Free")
	}
	return x.data
}

// heap recycles freed blocks by size class, so that a training step reuses
// the memory of the step before. It keeps no more than was ever in use at
// once.
type heap struct {
	free              map[int][][]float32
	inUse, peak, kept int
}

// sizeClass rounds n up to one of four sizes per power of two, at least 16.
func sizeClass(n int) int {
	if n <= 16 {
		return 16
	}
	step := 1 << max(bits.Len(uint(n-1))-3, 4)
	return (n + step - 1) &^ (step - 1)
}

// get returns zeroed memory for at least n elements.
func (h *heap) get(n int) []float32 {
	size := sizeClass(n)
	h.inUse += size
	h.peak = max(h.peak, h.inUse)
	if list := h.free[size]; len(list) > 0 {
		mem := list[len(list)-1]
		h.free[size] = list[:len(list)-1]
		h.kept -= size
		clear(mem[:n])
		return mem
	}
	return aligned(size)
}

// put takes memory back. If more is then kept than was ever in use, the sizes in
// use have changed: all that was kept goes to the garbage collector.
func (h *heap) put(mem []float32) {
	size := len(mem)
	h.inUse -= size
	if h.inUse+h.kept+size > h.peak {
		clear(h.free)
		h.kept = 0
	}
	if h.free == nil {
		h.free = make(map[int][][]float32)
	}
	h.free[size] = append(h.free[size], mem)
	h.kept += size
}

// The size of a cache line, which is also that of the widest vector.
const (
	lineFloats = 16
	lineBytes  = 4 * lineFloats
)

// aligned returns n zeroed elements that start at a cache line.
func aligned(n int) []float32 {
	mem := make([]float32, n+lineFloats)
	preferHugePages(mem)
	at := uintptr(unsafe.Pointer(unsafe.SliceData(mem))) / 4 % lineFloats
	skip := (lineFloats - int(at)) % lineFloats
	return mem[skip : skip+n : skip+n]
}
