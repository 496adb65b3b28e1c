package advantage_test

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl/advantage"
)

var nan = math.NaN()

func normalize(n advantage.Normalizer, rewards ...float64) []float64 {
	dst := make([]float64, len(rewards))
	n.Normalize(dst, rewards)
	return dst
}

// Numbers derived by hand from each trainer's formula.
func TestGroupNormalizers(t *testing.T) {
	mixed := []float64{.2, .9, .4, .9}
	third := 1. / 3
	tests := []struct {
		name string
		norm advantage.Normalizer
		in   []float64
		want []float64
	}{
		{"TRL", advantage.GRPO{Epsilon: 1e-4}, mixed, []float64{-1.123587273, .8426904548, -.5617936366, .8426904548}},
		{"verl", advantage.GRPO{Epsilon: 1e-6}, mixed, []float64{-1.123899816, .842924862, -.561949908, .842924862}},
		{"OpenRLHF", advantage.GRPO{Epsilon: 1e-9}, mixed, []float64{-1.123902971, .8429272281, -.5619514854, .8429272281}},
		{"GRPO-Zero", advantage.GRPO{Std: advantage.StdPopulation, Epsilon: 1e-4}, mixed, []float64{-1.297350453, .9730128397, -.6486752265, .9730128397}},
		{"rLLM", advantage.GRPO{Std: advantage.StdPopulation, Epsilon: 1e-6}, mixed, []float64{-1.297767159, .9733253689, -.6488835793, .9733253689}},
		{"Dr. GRPO", advantage.DrGRPO{}, mixed, []float64{-.4, .3, -.2, .3}},
		{"RLOO", advantage.RLOO{}, mixed, []float64{-.5333333333, .4, -.2666666667, .4}},
		{"MaxRL", advantage.MaxRL{}, mixed, []float64{-2 * third, .5, -third, .5}},
		{"TRL", advantage.GRPO{Epsilon: 1e-4}, []float64{1, 0, 0, 0}, []float64{1.49970006, -.49990002, -.49990002, -.49990002}},
		{"verl", advantage.GRPO{Epsilon: 1e-6}, []float64{1, 0, 0, 0}, []float64{1.499997, -.499999, -.499999, -.499999}},
		{"RLOO", advantage.RLOO{}, []float64{1, 0, 0, 0}, []float64{1, -third, -third, -third}},
		{"MaxRL", advantage.MaxRL{}, []float64{1, 0, 0, 0}, []float64{3, -1, -1, -1}},
		{"verl's floor", advantage.GRPO{MinStd: 1e-3, Epsilon: 1e-6}, []float64{1, 1.0002}, []float64{-.0001 / .001001, .0001 / .001001}},

		{"unscorable", advantage.RLOO{}, []float64{1, nan, 0, nan, 0}, []float64{1, 0, -.5, 0, -.5}},
		{"all unscorable", advantage.GRPO{}, []float64{nan, nan}, []float64{0, 0}},
		{"empty", advantage.GRPO{}, nil, []float64{}},

		{"singleton", advantage.GRPO{Epsilon: 1e-4}, []float64{.7}, []float64{0}},
		{"singleton among unscorable", advantage.RLOO{}, []float64{nan, .7}, []float64{0, 0}},
		{"verl's singleton", advantage.GRPO{Epsilon: 1e-6, Singleton: advantage.SingletonRaw}, []float64{.7}, []float64{.7 / 1.000001}},
		{"raw singleton", advantage.RLOO{Singleton: advantage.SingletonRaw}, []float64{nan, .7}, []float64{0, .7}},
		{"raw singleton", advantage.MaxRL{Singleton: advantage.SingletonRaw}, []float64{.7}, []float64{.7}},

		{"MaxRL, mean below 0", advantage.MaxRL{}, []float64{-1, 0}, []float64{0, 0}},
		{"MaxRL, mean 0 up to rounding", advantage.MaxRL{}, []float64{.1, .2, -.3}, []float64{0, 0, 0}},
		{"SkyRL's MaxRL, mean below 0", advantage.MaxRL{NegativeMean: true}, []float64{-1, 0}, []float64{1, -1}},

		{"verl's pass@k", advantage.PassAtK{}, mixed, []float64{0, 0, 0, 0}},
		{"verl's pass@k", advantage.PassAtK{DivideByStd: true, Epsilon: 1e-6}, []float64{0, 1, .5, 0}, []float64{0, .5 / (math.Sqrt(2.75/12) + 1e-6), 0, 0}},
		// Two of four right: a right one adds 1 to the sets of its wrong mates, 2 of 3.
		{"pass@2", advantage.PassAtK{K: 2}, []float64{0, 1, 1, 0}, []float64{0, 2 * third, 2 * third, 0}},
		{"pass@2 of one", advantage.PassAtK{K: 2}, []float64{nan, 1}, []float64{0, 0}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.name, test.in), func(t *testing.T) {
			got := normalize(test.norm, test.in...)
			require.Len(t, got, len(test.want))
			if len(got) > 0 {
				require.InDeltaSlice(t, test.want, got, 1e-9)
			}
			inPlace := slices.Clone(test.in)
			test.norm.Normalize(inPlace, inPlace)
			require.InDeltaSlice(t, test.want, inPlace, 1e-9)
		})
	}
}

// Rewards that differ by rounding only are no signal, however small ε is, and
// neither is a reward that equals the mean up to rounding.
func TestRoundingIsNoSignal(t *testing.T) {
	x, y := math.Nextafter(.3, 1), .3
	for _, norm := range []advantage.Normalizer{
		advantage.GRPO{}, advantage.GRPO{Epsilon: 1e-9}, advantage.DrGRPO{}, advantage.RLOO{},
		advantage.MaxRL{}, advantage.PassAtK{}, advantage.PassAtK{K: 2, DivideByStd: true},
	} {
		require.Equal(t, []float64{0, 0, 0}, normalize(norm, x, y, x), "%T", norm)
		require.Equal(t, []float64{0, 0}, normalize(norm, 1e12, 1e12+1), "%T", norm)
	}
	require.Equal(t, 0., normalize(advantage.GRPO{}, .1, .4, .7, .4)[1])
	require.NotEqual(t, 0., normalize(advantage.GRPO{Tolerance: -1}, y+1e-14, y)[0])
	require.NotEqual(t, 0., normalize(advantage.GRPO{}, 1, 1+1e-6)[0])
	require.Equal(t, []float64{0, 0}, normalize(advantage.GRPO{Tolerance: 1e-5}, 1, 1+1e-6))
}

// The exact expectation of MaxRL's gradient is that of the first n−1 terms of
// log p: (1 − (1−p)^{n−1})/p per unit of dp.
func TestMaxRLExpectation(t *testing.T) {
	const p = .3
	for _, n := range []int{2, 4, 7} {
		got := advantageGap(p, n, advantage.MaxRL{})
		require.InDelta(t, (1-math.Pow(1-p, float64(n-1)))/p, got, 1e-12)
	}
}

// The exact expectation of pass@k's gradient is ∇[1 − (1−p)^k]/k.
func TestPassAtKExpectation(t *testing.T) {
	const p = .3
	for _, n := range []int{2, 4, 7} {
		for k := 2; k <= n; k++ {
			got := advantageGap(p, n, advantage.PassAtK{K: k})
			require.InDelta(t, math.Pow(1-p, float64(k-1)), got, 1e-12)
		}
	}
}

// advantageGap is E[A | right] − E[A | wrong] of one completion among n, each
// right with probability p: the factor of dp in the expected gradient.
func advantageGap(p float64, n int, norm advantage.Normalizer) float64 {
	gap := 0.0
	for others := range 1 << (n - 1) {
		right := bits.OnesCount(uint(others))
		weight := math.Pow(p, float64(right)) * math.Pow(1-p, float64(n-1-right))
		r := make([]float64, n)
		for j := range n - 1 {
			r[j+1] = float64(others >> j & 1)
		}
		r[0] = 1
		gap += weight * normalize(norm, r...)[0]
		r[0] = 0
		gap -= weight * normalize(norm, r...)[0]
	}
	return gap
}

// PassAtK equals its definition: the mean over all sets that hold i.
func TestPassAtKEqualsEnumeration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 7).Draw(t, "n")
		k := rapid.IntRange(2, n).Draw(t, "k")
		r := make([]float64, n)
		for i := range r {
			r[i] = float64(rapid.IntRange(-3, 3).Draw(t, "reward"))
		}
		best := func(set int) float64 {
			m := math.Inf(-1)
			for i := range r {
				if set>>i&1 == 1 {
					m = max(m, r[i])
				}
			}
			return m
		}
		got := normalize(advantage.PassAtK{K: k}, r...)
		for i := range r {
			sum, sets := 0.0, 0.0
			for set := range 1 << n {
				if set>>i&1 == 1 && bits.OnesCount(uint(set)) == k {
					sum += best(set) - best(set&^(1<<i))
					sets++
				}
			}
			require.InDelta(t, sum/sets, got[i], 1e-12)
		}
	})
}

// Centred normalisers sum to zero, follow the order of the rewards, and do not
// see a constant added to them. The rewards are eighths, to which one can be
// added without rounding: of rewards that differ by little it would make equals.
func TestNormalizerProperties(t *testing.T) {
	eighths := rapid.Map(rapid.IntRange(-40, 40), func(n int) float64 { return float64(n) / 8 })
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SliceOfN(rapid.OneOf(eighths, rapid.Just(nan)), 1, 9).Draw(t, "rewards")
		for _, norm := range []advantage.Normalizer{advantage.GRPO{}, advantage.GRPO{Std: advantage.StdPopulation, Epsilon: 1e-4}, advantage.DrGRPO{}, advantage.RLOO{}} {
			a := normalize(norm, r...)
			shifted := slices.Clone(r)
			sum := 0.0
			for i := range r {
				shifted[i] += 3
				sum += a[i]
				require.False(t, math.IsNaN(a[i]) || math.IsInf(a[i], 0))
				for j := range r {
					if r[i] > r[j] {
						require.GreaterOrEqual(t, a[i], a[j])
					}
				}
			}
			require.InDelta(t, 0, sum, 1e-6)
			require.InDeltaSlice(t, a, normalize(norm, shifted...), 1e-5)
		}
	})
}
