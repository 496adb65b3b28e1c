package eval_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/eval"
)

// enumerate votes in every subset of k of the samples; -1 abstains.
func enumerate(samples []int, values []float64, k int) float64 {
	sum, subsets := 0.0, 0
	for set := range 1 << len(samples) {
		votes, size := make([]int, len(values)), 0
		for i, s := range samples {
			if set>>i&1 == 1 {
				size++
				if s >= 0 {
					votes[s]++
				}
			}
		}
		if size != k {
			continue
		}
		subsets++
		most, worth, tied := 0, 0.0, 0.0
		for a, v := range votes {
			if v > most {
				most, worth, tied = v, 0, 0
			}
			if v == most && v > 0 {
				worth += values[a]
				tied++
			}
		}
		if tied > 0 {
			sum += worth / tied
		}
	}
	return sum / float64(subsets)
}

func TestMajorityAtKEqualsEnumeration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1, 1), 0, 4).Draw(t, "values")
		samples := rapid.SliceOfN(rapid.IntRange(-1, len(values)-1), 1, 9).Draw(t, "samples")
		k := rapid.IntRange(1, len(samples)).Draw(t, "k")
		counts, abstained := make([]int, len(values)), 0
		for _, s := range samples {
			if s < 0 {
				abstained++
			} else {
				counts[s]++
			}
		}
		want, got := enumerate(samples, values, k), eval.MajorityAtK(counts, values, abstained, k)
		if !(math.Abs(got-want) < 1e-12) {
			t.Fatalf("%v of %v, k %d: %v, want %v", counts, values, k, got, want)
		}
	})
}

func TestMajorityAtK(t *testing.T) {
	require.InDelta(t, .3, eval.MajorityAtK([]int{3, 5, 2}, []float64{1, 0, 0}, 0, 1), 1e-12, "one sample has no majority")
	require.InDelta(t, 0, eval.MajorityAtK([]int{3, 5, 2}, []float64{1, 0, 0}, 0, 10), 1e-12, "all samples vote for the second")
	require.InDelta(t, .5, eval.MajorityAtK([]int{5, 5}, []float64{1, 0}, 90, 100), 1e-12, "a tie")
	require.InDelta(t, 1, eval.MajorityAtK([]int{600, 1}, []float64{1, 0}, 399, 1000), 1e-9)
	require.Zero(t, eval.MajorityAtK(nil, nil, 4, 2))
	require.True(t, math.IsNaN(eval.MajorityAtK([]int{3}, []float64{1}, 0, 4)))
	for _, f := range []func(){
		func() { eval.MajorityAtK([]int{1}, nil, 0, 1) },
		func() { eval.MajorityAtK([]int{-1}, []float64{1}, 5, 1) },
		func() { eval.MajorityAtK(nil, nil, -1, 1) },
		func() { eval.MajorityAtK(nil, nil, 1, 0) },
	} {
		require.Panics(t, f)
	}
}
