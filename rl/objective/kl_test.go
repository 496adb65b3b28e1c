package objective_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// expected returns the expected gradient with respect to the logits of a
// policy over three tokens when a token is drawn from sampler.
func expected(t *testing.T, o objective.Objective, policy, sampler, ref []float64) []float64 {
	t.Helper()
	grad := make([]float64, 3)
	for y := range 3 {
		s := newSequence([]float64{policy[y]}, []float64{sampler[y]}, []float64{ref[y]}, []float64{0})
		s.Teacher = s.Ref
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

// Beyond a clamp nothing moves the policy, not even the importance ratio.
func TestClampedKLHasNoGradientThroughTheImportanceRatio(t *testing.T) {
	kl := objective.KL{Estimator: objective.K3, Beta: 1, Importance: true, LogRatioClamp: 2}
	s := newSequence([]float64{-3, -1}, []float64{-3, -1}, []float64{0, 0}, nil)
	loss, _ := eval(t, kl, s)
	assert.InDelta(t, math.Exp(2)-3+math.E-2, loss, 1e-12)
	assert.InDelta(t, 5.1073378, loss, 1e-6)
	assert.InDeltaSlice(t, []float64{0, -1}, s.Grad, 1e-12)

	kl = objective.KL{Estimator: objective.K3, Beta: 1, Importance: true, ValueClamp: 1}
	s.Old = []float64{-3.5, -1}
	loss, _ = eval(t, kl, s)
	assert.InDelta(t, math.Exp(.5)*1+math.E-2, loss, 1e-12, "the value is weighted all the same")
	assert.InDeltaSlice(t, []float64{0, -1}, s.Grad, 1e-12)
}

func TestRewardKL(t *testing.T) {
	logp := [][]float64{{-1, -2, math.NaN(), -1}, {-3}}
	ref := [][]float64{{-2, -1, math.Inf(1), -1.5}, {-2.5}} // d = 1, -1, ·, .5 and -.5
	include := [][]bool{{true, true, false, true}, nil}
	dst := [][]float64{make([]float64, 4), make([]float64, 1)}
	shape := func(k objective.RewardKL) objective.Sum {
		kl, err := k.Shape(dst, logp, ref, include)
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
		"RewardKL.Estimator": objective.RewardKL{Beta: 1}.Validate,
		"RewardKL.Beta":      objective.RewardKL{Estimator: objective.K1, Beta: -1}.Validate,
		"RewardKL.Discount":  objective.RewardKL{Estimator: objective.K1, Discount: 2}.Validate,
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

// compared makes a sequence of one token with the candidates given, of which the
// last is the rest.
func compared(teacher, policy []float64) *objective.Sequence {
	s := newSequence([]float64{-1}, nil, nil, nil)
	s.Cand = &objective.Candidates{K: len(teacher) - 1, Teacher: teacher, LogP: policy, Grad: make([]float64, len(teacher))}
	return s
}

func logs(p ...float64) []float64 {
	for i := range p {
		p[i] = math.Log(p[i])
	}
	return p
}

func TestDivergencesByHand(t *testing.T) {
	ln := math.Log
	teacher, policy := logs(.5, .25, .25), logs(.25, .5, .25)
	for _, c := range []struct {
		name            string
		o               objective.Objective
		teacher, policy []float64
		loss            float64
		grad            []float64
	}{
		{"forward", objective.ForwardKL{}, teacher, policy, .25 * ln(2), []float64{-.5, -.25, -.25}},
		{"jsd 0 is forward", objective.JSD{}, teacher, policy, .25 * ln(2), []float64{-.5, -.25, -.25}},
		{"reverse", objective.ReverseKL{}, teacher, policy, .25 * ln(2), []float64{.25 - .25*ln(2), .5 + .5*ln(2), .25}},
		{"jsd 1 is reverse", objective.JSD{Beta: 1}, teacher, policy, .25 * ln(2), []float64{.25 - .25*ln(2), .5 + .5*ln(2), .25}},
		// M = .375, .375, .25
		{"jsd", objective.JSD{Beta: .5}, teacher, policy,
			.5*(.5*ln(4./3)+.25*ln(2./3)) + .5*(.25*ln(2./3)+.5*ln(4./3)), []float64{.125 * ln(2./3), .25 * ln(4./3), 0}},
		{"jsd is bounded where both rule each other out", objective.JSD{Beta: .5}, logs(1, 0), logs(0, 1), ln(2), []float64{0, .5 * ln(2)}},
		{"a teacher's zero is no information lost", objective.ForwardKL{}, logs(1, 0), logs(.5, .5), ln(2), []float64{-1, 0}},
		{"the policy's zero costs the reverse nothing", objective.ReverseKL{}, logs(.5, .5), logs(1, 0), ln(2), []float64{1 + ln(2), 0}},
		{"the whole vocabulary leaves no rest", objective.ReverseKL{}, logs(.5, .5, 0), logs(.5, .5, 0), 0, []float64{.5, .5, 0}},
		{"nor in the forward one", objective.ForwardKL{}, logs(.5, .5, 0), logs(.5, .5, 0), 0, []float64{-.5, -.5, 0}},
		{"nor in the mixed one", objective.JSD{Beta: .5}, logs(.5, .5, 0), logs(.5, .5, 0), 0, []float64{0, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compared(c.teacher, c.policy)
			loss, m := eval(t, c.o, s)
			assert.InDelta(t, c.loss, loss, 1e-12)
			assert.InDeltaSlice(t, c.grad, s.Cand.Grad, 1e-12)
			rest := len(c.teacher) - 1
			for name, sum := range m {
				want := c.loss
				switch name {
				case "candidate_mass_policy":
					want = 1 - math.Exp(c.policy[rest])
				case "candidate_mass_teacher":
					want = 1 - math.Exp(c.teacher[rest])
				}
				assert.InDelta(t, want, sum.Sum, 1e-12, name)
				assert.Equal(t, 1., sum.Count)
			}
			assert.Len(t, m, 3)
		})
	}
}

// The teacher has .5, .3 and, over two tokens that are no candidates, .15 and .05.
// With the rest, every divergence is smallest where the policy's candidates have the
// teacher's probabilities. The reverse KL over the candidates alone is negative
// there, -.294, for a policy that has moved all but .8/e = .294 of its mass to where
// nobody looks.
func TestWithoutTheRestReverseKLHasItsMinimumElsewhere(t *testing.T) {
	teacher := []float64{.5, .3, .2}
	astray := []float64{.5 / math.E, .3 / math.E, 1 - .8/math.E}
	alone := func(p []float64) (sum float64) { // over the candidates alone
		for k := range 2 {
			sum += p[k] * math.Log(p[k]/teacher[k])
		}
		return sum
	}
	assert.Zero(t, alone(teacher))
	assert.InDelta(t, -.8/math.E, alone(astray), 1e-15)
	for name, o := range map[string]objective.Objective{
		"reverse": objective.ReverseKL{}, "forward": objective.ForwardKL{}, "jsd": objective.JSD{Beta: .3},
	} {
		s := compared(logs(.5, .3, .2), logs(.5, .3, .2))
		loss, _ := eval(t, o, s)
		assert.InDelta(t, 0, loss, 1e-15, name)
		sum := 0.0 // the gradient of the outcomes' logits: g - p·Σg
		for _, g := range s.Cand.Grad {
			sum += g
		}
		for k, g := range s.Cand.Grad {
			assert.InDelta(t, 0, g-teacher[k]*sum, 1e-15, name)
		}
		loss, _ = eval(t, o, compared(logs(.5, .3, .2), logs(astray[0], astray[1], astray[2])))
		assert.Greater(t, loss, .1, name)
	}
	loss, _ := eval(t, objective.ReverseKL{}, compared(logs(.5, .3, .2), logs(.5/math.E, .3/math.E, 1-.8/math.E)))
	assert.InDelta(t, -.8/math.E+(1-.8/math.E)*math.Log((1-.8/math.E)/.2), loss, 1e-15) // 0.596
	assert.InDelta(t, .596, loss, 1e-3)
}

// A JSD is bounded for every pair of log-probs, those that underflow too, and a NaN in
// either is an error whatever the other is.
func TestJSDOfExtremes(t *testing.T) {
	extremes := []float64{0, -1, -700, -744.44, -745, -745.2, -1e4, math.Inf(-1), math.NaN()}
	for _, beta := range []float64{1e-12, .1, .5, 1 - 1e-12} {
		for _, q := range extremes {
			for _, p := range extremes {
				s := compared([]float64{q, -1}, []float64{p, -1})
				loss, err := objective.JSD{Beta: beta}.Eval(s, objective.Metrics{})
				if math.IsNaN(q) || math.IsNaN(p) {
					require.ErrorContains(t, err, "candidate 0 at position 0", "β %v, teacher %v, policy %v", beta, q, p)
					continue
				}
				require.NoError(t, err, "β %v, teacher %v, policy %v", beta, q, p)
				require.InDelta(t, 0, loss, 1, "β %v, teacher %v, policy %v", beta, q, p)
			}
		}
	}
}

func TestDivergenceErrors(t *testing.T) {
	_, err := objective.ReverseKL{}.Eval(compared(logs(.5, 0, .5), logs(.4, .4, .2)), objective.Metrics{})
	assert.ErrorContains(t, err, "candidate 1 at position 0 has log-probs -Inf (teacher)")
	_, err = objective.ForwardKL{}.Eval(compared(logs(.5, .5), logs(1, 0)), objective.Metrics{})
	assert.ErrorContains(t, err, "the rest at position 0 has log-probs -0.69")
	for _, o := range []objective.Objective{objective.ForwardKL{}, objective.ReverseKL{}, objective.JSD{Beta: .5}} {
		_, err = o.Eval(compared([]float64{-1, math.NaN()}, logs(.5, .5)), objective.Metrics{})
		assert.ErrorContains(t, err, "the rest at position 0", "%#v", o)
		_, err = o.Eval(compared(logs(.5, .5), []float64{math.NaN(), -1}), objective.Metrics{})
		assert.ErrorContains(t, err, "candidate 0 at position 0", "%#v", o)
	}
	s := newSequence([]float64{-1, -1}, nil, nil, nil)
	_, err = objective.ForwardKL{}.Eval(s, objective.Metrics{})
	assert.ErrorContains(t, err, "Cand is missing")
	s.Cand = &objective.Candidates{}
	_, err = objective.ForwardKL{}.Eval(s, objective.Metrics{})
	assert.ErrorContains(t, err, "Cand.K is 0")
	s.Cand = &objective.Candidates{K: 2, Teacher: make([]float64, 6), LogP: make([]float64, 4), Grad: make([]float64, 6)}
	_, err = objective.ForwardKL{}.Eval(s, objective.Metrics{})
	assert.ErrorContains(t, err, "want 2 tokens × 2 candidates and the rest")
}
