package reference

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// GELU computes y = x·Φ(x) with Φ(x) = erfc(−x/√2)/2 (Hendrycks & Gimpel,
// arXiv:1606.08415).
func (b *Backend[E]) GELU(y, x tensor.Buffer) {
	shape.GELU(y, x)
	ys, xs := b.output(y, x), b.data(x)
	for i, v := range xs {
		ys[i] = E(float64(v) * normalCDF(float64(v)))
	}
}

// GELUGrad overwrites dx, which may be x itself, with dy·(Φ(x) + x·φ(x)), φ
// the normal density.
func (b *Backend[E]) GELUGrad(dx, dy, x tensor.Buffer) {
	shape.GELUGrad(dx, dy, x)
	dxs, dys, xs := b.output(dx, dy), b.data(dy), b.data(x)
	for i, v := range xs {
		x := float64(v)
		dxs[i] = E(float64(dys[i]) * (normalCDF(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)))
	}
}

func normalCDF(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
