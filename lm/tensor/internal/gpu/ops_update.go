package gpu

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// SumSquares writes Σx² into dst [1].
func (b *Backend) SumSquares(dst, x tensor.Buffer) {
	shape.SumSquares(dst)
	b.sumSquares(dst, []tensor.Buffer{x}, false)
}

// Norm writes √Σx² over all elements of all xs into norm [1].
func (b *Backend) Norm(norm tensor.Buffer, xs []tensor.Buffer) {
	shape.Norm(norm, xs)
	b.sumSquares(norm, xs, true)
}

// sumSquares adds up parts, one of each block, in an order that the lengths alone
// decide. The parts are pairs of float32, which have the precision of a float64 or
// nearly: not every device has that.
func (b *Backend) sumSquares(dst tensor.Buffer, xs []tensor.Buffer, root bool) {
	const most, values = 512, 4 // blocks for a buffer, and what each of them writes
	count := func(x tensor.Buffer) int { return min(most, blocks(x.Len(), 2048)) }
	parts := 0
	for _, x := range xs {
		parts += count(x)
	}
	m := b.scratch(values * parts)
	defer b.release(m)
	at := 0
	for _, x := range xs {
		c := b.call()
		c.memory(m, values*at)
		c.src(x)
		c.size(x.Len())
		b.launch("sum_squares", count(x), 1, 256)
		at += count(x)
	}
	c := b.call()
	c.buf(dst)
	c.tab(m)
	c.i32(parts)
	c.flag(root)
	b.launch("sum_parts", 1, 1, 256)
}

// AdamW updates the parameters p and their moments m and v from the gradient g.
func (b *Backend) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	shape.AdamW(p, g, m, v, o)
	b.adamW(&tensor.AdamWTensor{P: p, G: g, M: m, V: v}, o, nil, 0)
}

// UpdateAll does for every tensor what AdamW does, with the gradients scaled on the
// device by their norm.
func (b *Backend) UpdateAll(tensors []tensor.AdamWTensor, o *tensor.AdamW, norm tensor.Buffer, maxNorm float64) {
	shape.UpdateAll(tensors, o, norm, maxNorm)
	for i := range tensors {
		b.adamW(&tensors[i], o, norm, maxNorm)
	}
}

// adamW launches an update, whose settings are computed in float64.
func (b *Backend) adamW(t *tensor.AdamWTensor, o *tensor.AdamW, norm tensor.Buffer, maxNorm float64) {
	decay := o.WeightDecay
	if t.NoDecay {
		decay = 0
	}
	c := b.call()
	c.buf(t.P)
	c.buf(t.G)
	c.buf(t.M)
	c.buf(t.V)
	c.opt(norm, t.G)
	c.size(t.P.Len())
	c.f32(float32(o.Scale))
	c.flag(norm != nil)
	for _, v := range []float64{
		maxNorm, o.Beta1, 1 - o.Beta1, o.Beta2, 1 - o.Beta2,
		1 / (1 - math.Pow(o.Beta1, float64(o.Step))), 1 / (1 - math.Pow(o.Beta2, float64(o.Step))),
		o.Eps, 1 - o.LR*decay, o.LR,
	} {
		c.f32(float32(v))
	}
	b.elementwise("adamw", t.P.Len())
}
