package cpu

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// chunk is the number of elements that a task of an elementwise operation takes.
// SumSquares also sums chunks apart.
const chunk = 1 << 14

// Fill sets every element to v.
func (b *Backend) Fill(dst tensor.Buffer, v float32) {
	x := b.data(dst)
	b.sweep(len(x), chunk, moveCost, func(_ *scratch, from, to int) {
		part := x[from:to]
		if v == 0 {
			clear(part)
			return
		}
		for i := range part {
			part[i] = v
		}
	})
}

// Copy copies src to dst.
func (b *Backend) Copy(dst, src tensor.Buffer) {
	shape.Copy(dst, src)
	d, s := b.data(dst), b.data(src)
	b.sweep(len(d), chunk, moveCost, func(_ *scratch, from, to int) { copy(d[from:to], s[from:to]) })
}

// Axpy computes dst += alpha·x.
func (b *Backend) Axpy(dst tensor.Buffer, alpha float32, x tensor.Buffer) {
	shape.Axpy(dst, x)
	d, v := b.data(dst), b.data(x)
	b.sweep(len(d), chunk, moveCost, func(_ *scratch, from, to int) {
		b.kern.axpy(d[from:to], alpha, v[from:to])
	})
}

// SumSquares writes Σx² into dst[0]. It adds in float64: the squares of each
// chunk first, then the chunks in their order.
func (b *Backend) SumSquares(dst, x tensor.Buffer) {
	shape.SumSquares(dst)
	v := b.data(x)
	part := b.crew.shared.take64((len(v) + chunk - 1) / chunk)
	b.sweep(len(v), chunk, moveCost, func(_ *scratch, from, to int) {
		part[from/chunk] = b.kern.sumSquares(v[from:to])
	})
	var sum float64
	for _, p := range part {
		sum += p
	}
	b.data(dst)[0] = float32(sum)
}

// AddBias adds bias to every row of x.
func (b *Backend) AddBias(x, bias tensor.Buffer, rows, cols int) {
	shape.AddBias(x, bias, rows, cols)
	v, add := b.data(x), b.data(bias)
	b.sweep(rows, rowsPerTask(cols), moveCost*cols, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			b.kern.axpy(v[i*cols:(i+1)*cols], 1, add)
		}
	})
}

// SumRows computes dst += Σ_rows x.
func (b *Backend) SumRows(dst, x tensor.Buffer, rows, cols int) {
	shape.SumRows(dst, x, rows, cols)
	v := b.data(x)
	b.sumBlocks(b.data(dst), rows, cols, func(sum []float32, from, to int) {
		for i := from; i < to; i++ {
			b.kern.axpy(sum, 1, v[i*cols:(i+1)*cols])
		}
	})
}

// sumBlock is the number of rows that are summed before their sum is added to the
// total.
const sumBlock = 256

// sumBlocks adds to dst [cols] a sum over all rows; add adds rows [from, to) to
// sum. Blocks of sumBlock rows are summed separately and then added in order, so
// that the result does not depend on the number of workers.
func (b *Backend) sumBlocks(dst []float32, rows, cols int, add func(sum []float32, from, to int)) {
	blocks := (rows + sumBlock - 1) / sumBlock
	sums := b.crew.shared.reset().take(blocks * cols)
	b.sweep(rows, sumBlock, normCost*cols, func(_ *scratch, from, to int) {
		sum := sums[from/sumBlock*cols:][:cols]
		clear(sum)
		add(sum, from, to)
	})
	for i := range blocks {
		b.kern.axpy(dst, 1, sums[i*cols:(i+1)*cols])
	}
}

// Gather copies rows idx of src to dst.
func (b *Backend) Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.Gather(dst, src, idx, cols)
	d, v := b.data(dst), b.data(src)
	b.sweep(len(idx), rowsPerTask(cols), moveCost*cols, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			copy(d[i*cols:(i+1)*cols], v[int(idx[i])*cols:])
		}
	})
}

// ScatterAdd adds the rows of src to rows idx of dst. A task takes some columns
// of all rows, and adds them in order.
func (b *Backend) ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.ScatterAdd(dst, src, idx, cols)
	d, v := b.data(dst), b.data(src)
	b.sweep(cols, 2*lineFloats, normCost*len(idx), func(_ *scratch, from, to int) {
		for i, row := range idx {
			at := int(row) * cols
			b.kern.axpy(d[at+from:at+to], 1, v[i*cols+from:i*cols+to])
		}
	})
}

// The factors of an AdamW update, as indices of the array that the kernels get:
//
//	g ← scale·g
//	m ← beta1·m + keep1·g
//	v ← beta2·v + keep2·g²
//	p ← decay·p − rate·m/(√v·root + eps)
const (
	adamScale = iota
	adamBeta1
	adamKeep1
	adamBeta2
	adamKeep2
	adamDecay
	adamRate
	adamRoot
	adamEps
	adamFactors
)

// AdamW updates p from gradient g and moments m, v, as torch.optim.AdamW does.
func (b *Backend) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	shape.AdamW(p, g, m, v, o)
	correct1 := 1 - math.Pow(o.Beta1, float64(o.Step))
	correct2 := 1 - math.Pow(o.Beta2, float64(o.Step))
	f := &[adamFactors]float32{
		adamScale: float32(o.Scale),
		adamBeta1: float32(o.Beta1),
		adamKeep1: float32(1 - o.Beta1),
		adamBeta2: float32(o.Beta2),
		adamKeep2: float32(1 - o.Beta2),
		adamDecay: float32(1 - o.LR*o.WeightDecay),
		adamRate:  float32(o.LR / correct1),
		adamRoot:  float32(1 / math.Sqrt(correct2)),
		adamEps:   float32(o.Eps),
	}
	param, grad, first, second := b.data(p), b.data(g), b.data(m), b.data(v)
	b.sweep(len(param), chunk, expCost, func(_ *scratch, from, to int) {
		b.kern.adamW(param[from:to], grad[from:to], first[from:to], second[from:to], f)
	})
}
