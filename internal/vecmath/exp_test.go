package vecmath

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// onEach runs a test on every instruction set of this processor.
func onEach(t *testing.T, test func(t *testing.T)) {
	defer func(all ISA) { isa = all }(isa)
	for _, isa = range sets() {
		t.Run(isa.String(), test)
	}
}

// sets are the instruction sets of this processor, the best first.
func sets() []ISA {
	switch Best() {
	case AVX512:
		return []ISA{AVX512, AVX2, Go}
	case Go:
		return []ISA{Go}
	default:
		return []ISA{Best(), Go}
	}
}

// bigExp is exp(x) to 100 bits, by a series of its own.
func bigExp(x float64) *big.Float {
	const prec, halvings = 160, 12
	r := new(big.Float).SetPrec(prec).SetMantExp(big.NewFloat(x), -halvings)
	sum, term := big.NewFloat(1).SetPrec(prec), big.NewFloat(1).SetPrec(prec)
	for i := 1; i < 60; i++ {
		term.Mul(term, r)
		term.Quo(term, big.NewFloat(float64(i)))
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum
}

// ulps is how far got is from want, in units in the last place of got.
func ulps(got float64, want *big.Float) float64 {
	d := new(big.Float).Sub(big.NewFloat(got), want)
	d.Quo(d, big.NewFloat(math.Nextafter(got, math.Inf(1))-got))
	u, _ := d.Abs(d).Float64()
	return u
}

func TestExpError(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 72))
	worst, worstSubnormal := 0.0, 0.0
	for i := range 20_000 {
		x := rng.NormFloat64() * math.Pow(10, float64(i%5)-2)
		switch got := exp(x); {
		case x > 709.78 || x < -744:
		case x < -708.3:
			worstSubnormal = max(worstSubnormal, ulps(got, bigExp(x)))
		default:
			worst = max(worst, ulps(got, bigExp(x)))
		}
	}
	for range 2000 {
		x := -708.3 - 35*rng.Float64()
		worstSubnormal = max(worstSubnormal, ulps(exp(x), bigExp(x)))
	}
	assert.Less(t, worst, 1.)
	assert.Less(t, worstSubnormal, 1.5)
	t.Logf("%.3f ulp, %.3f where subnormal", worst, worstSubnormal)
}

func TestExpAtTheEnds(t *testing.T) {
	onEach(t, func(t *testing.T) {
		for _, x := range []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 709.79, 1e300, -745.2, -1e300} {
			dst := make([]float64, Width)
			in := make([]float64, Width)
			in[3] = x
			Exp(dst, in)
			assert.Equal(t, math.Float64bits(math.Exp(x))&^(1<<63), math.Float64bits(dst[3])&^(1<<63), "exp(%v) = %v", x, dst[3])
			assert.Equal(t, 1., dst[2], "a ratio on fresh samples is exactly 1")
		}
		x := []float64{709.78, -708.5, -744, -745.1}
		got := make([]float64, len(x))
		Exp(got, x)
		for i, x := range x {
			assert.Less(t, ulps(got[i], bigExp(x)), 1.5, "exp(%v)", x)
		}
	})
}

// The bits are the same on every instruction set, at every place of a slice of
// any length, and nothing else is written.
func TestExpSameBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(73, 74))
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 709, -745, 1e300, -1e300, 0}
	onEach(t, func(t *testing.T) {
		for n := range 50 {
			x, dst := make([]float64, n), make([]float64, n+1)
			for i := range x {
				x[i] = rng.NormFloat64() * math.Pow(10, float64(rng.IntN(5))-2)
				if rng.IntN(10) == 0 {
					x[i] = odd[rng.IntN(len(odd))]
				}
			}
			dst[n] = 7
			Exp(dst[:n], x)
			for i, x := range x {
				if got, want := math.Float64bits(dst[i]), math.Float64bits(exp(x)); got != want && x == x {
					t.Fatalf("exp(%v) at %d of %d has bits %x, want %x", x, i, n, got, want)
				}
			}
			assert.Equal(t, 7., dst[n], "beyond the end")
			Exp(x, x)
			for i := range x {
				assert.True(t, x[i] == dst[i] || x[i] != x[i], "in place")
			}
		}
	})
}

func TestExpSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(75, 76))
	onEach(t, func(t *testing.T) {
		for n := range 100 {
			x, dst := make([]float32, n), make([]float64, n)
			for i := range x {
				x[i] = float32(10 * rng.NormFloat64())
			}
			if n > 4 {
				x[4] = float32(math.Inf(-1)) // a token that is ruled out
			}
			const shift, scale = 12.5, 1 / 0.7
			var sums [Width]float64
			got := ExpSum(dst, x, shift, scale)
			for i, x := range x {
				want := exp((float64(x) - shift) * scale)
				assert.Equal(t, want, dst[i])
				sums[i%Width] += want
			}
			assert.Equal(t, Total(&sums), got)
		}
	})
}

func BenchmarkExp(b *testing.B) {
	x, dst := make([]float64, 1024), make([]float64, 1024)
	for i := range x {
		x[i] = float64(i)*.001 - .5
	}
	defer func(all ISA) { isa = all }(isa)
	for _, isa = range sets() {
		b.Run(isa.String(), func(b *testing.B) {
			for b.Loop() {
				Exp(dst, x)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(x)), "ns/number")
		})
	}
}
