package cpu

import (
	"math"

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

// LayerNorm normalises each row: y = (x − mean)·inv·w + bias. Only encoders use
// it, a few times per layer, so plain Go does for all instruction sets.
func (b *Backend) LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int, eps float32) {
	shape.LayerNorm(y, mean, inv, x, w, bias, rows, cols)
	out, means, scales := b.data(y), b.data(mean), b.data(inv)
	in, weight, shift := b.data(x), b.data(w), b.data(bias)
	b.sweep(rows, rowsPerTask(cols), normCost*cols, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			row := in[i*cols : (i+1)*cols]
			m := sumGo(row) / float32(cols)
			r := float32(1 / math.Sqrt(float64(squaresGo(row, m)/float32(cols)+eps)))
			means[i], scales[i] = m, r
			for j, v := range row {
				out[i*cols+j] = (v-m)*r*weight[j] + shift[j]
			}
		}
	})
}

// LayerNormGrad computes dx +=, dw += and dbias += from dy. With n the
// normalised row and g = dy·w, dx = inv·(g − Σg/cols − n·Σ(g·n)/cols).
func (b *Backend) LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv tensor.Buffer, rows, cols int) {
	shape.LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv, rows, cols)
	gx, gy, in, weight, means, scales := b.data(dx), b.data(dy), b.data(x), b.data(w), b.data(mean), b.data(inv)
	b.sumBlocks(b.data(dw), rows, cols, func(sum []float32, from, to int) {
		for i := from; i < to; i++ {
			row, g, out := in[i*cols:(i+1)*cols], gy[i*cols:(i+1)*cols], gx[i*cols:(i+1)*cols]
			m, r := means[i], scales[i]
			var sumG, sumGN float32
			for j, v := range row {
				sumG += g[j] * weight[j]
				sumGN += g[j] * weight[j] * ((v - m) * r)
			}
			meanG, meanGN := sumG/float32(cols), sumGN/float32(cols)
			for j, v := range row {
				n := (v - m) * r
				out[j] += r * (g[j]*weight[j] - meanG - n*meanGN)
				sum[j] += g[j] * n
			}
		}
	})
	b.SumRows(dbias, dy, rows, cols)
}

// sumGo returns Σx, in four partial sums.
func sumGo(x []float32) float32 {
	var s0, s1, s2, s3 float32
	for ; len(x) >= 4; x = x[4:] {
		s0 += x[0]
		s1 += x[1]
		s2 += x[2]
		s3 += x[3]
	}
	for _, v := range x {
		s0 += v
	}
	return (s0 + s1) + (s2 + s3)
}

// squaresGo returns Σ(x−m)², in four partial sums.
func squaresGo(x []float32, m float32) float32 {
	var s0, s1, s2, s3 float32
	for ; len(x) >= 4; x = x[4:] {
		s0 += (x[0] - m) * (x[0] - m)
		s1 += (x[1] - m) * (x[1] - m)
		s2 += (x[2] - m) * (x[2] - m)
		s3 += (x[3] - m) * (x[3] - m)
	}
	for _, v := range x {
		s0 += (v - m) * (v - m)
	}
	return (s0 + s1) + (s2 + s3)
}
