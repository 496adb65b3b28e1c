package advantage_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// completion has one token per length unit and the given rewards.
func completion(tokens int, rewards ...float64) rollout.Completion {
	return rollout.Completion{Tokens: make([]int32, tokens), Rewards: rewards}
}

func scalars(t *testing.T, e advantage.Estimator, batch ...rollout.Group) []float64 {
	t.Helper()
	require.NoError(t, e.Estimate(batch))
	var out []float64
	for _, g := range batch {
		for _, c := range g {
			require.Len(t, c.Adv, len(c.Tokens))
			require.Len(t, c.Keep, len(c.Tokens))
			for tok := range c.Adv {
				require.True(t, c.Keep[tok])
			}
			out = append(out, c.Advantage)
		}
	}
	return out
}

func TestPerGroup(t *testing.T) {
	batch := func() []rollout.Group {
		return []rollout.Group{
			{completion(2, 1, .5), completion(1, 0, .5), completion(3, 0, nan)},
			{completion(1, 1, 1), completion(0, 1, 1)},
			{},
		}
	}
	for _, test := range []struct {
		name string
		est  advantage.GroupEstimator
		want []float64
	}{
		{"sum", advantage.PerGroup(advantage.RLOO{}), []float64{1, -1, 0, 0, 0}},
		{"weights", advantage.PerGroup(advantage.RLOO{}, 2, 1), []float64{2, -2, 0, 0, 0}},
		{"a weight of 0 is not looked at", advantage.PerGroup(advantage.RLOO{}, 1, 0), []float64{1, -.5, -.5, 0, 0}},
		{"skip", advantage.GroupEstimator{Norm: advantage.RLOO{}, Combine: advantage.Combine{SkipUnscorable: true}}, []float64{1.25, -.25, -1, 0, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := batch()
			require.InDeltaSlice(t, test.want, scalars(t, test.est, b...), 1e-12)
			require.InDeltaSlice(t, []float64{test.want[0], test.want[0]}, b[0][0].Adv, 1e-12)
		})
	}
}

func TestGRPOBatchStd(t *testing.T) {
	e := advantage.GRPOBatchStd{Epsilon: 1e-4}
	got := scalars(t, e, rollout.Group{completion(1, 1), completion(1, 0)}, rollout.Group{completion(1, 3), completion(1, 3), completion(1, nan)})
	// Rewards 1, 0, 3, 3: mean 7/4, sum of squares 27/4, std 1.5.
	want := .5 / (1.5 + 1e-4)
	require.InDeltaSlice(t, []float64{want, -want, 0, 0, 0}, got, 1e-12)
	require.Equal(t, []float64{0, 0}, scalars(t, e, rollout.Group{completion(1, 2), completion(1, 2)}))
}

func TestOPO(t *testing.T) {
	g := rollout.Group{completion(2, 1), completion(4, 0), completion(3, 0), completion(3, 1), completion(9, nan)}
	b := 5. / 12
	require.InDeltaSlice(t, []float64{1 - b, -b, -b, 1 - b, 0}, scalars(t, advantage.OPO{}, g), 1e-12)
	require.Equal(t, []float64{0, 0}, scalars(t, advantage.OPO{}, rollout.Group{completion(1, math.Nextafter(.3, 1)), completion(5, .3)}))
	require.Equal(t, []float64{0}, scalars(t, advantage.OPO{}, rollout.Group{completion(4, 1)}))
	require.Equal(t, []float64{1, 0}, scalars(t, advantage.OPO{Singleton: advantage.SingletonRaw}, rollout.Group{completion(4, 1), completion(2, math.NaN())}))
	require.Equal(t, []float64{0, 0}, scalars(t, advantage.OPO{}, rollout.Group{completion(0, 0), completion(0, 0)}))
	// A single completion is nothing to compare with, even if it has no token.
	require.Equal(t, []float64{0, 0}, scalars(t, advantage.OPO{}, rollout.Group{completion(0, 1), completion(3, nan)}))
	require.Equal(t, "single", advantage.OPO{}.Dead(rollout.Group{completion(0, 1), completion(3, nan)}))
}

func TestGDPO(t *testing.T) {
	e := advantage.GDPO{Norm: advantage.GRPO{Std: advantage.StdPopulation}, Weights: []float64{2, 1}, Std: advantage.StdPopulation}
	batch := []rollout.Group{
		{completion(1, 1, 0), completion(1, 0, 1)}, // ±1 per reward: 2−1 and −2+1
		{completion(1, 1, 1), completion(1, 0, 1)}, // second reward constant: 2 and −2
		{completion(1, 7, 7), completion(1, 7, 7)}, // dead
		{completion(1, nan, 1), completion(1, 0, 0)},
	}
	// x = 1, −1, 2, −2, 0, 0, ·, 0: mean 0, population variance 10/7.
	s := math.Sqrt(10. / 7)
	require.InDeltaSlice(t, []float64{1 / s, -1 / s, 2 / s, -2 / s, 0, 0, 0, 0}, scalars(t, e, batch...), 1e-12)

	// Different combinations with one sum stay apart, as they do not under GRPO.
	apart := scalars(t, e, rollout.Group{completion(1, 1, 0), completion(1, 0, 2), completion(1, 0, 0)})
	require.Greater(t, math.Abs(apart[0]-apart[1]), .1)

	e.SkipUnscorable = true
	// The unscorable reward stays out, its second one, normalised, is 1: mean 0 still.
	s = math.Sqrt(12. / 8)
	require.InDeltaSlice(t, []float64{1 / s, -1 / s, 2 / s, -2 / s, 0, 0, 1 / s, -1 / s}, scalars(t, e, batch...), 1e-12)

	err := e.Estimate([]rollout.Group{{completion(1, 1, 1), completion(1, 1)}})
	require.EqualError(t, err, "advantage: group 0, completion 1: the number of rewards is 1, want 2: one per weight")
	err = advantage.GDPO{}.Estimate([]rollout.Group{{completion(1, 1, 1), completion(1, 1)}})
	require.EqualError(t, err, "advantage: group 0, completion 1: the number of rewards is 1, but completion 0 has 2")
}

// The dead group keeps exact zeros where the batch mean of the others is not 0
// (which unscorable rewards bring about), unless the tolerance is off.
func TestGDPODeadGroup(t *testing.T) {
	batch := func() []rollout.Group {
		return []rollout.Group{
			{completion(1, 1, nan), completion(1, 0, 2), completion(1, 0, 0)},
			{completion(1, 7, 7), completion(1, 7, 7)},
		}
	}
	raw := advantage.RLOO{Singleton: advantage.SingletonRaw}
	e := advantage.GDPO{Norm: shiftOne{raw}, SkipUnscorable: true}
	got := scalars(t, e, batch()...)
	require.Equal(t, []float64{0, 0}, got[3:])
	e.Tolerance = -1
	require.NotEqual(t, 0., scalars(t, e, batch()...)[3])
}

// Whitened over tokens ±1 on 1 and 3 tokens has mean −1/2 and variance 3/4.
func TestGDPOWhitensOverTokens(t *testing.T) {
	e := advantage.GDPO{Norm: advantage.GRPO{Std: advantage.StdPopulation}, Whitening: &advantage.Whitening{Std: advantage.StdPopulation}}
	got := scalars(t, e, rollout.Group{completion(1, 5), completion(3, 2)}, rollout.Group{completion(9, nan)})
	require.InDeltaSlice(t, []float64{1.5 / math.Sqrt(.75), -.5 / math.Sqrt(.75), 0}, got, 1e-12)
}

// shiftOne is a user's own normaliser that does not centre live groups.
type shiftOne struct{ advantage.Normalizer }

func (s shiftOne) Normalize(dst, r []float64) {
	s.Normalizer.Normalize(dst, r)
	for i := range dst {
		if dst[i] != 0 {
			dst[i]++
		}
	}
}

func TestReinforcePP(t *testing.T) {
	shaped := completion(2, 1)
	shaped.Shaping = []float64{-.5, -.25}
	batch := []rollout.Group{{shaped, completion(1, 0), completion(3, nan)}}
	e := advantage.ReinforcePP{Gamma: .5}
	// Returns: −.5 + .5·.75, .75 and 0: −.125, .75, 0; mean 5/24.
	mean := .625 / 3
	variance := (sq(-.125-mean) + sq(.75-mean) + sq(mean)) / 2
	s := math.Sqrt(variance)
	got := scalars(t, e, batch...)
	require.InDeltaSlice(t, []float64{(-.125 - mean) / s, (.75 - mean) / s}, batch[0][0].Adv, 1e-12)
	require.InDeltaSlice(t, []float64{-mean / s}, batch[0][1].Adv, 1e-12)
	require.Equal(t, []float64{0, 0, 0}, batch[0][2].Adv)
	// The scalar is the outcome's part: 1 and 0, shifted and scaled alike.
	require.InDeltaSlice(t, []float64{(1 - mean) / s, -mean / s, 0}, got, 1e-12)

	require.NoError(t, advantage.AddShaping(e, batch))
	require.InDelta(t, (.75-mean)/s, batch[0][0].Adv[1], 1e-12, "folded already")

	// verl: Bessel variance + 1e-8; OpenRLHF: population variance, at least 1e-8.
	plain := []rollout.Group{{completion(1, 1), completion(3, 0)}}
	verl := advantage.ReinforcePP{Whitening: advantage.Whitening{Epsilon: 1e-8}}
	require.InDelta(t, .75/math.Sqrt(.25+1e-8), scalars(t, verl, plain...)[0], 1e-12)
	rlhf := advantage.ReinforcePP{Whitening: advantage.Whitening{Std: advantage.StdPopulation, MinVar: 1e-8}}
	require.InDelta(t, .75/math.Sqrt(3./16), scalars(t, rlhf, plain...)[0], 1e-12)
	require.Equal(t, []float64{0, 0}, scalars(t, rlhf, rollout.Group{completion(1, .3), completion(2, math.Nextafter(.3, 1))}))
}

func TestReinforcePPBaseline(t *testing.T) {
	batch := []rollout.Group{
		{completion(1, 1), completion(3, 0)},
		{completion(2, 1), completion(2, 1), completion(1, nan)},
		{completion(1, 5)},
	}
	e := advantage.ReinforcePPBaseline{Whitening: advantage.Whitening{Std: advantage.StdPopulation}}
	// Tokens: .5, −.5 ×3, 0 ×5; mean −1/9.
	mean := -1. / 9
	s := math.Sqrt((sq(.5-mean) + 3*sq(-.5-mean) + 5*sq(mean)) / 9)
	want := []float64{(.5 - mean) / s, (-.5 - mean) / s, -mean / s, -mean / s, 0, -mean / s}
	require.InDeltaSlice(t, want, scalars(t, e, batch...), 1e-12)

	e.Singleton = advantage.SingletonRaw
	require.Greater(t, scalars(t, e, batch...)[5], 2.)
}

func TestAddShaping(t *testing.T) {
	c := completion(2, 1)
	c.Shaping = []float64{.25, -.5}
	batch := []rollout.Group{{c, completion(1, 0)}}
	e := advantage.PerGroup(advantage.RLOO{})
	require.NoError(t, e.Estimate(batch))
	batch[0][0].Keep[1], batch[0][0].Adv[1] = false, 0
	require.NoError(t, advantage.AddShaping(e, batch))
	require.Equal(t, []float64{1.25, -.5}, batch[0][0].Adv)
	require.Equal(t, []float64{-1}, batch[0][1].Adv)

	// Folded into the reward, as verl and TRL's RLOO do: 1 − .25 against 0.
	e.Combine.FoldShaping = true
	require.InDeltaSlice(t, []float64{.75, -.75}, scalars(t, e, batch...), 1e-12)
	require.NoError(t, advantage.AddShaping(e, batch))
	require.InDeltaSlice(t, []float64{.75, .75}, batch[0][0].Adv, 1e-12)
}

// Length costs a share of what the group is worth: here 1/4 of 2/3 for the longest.
func TestLengthPenalty(t *testing.T) {
	penalty := advantage.Combine{LengthPenalty: .25}
	e := advantage.GroupEstimator{Norm: advantage.DrGRPO{}, Combine: penalty}
	mixed := rollout.Group{completion(4, 1), completion(2, 1), completion(1, 0), completion(100, nan)}
	got := scalars(t, e, mixed)
	require.InDeltaSlice(t, []float64{19. / 72, 25. / 72, -44. / 72, 0}, got, 1e-15) // of 5/6, 11/12 and -1/24
	require.True(t, mixed[3].Unscorable)

	right := rollout.Group{completion(2, 1), completion(4, 1)}
	require.Empty(t, e.Dead(right))
	require.Equal(t, []float64{.0625, -.0625}, scalars(t, e, right))
	require.InDeltaSlice(t, []float64{.875 - 4.75/6, .75 - 4.75/6}, scalars(t, advantage.OPO{Combine: penalty}, right), 1e-15)

	for want, g := range map[string]rollout.Group{
		"constant_1":  {completion(3, 1), completion(3, 1)}, // not 0.8, what is left of it
		"constant_0":  {completion(3, 0), completion(5, 0)},
		"constant_-1": {completion(3, -1), completion(5, -1)},
	} {
		require.Equal(t, want, e.Dead(g))
		require.Equal(t, []float64{0, 0}, scalars(t, e, g))
	}
	// Where the mean is negative, or there is no length, there is no penalty.
	require.Equal(t, []float64{.75, -.75}, scalars(t, e, rollout.Group{completion(3, .5), completion(5, -1)}))
	require.Equal(t, []float64{.5, -.5}, scalars(t, e, rollout.Group{completion(0, 1), completion(0, 0)}))

	e.Combine.LengthPenalty = 10
	require.ErrorContains(t, e.Estimate([]rollout.Group{{completion(1, 1)}, {completion(1, 1e100), completion(9, 1e100)}}),
		"advantage: group 1, completion 1: the reward after the length penalty is -")
}

func TestErrorsNameTheCompletion(t *testing.T) {
	ok := completion(1, 1)
	shaped := func(x ...float64) rollout.Completion {
		c := completion(2, 1)
		c.Shaping = x
		return c
	}
	estimate := func(e advantage.Estimator, c rollout.Completion) error {
		batch := []rollout.Group{{ok}, {ok, c}}
		if err := e.Estimate(batch); err != nil {
			return err
		}
		return advantage.AddShaping(e, batch)
	}
	plain := advantage.PerGroup(advantage.RLOO{})
	for _, test := range []struct {
		err  error
		want string
	}{
		{estimate(plain, completion(1, math.Inf(1))), "advantage: group 1, completion 1: reward 0 is +Inf, want a number from -1e+100 to 1e+100, or NaN (unscorable)"},
		{estimate(advantage.OPO{}, completion(1, math.Inf(-1))), "advantage: group 1, completion 1: reward 0 is -Inf, want a number from -1e+100 to 1e+100, or NaN (unscorable)"},
		{estimate(plain, completion(1, 1.7e308)), "advantage: group 1, completion 1: reward 0 is 1.7e+308, want a number from -1e+100 to 1e+100, or NaN (unscorable)"},
		{estimate(advantage.PerGroup(advantage.RLOO{}, -2), completion(1, 1e100)), "advantage: group 1, completion 1: the sum of the rewards is -2e+100, want a number from -1e+100 to 1e+100, or NaN (unscorable)"},
		{estimate(advantage.PerGroup(advantage.RLOO{}, 1), completion(1, 1, 2)), "advantage: group 1, completion 1: the number of rewards is 2, want 1: one per weight"},
		{estimate(plain, shaped(1)), "advantage: group 1, completion 1: 1 shaping rewards, want one per token: 2"},
		{estimate(advantage.ReinforcePP{}, shaped(1, 2, 3)), "advantage: group 1, completion 1: 3 shaping rewards, want one per token: 2"},
		{estimate(plain, shaped(1, nan)), "advantage: group 1, completion 1: shaping reward of token 1 is NaN, want a finite number"},
	} {
		require.EqualError(t, test.err, test.want)
	}
	require.PanicsWithValue(t, "advantage: PerGroup of a nil Normalizer", func() { advantage.PerGroup(nil) })
}

func sq(x float64) float64 { return x * x }
