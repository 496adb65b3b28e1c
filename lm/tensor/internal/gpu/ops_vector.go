package gpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// Axpy computes dst += alpha·x.
func (b *Backend) Axpy(dst tensor.Buffer, alpha float32, x tensor.Buffer) {
	shape.Axpy(dst, x)
	b.host("Axpy", func(r *reference.Backend[float32], h []tensor.Buffer) { r.Axpy(h[0], alpha, h[1]) }, dst, x)
}

// SumSquares writes Σx² into dst [1].
func (b *Backend) SumSquares(dst, x tensor.Buffer) {
	shape.SumSquares(dst)
	b.host("SumSquares", func(r *reference.Backend[float32], h []tensor.Buffer) { r.SumSquares(h[0], h[1]) }, dst, x)
}

// SwiGLU computes y = silu(gate)·up.
func (b *Backend) SwiGLU(y, gate, up tensor.Buffer) {
	shape.SwiGLU(y, gate, up)
	b.host("SwiGLU", func(r *reference.Backend[float32], h []tensor.Buffer) { r.SwiGLU(h[0], h[1], h[2]) }, y, gate, up)
}

// SwiGLUGrad computes dgate = and dup = from dy.
func (b *Backend) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.SwiGLUGrad(dgate, dup, dy, gate, up)
	b.host("SwiGLUGrad", func(r *reference.Backend[float32], h []tensor.Buffer) { r.SwiGLUGrad(h[0], h[1], h[2], h[3], h[4]) }, dgate, dup, dy, gate, up)
}

// GELU computes y = x·Φ(x).
func (b *Backend) GELU(y, x tensor.Buffer) {
	shape.GELU(y, x)
	b.host("GELU", func(r *reference.Backend[float32], h []tensor.Buffer) { r.GELU(h[0], h[1]) }, y, x)
}

// GELUGrad computes dx = from dy.
func (b *Backend) GELUGrad(dx, dy, x tensor.Buffer) {
	shape.GELUGrad(dx, dy, x)
	b.host("GELUGrad", func(r *reference.Backend[float32], h []tensor.Buffer) { r.GELUGrad(h[0], h[1], h[2]) }, dx, dy, x)
}

// AdamW updates the parameters p and their moments m and v from g.
func (b *Backend) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	shape.AdamW(p, g, m, v, o)
	b.host("AdamW", func(r *reference.Backend[float32], h []tensor.Buffer) { r.AdamW(h[0], h[1], h[2], h[3], o) }, p, g, m, v)
}
