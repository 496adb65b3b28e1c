package gpu

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// size adds a number of elements, offset_t in the kernel.
func (c *call) size(n int) { c.add(uint64(n), 8) }

// act adds a buffer whose elements may be of 16 bits (IN_ACT or OUT_ACT).
func (c *call) act(buf tensor.Buffer) {
	c.buf(buf)
	c.flag(false)
}

// elementwise launches a kernel whose blocks of 256 threads do 1024 elements.
func (b *Backend) elementwise(name string, n int) { b.launch(name, blocks(n, 1024), 1, 256) }

// blocks returns how many blocks of size elements hold n.
func blocks(n, size int) int { return (n + size - 1) / size }

// scratch returns device memory of n elements that the kernels launched before
// the call of free may use: the queue is in order.
func (b *Backend) scratch(n int) (m Memory, free func()) {
	if b.err != nil {
		return 0, func() {}
	}
	m, err := b.pool.get(4 * max(n, 1))
	if err != nil {
		b.fail(err)
		return 0, func() {}
	}
	return m, func() { b.pool.put(m) }
}

// Axpy computes dst += alpha·x.
func (b *Backend) Axpy(dst tensor.Buffer, alpha float32, x tensor.Buffer) {
	shape.Axpy(dst, x)
	c := b.call()
	c.act(dst)
	c.act(x)
	c.size(x.Len())
	c.f32(alpha)
	b.elementwise("axpy", x.Len())
}

// SumSquares writes Σx² into dst [1], accumulated in pairs of float32, which
// have the precision of a float64 or nearly: not every device has that.
func (b *Backend) SumSquares(dst, x tensor.Buffer) {
	shape.SumSquares(dst)
	const most = 512 // parts
	parts := max(1, min(most, blocks(x.Len(), 2048)))
	m, free := b.scratch(2 * parts)
	defer free()
	c := b.call()
	c.tab(m)
	c.act(x)
	c.size(x.Len())
	b.launch("sum_squares", parts, 1, 256)
	c = b.call()
	c.buf(dst)
	c.tab(m)
	c.i32(parts)
	c.flag(false)
	b.launch("sum_pairs", 1, 1, 256)
}

// SwiGLU computes y = silu(gate)·up, elementwise.
func (b *Backend) SwiGLU(y, gate, up tensor.Buffer) {
	shape.SwiGLU(y, gate, up)
	b.pointwise("swiglu", y, gate, up)
}

// SwiGLUGrad computes dgate = and dup = from dy.
func (b *Backend) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.SwiGLUGrad(dgate, dup, dy, gate, up)
	b.pointwise("swiglu_grad", dgate, dup, dy, gate, up)
}

// GELU computes y = x·Φ(x), elementwise.
func (b *Backend) GELU(y, x tensor.Buffer) {
	shape.GELU(y, x)
	b.pointwise("gelu", y, x)
}

// GELUGrad computes dx = from dy.
func (b *Backend) GELUGrad(dx, dy, x tensor.Buffer) {
	shape.GELUGrad(dx, dy, x)
	b.pointwise("gelu_grad", dx, dy, x)
}

// pointwise launches a kernel of buffers of the same length and nothing else.
func (b *Backend) pointwise(name string, bufs ...tensor.Buffer) {
	c := b.call()
	for _, x := range bufs {
		c.act(x)
	}
	c.size(bufs[0].Len())
	b.elementwise(name, bufs[0].Len())
}

// AdamW updates the parameters p and their moments m and v from the gradient g.
func (b *Backend) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	shape.AdamW(p, g, m, v, o)
	c := b.call()
	c.buf(p)
	c.buf(g)
	c.buf(m)
	c.buf(v)
	c.buf(p) // no norm
	c.size(p.Len())
	c.f32(float32(o.Scale))
	c.flag(false)
	c.f32(0)
	c.adamW(o)
	b.elementwise("adamw", p.Len())
}

// adamW adds the settings of an update, computed in float64.
func (c *call) adamW(o *tensor.AdamW) {
	c.f32(float32(o.Beta1))
	c.f32(float32(1 - o.Beta1))
	c.f32(float32(o.Beta2))
	c.f32(float32(1 - o.Beta2))
	c.f32(float32(1 / (1 - math.Pow(o.Beta1, float64(o.Step)))))
	c.f32(float32(1 / (1 - math.Pow(o.Beta2, float64(o.Step)))))
	c.f32(float32(o.Eps))
	c.f32(float32(1 - o.LR*o.WeightDecay))
	c.f32(float32(o.LR))
}
