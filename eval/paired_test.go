package eval_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
)

// The first values are by hand: of the 8 assignments of signs to 1, 2, 3 only +++ and
// −−− have a mean as far from 0 as 2.
func TestSignFlip(t *testing.T) {
	require.Equal(t, .25, eval.SignFlip([]float64{1, 2, 3}, 0))
	require.Equal(t, 1.0, eval.SignFlip([]float64{1, -1}, 0))
	require.Equal(t, 1.0, eval.SignFlip([]float64{0, 0, 0}, 0))
	require.True(t, math.IsNaN(eval.SignFlip(nil, 0)))
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		require.True(t, math.IsNaN(eval.SignFlip([]float64{1, x}, 0)))
		require.True(t, math.IsNaN(eval.SignFlip(append(make([]float64, 17), x), 0)), "drawn")
	}
	// 17 equal differences: 2 of 2¹⁷ assignments, which 100,000 draws see 0 to 6 times.
	same := make([]float64, 17)
	for i := range same {
		same[i] = .1
	}
	require.Less(t, eval.SignFlip(same, 1), 1e-4)
	// Under the null hypothesis p-values are uniform.
	rng := rand.New(rand.NewPCG(1, 2))
	below := 0
	const trials = 400
	for range trials {
		d := make([]float64, 12)
		for i := range d {
			d[i] = rng.NormFloat64()
		}
		if eval.SignFlip(d, 0) <= .1 {
			below++
		}
	}
	require.InDelta(t, .1, float64(below)/trials, .05)
}

// By hand: sorted .01 .02 .03 .04 times
// 4 3 2 1 is .04 .06 .06 .04, of which the running maximum counts.
func TestHolm(t *testing.T) {
	got := eval.Holm([]float64{.03, .01, math.NaN(), .04, .02})
	require.True(t, math.IsNaN(got[2]))
	require.InDeltaSlice(t, []float64{.06, .04, 0, .06, .06}, []float64{got[0], got[1], 0, got[3], got[4]}, 1e-15)
	require.Equal(t, []float64{1, 1}, eval.Holm([]float64{.9, .8}))
}

// 1.959964 + .841621 standard errors, squared, are 7.848880.
func TestPairedRuns(t *testing.T) {
	require.Equal(t, 8, eval.PairedRuns(1, 1, .05, .8))
	require.Equal(t, 97, eval.PairedRuns(.01, .035, .05, .8)) // 96.15
	require.Panics(t, func() { eval.PairedRuns(0, 1, .05, .8) })
}

// With effects of runs and of examples that add up, the variance of the mean is the sum
// of both; a bootstrap of the runs alone would miss the examples'.
func TestBootstrapCrossed(t *testing.T) {
	const runs, examples = 30, 200
	rng := rand.New(rand.NewPCG(3, 4))
	column := make([]float64, examples)
	for j := range column {
		column[j] = 3 * rng.NormFloat64()
	}
	d := make([][]float64, runs)
	total := 0.0
	for i := range d {
		d[i] = make([]float64, examples)
		a := rng.NormFloat64()
		for j := range d[i] {
			d[i][j] = a + column[j]
			total += d[i][j]
		}
	}
	got := eval.BootstrapCrossed(d, eval.BootstrapOptions{Seed: 5})
	require.InDelta(t, total/(runs*examples), got.Estimate, 1e-12)
	want := 2 * 1.96 * math.Sqrt(1.0/runs+9.0/examples)
	require.InDelta(t, want, got.High-got.Low, .25*want)
	require.Panics(t, func() { eval.BootstrapCrossed([][]float64{{1}, {1, 2}}, eval.BootstrapOptions{}) })
	require.True(t, math.IsNaN(eval.BootstrapCrossed(nil, eval.BootstrapOptions{}).Estimate))
}
