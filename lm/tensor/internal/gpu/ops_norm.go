package gpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// RMSNorm normalises each row of x by its root mean square.
func (b *Backend) RMSNorm(y, inv, x, w tensor.Buffer, rows, cols int, eps float32) {
	shape.RMSNorm(y, inv, x, w, rows, cols)
	a := b.call()
	a.buf(y)
	a.buf(inv)
	a.buf(x)
	a.buf(w)
	a.i32(cols)
	a.f32(eps)
	b.launch("rmsnorm", rows, 1, 128)
}

// RMSNormGrad computes dx += and dw += from dy.
func (b *Backend) RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	shape.RMSNormGrad(dx, dw, dy, x, w, inv, rows, cols)
	b.host("RMSNormGrad", func(r *reference.Backend[float32], h []tensor.Buffer) {
		r.RMSNormGrad(h[0], h[1], h[2], h[3], h[4], h[5], rows, cols)
	}, dx, dw, dy, x, w, inv)
}

// LayerNorm normalises each row of x by its mean and variance.
func (b *Backend) LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int, eps float32) {
	shape.LayerNorm(y, mean, inv, x, w, bias, rows, cols)
	b.host("LayerNorm", func(r *reference.Backend[float32], h []tensor.Buffer) {
		r.LayerNorm(h[0], h[1], h[2], h[3], h[4], h[5], rows, cols, eps)
	}, y, mean, inv, x, w, bias)
}

// LayerNormGrad computes dx +=, dw += and dbias += from dy.
func (b *Backend) LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv tensor.Buffer, rows, cols int) {
	shape.LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv, rows, cols)
	b.host("LayerNormGrad", func(r *reference.Backend[float32], h []tensor.Buffer) {
		r.LayerNormGrad(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], rows, cols)
	}, dx, dw, dbias, dy, x, w, mean, inv)
}
