package sam_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

var nan = math.NaN()

func stepOf(name string, start, end int, reward float64) rollout.Step {
	v := rollout.VerdictUnknown
	if !math.IsNaN(reward) {
		v = verdictOf(reward == 1)
	}
	return rollout.Step{Name: name, Start: start, End: end, Verdict: v, Reward: reward}
}

func brokenStep(name string, start, end int) rollout.Step {
	return rollout.Step{Name: name, Start: start, End: end, Verdict: rollout.VerdictBroken, Reward: nan}
}

// unruly is a group with everything in it. Outcome advantages under Dr. GRPO:
// .5, −.5 and 0.
//
//	0: a a . b b .   a right, b wrong
//	1: b b a x       a again is a duplicate of the missing one's name, x surplus
//	2: a . b         a cannot be judged, b right
func unruly() []rollout.Group {
	return []rollout.Group{{
		{Rewards: []float64{1}, Tokens: make([]int32, 6), Steps: []rollout.Step{stepOf("a", 0, 2, 1), stepOf("b", 3, 5, 0)}},
		{Rewards: []float64{0}, Tokens: make([]int32, 4), Steps: []rollout.Step{
			brokenStep("a", 0, 0), stepOf("b", 0, 2, 1), brokenStep("a", 2, 3), brokenStep("x", 3, 4),
		}},
		{Rewards: []float64{.5}, Tokens: make([]int32, 3), Steps: []rollout.Step{stepOf("a", 0, 1, nan), stepOf("b", 2, 3, 1)}},
	}}
}

func creditUnruly(t *testing.T, kind sam.Credit) [][]float64 {
	t.Helper()
	batch := unruly()
	require.NoError(t, advantage.PerGroup(advantage.DrGRPO{}).Estimate(batch))
	_, err := kind.Assign(batch)
	require.NoError(t, err)
	var out [][]float64
	for _, c := range batch[0] {
		for tok, keep := range c.Keep {
			require.True(t, keep, "token %d", tok)
		}
		out = append(out, c.Adv)
	}
	return out
}

func TestStepGroupOnUnrulyGroup(t *testing.T) {
	// a: 1, 0, · → ±.5; b: 0, 1, 1 → −2/3, 1/3, 1/3. The missing a is blamed
	// on the first token of b; x, which no other has, keeps the blame.
	const third = 1. / 3
	want := [][]float64{
		{.5, .5, .5, -2 * third, -2 * third, .5},
		{third - .5, third, -.5, -.5},
		{0, 0, third},
	}
	for i, adv := range creditUnruly(t, sam.StepGroup{Norm: advantage.DrGRPO{}}) {
		require.InDeltaSlice(t, want[i], adv, 1e-12, "completion %d", i)
	}
	// Step rewards of −1 and 1 need a reward for broken steps to match.
	got := creditUnruly(t, sam.StepGroup{Norm: advantage.DrGRPO{}, BrokenReward: -1})
	require.InDelta(t, -1, got[1][2], 1e-12)
}

// A step of the policy's own making, which no other completion has, is blamed
// with a bad outcome and not praised with a good one.
func TestSurplusStepIsNeverPraised(t *testing.T) {
	batch := []rollout.Group{{
		{Rewards: []float64{1}, Tokens: make([]int32, 2), Steps: []rollout.Step{stepOf("a", 0, 1, 1), brokenStep("x", 1, 2)}},
		{Rewards: []float64{0}, Tokens: make([]int32, 2), Steps: []rollout.Step{stepOf("a", 0, 1, 0), brokenStep("y", 1, 2)}},
	}}
	require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
	_, err := sam.StepGroup{Norm: advantage.RLOO{}}.Assign(batch)
	require.NoError(t, err)
	require.Equal(t, []float64{1, 0}, batch[0][0].Adv)
	require.Equal(t, []float64{-1, -1}, batch[0][1].Adv)
}

// Credit of weight 0 has no say in what is kept either.
func TestBlendKeepsWhatCreditWithWeightKeeps(t *testing.T) {
	for lambda, want := range map[float64][]bool{
		0:  {true, true, true, true, false, false, true, true, true},
		.5: {true, true, true, true, true, true, true, true, true},
		1:  {true, true, true, true, true, true, true, true, true},
	} {
		for _, blend := range []sam.Blend{
			{A: sam.Outcome{}, B: sam.Mask{}, Lambda: lambda},
			{A: sam.Mask{}, B: sam.Outcome{}, Lambda: 1 - lambda},
		} {
			c := example()
			advantage.Broadcast(&c, 1)
			_, err := blend.Assign([]rollout.Group{{c}})
			require.NoError(t, err)
			require.Equal(t, want, c.Keep, "λ = %v", lambda)
		}
	}
}

func TestReturnToGoOnUnrulyGroup(t *testing.T) {
	// The pool is a: 1, 0; b: 0, 1, 1; x: 0, with mean 1/2. The two a of
	// completion 1 count once, at the second. No reward falls due after token
	// 4 of completion 0, which keeps its outcome's .5.
	want := [][]float64{
		{0, 0, -.5, -.5, -.5, .5},
		{-.5, -.5, -1, -.5},
		{.5, .5, .5},
	}
	for i, adv := range creditUnruly(t, sam.ReturnToGo{Norm: advantage.DrGRPO{}}) {
		require.InDeltaSlice(t, want[i], adv, 1e-12, "completion %d", i)
	}
}

func TestOutcomePlusVerdictOnUnrulyGroup(t *testing.T) {
	// Mean verdicts 1/2, 1/4, 1: sums 3/2, 1/4, 3/2.
	const mean = 3.25 / 3
	for i, adv := range creditUnruly(t, sam.OutcomePlusVerdict{Norm: advantage.DrGRPO{}}) {
		for _, a := range adv {
			require.InDelta(t, []float64{1.5, .25, 1.5}[i]-mean, a, 1e-12)
		}
	}
	// A completion without a judged step learns nothing from the verdicts of
	// the others, and an unscorable one nothing at all.
	batch := []rollout.Group{{
		{Rewards: []float64{1}, Tokens: make([]int32, 1), Steps: []rollout.Step{stepOf("a", 0, 1, 1)}},
		{Rewards: []float64{1}, Tokens: make([]int32, 1), Steps: []rollout.Step{stepOf("a", 0, 1, 0)}},
		{Rewards: []float64{1}, Tokens: make([]int32, 1), Steps: []rollout.Step{stepOf("a", 0, 1, nan)}},
		{Rewards: []float64{nan}, Tokens: make([]int32, 1), Steps: []rollout.Step{stepOf("a", 0, 1, 1)}},
	}}
	require.NoError(t, advantage.PerGroup(advantage.DrGRPO{}).Estimate(batch))
	_, err := sam.OutcomePlusVerdict{Norm: advantage.DrGRPO{}}.Assign(batch)
	require.NoError(t, err)
	for i, want := range []float64{1. / 2, -1. / 2, 0, 0} {
		require.InDelta(t, want, batch[0][i].Adv[0], 1e-12, "completion %d", i)
	}
}

// The control compares the rewards that the estimator compares: a length penalty is in both.
func TestOutcomePlusVerdictHasTheLengthPenalty(t *testing.T) {
	combine := advantage.Combine{LengthPenalty: .5}
	batch := []rollout.Group{{
		{Rewards: []float64{1}, Tokens: make([]int32, 2)}, {Rewards: []float64{1}, Tokens: make([]int32, 4)},
	}}
	require.NoError(t, advantage.GroupEstimator{Norm: advantage.DrGRPO{}, Combine: combine}.Estimate(batch))
	_, err := sam.OutcomePlusVerdict{Norm: advantage.DrGRPO{}, Combine: combine}.Assign(batch)
	require.NoError(t, err)
	require.Equal(t, []float64{.125, -.125}, []float64{batch[0][0].Adv[0], batch[0][1].Adv[0]})
	batch[0][1].Rewards = nil
	_, err = sam.OutcomePlusVerdict{Norm: advantage.DrGRPO{}, Combine: advantage.Combine{Weights: []float64{1}}}.Assign(batch)
	require.EqualError(t, err, "sam: group 0, completion 1: the number of rewards is 0, want 1: one per weight")
}

// A length penalty makes a group of right answers live by their lengths, so Fill leaves it
// alone. GRPO gives the lengths advantages whose size does not depend on the penalty's,
// DrGRPO does not.
func TestFillLeavesGroupsOfAnotherLengthAlone(t *testing.T) {
	assign := func(norm advantage.Normalizer, reward, penalty float64) (adv []float64) {
		var g rollout.Group
		for i, verdict := range []float64{1, 0, 1, 0} {
			g = append(g, rollout.Completion{
				Rewards: []float64{reward}, Tokens: make([]int32, 3+i/2), Steps: []rollout.Step{stepOf("a", 0, 1, verdict)},
			})
		}
		batch := []rollout.Group{g}
		require.NoError(t, advantage.GroupEstimator{Norm: norm, Combine: advantage.Combine{LengthPenalty: penalty}}.Estimate(batch))
		_, err := sam.Mask{Fill: norm}.Assign(batch)
		require.NoError(t, err)
		for _, c := range g {
			adv = append(adv, c.Adv[0])
		}
		return adv
	}
	pop := advantage.GRPO{Std: advantage.StdPopulation}
	filled, lengths := []float64{1, -1, 1, -1}, []float64{1, 0, 0, -1} // of 3, 3, 4 and 4 tokens
	require.InDeltaSlice(t, filled, assign(pop, 1, 0), 1e-9)
	require.InDeltaSlice(t, filled, assign(pop, 0, .25), 1e-9)
	require.InDeltaSlice(t, lengths, assign(pop, 1, .25), 1e-9)
	require.InDeltaSlice(t, lengths, assign(pop, 1, .0025), 1e-9)
	// .25·3/4 and .25·4/4 from their mean.
	require.InDeltaSlice(t, []float64{.03125, 0, 0, -.03125}, assign(advantage.DrGRPO{}, 1, .25), 1e-12)
	require.InDeltaSlice(t, []float64{.0003125, 0, 0, -.0003125}, assign(advantage.DrGRPO{}, 1, .0025), 1e-12)
}

// Rounding errors in the rewards of a group give no sign to mask by.
func TestRoundingMasksNothing(t *testing.T) {
	c, d := example(), example()
	c.Rewards, d.Rewards = []float64{.3}, []float64{math.Nextafter(.3, 1)}
	batch := []rollout.Group{{c, d}}
	require.NoError(t, advantage.PerGroup(advantage.GRPO{}).Estimate(batch))
	stats, err := sam.Mask{}.Assign(batch)
	require.NoError(t, err)
	require.Equal(t, 1, stats.FlatGroups)
	for _, c := range batch[0] {
		for tok := range c.Adv {
			require.Zero(t, c.Adv[tok])
			require.True(t, c.Keep[tok])
		}
	}
}
