package reference

import (
	"fmt"

	"github.com/d4l3k/go-bfloat16"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

func init() {
	tensor.Register("reference", func(o tensor.Options) (tensor.Backend, error) { return New(), o.OnHost() })
}

// Element is the type of the values that a Backend stores.
type Element interface{ float32 | float64 }

// Backend implements tensor.Backend on slices of E. Make one with New or
// New64.
type Backend[E Element] struct {
	name string // not zero-sized: a backend is known by its address
}

// every is tensor.Backend with all the optional interfaces that change a result.
type every interface {
	tensor.Backend
	tensor.LayerNormer
	tensor.GELUer
	tensor.GeGLUer
	tensor.Tanher
	tensor.Cacher
	tensor.Sampler
	tensor.TopKer
	tensor.Updater
	tensor.Allocator16
}

var (
	_ every = (*Backend[float32])(nil)
	_ every = (*Backend[float64])(nil)
)

// New returns a backend that stores float32.
func New() *Backend[float32] { return &Backend[float32]{name: "reference"} }

// New64 returns a backend that stores float64, named "reference64" (not
// registered). Its Write and Read convert; Write64 and Read64 do not.
func New64() *Backend[float64] { return &Backend[float64]{name: "reference64"} }

// Name returns "reference" or "reference64".
func (b *Backend[E]) Name() string { return b.name }

// allocation is memory from Alloc to Free; buffers are ranges of it.
type allocation[E Element] struct {
	owner *Backend[E]
	data  []E // nil once freed
	freed bool
	half  bool // elements are bfloat16
}

type buffer[E Element] struct {
	of       *allocation[E]
	from, to int
}

func (b *buffer[E]) Len() int { return b.to - b.from }

// data returns the elements of buf. It panics unless buf is a buffer of this
// backend that was not freed.
func (b *Backend[E]) data(buf tensor.Buffer) []E {
	own := b.own(buf)
	data := own.of.data[own.from:own.to]
	if own.of.half {
		// What was written since is rounded now, before anybody sees it.
		for i, v := range data {
			data[i] = E(bfloat16.ToFloat32(float16.ToBF16(float32(v))))
		}
	}
	return data
}

func (b *Backend[E]) own(buf tensor.Buffer) *buffer[E] {
	own, ok := buf.(*buffer[E])
	if !ok || own.of.owner != b {
		panic(fmt.Sprintf("reference: a buffer of another backend: %T", buf))
	}
	if own.of.freed {
		panic("reference: a buffer that was freed")
	}
	return own
}

// output returns the elements of dst, which must not overlap the inputs.
func (b *Backend[E]) output(dst tensor.Buffer, inputs ...tensor.Buffer) []E {
	d := b.own(dst)
	for _, in := range inputs {
		if s := b.own(in); d.of == s.of && d.from < s.to && s.from < d.to {
			panic(fmt.Sprintf("reference: dst [%d:%d) overlaps an input [%d:%d) of the same allocation",
				d.from, d.to, s.from, s.to))
		}
	}
	return b.data(dst)
}

// Alloc returns a zeroed buffer of n elements.
func (b *Backend[E]) Alloc(n int) tensor.Buffer {
	shape.Alloc(n)
	return &buffer[E]{of: &allocation[E]{owner: b, data: make([]E, n)}, to: n}
}

// Alloc16 returns a zeroed buffer of n bfloat16.
func (b *Backend[E]) Alloc16(n int) tensor.Buffer {
	buf := b.Alloc(n)
	b.own(buf).of.half = true
	return buf
}

// Free releases a buffer of Alloc and all its slices; using any of them later
// panics.
func (b *Backend[E]) Free(buf tensor.Buffer) {
	own := b.own(buf)
	if own.from != 0 || own.to != len(own.of.data) {
		panic("reference: Free of a slice")
	}
	own.of.data, own.of.freed = nil, true
}

// Slice returns elements [from, to) of buf, sharing memory.
func (b *Backend[E]) Slice(buf tensor.Buffer, from, to int) tensor.Buffer {
	own := b.own(buf)
	shape.Slice(buf, from, to)
	return &buffer[E]{of: own.of, from: own.from + from, to: own.from + to}
}

// Write copies src into dst.
func (b *Backend[E]) Write(dst tensor.Buffer, src []float32) {
	shape.Write(dst, len(src))
	convert(b.data(dst), src)
}

// Read copies src into dst. It never fails.
func (b *Backend[E]) Read(dst []float32, src tensor.Buffer) error {
	shape.Read(len(dst), src)
	convert(dst, b.data(src))
	return nil
}

// Write64 is Write without loss for a backend of New64.
func (b *Backend[E]) Write64(dst tensor.Buffer, src []float64) {
	shape.Write(dst, len(src))
	convert(b.data(dst), src)
}

// Read64 is Read without loss for a backend of New64.
func (b *Backend[E]) Read64(dst []float64, src tensor.Buffer) error {
	shape.Read(len(dst), src)
	convert(dst, b.data(src))
	return nil
}

func convert[D, S Element](dst []D, src []S) {
	for i, v := range src {
		dst[i] = D(v)
	}
}

// Sync returns nil: every operation is complete when it returns.
func (b *Backend[E]) Sync() error { return nil }
