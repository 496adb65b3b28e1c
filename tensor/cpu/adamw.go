package cpu

import (
	"math"

	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/internal/shape"
)

// adamW holds the factors of one AdamW update of an element:
//
//	g ← scale·g
//	m ← beta1·m + keep1·g
//	v ← beta2·v + keep2·g²
//	p ← decay·p − rate·m/(√v·root + eps)
//
// The assembly kernels read the fields by their offsets.
type adamW struct {
	scale, beta1, keep1, beta2, keep2, decay, rate, root, eps float32
}

// AdamW updates p from gradient g and moments m, v, as torch.optim.AdamW does.
func (b *Backend) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	shape.AdamW(p, g, m, v, o)
	correct1 := 1 - math.Pow(o.Beta1, float64(o.Step))
	correct2 := 1 - math.Pow(o.Beta2, float64(o.Step))
	f := &adamW{
		scale: float32(o.Scale),
		beta1: float32(o.Beta1),
		keep1: float32(1 - o.Beta1),
		beta2: float32(o.Beta2),
		keep2: float32(1 - o.Beta2),
		decay: float32(1 - o.LR*o.WeightDecay),
		rate:  float32(o.LR / correct1),
		root:  float32(1 / math.Sqrt(correct2)),
		eps:   float32(o.Eps),
	}
	param, grad, first, second := b.data(p), b.data(g), b.data(m), b.data(v)
	b.spans(len(param), chunk, expCost, func(_ *scratch, from, to int) {
		b.kern.adamW(param[from:to], grad[from:to], first[from:to], second[from:to], f)
	})
}
