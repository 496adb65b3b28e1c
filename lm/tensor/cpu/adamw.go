package cpu

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// The factors of one AdamW update of an element, as indices of the array that
// the kernels get:
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
