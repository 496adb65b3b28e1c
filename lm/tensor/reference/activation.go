package reference

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// SwiGLU computes y = silu(gate)·up with silu(x) = x/(1+e⁻ˣ) (Shazeer,
// arXiv:2002.05202).
func (b *Backend[E]) SwiGLU(y, gate, up tensor.Buffer) {
	shape.SwiGLU(y, gate, up)
	ys, gates, ups := b.output(y, gate, up), b.data(gate), b.data(up)
	for i, g := range gates {
		ys[i] = E(float64(g) * sigmoid(float64(g)) * float64(ups[i]))
	}
}

// SwiGLUGrad overwrites dgate and dup, which may be gate and up themselves.
// With σ the sigmoid of gate, silu′ = σ·(1 + gate·(1−σ)).
func (b *Backend[E]) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.SwiGLUGrad(dgate, dup, dy, gate, up)
	dgates, dups := b.output(dgate, dup, dy), b.output(dup, dy)
	dys, gates, ups := b.data(dy), b.data(gate), b.data(up)
	for i := range dys {
		d, g, u := float64(dys[i]), float64(gates[i]), float64(ups[i])
		s := sigmoid(g)
		dgates[i] = E(d * u * s * (1 + g*(1-s)))
		dups[i] = E(d * g * s)
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// GELU computes y = x·Φ(x) with Φ(x) = erfc(−x/√2)/2 (Hendrycks & Gimpel,
// arXiv:1606.08415).
func (b *Backend[E]) GELU(y, x tensor.Buffer) {
	shape.GELU(y, x)
	ys, xs := b.output(y, x), b.data(x)
	for i, v := range xs {
		ys[i] = E(float64(v) * normalCDF(float64(v)))
	}
}

// GELUGrad overwrites dx, which may be x itself, with dy·(Φ(x) + x·φ(x)), φ
// the normal density.
func (b *Backend[E]) GELUGrad(dx, dy, x tensor.Buffer) {
	shape.GELUGrad(dx, dy, x)
	dxs, dys, xs := b.output(dx, dy), b.data(dy), b.data(x)
	for i, v := range xs {
		dxs[i] = E(float64(dys[i]) * geluSlope(float64(v)))
	}
}

// Tanh computes y = tanh(x).
func (b *Backend[E]) Tanh(y, x tensor.Buffer) {
	shape.Tanh(y, x)
	ys := b.data(y)
	for i, v := range b.data(x) {
		ys[i] = E(math.Tanh(float64(v)))
	}
}

// TanhGrad overwrites dx, which may be dy itself, with dy·(1 − y²).
func (b *Backend[E]) TanhGrad(dx, dy, y tensor.Buffer) {
	shape.TanhGrad(dx, dy, y)
	dxs, dys := b.data(dx), b.data(dy)
	for i, v := range b.data(y) {
		dxs[i] = E(float64(dys[i]) * (1 - float64(v)*float64(v)))
	}
}

// GeGLU computes y = gelu(gate)·up.
func (b *Backend[E]) GeGLU(y, gate, up tensor.Buffer) {
	shape.GeGLU(y, gate, up)
	ys, gates, ups := b.output(y, gate, up), b.data(gate), b.data(up)
	for i, g := range gates {
		ys[i] = E(float64(g) * normalCDF(float64(g)) * float64(ups[i]))
	}
}

// GeGLUGrad overwrites dgate and dup, which may be gate and up themselves. With Φ and
// φ of gate, gelu′ = Φ + gate·φ.
func (b *Backend[E]) GeGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.GeGLUGrad(dgate, dup, dy, gate, up)
	dgates, dups := b.output(dgate, dup, dy), b.output(dup, dy)
	dys, gates, ups := b.data(dy), b.data(gate), b.data(up)
	for i := range dys {
		d, g, u := float64(dys[i]), float64(gates[i]), float64(ups[i])
		dgates[i] = E(d * u * geluSlope(g))
		dups[i] = E(d * g * normalCDF(g))
	}
}

// geluSlope is the derivative of gelu.
func geluSlope(x float64) float64 {
	return normalCDF(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

func normalCDF(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
