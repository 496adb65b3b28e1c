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

// LayerNorm computes y = (x − mean)·inv·w + bias with inv = 1/√(var x + eps)
// for each row (Ba, Kiros & Hinton, arXiv:1607.06450).
func (b *Backend[E]) LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int, eps float32) {
	shape.LayerNorm(y, mean, inv, x, w, bias, rows, cols)
	ys, means, invs := b.output(y, mean, inv, x, w, bias), b.output(mean, inv, x, w, bias), b.output(inv, x, w, bias)
	xs, ws, biases := b.data(x), b.data(w), b.data(bias)
	for i := range rows {
		x, y := row(xs, i, cols), row(ys, i, cols)
		m := 0.0
		for _, v := range x {
			m += float64(v) / float64(cols)
		}
		variance := 0.0
		for _, v := range x {
			variance += (float64(v) - m) * (float64(v) - m) / float64(cols)
		}
		r := 1 / math.Sqrt(variance+float64(eps))
		for j, v := range x {
			y[j] = E((float64(v)-m)*r*float64(ws[j]) + float64(biases[j]))
		}
		means[i], invs[i] = E(m), E(r)
	}
}

// LayerNormGrad computes, with n = (x − mean)·inv the normalised row, c its
// length and g = w·dy,
//
//	dx    += inv·(g − Σg/c − n·Σ(g·n)/c)
//	dw    += Σ_rows dy·n
//	dbias += Σ_rows dy
func (b *Backend[E]) LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv tensor.Buffer, rows, cols int) {
	shape.LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv, rows, cols)
	dxs, dws := b.output(dx, dw, dbias, dy, x, w, mean, inv), b.output(dw, dbias, dy, x, w, mean, inv)
	dbiases := b.output(dbias, dy, x, w, mean, inv)
	dys, xs, ws, means, invs := b.data(dy), b.data(x), b.data(w), b.data(mean), b.data(inv)
	dwSum, dbiasSum := make([]float64, cols), make([]float64, cols)
	for i := range rows {
		dx, dy, x := row(dxs, i, cols), row(dys, i, cols), row(xs, i, cols)
		m, r := float64(means[i]), float64(invs[i])
		meanG, meanGN := 0.0, 0.0
		for j := range x {
			g := float64(ws[j]) * float64(dy[j])
			meanG += g / float64(cols)
			meanGN += g * (float64(x[j]) - m) * r / float64(cols)
		}
		for j := range x {
			n := (float64(x[j]) - m) * r
			dx[j] = E(float64(dx[j]) + r*(float64(ws[j])*float64(dy[j])-meanG-n*meanGN))
			dwSum[j] += float64(dy[j]) * n
			dbiasSum[j] += float64(dy[j])
		}
	}
	for j := range dwSum {
		dws[j] = E(float64(dws[j]) + dwSum[j])
		dbiases[j] = E(float64(dbiases[j]) + dbiasSum[j])
	}
}
