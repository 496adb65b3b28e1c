package reference

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// Fill sets every element to v.
func (b *Backend[E]) Fill(dst tensor.Buffer, v float32) {
	d := b.data(dst)
	for i := range d {
		d[i] = E(v)
	}
}

// Copy copies src to dst.
func (b *Backend[E]) Copy(dst, src tensor.Buffer) {
	shape.Copy(dst, src)
	copy(b.output(dst, src), b.data(src))
}

// Axpy computes dst += alpha·x.
func (b *Backend[E]) Axpy(dst tensor.Buffer, alpha float32, x tensor.Buffer) {
	shape.Axpy(dst, x)
	d := b.output(dst, x)
	for i, v := range b.data(x) {
		d[i] = E(float64(d[i]) + float64(alpha)*float64(v))
	}
}

// SumSquares writes Σx² into dst [1].
func (b *Backend[E]) SumSquares(dst, x tensor.Buffer) {
	shape.SumSquares(dst)
	sum := 0.0
	for _, v := range b.data(x) {
		sum += float64(v) * float64(v)
	}
	b.output(dst, x)[0] = E(sum)
}

// AdamW updates p and the moments m and v as torch.optim.AdamW does: decay
// first, then the bias-corrected step with ε outside the root.
func (b *Backend[E]) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	shape.AdamW(p, g, m, v, o)
	ps, gs := b.output(p, g, m, v), b.data(g)
	ms, vs := b.output(m, g, v), b.output(v, g)
	correct1 := 1 - math.Pow(o.Beta1, float64(o.Step))
	correct2 := 1 - math.Pow(o.Beta2, float64(o.Step))
	for i := range ps {
		grad := float64(gs[i]) * o.Scale
		m := o.Beta1*float64(ms[i]) + (1-o.Beta1)*grad
		v := o.Beta2*float64(vs[i]) + (1-o.Beta2)*grad*grad
		step := m / correct1 / (math.Sqrt(v/correct2) + o.Eps)
		ms[i], vs[i] = E(m), E(v)
		ps[i] = E(float64(ps[i])*(1-o.LR*o.WeightDecay) - o.LR*step)
	}
}

// Norm writes √Σx² over all elements of all xs into norm [1].
func (b *Backend[E]) Norm(norm tensor.Buffer, xs []tensor.Buffer) {
	shape.Norm(norm, xs)
	sum := 0.0
	for _, x := range xs {
		for _, v := range b.data(x) {
			sum += float64(v) * float64(v)
		}
	}
	b.output(norm, xs...)[0] = E(math.Sqrt(sum))
}

// UpdateAll is AdamW for all tensors, with the gradient clipped by its global norm
// as torch.nn.utils.clip_grad_norm_ does.
func (b *Backend[E]) UpdateAll(tensors []tensor.AdamWTensor, o *tensor.AdamW, norm tensor.Buffer, maxNorm float64) {
	shape.UpdateAll(tensors, o, norm, maxNorm)
	n := float64(b.data(norm)[0])
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return
	}
	one := *o
	if maxNorm > 0 {
		one.Scale *= min(1, maxNorm/(n+1e-6))
	}
	for _, t := range tensors {
		one.WeightDecay = o.WeightDecay
		if t.NoDecay {
			one.WeightDecay = 0
		}
		b.AdamW(t.P, t.G, t.M, t.V, &one)
	}
}
