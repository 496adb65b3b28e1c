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

// A block of any length has the exponentials of its numbers, each the same
// whatever the others are: dead tokens bring NaN and infinities along.
func TestExps(t *testing.T) {
	t.Run("of this processor", func(t *testing.T) { testExps(t, exps) })
	t.Run("in Go", func(t *testing.T) { testExps(t, expsGo) })
}

func testExps(t *testing.T, exps func(dst, x *[blockSize]float64, n int)) {
	rng := rand.New(rand.NewPCG(73, 74))
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 709, -745, 1e300, -1e300}
	for n := 1; n <= blockSize; n++ {
		var x, tame, got, want [blockSize]float64
		for i := range n {
			x[i] = rng.NormFloat64() * math.Pow(10, float64(i%5)-2)
		}
		x[rng.IntN(n)] = 0
		tame = x
		exps(&want, &tame, n)
		for i, x := range x[:n] {
			if e := math.Exp(x); math.Abs(x) < 700 && !(math.Abs(want[i]/e-1) <= 2*0x1p-52) {
				t.Fatalf("exp(%v) = %v, want %v", x, want[i], e)
			} else if x == 0 && want[i] != 1 {
				t.Fatalf("exp(0) = %v: a ratio on fresh samples is exactly 1", want[i])
			}
		}
		at := rng.IntN(n)
		x[at] = odd[n%len(odd)]
		want[at] = math.Exp(x[at])
		wild := x
		exps(&got, &wild, n)
		for i := range n {
			if got[i] != want[i] && !(math.IsNaN(got[i]) && math.IsNaN(want[i])) {
				t.Fatalf("with %v at %d of %d: exp(%v) = %v, want %v", x[at], at, n, x[i], got[i], want[i])
			}
			if wild[i] != x[i] && !math.IsNaN(x[i]) {
				t.Fatalf("number %d of %d was overwritten", i, n)
			}
		}
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
