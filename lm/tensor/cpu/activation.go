package cpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// SwiGLU computes y = silu(gate)·up.
func (b *Backend) SwiGLU(y, gate, up tensor.Buffer) {
	shape.SwiGLU(y, gate, up)
	out, g, u := b.data(y), b.data(gate), b.data(up)
	b.sweep(len(out), chunk, expCost, func(_ *scratch, from, to int) {
		b.kern.swiGLU(out[from:to], g[from:to], u[from:to])
	})
}

// SwiGLUGrad computes dgate and dup from dy.
func (b *Backend) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.SwiGLUGrad(dgate, dup, dy, gate, up)
	dg, du, d, g, u := b.data(dgate), b.data(dup), b.data(dy), b.data(gate), b.data(up)
	b.sweep(len(d), chunk, expCost, func(_ *scratch, from, to int) {
		b.kern.swiGLUGrad(dg[from:to], du[from:to], d[from:to], g[from:to], u[from:to])
	})
}

// GELU computes y = x·Φ(x).
func (b *Backend) GELU(y, x tensor.Buffer) {
	shape.GELU(y, x)
	out, in := b.data(y), b.data(x)
	b.sweep(len(out), chunk, expCost, func(_ *scratch, from, to int) {
		b.kern.gelu(out[from:to], in[from:to])
	})
}

// GELUGrad computes dx = dy·(Φ(x) + x·φ(x)), φ the normal density.
func (b *Backend) GELUGrad(dx, dy, x tensor.Buffer) {
	shape.GELUGrad(dx, dy, x)
	g, d, in := b.data(dx), b.data(dy), b.data(x)
	b.sweep(len(d), chunk, expCost, func(_ *scratch, from, to int) {
		b.kern.geluGrad(g[from:to], d[from:to], in[from:to])
	})
}

// GeGLU computes y = gelu(gate)·up.
func (b *Backend) GeGLU(y, gate, up tensor.Buffer) {
	shape.GeGLU(y, gate, up)
	out, g, u := b.data(y), b.data(gate), b.data(up)
	b.sweep(len(out), chunk, expCost, func(_ *scratch, from, to int) {
		out, u := out[from:to], u[from:to]
		b.kern.gelu(out, g[from:to])
		for i, v := range u {
			out[i] *= v
		}
	})
}

// GeGLUGrad computes dgate = dy·up·gelu′(gate) and dup = dy·gelu(gate).
func (b *Backend) GeGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.GeGLUGrad(dgate, dup, dy, gate, up)
	dg, du, d, g, u := b.data(dgate), b.data(dup), b.data(dy), b.data(gate), b.data(up)
	b.sweep(len(d), chunk, 2*expCost, func(s *scratch, from, to int) {
		dg, du, d, g, u := dg[from:to], du[from:to], d[from:to], g[from:to], u[from:to]
		s.reset()
		act, dact := s.take(len(d)), s.take(len(d))
		b.kern.gelu(act, g)
		for i, v := range d {
			dact[i] = v * u[i]
			du[i] = v * act[i]
		}
		b.kern.geluGrad(dg, dact, g)
	})
}

func geluGo(y, x []float32) {
	for i, v := range x {
		cdf, _ := normalCDF(v)
		y[i] = v * cdf
	}
}

func geluGradGo(dx, dy, x []float32) {
	const invSqrt2Pi = 0.39894228040143267794
	for i, v := range x {
		cdf, e := normalCDF(v)
		dx[i] = dy[i] * (cdf + v*e*invSqrt2Pi)
	}
}

// normalCDF returns Φ(x) and e = exp(−x²/2). With z = |x|/√2 and t = 1/(1 + z/2),
// Φ(−|x|) = erfc(z)/2 is e·t/2 times a polynomial in t, fitted to
// erfc(z)·exp(z²)/t for the least relative error, which is 4.3e-8. In float32 the
// relative error of Φ(−|x|) grows like that of exp, as x²·2⁻²⁴: 1.7e-7 at x = 2,
// 3.9e-6 at 13.
func normalCDF(x float32) (cdf, e float32) {
	e = exp(-0.5 * x * x)
	t := 1 / (1 + 0.35355339*max(x, -x))
	p := (((((((-0.059149038046598434*t+0.2849665582180023)*t-0.4880127012729645)*t+0.2789994478225708)*t-
		0.027269717305898666)*t+0.20296019315719604)*t+0.2430344671010971)*t+0.28238487243652344)*t + 0.2820858657360077
	cdf = 0.5 * t * p * e
	if !(x < 0) {
		cdf = 1 - cdf
	}
	return cdf, e
}
