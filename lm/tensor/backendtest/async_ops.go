package backendtest

import (
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// Fill queues the operation.
func (b *Async) Fill(dst tensor.Buffer, v float32) {
	b.do(func(in []tensor.Buffer) { b.inner.Fill(in[0], v) }, dst)
}

// Copy queues the operation.
func (b *Async) Copy(dst, src tensor.Buffer) {
	shape.Copy(dst, src)
	b.do(func(in []tensor.Buffer) { b.inner.Copy(in[0], in[1]) }, dst, src)
}

// Axpy queues the operation.
func (b *Async) Axpy(dst tensor.Buffer, alpha float32, x tensor.Buffer) {
	shape.Axpy(dst, x)
	b.do(func(in []tensor.Buffer) { b.inner.Axpy(in[0], alpha, in[1]) }, dst, x)
}

// SumSquares queues the operation.
func (b *Async) SumSquares(dst, x tensor.Buffer) {
	shape.SumSquares(dst)
	b.do(func(in []tensor.Buffer) { b.inner.SumSquares(in[0], in[1]) }, dst, x)
}

// MatMul queues the operation.
func (b *Async) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	shape.MatMul(m, n, k, x, y, c)
	b.do(func(in []tensor.Buffer) {
		b.inner.MatMul(opA, opB, m, n, k, alpha, in[0], in[1], beta, in[2])
	}, x, y, c)
}

// AddBias queues the operation.
func (b *Async) AddBias(x, bias tensor.Buffer, rows, cols int) {
	shape.AddBias(x, bias, rows, cols)
	b.do(func(in []tensor.Buffer) { b.inner.AddBias(in[0], in[1], rows, cols) }, x, bias)
}

// SumRows queues the operation.
func (b *Async) SumRows(dst, x tensor.Buffer, rows, cols int) {
	shape.SumRows(dst, x, rows, cols)
	b.do(func(in []tensor.Buffer) { b.inner.SumRows(in[0], in[1], rows, cols) }, dst, x)
}

// Gather queues the operation.
func (b *Async) Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.Gather(dst, src, idx, cols)
	idx = slices.Clone(idx)
	b.do(func(in []tensor.Buffer) { b.inner.Gather(in[0], in[1], idx, cols) }, dst, src)
}

// ScatterAdd queues the operation.
func (b *Async) ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.ScatterAdd(dst, src, idx, cols)
	idx = slices.Clone(idx)
	b.do(func(in []tensor.Buffer) { b.inner.ScatterAdd(in[0], in[1], idx, cols) }, dst, src)
}

// RMSNorm queues the operation.
func (b *Async) RMSNorm(y, inv, x, w tensor.Buffer, rows, cols int, eps float32) {
	shape.RMSNorm(y, inv, x, w, rows, cols)
	b.do(func(in []tensor.Buffer) {
		b.inner.RMSNorm(in[0], in[1], in[2], in[3], rows, cols, eps)
	}, y, inv, x, w)
}

// RMSNormGrad queues the operation.
func (b *Async) RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	shape.RMSNormGrad(dx, dw, dy, x, w, inv, rows, cols)
	b.do(func(in []tensor.Buffer) {
		b.inner.RMSNormGrad(in[0], in[1], in[2], in[3], in[4], in[5], rows, cols)
	}, dx, dw, dy, x, w, inv)
}

// LayerNorm queues the operation.
func (b *Async) LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int, eps float32) {
	shape.LayerNorm(y, mean, inv, x, w, bias, rows, cols)
	b.do(func(in []tensor.Buffer) {
		tensor.LayerNorm(b.inner, in[0], in[1], in[2], in[3], in[4], in[5], rows, cols, eps)
	}, y, mean, inv, x, w, bias)
}

// LayerNormGrad queues the operation.
func (b *Async) LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv tensor.Buffer, rows, cols int) {
	shape.LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv, rows, cols)
	b.do(func(in []tensor.Buffer) {
		tensor.LayerNormGrad(b.inner, in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], rows, cols)
	}, dx, dw, dbias, dy, x, w, mean, inv)
}

// RoPE queues the operation.
func (b *Async) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	shape.RoPE(x, pos, freq, heads, headDim)
	pos, freq = slices.Clone(pos), slices.Clone(freq)
	b.do(func(in []tensor.Buffer) { b.inner.RoPE(in[0], pos, freq, heads, headDim, inverse) }, x)
}

// Attend queues the operation.
func (b *Async) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.Attend(out, lse, q, k, v, a)
	a = cloneAttention(a)
	b.do(func(in []tensor.Buffer) {
		b.inner.Attend(in[0], in[1], in[2], in[3], in[4], a)
	}, out, lse, q, k, v)
}

// AttendGrad queues the operation.
func (b *Async) AttendGrad(dq, dk, dv, dout, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a)
	a = cloneAttention(a)
	b.do(func(in []tensor.Buffer) {
		b.inner.AttendGrad(in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], in[8], a)
	}, dq, dk, dv, dout, out, lse, q, k, v)
}

func cloneAttention(a *tensor.Attention) *tensor.Attention {
	c := *a
	c.Segments = slices.Clone(a.Segments)
	return &c
}

// CacheLen is the inner backend's.
func (b *Async) CacheLen(s tensor.CacheShape) int { return tensor.CacheLen(b.inner, s) }

// StoreCache queues the operation.
func (b *Async) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	shape.StoreCache(b.CacheLen(s), kCache, vCache, k, v, slots, s)
	slots = slices.Clone(slots)
	b.do(func(in []tensor.Buffer) {
		tensor.StoreCache(b.inner, in[0], in[1], in[2], in[3], slots, s)
	}, kCache, vCache, k, v)
}

// AttendCache queues the operation.
func (b *Async) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	shape.AttendCache(b.CacheLen(d.Cache), out, q, kCache, vCache, d)
	c := *d
	c.Ranges = make([][]tensor.Range, len(d.Ranges))
	for i, ranges := range d.Ranges {
		c.Ranges[i] = slices.Clone(ranges)
	}
	b.do(func(in []tensor.Buffer) {
		tensor.AttendCache(b.inner, in[0], in[1], in[2], in[3], &c)
	}, out, q, kCache, vCache)
}

// SwiGLU queues the operation.
func (b *Async) SwiGLU(y, gate, up tensor.Buffer) {
	shape.SwiGLU(y, gate, up)
	b.do(func(in []tensor.Buffer) { b.inner.SwiGLU(in[0], in[1], in[2]) }, y, gate, up)
}

// SwiGLUGrad queues the operation.
func (b *Async) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.SwiGLUGrad(dgate, dup, dy, gate, up)
	b.do(func(in []tensor.Buffer) {
		b.inner.SwiGLUGrad(in[0], in[1], in[2], in[3], in[4])
	}, dgate, dup, dy, gate, up)
}

// GeGLU queues the operation.
func (b *Async) GeGLU(y, gate, up tensor.Buffer) {
	shape.GeGLU(y, gate, up)
	b.do(func(in []tensor.Buffer) { tensor.GeGLU(b.inner, in[0], in[1], in[2]) }, y, gate, up)
}

// GeGLUGrad queues the operation.
func (b *Async) GeGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.GeGLUGrad(dgate, dup, dy, gate, up)
	b.do(func(in []tensor.Buffer) {
		tensor.GeGLUGrad(b.inner, in[0], in[1], in[2], in[3], in[4])
	}, dgate, dup, dy, gate, up)
}

// Tanh queues the operation.
func (b *Async) Tanh(y, x tensor.Buffer) {
	shape.Tanh(y, x)
	b.do(func(in []tensor.Buffer) { tensor.Tanh(b.inner, in[0], in[1]) }, y, x)
}

// TanhGrad queues the operation.
func (b *Async) TanhGrad(dx, dy, y tensor.Buffer) {
	shape.TanhGrad(dx, dy, y)
	b.do(func(in []tensor.Buffer) { tensor.TanhGrad(b.inner, in[0], in[1], in[2]) }, dx, dy, y)
}

// GELU queues the operation.
func (b *Async) GELU(y, x tensor.Buffer) {
	shape.GELU(y, x)
	b.do(func(in []tensor.Buffer) { tensor.GELU(b.inner, in[0], in[1]) }, y, x)
}

// GELUGrad queues the operation.
func (b *Async) GELUGrad(dx, dy, x tensor.Buffer) {
	shape.GELUGrad(dx, dy, x)
	b.do(func(in []tensor.Buffer) { tensor.GELUGrad(b.inner, in[0], in[1], in[2]) }, dx, dy, x)
}

// LogProb queues the operation.
func (b *Async) LogProb(logp, entropy, stats, logits tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProb(logp, entropy, stats, logits, targets, vocab)
	targets = slices.Clone(targets)
	b.do(func(in []tensor.Buffer) {
		b.inner.LogProb(in[0], in[1], in[2], in[3], targets, vocab, invTemp)
	}, logp, entropy, stats, logits)
}

// LogProbGrad queues the operation.
func (b *Async) LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProbGrad(logits, dlogp, dentropy, stats, targets, vocab)
	targets = slices.Clone(targets)
	b.do(func(in []tensor.Buffer) {
		b.inner.LogProbGrad(in[0], in[1], in[2], in[3], targets, vocab, invTemp)
	}, logits, dlogp, dentropy, stats)
}

// AdamW queues the operation.
func (b *Async) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	shape.AdamW(p, g, m, v, o)
	c := *o
	b.do(func(in []tensor.Buffer) { b.inner.AdamW(in[0], in[1], in[2], in[3], &c) }, p, g, m, v)
}

// Sample queues the operation.
func (b *Async) Sample(drawn, logits tensor.Buffer, vocab int, d *tensor.Draws) {
	shape.Sample(drawn, logits, vocab, d)
	c := tensor.Draws{
		Rows: slices.Clone(d.Rows), Temperature: slices.Clone(d.Temperature), TopK: slices.Clone(d.TopK),
		TopP: slices.Clone(d.TopP), Uniform: slices.Clone(d.Uniform),
	}
	b.do(func(in []tensor.Buffer) { b.inner.(tensor.Sampler).Sample(in[0], in[1], vocab, &c) }, drawn, logits)
}

// TopK queues the operation.
func (b *Async) TopK(ids, x tensor.Buffer, rows, cols, among, k int) {
	shape.TopK(ids, x, rows, cols, among, k)
	b.do(func(in []tensor.Buffer) { tensor.TopK(b.inner, in[0], in[1], rows, cols, among, k) }, ids, x)
}

// Linear queues the operation.
func (b *Async) Linear(y, x, w, bias, add tensor.Buffer, rows, out, in int) {
	shape.Linear(y, x, w, bias, add, rows, out, in)
	b.do(func(bufs []tensor.Buffer) {
		tensor.Linear(b.inner, bufs[0], bufs[1], bufs[2], bufs[3], bufs[4], rows, out, in)
	}, y, x, w, bias, add)
}

// Norm queues the operation.
func (b *Async) Norm(norm tensor.Buffer, xs []tensor.Buffer) {
	shape.Norm(norm, xs)
	b.do(func(in []tensor.Buffer) { b.inner.(tensor.Updater).Norm(in[0], in[1:]) }, slices.Concat([]tensor.Buffer{norm}, xs)...)
}

// UpdateAll queues the operation.
func (b *Async) UpdateAll(tensors []tensor.AdamWTensor, o *tensor.AdamW, norm tensor.Buffer, maxNorm float64) {
	shape.UpdateAll(tensors, o, norm, maxNorm)
	c, list, bufs := *o, slices.Clone(tensors), []tensor.Buffer{norm}
	for _, t := range tensors {
		bufs = append(bufs, t.P, t.G, t.M, t.V)
	}
	b.do(func(in []tensor.Buffer) {
		for i := range list {
			t := in[1+4*i:]
			list[i].P, list[i].G, list[i].M, list[i].V = t[0], t[1], t[2], t[3]
		}
		b.inner.(tensor.Updater).UpdateAll(list, &c, in[0], maxNorm)
	}, bufs...)
}
