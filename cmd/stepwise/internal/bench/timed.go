package bench

import (
	"time"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// timed is a backend of which every operation is complete when its call returns, such
// as cpu's. It keeps how long each call takes.
type timed struct {
	tensor.Backend
	tensor.Packer
	tensor.Cacher
	calls []call
	end   time.Time // of the last one
}

// call is an operation, and what the host did since the one before.
type call struct {
	operation string
	seconds   float64
	before    float64
}

// begin forgets the calls so far.
func (b *timed) begin() { b.calls, b.end = b.calls[:0], time.Now() }

// since ends a call. It is deferred, so that start is evaluated when the call begins.
func (b *timed) since(operation string, start time.Time) {
	before, now := start.Sub(b.end), time.Now()
	b.calls = append(b.calls, call{operation, now.Sub(start).Seconds(), before.Seconds()})
	b.end = now
}

func (b *timed) Write(dst tensor.Buffer, src []float32) {
	defer b.since("Write", time.Now())
	b.Backend.Write(dst, src)
}

func (b *timed) Read(dst []float32, src tensor.Buffer) error {
	defer b.since("Read", time.Now())
	return b.Backend.Read(dst, src)
}

func (b *timed) Fill(dst tensor.Buffer, v float32) {
	defer b.since("Fill", time.Now())
	b.Backend.Fill(dst, v)
}

func (b *timed) Copy(dst, src tensor.Buffer) {
	defer b.since("Copy", time.Now())
	b.Backend.Copy(dst, src)
}

func (b *timed) Axpy(dst tensor.Buffer, alpha float32, x tensor.Buffer) {
	defer b.since("Axpy", time.Now())
	b.Backend.Axpy(dst, alpha, x)
}

func (b *timed) SumSquares(dst, x tensor.Buffer) {
	defer b.since("SumSquares", time.Now())
	b.Backend.SumSquares(dst, x)
}

// MatMul tells the three products of a layer apart.
func (b *timed) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	name := "MatMul NN (gradient of inputs)"
	switch {
	case opA == tensor.OpT:
		name = "MatMul TN (gradient of weights)"
	case opB == tensor.OpT:
		name = "MatMul NT (forward)"
	}
	defer b.since(name, time.Now())
	b.Backend.MatMul(opA, opB, m, n, k, alpha, x, y, beta, c)
}

func (b *timed) AddBias(x, bias tensor.Buffer, rows, cols int) {
	defer b.since("AddBias", time.Now())
	b.Backend.AddBias(x, bias, rows, cols)
}

func (b *timed) SumRows(dst, x tensor.Buffer, rows, cols int) {
	defer b.since("SumRows", time.Now())
	b.Backend.SumRows(dst, x, rows, cols)
}

func (b *timed) Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	defer b.since("Gather", time.Now())
	b.Backend.Gather(dst, src, idx, cols)
}

func (b *timed) ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	defer b.since("ScatterAdd", time.Now())
	b.Backend.ScatterAdd(dst, src, idx, cols)
}

func (b *timed) RMSNorm(y, inv, x, w tensor.Buffer, rows, cols int, eps float32) {
	defer b.since("RMSNorm", time.Now())
	b.Backend.RMSNorm(y, inv, x, w, rows, cols, eps)
}

func (b *timed) RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	defer b.since("RMSNormGrad", time.Now())
	b.Backend.RMSNormGrad(dx, dw, dy, x, w, inv, rows, cols)
}

func (b *timed) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	defer b.since("RoPE", time.Now())
	b.Backend.RoPE(x, pos, freq, heads, headDim, inverse)
}

func (b *timed) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	defer b.since("Attend", time.Now())
	b.Backend.Attend(out, lse, q, k, v, a)
}

func (b *timed) AttendGrad(dq, dk, dv, dout, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	defer b.since("AttendGrad", time.Now())
	b.Backend.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a)
}

func (b *timed) SwiGLU(y, gate, up tensor.Buffer) {
	defer b.since("SwiGLU", time.Now())
	b.Backend.SwiGLU(y, gate, up)
}

func (b *timed) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	defer b.since("SwiGLUGrad", time.Now())
	b.Backend.SwiGLUGrad(dgate, dup, dy, gate, up)
}

func (b *timed) LogProb(logp, entropy, stats, logits tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	defer b.since("LogProb", time.Now())
	b.Backend.LogProb(logp, entropy, stats, logits, targets, vocab, invTemp)
}

func (b *timed) LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	defer b.since("LogProbGrad", time.Now())
	b.Backend.LogProbGrad(logits, dlogp, dentropy, stats, targets, vocab, invTemp)
}

func (b *timed) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	defer b.since("AdamW", time.Now())
	b.Backend.AdamW(p, g, m, v, o)
}

func (b *timed) Pack(f tensor.Format, p tensor.Buffer, opB tensor.Op, n, k int, y tensor.Buffer) {
	defer b.since("Pack", time.Now())
	b.Packer.Pack(f, p, opB, n, k, y)
}

func (b *timed) MatMulPacked(f tensor.Format, m, k int, alpha float32, x tensor.Buffer, beta float32, products ...tensor.Product) {
	defer b.since("MatMulPacked", time.Now())
	b.Packer.MatMulPacked(f, m, k, alpha, x, beta, products...)
}

func (b *timed) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	defer b.since("StoreCache", time.Now())
	b.Cacher.StoreCache(kCache, vCache, k, v, slots, s)
}

func (b *timed) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	defer b.since("AttendCache", time.Now())
	b.Cacher.AttendCache(out, q, kCache, vCache, d)
}
