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

// LayerNorm normalises each row: y = (x − mean)·inv·w + bias.
func (b *Backend) LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int, eps float32) {
	shape.LayerNorm(y, mean, inv, x, w, bias, rows, cols)
	out, means, scales := b.data(y), b.data(mean), b.data(inv)
	in, weight, shift := b.data(x), b.data(w), b.data(bias)
	b.sweep(rows, rowsPerTask(cols), normCost*cols, func(_ *scratch, from, to int) {
		b.kern.layerNorm(out[from*cols:to*cols], means[from:to], scales[from:to], in[from*cols:to*cols], weight, shift, eps)
	})
}

// LayerNormGrad computes dx +=, dw += and dbias += from dy.
func (b *Backend) LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv tensor.Buffer, rows, cols int) {
	shape.LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv, rows, cols)
	gx, gy, in, weight, means, scales := b.data(dx), b.data(dy), b.data(x), b.data(w), b.data(mean), b.data(inv)
	b.sumBlocks(b.data(dw), rows, cols, func(sum []float32, from, to int) {
		b.kern.layerNormGrad(gx[from*cols:to*cols], sum, gy[from*cols:to*cols], in[from*cols:to*cols], weight, means[from:to], scales[from:to])
	})
	b.SumRows(dbias, dy, rows, cols)
}
