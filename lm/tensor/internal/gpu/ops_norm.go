package gpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// Kernels of rows have a block of rowThreads for each row; kernels that sum
// columns, one of columnThreads for every 16 columns.
const rowThreads, columnThreads, columnsPerBlock = 256, 256, 16

// RMSNorm normalises each row of x by its root mean square.
func (b *Backend) RMSNorm(y, inv, x, w tensor.Buffer, rows, cols int, eps float32) {
	shape.RMSNorm(y, inv, x, w, rows, cols)
	c := b.call()
	c.act(y)
	c.buf(inv)
	c.act(x)
	c.buf(w)
	c.i32(cols)
	c.f32(eps)
	b.launch("rms_norm", rows, 1, rowThreads)
}

// RMSNormGrad computes dx += and dw += from dy.
func (b *Backend) RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	shape.RMSNormGrad(dx, dw, dy, x, w, inv, rows, cols)
	c := b.call()
	c.act(dx)
	c.act(dy)
	c.act(x)
	c.buf(w)
	c.buf(inv)
	c.i32(cols)
	b.launch("rms_norm_dx", rows, 1, rowThreads)
	c = b.call()
	c.buf(dw)
	c.act(dy)
	c.act(x)
	c.buf(inv)
	c.i32(rows)
	c.i32(cols)
	b.launch("rms_norm_dw", blocks(cols, columnsPerBlock), 1, columnThreads)
}

// LayerNorm normalises each row of x by its mean and standard deviation.
func (b *Backend) LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int, eps float32) {
	shape.LayerNorm(y, mean, inv, x, w, bias, rows, cols)
	c := b.call()
	c.act(y)
	c.buf(mean)
	c.buf(inv)
	c.act(x)
	c.buf(w)
	c.buf(bias)
	c.i32(cols)
	c.f32(eps)
	b.launch("layer_norm", rows, 1, rowThreads)
}

// LayerNormGrad computes dx +=, dw += and dbias += from dy.
func (b *Backend) LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv tensor.Buffer, rows, cols int) {
	shape.LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv, rows, cols)
	c := b.call()
	c.act(dx)
	c.act(dy)
	c.act(x)
	c.buf(w)
	c.buf(mean)
	c.buf(inv)
	c.i32(cols)
	b.launch("layer_norm_dx", rows, 1, rowThreads)
	c = b.call()
	c.buf(dw)
	c.buf(dbias)
	c.act(dy)
	c.act(x)
	c.buf(mean)
	c.buf(inv)
	c.i32(rows)
	c.i32(cols)
	b.launch("layer_norm_dw", blocks(cols, columnsPerBlock), 1, columnThreads)
}

// RoPE rotates the heads of each row of x by its position.
func (b *Backend) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	shape.RoPE(x, pos, freq, heads, headDim)
	sign := float32(1)
	if inverse {
		sign = -1
	}
	c := b.call()
	c.act(x)
	c.tab(upload(b, tablePositions, pos))
	c.tab(upload(b, tableFrequencies, freq))
	c.i32(heads)
	c.i32(headDim)
	c.f32(sign)
	b.launch("rope", len(pos), 1, rowThreads)
}
