package backendtest

import "github.com/stepwise-rl/stepwise/lm/tensor"

// Counter is a tensor.Backend that counts the calls of each operation before it
// hands them to another backend. It implements the optional interfaces that a device
// would, so that a model calls what it would call there; the inner backend must be a
// tensor.Sampler and a tensor.Updater where these are called.
type Counter struct {
	inner  tensor.Backend
	counts map[string]int
}

var _ interface {
	tensor.Backend
	tensor.LayerNormer
	tensor.GELUer
	tensor.GeGLUer
	tensor.Tanher
	tensor.Cacher
	tensor.Sampler
	tensor.TopKer
	tensor.Linearer
	tensor.Updater
} = (*Counter)(nil)

// NewCounter returns a backend that computes on inner.
func NewCounter(inner tensor.Backend) *Counter {
	return &Counter{inner: inner, counts: make(map[string]int)}
}

// Counts are calls since the last [Counter.Take].
type Counts struct {
	// Calls are the operations, without the following.
	Calls int
	// Reads and Writes copy between host and device. A Read waits, and so does a
	// Sync.
	Reads, Writes, Syncs int
	// Allocs and Frees manage memory; Slice is not counted.
	Allocs, Frees int
	// ReadElements and WriteElements are how many values were copied.
	ReadElements, WriteElements int
}

// Take returns the counts, and begins again with 0.
func (b *Counter) Take() Counts {
	c := Counts{
		Reads: b.counts["Read"], Writes: b.counts["Write"], Syncs: b.counts["Sync"],
		Allocs: b.counts["Alloc"], Frees: b.counts["Free"],
		ReadElements: b.counts["read elements"], WriteElements: b.counts["write elements"],
	}
	for name := range b.counts {
		switch name {
		case "Read", "Write", "Sync", "Alloc", "Free", "read elements", "write elements":
		default:
			c.Calls += b.counts[name]
		}
	}
	clear(b.counts)
	return c
}

// Of returns how often the named operation was called since the last Take.
func (b *Counter) Of(operation string) int { return b.counts[operation] }

// Name is the inner backend's.
func (b *Counter) Name() string { return b.inner.Name() }

// Alloc counts and forwards the call.
func (b *Counter) Alloc(n int) tensor.Buffer {
	b.counts["Alloc"]++
	return b.inner.Alloc(n)
}

// Slice forwards the call.
func (b *Counter) Slice(buf tensor.Buffer, from, to int) tensor.Buffer {
	return b.inner.Slice(buf, from, to)
}

// Read counts and forwards the call.
func (b *Counter) Read(dst []float32, src tensor.Buffer) error {
	b.counts["Read"]++
	b.counts["read elements"] += len(dst)
	return b.inner.Read(dst, src)
}

// Sync counts and forwards the call.
func (b *Counter) Sync() error {
	b.counts["Sync"]++
	return b.inner.Sync()
}

// CacheLen forwards the call.
func (b *Counter) CacheLen(s tensor.CacheShape) int { return tensor.CacheLen(b.inner, s) }

// Sample counts and forwards the call.
func (b *Counter) Sample(drawn, logits tensor.Buffer, vocab int, d *tensor.Draws) {
	b.counts["Sample"]++
	b.inner.(tensor.Sampler).Sample(drawn, logits, vocab, d)
}

// Norm counts and forwards the call.
func (b *Counter) Norm(norm tensor.Buffer, xs []tensor.Buffer) {
	b.counts["Norm"]++
	b.inner.(tensor.Updater).Norm(norm, xs)
}

// UpdateAll counts and forwards the call.
func (b *Counter) UpdateAll(tensors []tensor.AdamWTensor, o *tensor.AdamW, norm tensor.Buffer, maxNorm float64) {
	b.counts["UpdateAll"]++
	b.inner.(tensor.Updater).UpdateAll(tensors, o, norm, maxNorm)
}

// Free counts and forwards the call.
func (b *Counter) Free(buf tensor.Buffer) {
	b.counts["Free"]++
	b.inner.Free(buf)
}

// Write counts and forwards the call.
func (b *Counter) Write(dst tensor.Buffer, src []float32) {
	b.counts["Write"]++
	b.counts["write elements"] += len(src)
	b.inner.Write(dst, src)
}

// Fill counts and forwards the call.
func (b *Counter) Fill(dst tensor.Buffer, v float32) {
	b.counts["Fill"]++
	b.inner.Fill(dst, v)
}

// Copy counts and forwards the call.
func (b *Counter) Copy(dst, src tensor.Buffer) {
	b.counts["Copy"]++
	b.inner.Copy(dst, src)
}

// Axpy counts and forwards the call.
func (b *Counter) Axpy(dst tensor.Buffer, alpha float32, x tensor.Buffer) {
	b.counts["Axpy"]++
	b.inner.Axpy(dst, alpha, x)
}

// SumSquares counts and forwards the call.
func (b *Counter) SumSquares(dst, x tensor.Buffer) {
	b.counts["SumSquares"]++
	b.inner.SumSquares(dst, x)
}

// MatMul counts and forwards the call.
func (b *Counter) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	b.counts["MatMul"]++
	b.inner.MatMul(opA, opB, m, n, k, alpha, x, y, beta, c)
}

// Linear counts and forwards the call.
func (b *Counter) Linear(y, x, w, bias, add tensor.Buffer, rows, out, in int) {
	b.counts["Linear"]++
	tensor.Linear(b.inner, y, x, w, bias, add, rows, out, in)
}

// TopK counts and forwards the call.
func (b *Counter) TopK(ids, x tensor.Buffer, rows, cols, among, k int) {
	b.counts["TopK"]++
	tensor.TopK(b.inner, ids, x, rows, cols, among, k)
}

// AddBias counts and forwards the call.
func (b *Counter) AddBias(x, bias tensor.Buffer, rows, cols int) {
	b.counts["AddBias"]++
	b.inner.AddBias(x, bias, rows, cols)
}

// SumRows counts and forwards the call.
func (b *Counter) SumRows(dst, x tensor.Buffer, rows, cols int) {
	b.counts["SumRows"]++
	b.inner.SumRows(dst, x, rows, cols)
}

// Gather counts and forwards the call.
func (b *Counter) Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	b.counts["Gather"]++
	b.inner.Gather(dst, src, idx, cols)
}

// ScatterAdd counts and forwards the call.
func (b *Counter) ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	b.counts["ScatterAdd"]++
	b.inner.ScatterAdd(dst, src, idx, cols)
}

// RMSNorm counts and forwards the call.
func (b *Counter) RMSNorm(y, inv, x, w tensor.Buffer, rows, cols int, eps float32) {
	b.counts["RMSNorm"]++
	b.inner.RMSNorm(y, inv, x, w, rows, cols, eps)
}

// RMSNormGrad counts and forwards the call.
func (b *Counter) RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	b.counts["RMSNormGrad"]++
	b.inner.RMSNormGrad(dx, dw, dy, x, w, inv, rows, cols)
}

// LayerNorm counts and forwards the call.
func (b *Counter) LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int, eps float32) {
	b.counts["LayerNorm"]++
	tensor.LayerNorm(b.inner, y, mean, inv, x, w, bias, rows, cols, eps)
}

// LayerNormGrad counts and forwards the call.
func (b *Counter) LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv tensor.Buffer, rows, cols int) {
	b.counts["LayerNormGrad"]++
	tensor.LayerNormGrad(b.inner, dx, dw, dbias, dy, x, w, mean, inv, rows, cols)
}

// RoPE counts and forwards the call.
func (b *Counter) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	b.counts["RoPE"]++
	b.inner.RoPE(x, pos, freq, heads, headDim, inverse)
}

// Attend counts and forwards the call.
func (b *Counter) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	b.counts["Attend"]++
	b.inner.Attend(out, lse, q, k, v, a)
}

// AttendGrad counts and forwards the call.
func (b *Counter) AttendGrad(dq, dk, dv, dout, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	b.counts["AttendGrad"]++
	b.inner.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a)
}

// StoreCache counts and forwards the call.
func (b *Counter) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	b.counts["StoreCache"]++
	tensor.StoreCache(b.inner, kCache, vCache, k, v, slots, s)
}

// AttendCache counts and forwards the call.
func (b *Counter) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	b.counts["AttendCache"]++
	tensor.AttendCache(b.inner, out, q, kCache, vCache, d)
}

// SwiGLU counts and forwards the call.
func (b *Counter) SwiGLU(y, gate, up tensor.Buffer) {
	b.counts["SwiGLU"]++
	b.inner.SwiGLU(y, gate, up)
}

// SwiGLUGrad counts and forwards the call.
func (b *Counter) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	b.counts["SwiGLUGrad"]++
	b.inner.SwiGLUGrad(dgate, dup, dy, gate, up)
}

// GELU counts and forwards the call.
func (b *Counter) GELU(y, x tensor.Buffer) {
	b.counts["GELU"]++
	tensor.GELU(b.inner, y, x)
}

// GELUGrad counts and forwards the call.
func (b *Counter) GELUGrad(dx, dy, x tensor.Buffer) {
	b.counts["GELUGrad"]++
	tensor.GELUGrad(b.inner, dx, dy, x)
}

// GeGLU counts and forwards the call.
func (b *Counter) GeGLU(y, gate, up tensor.Buffer) {
	b.counts["GeGLU"]++
	tensor.GeGLU(b.inner, y, gate, up)
}

// GeGLUGrad counts and forwards the call.
func (b *Counter) GeGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	b.counts["GeGLUGrad"]++
	tensor.GeGLUGrad(b.inner, dgate, dup, dy, gate, up)
}

// Tanh counts and forwards the call.
func (b *Counter) Tanh(y, x tensor.Buffer) {
	b.counts["Tanh"]++
	tensor.Tanh(b.inner, y, x)
}

// TanhGrad counts and forwards the call.
func (b *Counter) TanhGrad(dx, dy, y tensor.Buffer) {
	b.counts["TanhGrad"]++
	tensor.TanhGrad(b.inner, dx, dy, y)
}

// LogProb counts and forwards the call.
func (b *Counter) LogProb(logp, entropy, stats, logits tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	b.counts["LogProb"]++
	b.inner.LogProb(logp, entropy, stats, logits, targets, vocab, invTemp)
}

// LogProbGrad counts and forwards the call.
func (b *Counter) LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	b.counts["LogProbGrad"]++
	b.inner.LogProbGrad(logits, dlogp, dentropy, stats, targets, vocab, invTemp)
}

// AdamW counts and forwards the call.
func (b *Counter) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	b.counts["AdamW"]++
	b.inner.AdamW(p, g, m, v, o)
}
