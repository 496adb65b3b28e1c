package cpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// RMSNorm normalises each row: y = x·w/rms(x).
func (b *Backend) RMSNorm(y, inv, x, w tensor.Buffer, rows, cols int, eps float32) {
	shape.RMSNorm(y, inv, x, w, rows, cols)
	out, scale, in, weight := b.data(y), b.data(inv), b.data(x), b.data(w)
	b.sweep(rows, rowsPerTask(cols), normCost*cols, func(_ *scratch, from, to int) {
		b.kern.rmsNorm(out[from*cols:to*cols], scale[from:to], in[from*cols:to*cols], weight, eps)
	})
}

// RMSNormGrad computes dx += and dw += from dy.
func (b *Backend) RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	shape.RMSNormGrad(dx, dw, dy, x, w, inv, rows, cols)
	gx, gy, in, weight, scale := b.data(dx), b.data(dy), b.data(x), b.data(w), b.data(inv)
	b.sumBlocks(b.data(dw), rows, cols, func(sum []float32, from, to int) {
		b.kern.rmsNormGrad(gx[from*cols:to*cols], sum, gy[from*cols:to*cols], in[from*cols:to*cols], weight, scale[from:to])
	})
}
