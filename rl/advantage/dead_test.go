package advantage_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// comparesGroups holds estimators whose advantages depend on the group alone.
var comparesGroups = map[string]advantage.Estimator{
	"GRPO":             advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
	"GRPO, weights":    advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}, 1, 0),
	"GRPO, tolerance":  advantage.PerGroup(advantage.GRPO{Tolerance: .3}),
	"Dr. GRPO":         advantage.PerGroup(advantage.DrGRPO{}, 1, -1),
	"RLOO, raw":        advantage.GroupEstimator{Norm: advantage.RLOO{Singleton: advantage.SingletonRaw}, Combine: advantage.Combine{SkipUnscorable: true}},
	"RLOO, folded":     advantage.GroupEstimator{Norm: advantage.RLOO{}, Combine: advantage.Combine{FoldShaping: true}},
	"RLOO, length":     advantage.GroupEstimator{Norm: advantage.RLOO{}, Combine: advantage.Combine{LengthPenalty: .25}},
	"OPO, length":      advantage.OPO{Combine: advantage.Combine{LengthPenalty: 2}},
	"RLOO, exact":      advantage.PerGroup(advantage.RLOO{Tolerance: -1}),
	"MaxRL":            advantage.PerGroup(advantage.MaxRL{}),
	"pass@k":           advantage.PerGroup(advantage.PassAtK{}),
	"pass@2":           advantage.PerGroup(advantage.PassAtK{K: 2, DivideByStd: true}),
	"OPO":              advantage.OPO{},
	"GRPO, batch std":  advantage.GRPOBatchStd{},
	"GDPO":             advantage.GDPO{Weights: []float64{1, 1}},
	"GDPO, that skips": advantage.GDPO{SkipUnscorable: true},
}

// What an estimator says of a group beforehand is what it does: a dead group
// gets exact zeros, a live one does not.
func TestDeadIsWhatEstimateDoes(t *testing.T) {
	value := rapid.SampledFrom([]float64{0, 0, 1, 1, .15, .3, -1, math.Nextafter(.3, 1), nan})
	for name, est := range comparesGroups {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, est.Validate())
			rapid.Check(t, func(t *rapid.T) {
				g := make(rollout.Group, rapid.IntRange(0, 4).Draw(t, "size"))
				for i := range g {
					g[i] = completion(rapid.IntRange(1, 3).Draw(t, "tokens"), value.Draw(t, "r"), value.Draw(t, "s"))
					if rapid.Bool().Draw(t, "shaped") {
						g[i].Shaping = make([]float64, len(g[i].Tokens))
						g[i].Shaping[0] = .25
					}
				}
				reason := est.Dead(g)
				require.NoError(t, est.Estimate([]rollout.Group{g}))
				if g.HasAdvantage() == (reason != "") {
					t.Fatalf("dead beforehand: %q, with an advantage afterwards: %v", reason, g.HasAdvantage())
				}
				for i := range g {
					if a := g[i].Advantage; a == 0 && math.Signbit(a) {
						t.Fatalf("completion %d has a negative zero", i)
					}
				}
			})
		})
	}
}

func TestReasonsOfDeadGroups(t *testing.T) {
	grpo := advantage.PerGroup(advantage.GRPO{}, 1, 0)
	for _, c := range []struct {
		est  advantage.Estimator
		g    rollout.Group
		want string
	}{
		{grpo, nil, "unscorable"},
		{grpo, rollout.Group{completion(1, nan, 1), completion(1, nan, 0)}, "unscorable"},
		{grpo, rollout.Group{completion(1, 1, 1), completion(1, nan, 0)}, "single"},
		{grpo, rollout.Group{completion(1, 1, 1), completion(1, 1, 0)}, "constant_1"}, // the second has weight 0
		{grpo, rollout.Group{completion(1, .33, 1), completion(1, .33, 0)}, "constant_0.3"},
		{grpo, rollout.Group{completion(1, math.Copysign(0, -1), 0), completion(1, 0, 0)}, "constant_0"},
		{grpo, rollout.Group{completion(1, 1, 0), completion(1, 0, 0)}, ""},
		{grpo, rollout.Group{completion(1, math.Inf(1), 0), completion(1, 0, 0)}, ""}, // Estimate's error
		// Rewards that cancel.
		{advantage.PerGroup(advantage.GRPO{}, 1, -1), rollout.Group{completion(1, .1, .1), completion(1, .7, .7)}, "constant_0"},
		{advantage.GDPO{Weights: []float64{1, -1}}, rollout.Group{completion(1, .1, .1), completion(1, .7, .7)}, "constant_0"},
		// Nobody leads.
		{advantage.PerGroup(advantage.PassAtK{}), rollout.Group{completion(1, 1), completion(1, 1), completion(1, 0)}, "no_difference"},
		{advantage.PerGroup(advantage.MaxRL{}), rollout.Group{completion(1, -1), completion(1, 0)}, "no_difference"},
		// Those that compare the batch.
		{advantage.ReinforcePP{}, rollout.Group{completion(1, 1), completion(1, 1)}, ""},
		{advantage.ReinforcePPBaseline{}, rollout.Group{completion(1, 1), completion(1, 1)}, ""},
		{advantage.ReinforcePPBaseline{}, rollout.Group{completion(1, nan)}, "unscorable"},
		{advantage.GDPO{Whitening: &advantage.Whitening{}}, rollout.Group{completion(1, 1), completion(1, 1)}, ""},
	} {
		require.Equal(t, c.want, c.est.Dead(c.g), "%+v %v", c.est, c.g)
	}
}

// Normalised, these rewards cancel but for rounding: what is left is 0, not -0.
func TestRewardsThatCancel(t *testing.T) {
	g := rollout.Group{completion(1, .3, 1), completion(1, 1, .3)}
	require.NoError(t, advantage.GDPO{}.Estimate([]rollout.Group{g}))
	for i := range g {
		require.Equal(t, math.Float64bits(0), math.Float64bits(g[i].Advantage))
	}
}

// The tolerance is the range of a group's rewards.
func TestToleranceIsTheRange(t *testing.T) {
	n := advantage.DrGRPO{Tolerance: .1}
	require.InDeltaSlice(t, []float64{-.075, .075}, normalize(n, 0, .15), 1e-15)
	require.InDeltaSlice(t, []float64{-.06, .01, .05}, normalize(n, 0, .07, .11), 1e-15)
	require.Equal(t, []float64{0, 0}, normalize(n, 0, .1))

	// That of a batch, too: what lies near its mean is not the mean.
	batch := []rollout.Group{{completion(1, 0), completion(1, .15)}, {completion(2, .03)}}
	w := advantage.Whitening{Std: advantage.StdPopulation, Tolerance: .1}
	// Tokens: 0, .15, .03, .03; mean .0525.
	const mean = .0525
	s := math.Sqrt((sq(mean) + sq(.15-mean) + 2*sq(.03-mean)) / 4)
	want := []float64{-mean / s, (.15 - mean) / s, (.03 - mean) / s}
	require.InDeltaSlice(t, want, scalars(t, advantage.ReinforcePP{Whitening: w}, batch...), 1e-12)
	require.InDeltaSlice(t, want[2:], batch[1][0].Adv[:1], 1e-12)
	require.Equal(t, []float64{0, 0}, scalars(t, advantage.ReinforcePP{Whitening: w}, rollout.Group{completion(1, 0), completion(1, .1)}))

	raw := shiftless{}
	g := advantage.GDPO{Norm: raw, Std: advantage.StdPopulation, Tolerance: .1}
	require.Empty(t, g.Dead(rollout.Group{completion(1, -.075), completion(1, .075)}))
	require.InDeltaSlice(t, []float64{-1, 1}, scalars(t, g, rollout.Group{completion(1, -.075), completion(1, .075)}), 1e-12)
	require.Equal(t, []float64{0, 0}, scalars(t, g, rollout.Group{completion(1, -.05), completion(1, .05)}))
}

// shiftless is a user's own normaliser that leaves rewards as they are.
type shiftless struct{}

func (shiftless) Validate() error                  { return nil }
func (shiftless) Normalize(dst, rewards []float64) { copy(dst, rewards) }

// Rewards that lead by rounding alone do not lead.
func TestNobodyLeadsByRounding(t *testing.T) {
	x := math.Nextafter(.3, 1)
	require.Equal(t, []float64{0, 0, 0}, normalize(advantage.PassAtK{}, 0, .3, x))
	require.Equal(t, []float64{0, 0, 0}, normalize(advantage.PassAtK{DivideByStd: true}, x, 0, .3))
	require.Equal(t, []float64{0, .15, .15}, normalize(advantage.PassAtK{K: 2}, 0, .3, x))
	require.Equal(t, "no_difference", advantage.PerGroup(advantage.PassAtK{}).Dead(rollout.Group{completion(1, 0), completion(1, .3), completion(1, x)}))
	require.NotZero(t, normalize(advantage.PassAtK{Tolerance: -1}, 0, .3, x)[2])
}

// Reasons become names of metrics, which are few whatever the rewards are.
func TestReasonsAreFew(t *testing.T) {
	seen := map[string]bool{}
	for r := -1e4; r <= 1e4; r += 1.7 {
		seen[advantage.SameReward([]float64{r, r})] = true
	}
	require.LessOrEqual(t, len(seen), 203)
	for r, want := range map[float64]string{10: "constant_10", 10.04: "constant_10", 137: "constant_above_10", 1e100: "constant_above_10", -10: "constant_-10", -10.3: "constant_below_-10"} {
		require.Equal(t, want, advantage.SameReward([]float64{r, r}))
	}
}

func TestInvalidSettings(t *testing.T) {
	for want, s := range map[string]interface{ Validate() error }{
		"advantage: GRPO.Epsilon is -1, want a finite number of at least 0":           advantage.PerGroup(advantage.GRPO{Epsilon: -1}),
		"advantage: GRPO.Epsilon is NaN, want a finite number of at least 0":          advantage.GRPO{Epsilon: nan},
		"advantage: GRPO.MinStd is +Inf, want a finite number of at least 0":          advantage.GRPO{MinStd: math.Inf(1)},
		"advantage: GRPO.Std is advantage.Std(2), want sample or population":          advantage.GRPO{Std: 2},
		"advantage: DrGRPO.Singleton is advantage.Singleton(2), want zero or raw":     advantage.DrGRPO{Singleton: 2},
		"advantage: RLOO.Tolerance is NaN, want a finite number":                      advantage.RLOO{Tolerance: nan},
		"advantage: MaxRL.Epsilon is -1, want a finite number of at least 0":          advantage.MaxRL{Epsilon: -1},
		"advantage: PassAtK.K is 1, want 0 (the whole group) or at least 2":           advantage.PassAtK{K: 1},
		"advantage: PassAtK.K is -2, want 0 (the whole group) or at least 2":          advantage.PerGroup(advantage.PassAtK{K: -2}),
		"advantage: Combine.LengthPenalty is NaN, want a finite number of at least 0": advantage.OPO{Combine: advantage.Combine{LengthPenalty: nan}},
		"advantage: Weights[1] is NaN, want a finite number":                          advantage.PerGroup(advantage.RLOO{}, 1, nan),
		"advantage: ReinforcePP.Gamma is 2, want 0 (for 1) to 1":                      advantage.ReinforcePP{Gamma: 2},
		"advantage: ReinforcePPBaseline.Gamma is -1, want 0 (for 1) to 1":             advantage.ReinforcePPBaseline{Gamma: -1},
		"advantage: Whitening.MinVar is -1, want a finite number of at least 0":       advantage.ReinforcePP{Whitening: advantage.Whitening{MinVar: -1}},
		"advantage: Whitening.Epsilon is NaN, want a finite number of at least 0":     advantage.GDPO{Whitening: &advantage.Whitening{Epsilon: nan}},
		"advantage: GRPOBatchStd.Epsilon is -1, want a finite number of at least 0":   advantage.GRPOBatchStd{Epsilon: -1},
		"advantage: OPO.Tolerance is NaN, want a finite number":                       advantage.OPO{Tolerance: nan},
		"advantage: GroupEstimator.Norm is nil, want a normaliser such as GRPO":       advantage.GroupEstimator{},
		"advantage: GDPO.Std is advantage.Std(3), want sample or population":          advantage.GDPO{Std: 3},
	} {
		require.EqualError(t, s.Validate(), want)
	}
}
