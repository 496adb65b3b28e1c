package gpu

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// size adds a number of elements, offset_t in the kernel.
func (c *call) size(n int) { c.add(uint64(n), 8) }

// act adds a buffer whose elements may be of 16 bits (IN_ACT or OUT_ACT).
func (c *call) act(buf tensor.Buffer) {
	c.b.own(buf).of.written()
	c.src(buf)
}

// src is act for a buffer that the kernel only reads.
func (c *call) src(buf tensor.Buffer) {
	x := c.b.own(buf)
	c.b.usable(x)
	c.element(x.element())
}

// element is where elements of one size begin.
type element struct {
	m    Memory
	at   int
	half bool
}

func (b *buffer) element() element { return element{b.of.m, b.from, b.of.half} }

func (c *call) element(e element) {
	c.memory(e.m, e.at)
	c.flag(e.half)
}

// convert copies n elements, whatever the size of either side.
func (b *Backend) convert(from, to element, n int) {
	c := b.call()
	c.element(to)
	c.element(from)
	c.size(n)
	b.elementwise("convert", n)
}

// elementwise launches a kernel whose blocks of 256 threads do 1024 elements.
func (b *Backend) elementwise(name string, n int) { b.launch(name, blocks(n, 1024), 1, 256) }

// blocks returns how many blocks of size elements hold n.
func blocks(n, size int) int { return (n + size - 1) / size }

// scratch returns device memory of n elements that the kernels launched before
// its release may use: the queue is in order. It is 0 if an error sticks.
func (b *Backend) scratch(n int) Memory {
	if b.err != nil {
		return 0
	}
	m, err := b.pool.get(4 * max(n, 1))
	if err != nil {
		b.fail(fmt.Errorf("scratch memory: %w", err))
		return 0
	}
	return m
}

// release gives scratch memory back.
func (b *Backend) release(m Memory) {
	if m != 0 {
		b.pool.put(m)
	}
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

// Tanh computes y = tanh(x), elementwise.
func (b *Backend) Tanh(y, x tensor.Buffer) {
	shape.Tanh(y, x)
	b.pointwise("tanh_forward", y, x)
}

// TanhGrad computes dx = from dy and Tanh's y.
func (b *Backend) TanhGrad(dx, dy, y tensor.Buffer) {
	shape.TanhGrad(dx, dy, y)
	b.pointwise("tanh_grad", dx, dy, y)
}

// GeGLU computes y = gelu(gate)·up, elementwise.
func (b *Backend) GeGLU(y, gate, up tensor.Buffer) {
	shape.GeGLU(y, gate, up)
	b.pointwise("geglu", y, gate, up)
}

// GeGLUGrad computes dgate = and dup = from dy.
func (b *Backend) GeGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.GeGLUGrad(dgate, dup, dy, gate, up)
	b.pointwise("geglu_grad", dgate, dup, dy, gate, up)
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
