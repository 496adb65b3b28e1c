package objective_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

func TestKindNames(t *testing.T) {
	for _, k := range []objective.KLEstimator{objective.K1, objective.K2, objective.K3, objective.KAbs} {
		got, err := objective.ParseKind(k.String())
		require.NoError(t, err)
		assert.Equal(t, k, got)
	}
	for _, name := range []string{"", "k4", "K1"} {
		_, err := objective.ParseKind(name)
		assert.ErrorContains(t, err, "want k1, k2, k3 or abs")
	}
	assert.Equal(t, "Kind(9)", objective.KLEstimator(9).String())
}

// expected returns the expected gradient with respect to the logits of a
// policy over three tokens when a token is drawn from sampler.
func expected(t *testing.T, o objective.Objective, policy, sampler, ref []float64) []float64 {
	t.Helper()
	grad := make([]float64, 3)
	for y := range 3 {
		s := newSequence([]float64{policy[y]}, []float64{sampler[y]}, []float64{ref[y]}, []float64{0})
		eval(t, o, s)
		for z := range grad {
			score := -math.Exp(policy[z]) // ∂logπ(y)/∂logit(z)
			if z == y {
				score++
			}
			grad[z] += math.Exp(sampler[y]) * s.Grad[0] * score
		}
	}
	return grad
}

// The exact gradient of KL(p‖q) with respect to the logits of the policy,
// which is p (reverse) or q (forward).
func reverseKLGradient(policy, ref []float64) []float64 {
	kl := 0.0
	for y := range policy {
		kl += math.Exp(policy[y]) * (policy[y] - ref[y])
	}
	grad := make([]float64, len(policy))
	for z := range grad {
		grad[z] = math.Exp(policy[z]) * (policy[z] - ref[z] - kl)
	}
	return grad
}

func forwardKLGradient(policy, ref []float64) []float64 {
	grad := make([]float64, len(policy))
	for z := range grad {
		grad[z] = math.Exp(policy[z]) - math.Exp(ref[z])
	}
	return grad
}

// What each estimator's gradient is the gradient of, by enumeration.
func TestExpectedGradientOfKL(t *testing.T) {
	policy, old, ref := logSoftmax(.3, -.8, .5), logSoftmax(0, .4, -.2), logSoftmax(-.5, .1, .9)
	kl := func(k objective.KLEstimator) objective.KL { return objective.KL{Estimator: k, Beta: 1} }
	plus := func(k objective.KLEstimator) objective.KL {
		return objective.KL{Estimator: k, Beta: 1, StraightThrough: true}
	}
	zero := []float64{0, 0, 0}
	assert.InDeltaSlice(t, zero, expected(t, kl(objective.K1), policy, policy, ref), 1e-15, "k1: none")
	assert.InDeltaSlice(t, reverseKLGradient(policy, ref), expected(t, kl(objective.K2), policy, policy, ref), 1e-15, "k2: KL(π‖ref)")
	assert.InDeltaSlice(t, forwardKLGradient(policy, ref), expected(t, kl(objective.K3), policy, policy, ref), 1e-15, "k3: KL(ref‖π)")
	for _, k := range []objective.KLEstimator{objective.K1, objective.K3} {
		assert.InDeltaSlice(t, reverseKLGradient(policy, ref), expected(t, plus(k), policy, policy, ref), 1e-15, "%v+: KL(π‖ref)", k)
		weighted := objective.KL{Estimator: k, Beta: 1, Importance: true}
		assert.InDeltaSlice(t, reverseKLGradient(policy, ref), expected(t, weighted, policy, old, ref), 1e-15,
			"%v weighted by π/π_old, on samples of π_old: KL(π‖ref)", k)
	}
}

func TestClampsOfKL(t *testing.T) {
	verl := objective.KL{Estimator: objective.K3, Beta: 1, LogRatioClamp: 20, ValueClamp: 10}
	for _, c := range []struct{ d, loss, grad float64 }{
		{-2, math.Exp(2) - 3, 1 - math.Exp(2)},
		{-3, 10, 0},   // e³-4 is more than 10
		{9, 8, 1},     // about d-1; the gradient is 1 - e⁻⁹
		{30, 10, 0},   // beyond both
		{-800, 10, 0}, // exp alone would overflow
	} {
		s := newSequence([]float64{c.d}, nil, []float64{0}, nil)
		loss, _ := eval(t, verl, s)
		assert.InDelta(t, c.loss, loss, 2e-4, "d=%v", c.d)
		assert.InDelta(t, c.grad, s.Grad[0], 2e-4, "d=%v", c.d)
	}
	s := newSequence([]float64{-800}, nil, []float64{0}, nil)
	eval(t, objective.KL{Estimator: objective.K3, Beta: 1, StraightThrough: true, LogRatioClamp: 20, ValueClamp: 10}, s)
	assert.Equal(t, -800., s.Grad[0], "the gradient of k2 is not clamped")
	_, err := objective.KL{Estimator: objective.K3, Beta: 1}.Eval(s, objective.Metrics{})
	assert.ErrorContains(t, err, "position 0")
	eval(t, objective.KL{Estimator: objective.K1, Beta: 1, ValueClamp: 10}, s)
	assert.Zero(t, s.Grad[0])
}

func TestRewardKL(t *testing.T) {
	logp := [][]float64{{-1, -2, math.NaN(), -1}, {-3}}
	ref := [][]float64{{-2, -1, math.Inf(1), -1.5}, {-2.5}} // d = 1, -1, ·, .5 and -.5
	live := [][]bool{{true, true, false, true}, nil}
	dst := [][]float64{make([]float64, 4), make([]float64, 1)}
	shape := func(k objective.RewardKL) objective.Sum {
		kl, err := k.Shape(dst, logp, ref, live)
		require.NoError(t, err)
		return kl
	}
	kl := shape(objective.RewardKL{Estimator: objective.K1, Beta: .5})
	assert.Equal(t, objective.Sum{Sum: 0, Count: 4}, kl)
	assert.Equal(t, [][]float64{{-.5, .5, 0, -.25}, {.25}}, dst)

	kl = shape(objective.RewardKL{Estimator: objective.K2, Beta: 1})
	assert.Equal(t, objective.Sum{Sum: 1.25, Count: 4}, kl)
	assert.Equal(t, [][]float64{{-.5, -.5, 0, -.125}, {-.125}}, dst)

	shape(objective.RewardKL{Estimator: objective.K2, Beta: 1, Center: true})
	assert.Equal(t, [][]float64{{-.1875, -.1875, 0, .1875}, {.1875}}, dst, "less the mean of .3125")

	shape(objective.RewardKL{Estimator: objective.K1, Beta: .5, Discount: .5})
	assert.Equal(t, [][]float64{{-.5 + .25 - .25/8, .5 - .25/4, 0, -.25}, {.25}}, dst)

	shape(objective.RewardKL{Estimator: objective.K1, Beta: 1, ValueClamp: .75})
	assert.Equal(t, [][]float64{{-.75, .75, 0, -.5}, {.5}}, dst)
}

func TestRewardKLErrors(t *testing.T) {
	one := [][]float64{{-1, -1}}
	k := objective.RewardKL{Estimator: objective.K1, Beta: 1}
	for want, call := range map[string]func() error{
		"completion 0: log-probs at position 1 are -1 and -Inf": func() error {
			_, err := k.Shape([][]float64{{0, 0}}, one, [][]float64{{-1, math.Inf(-1)}}, nil)
			return err
		},
		"completion 0: Shape has slices": func() error {
			_, err := k.Shape([][]float64{{0, 0}}, one, [][]float64{{-1}}, nil)
			return err
		},
		"want as many of each": func() error {
			_, err := k.Shape([][]float64{{0, 0}}, one, nil, nil)
			return err
		},
		"RewardKL.Kind":     objective.RewardKL{Beta: 1}.Validate,
		"RewardKL.Beta":     objective.RewardKL{Estimator: objective.K1, Beta: -1}.Validate,
		"RewardKL.Discount": objective.RewardKL{Estimator: objective.K1, Discount: 2}.Validate,
	} {
		assert.ErrorContains(t, call(), want)
	}
}

func TestAdaptiveKL(t *testing.T) {
	a := objective.AdaptiveKL{Beta: .2, Target: 6, Horizon: 10000}
	require.NoError(t, a.Update(6.6, 500)) // 10% above the target
	assert.InDelta(t, .2*(1+.1*.05), a.Beta, 1e-15)
	a.Beta = .2
	require.NoError(t, a.Update(60, 500)) // at most 20%
	assert.InDelta(t, .2*(1+.2*.05), a.Beta, 1e-15)
	a.Beta = .2
	require.NoError(t, a.Update(0, 500))
	assert.InDelta(t, .2*(1-.2*.05), a.Beta, 1e-15)
	before := a
	assert.ErrorContains(t, a.Update(math.NaN(), 1), "NaN")
	assert.ErrorContains(t, a.Update(1, 10001), "10001 samples")
	assert.Equal(t, before, a)
	assert.ErrorContains(t, new(objective.AdaptiveKL).Update(1, 1), "positive")
}
