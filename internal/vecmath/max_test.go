package vecmath

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMax(t *testing.T) {
	onEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(79, 80))
		for n := range 70 {
			x := make([]float32, n+1)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			assert.Equal(t, slices.Max(x), Max(x))
			for i := range x {
				x[i] = float32(math.Inf(-1))
			}
			assert.Equal(t, x[0], Max(x))
			x[rng.IntN(n+1)] = float32(math.Inf(1))
			assert.Equal(t, float32(math.Inf(1)), Max(x))
		}
	})
}
