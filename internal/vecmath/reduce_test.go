package vecmath

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSumsAndCounts(t *testing.T) {
	onEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(77, 78))
		for n := range 70 {
			f, x, y := make([]float64, n), make([]bool, n), make([]bool, n)
			var sums [Width]float64
			both, one := 0, 0
			for i := range f {
				f[i], x[i], y[i] = rng.NormFloat64(), rng.IntN(3) > 0, rng.IntN(3) > 0
				sums[i%Width] += math.Abs(f[i])
				if x[i] {
					one++
				}
				if x[i] && y[i] {
					both++
				}
			}
			assert.Equal(t, Total(&sums), SumAbs(f))
			assert.Equal(t, one, Count(x))
			assert.Equal(t, both, CountBoth(x, y))
		}
	})
}

func TestFill(t *testing.T) {
	for n := range 70 {
		got := make([]int, n+1)
		Fill(got[:n], 3)
		for i := range n {
			assert.Equal(t, 3, got[i])
		}
		assert.Zero(t, got[n])
	}
}

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
