package gpu

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// RoPE rotates the heads of each row of x by its position.
func (b *Backend) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	shape.RoPE(x, pos, freq, heads, headDim)
	b.host("RoPE", func(r *reference.Backend[float32], h []tensor.Buffer) {
		r.RoPE(h[0], pos, freq, heads, headDim, inverse)
	}, x)
}

// Attend computes softmax(scale·q·kᵀ)·v per head, over a packed batch.
func (b *Backend) Attend(out, lse, q, k, v tensor.Buffer, at *tensor.Attention) {
	shape.Attend(out, lse, q, k, v, at)
	const tile, maxDim = 16, 128
	if at.HeadDim > maxDim {
		panic(fmt.Sprintf("gpu: Attend: HeadDim is %d, want at most %d", at.HeadDim, maxDim))
	}
	b.ints = b.ints[:0]
	for _, s := range at.Segments {
		var prefix tensor.Segment
		if s.Prefix >= 0 {
			prefix = at.Segments[s.Prefix]
		}
		for from := s.Start; from < s.End; from += tile {
			b.ints = append(b.ints, int32(from), int32(min(from+tile, s.End)), int32(s.Start), int32(s.End), int32(prefix.Start), int32(prefix.End))
		}
	}
	a := b.call()
	a.buf(out)
	a.buf(lse)
	a.buf(q)
	a.buf(k)
	a.buf(v)
	a.tab(upload(b, tableTiles, b.ints))
	a.i32(at.Heads)
	a.i32(at.KVHeads)
	a.i32(at.HeadDim)
	a.flag(at.Causal)
	a.f32(at.Scale)
	b.launch("attend", len(b.ints)/6, at.Heads, 128)
}

// AttendGrad computes dq +=, dk += and dv += from dout.
func (b *Backend) AttendGrad(dq, dk, dv, dout, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a)
	b.host("AttendGrad", func(r *reference.Backend[float32], h []tensor.Buffer) {
		r.AttendGrad(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], a)
	}, dq, dk, dv, dout, out, lse, q, k, v)
}

// CacheLen is the number of elements of a cache of shape s.
func (b *Backend) CacheLen(s tensor.CacheShape) int { return reference.New().CacheLen(s) }

// StoreCache stores row i of k and v in row slots[i] of the caches.
func (b *Backend) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	shape.StoreCache(b.CacheLen(s), kCache, vCache, k, v, slots, s)
	b.host("StoreCache", func(r *reference.Backend[float32], h []tensor.Buffer) { r.StoreCache(h[0], h[1], h[2], h[3], slots, s) }, kCache, vCache, k, v)
}

// AttendCache computes attention of q to the rows of the caches in d.Ranges.
func (b *Backend) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	shape.AttendCache(b.CacheLen(d.Cache), out, q, kCache, vCache, d)
	b.host("AttendCache", func(r *reference.Backend[float32], h []tensor.Buffer) { r.AttendCache(h[0], h[1], h[2], h[3], d) }, out, q, kCache, vCache)
}
