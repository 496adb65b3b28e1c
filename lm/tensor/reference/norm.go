package reference

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// RMSNorm computes y = x·w·inv with inv = 1/√(mean x² + eps) for each row
// (Zhang & Sennrich, arXiv:1910.07467).
func (b *Backend[E]) RMSNorm(y, inv, x, w tensor.Buffer, rows, cols int, eps float32) {
	shape.RMSNorm(y, inv, x, w, rows, cols)
	ys, invs, xs, ws := b.output(y, inv, x, w), b.output(inv, x, w), b.data(x), b.data(w)
	for i := range rows {
		x, y := row(xs, i, cols), row(ys, i, cols)
		r := 1 / math.Sqrt(dot(x, x)/float64(cols)+float64(eps))
		for j, v := range x {
			y[j] = E(float64(v) * r * float64(ws[j]))
		}
		invs[i] = E(r)
	}
}

// RMSNormGrad computes, with n = x·inv the normalised row and c its length,
//
//	dx += inv·(w·dy − n·Σ(w·dy·n)/c)
//	dw += Σ_rows dy·n
func (b *Backend[E]) RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	shape.RMSNormGrad(dx, dw, dy, x, w, inv, rows, cols)
	dxs, dws := b.output(dx, dw, dy, x, w, inv), b.output(dw, dy, x, w, inv)
	dys, xs, ws, invs := b.data(dy), b.data(x), b.data(w), b.data(inv)
	dwSum := make([]float64, cols)
	for i := range rows {
		dx, dy, x, r := row(dxs, i, cols), row(dys, i, cols), row(xs, i, cols), float64(invs[i])
		mean := 0.0
		for j := range x {
			mean += float64(ws[j]) * float64(dy[j]) * float64(x[j]) * r / float64(cols)
		}
		for j := range x {
			n := float64(x[j]) * r
			dx[j] = E(float64(dx[j]) + r*(float64(ws[j])*float64(dy[j])-n*mean))
			dwSum[j] += float64(dy[j]) * n
		}
	}
	for j, s := range dwSum {
		dws[j] = E(float64(dws[j]) + s)
	}
}
