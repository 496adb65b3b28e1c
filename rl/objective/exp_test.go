package objective

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestExp(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 72))
	worst := 0.0
	for i := range 1_000_000 {
		x := rng.NormFloat64() * math.Pow(10, float64(i%5)-2)
		want := math.Exp(x)
		if math.Abs(x) < 700 {
			worst = max(worst, math.Abs(exp(x)/want-1))
		} else if exp(x) != want {
			t.Fatalf("exp(%v) = %v, want %v", x, exp(x), want)
		}
	}
	assert.LessOrEqual(t, worst, 2*0x1p-52)
	for _, x := range []float64{0, math.Copysign(0, -1)} {
		assert.Equal(t, 1., exp(x), "a ratio on fresh samples is exactly 1")
	}
	assert.Equal(t, math.Inf(1), exp(math.Inf(1)))
	assert.Equal(t, 0., exp(math.Inf(-1)))
	assert.Equal(t, math.Inf(1), exp(710))
	assert.True(t, math.IsNaN(exp(math.NaN())))
	for _, x := range []float64{699.99, -699.99} {
		assert.InEpsilon(t, math.Exp(x), exp(x), 1e-15)
	}
}

var sink float64

func BenchmarkExp(b *testing.B) {
	for name, f := range map[string]func(float64) float64{"ours": exp, "math": math.Exp} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				sink += f(float64(i&1023)*.001 - .5)
			}
		})
	}
}
