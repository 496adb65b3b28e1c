package reference

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// MatMul computes c = alpha·op(a)·op(b) + beta·c, op(a) [m×k], op(b) [k×n].
func (b *Backend[E]) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	shape.MatMul(m, n, k, x, y, c)
	xs, ys, cs := b.data(x), b.data(y), b.output(c, x, y)
	xRow, xCol := strides(opA, m, k)
	yRow, yCol := strides(opB, k, n)
	for i := range m {
		for j := range n {
			sum := 0.0
			for l := range k {
				sum += float64(xs[i*xRow+l*xCol]) * float64(ys[l*yRow+j*yCol])
			}
			sum *= float64(alpha)
			if beta != 0 {
				sum += float64(beta) * float64(cs[i*n+j])
			}
			cs[i*n+j] = E(sum)
		}
	}
}

// strides returns the distances in memory between neighbouring rows and
// neighbouring columns of op(x) [rows×cols].
func strides(op tensor.Op, rows, cols int) (row, col int) {
	if op == tensor.OpT {
		return 1, rows
	}
	return cols, 1
}

// AddBias adds bias [cols] to every row of x [rows×cols].
func (b *Backend[E]) AddBias(x, bias tensor.Buffer, rows, cols int) {
	shape.AddBias(x, bias, rows, cols)
	xs, bs := b.output(x, bias), b.data(bias)
	for i := range xs {
		xs[i] += bs[i%cols]
	}
}

// SumRows computes dst[cols] += Σ_rows x [rows×cols].
func (b *Backend[E]) SumRows(dst, x tensor.Buffer, rows, cols int) {
	shape.SumRows(dst, x, rows, cols)
	d, xs := b.output(dst, x), b.data(x)
	for j := range d {
		sum := 0.0
		for i := range rows {
			sum += float64(xs[i*cols+j])
		}
		d[j] = E(float64(d[j]) + sum)
	}
}

// Gather copies rows: dst[i] = src[idx[i]].
func (b *Backend[E]) Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.Gather(dst, src, idx, cols)
	d, s := b.output(dst, src), b.data(src)
	for i, r := range idx {
		copy(row(d, i, cols), row(s, int(r), cols))
	}
}

// ScatterAdd adds rows: dst[idx[i]] += src[i].
func (b *Backend[E]) ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.ScatterAdd(dst, src, idx, cols)
	d, s := b.output(dst, src), b.data(src)
	for i, r := range idx {
		to := row(d, int(r), cols)
		for j, v := range row(s, i, cols) {
			to[j] += v
		}
	}
}

// row returns row i of x [·×cols].
func row[E Element](x []E, i, cols int) []E { return x[i*cols : (i+1)*cols] }

// dot returns x·y.
func dot[E Element](x, y []E) float64 {
	sum := 0.0
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
}

// axpy computes dst += alpha·x.
func axpy[E Element](dst []E, alpha float64, x []E) {
	for i, v := range x {
		dst[i] = E(float64(dst[i]) + alpha*float64(v))
	}
}
