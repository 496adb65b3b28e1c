package cpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// x·Φ(x) agrees with math.Erfc, in its lower tail relatively, and its gradient
// with the formula in float64.
func TestGELU(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachKernels(t, func(t *testing.T, kern *kernels) {
		var x []float32
		for v := float32(-9); v <= 9; v += 1.0 / 512 {
			x = append(x, v)
		}
		y, dx, dy := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
		for i := range dy {
			dy[i] = -2
		}
		kern.gelu(y, x)
		kern.geluGrad(dx, dy, x)
		for i, v := range x {
			z := float64(v)
			cdf := math.Erfc(-z/math.Sqrt2) / 2
			assert.InDelta(t, z*cdf, y[i], 2e-7*max(1, z), "gelu(%v)", v)
			if z < 0 {
				assert.InEpsilon(t, z*cdf, y[i], 2e-5, "gelu(%v)", v)
			}
			grad := cdf + z*math.Exp(-z*z/2)/math.Sqrt(2*math.Pi)
			assert.InDelta(t, -2*grad, dx[i], 1e-6, "gelu'(%v)", v)
		}
		edge := []float32{0, inf, nan}
		kern.gelu(edge, edge)
		assert.Equal(t, []float32{0, inf}, edge[:2])
		assert.True(t, math.IsNaN(float64(edge[2])))
	})
}
