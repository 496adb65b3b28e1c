package objective

import "github.com/stepwise-rl/stepwise/internal/vecmath"

// Kernels go over a block of tokens: those of a processor with AVX2 or AVX-512
// over eight at a time, and Go over what is left, with the same results to the
// last bit on amd64 (elsewhere there is Go alone). To that end sums have eight parts, and token i is added to part
// i%8. A token whose weight w is 0 is never read in log-probs and advantages.

// isa is the instruction set in use; tests go through all of them.
var isa = vecmath.Best()

// block holds one number for each token of a block.
type block [blockSize]float64

// sum is a sum in eight parts.
type sum [vecmath.Width]float64

func (s *sum) total() float64 { return vecmath.Total((*[vecmath.Width]float64)(s)) }

// keepWeights writes the weights of the tokens that are kept to w and 0 for the
// others, and returns how many are not 0.
func keepWeights(w *block, weight []float64, keep []bool) (live int) {
	from := isa.Whole(len(weight))
	if from > 0 {
		live = keepWeightsKernel(&w[0], &weight[0], &keep[0], from)
	}
	for i := from; i < len(weight); i++ {
		w[i] = 0
		if keep[i] && weight[i] != 0 {
			w[i] = weight[i]
			live++
		}
	}
	return live
}

// pick writes src to dst, and 0 where w is.
func pick(dst *block, src []float64, w *block) {
	from := isa.Whole(len(src))
	if from > 0 {
		pickKernel(&dst[0], &src[0], &w[0], from)
	}
	for i := from; i < len(src); i++ {
		dst[i] = 0
		if w[i] != 0 {
			dst[i] = src[i]
		}
	}
}

// difference writes a-b to d, and 0 where w is, and d held within ±limit to x.
func difference(d, x *block, a, b []float64, w *block, limit float64) {
	from := isa.Whole(len(a))
	if from > 0 {
		differenceKernel(&d[0], &x[0], &a[0], &b[0], &w[0], from, limit)
	}
	for i := from; i < len(a); i++ {
		d[i], x[i] = within(a[i], b[i], w[i], limit)
	}
}

// ratios does the same and writes exp(x) to r.
func ratios(d, x, r *block, a, b []float64, w *block, limit float64) {
	from := isa.Whole(len(a))
	if from > 0 {
		ratiosKernel(&d[0], &x[0], &r[0], &a[0], &b[0], &w[0], from, limit)
	}
	for i := from; i < len(a); i++ {
		d[i], x[i] = within(a[i], b[i], w[i], limit)
	}
	vecmath.Exp(r[from:len(a)], x[from:len(a)])
}

// within is a-b, or 0 if w is, and what of it is within ±limit.
func within(a, b, w, limit float64) (d, x float64) {
	if w == 0 {
		return 0, 0
	}
	d = a - b
	switch {
	case d > limit:
		return d, limit
	case d < -limit:
		return d, -limit
	}
	return d, d
}

// clipped writes the loss of PPO and its derivative with respect to the ratio,
// and counts the bounds that were met: low, high, dual.
func (c clip) clipped(loss, byRatio, r, adv *block, n int, hits *[3]int) {
	from := isa.Whole(n)
	if from > 0 {
		clipKernel(&loss[0], &byRatio[0], &r[0], &adv[0], from, c.low, c.high, c.dual, hits)
	}
	for i := from; i < n; i++ {
		var met bound
		loss[i], byRatio[i], met = c.at(r[i], adv[i])
		if met != inside {
			hits[met-clipLow]++
		}
	}
}

// policySums are what take adds up over live tokens: the weighted loss, the
// estimate r-1-log r of how far the policy has moved, the ratio, and what else
// must be finite.
type policySums struct{ loss, kl, ratio, rest sum }

// finite reports whether all numbers were; if not, the sums may have overflowed.
func (s *policySums) finite() bool { return finite(s.kl.total() + s.rest.total()) }

// take adds w·loss to the sums and the derivative, w·(byLogP + byRatio·r), to
// grad. Where x differs from lr the ratio is cut off from its gradient.
func take(grad []float64, w, adv, lr, x, r, loss, byRatio, byLogP *block, s *policySums) {
	from := isa.Whole(len(grad))
	if from > 0 {
		takeKernel(&grad[0], &w[0], &adv[0], &lr[0], &x[0], &r[0], &loss[0], &byRatio[0], &byLogP[0], from, &s.loss[0])
	}
	for i := from; i < len(grad); i++ {
		lane := i % vecmath.Width
		s.loss[lane] += w[i] * loss[i]
		s.kl[lane] += r[i] - 1 - x[i]
		g := 0.
		if x[i] == lr[i] {
			g = byRatio[i] * r[i]
		}
		grad[i] += w[i] * (g + byLogP[i])
		if w[i] != 0 {
			s.ratio[lane] += r[i]
		}
		s.rest[lane] += adv[i] + lr[i]
	}
}

// k3 writes r-1-x to v and its derivative 1-r to dv: r is exp(x), and x falls
// as the policy's log-prob rises.
func k3(v, dv, x, r *block, n int) {
	from := isa.Whole(n)
	if from > 0 {
		k3Kernel(&v[0], &dv[0], &x[0], &r[0], from)
	}
	for i := from; i < n; i++ {
		v[i], dv[i] = r[i]-1-x[i], 1-r[i]
	}
}

// regularizerSums are what regularize adds up: the weighted loss, the value,
// and all that must be finite.
type regularizerSums struct{ loss, value, all sum }

// finite reports whether all numbers were; if not, the sums may have overflowed.
func (s *regularizerSums) finite() bool { return finite(s.all.total()) }

// regularize adds w·beta·v to the sums and the derivative w·beta·dv to grad.
func regularize(grad []float64, w, lr, value, v, dv *block, beta float64, s *regularizerSums) {
	from := isa.Whole(len(grad))
	if from > 0 {
		regularizeKernel(&grad[0], &w[0], &lr[0], &value[0], &v[0], &dv[0], from, beta, &s.loss[0])
	}
	for i := from; i < len(grad); i++ {
		lane := i % vecmath.Width
		s.loss[lane] += w[i] * beta * v[i]
		s.value[lane] += value[i]
		grad[i] += w[i] * beta * dv[i]
		s.all[lane] += v[i] + dv[i] + lr[i]
	}
}
