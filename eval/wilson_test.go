package eval_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/eval"
)

func TestWilson(t *testing.T) {
	// Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
	for _, c := range []struct {
		successes, n int
		low, high    float64
	}{{81, 263, .2553, .3662}, {15, 148, .0624, .1605}, {0, 20, 0, .1611}, {1, 29, .0061, .1718}} {
		got := eval.Wilson(c.successes, c.n, 0)
		require.InDelta(t, c.low, got.Low, 5e-5)
		require.InDelta(t, c.high, got.High, 5e-5)
		require.Equal(t, float64(c.successes)/float64(c.n), got.Estimate)
	}
	require.True(t, math.IsNaN(eval.Wilson(0, 0, 0).Low))
	for _, f := range []func(){
		func() { eval.Wilson(-1, 3, 0) }, func() { eval.Wilson(4, 3, 0) }, func() { eval.Wilson(1, 3, 1) }, func() { eval.Wilson(1, 3, math.NaN()) },
	} {
		require.Panics(t, f)
	}
}

// The bounds are the proportions p whose own score test just accepts what was
// seen: |p̂ − p| = z·√(p(1−p)/n).
func TestWilsonInvertsTheScoreTest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "successes")
		level := rapid.Float64Range(.5, .999).Draw(t, "level")
		i := eval.Wilson(k, n, level)
		z := math.Sqrt2 * math.Erfinv(level)
		if !(0 <= i.Low && i.Low <= i.Estimate && i.Estimate <= i.High && i.High <= 1) {
			t.Fatalf("%+v", i)
		}
		for _, p := range []float64{i.Low, i.High} {
			left, right := math.Abs(i.Estimate-p), z*math.Sqrt(p*(1-p)/float64(n))
			if math.Abs(left-right) > 1e-7 {
				t.Fatalf("%d of %d at %v: bound %v: %v, %v", k, n, level, p, left, right)
			}
		}
	})
}
