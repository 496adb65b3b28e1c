package gpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// MatMul computes c = alpha·op(a)·op(b) + beta·c.
func (b *Backend) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	shape.MatMul(m, n, k, x, y, c)
	b.product("matmul", 256, opA, opB, m, n, k, alpha, x, y, beta, c)
}

// product launches one of the kernels for matrix products.
func (b *Backend) product(kernel string, threads int, opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	a := b.call()
	a.buf(c)
	a.buf(x)
	a.buf(y)
	a.i32(m)
	a.i32(n)
	a.i32(k)
	a.strides(opA, m, k)
	a.strides(opB, k, n)
	a.f32(alpha)
	a.f32(beta)
	b.launch(kernel, (n+63)/64, (m+63)/64, threads)
}

// strides adds the distances between rows and between columns of op(x) [rows×cols].
func (c *call) strides(op tensor.Op, rows, cols int) {
	if op == tensor.OpN {
		c.i32(cols)
		c.i32(1)
	} else {
		c.i32(1)
		c.i32(rows)
	}
}

// AddBias adds bias [cols] to every row of x [rows×cols].
func (b *Backend) AddBias(x, bias tensor.Buffer, rows, cols int) {
	shape.AddBias(x, bias, rows, cols)
	b.host("AddBias", func(r *reference.Backend[float32], h []tensor.Buffer) { r.AddBias(h[0], h[1], rows, cols) }, x, bias)
}

// SumRows computes dst [cols] += Σ_rows x [rows×cols].
func (b *Backend) SumRows(dst, x tensor.Buffer, rows, cols int) {
	shape.SumRows(dst, x, rows, cols)
	b.host("SumRows", func(r *reference.Backend[float32], h []tensor.Buffer) { r.SumRows(h[0], h[1], rows, cols) }, dst, x)
}

// Gather copies rows: row i of dst = row idx[i] of src.
func (b *Backend) Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.Gather(dst, src, idx, cols)
	b.host("Gather", func(r *reference.Backend[float32], h []tensor.Buffer) { r.Gather(h[0], h[1], idx, cols) }, dst, src)
}

// ScatterAdd adds rows: row idx[i] of dst += row i of src.
func (b *Backend) ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.ScatterAdd(dst, src, idx, cols)
	b.host("ScatterAdd", func(r *reference.Backend[float32], h []tensor.Buffer) { r.ScatterAdd(h[0], h[1], idx, cols) }, dst, src)
}
