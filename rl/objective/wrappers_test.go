package objective_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// mismatched has importance weights of 4, 1 and 1/4 (and an excluded token), so that
// the sequence's is 1.
func mismatched() *objective.Sequence {
	ln4 := math.Log(4)
	s := newSequence([]float64{-1, -1, -1, excluded}, []float64{-1, -1, -1, excluded}, nil, []float64{1, 1, 1, excluded})
	s.Rollout = []float64{-1 - ln4, -1, -1 + ln4, excluded}
	return s
}

func TestCorrected(t *testing.T) {
	is := objective.ImportanceSampling{}
	for _, c := range []struct {
		name string
		o    objective.Corrected
		want [3]float64 // weight of each token
	}{
		{"truncated", objective.Corrected{Max: 2}, [3]float64{2, 1, .25}},
		{"truncated on both sides", objective.Corrected{Min: .5, Max: 2}, [3]float64{2, 1, .5}},
		{"dropped", objective.Corrected{Outside: objective.OutsideDrop, Min: .5, Max: 5}, [3]float64{4, 1, 0}},
		{"gated", objective.Corrected{Outside: objective.OutsideGate, Min: .5, Max: 5}, [3]float64{1, 1, 0}},
		{"unbounded", objective.Corrected{Max: math.Inf(1)}, [3]float64{4, 1, .25}},
		{"clamped", objective.Corrected{Max: math.Inf(1), LogRatioClamp: math.Log(2)}, [3]float64{2, 1, .5}},
		{"sequence", objective.Corrected{Level: objective.LevelSequence, Max: 2}, [3]float64{1, 1, 1}},
		{"sequence, dropped", objective.Corrected{Level: objective.LevelSequence, Outside: objective.OutsideDrop, Min: 1.5, Max: 2}, [3]float64{}},
		{"geometric", objective.Corrected{Level: objective.LevelGeometric, Max: .5}, [3]float64{.5, .5, .5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Objective = is
			s := mismatched()
			loss, _ := eval(t, c.o, s)
			assert.InDelta(t, -c.want[0]-c.want[1]-c.want[2], loss, 1e-12)
			assert.InDeltaSlice(t, []float64{-c.want[0], -c.want[1], -c.want[2], 0}, s.Grad, 1e-12)
			assert.Equal(t, []float64{1, 1, 1, 0}, s.Weight, "the caller's weights stay")
		})
	}
}

func TestCorrectedLevels(t *testing.T) {
	s := newSequence([]float64{-1, -1}, []float64{-1, -1}, nil, []float64{1, 1})
	s.Rollout = []float64{-1 - math.Log(2), -1 - math.Log(8)}
	for level, want := range map[objective.Level]float64{objective.LevelToken: 2 + 8, objective.LevelSequence: 2 * 16, objective.LevelGeometric: 2 * 4} {
		loss, _ := eval(t, objective.Corrected{Objective: objective.ImportanceSampling{}, Level: level, Max: 100}, s)
		assert.InDelta(t, -want, loss, 1e-12)
	}
}

// Metrics show the mismatch as it is, not what is left of it after truncation.
func TestCorrectedMetricsAreTakenBeforeTruncation(t *testing.T) {
	_, m := eval(t, objective.Corrected{Objective: objective.ImportanceSampling{}, Min: .5, Max: 2}, mismatched())
	ln4 := math.Log(4)
	for name, want := range map[string]objective.Sum{
		"rollout_weight":    {Sum: 5.25, Count: 3},
		"rollout_weight_sq": {Sum: 17.0625, Count: 3},
		"rollout_low":       {Sum: 1, Count: 3},
		"rollout_high":      {Sum: 1, Count: 3},
		"rollout_gap":       {Sum: 2 * ln4, Count: 3},
		"rollout_kl":        {Sum: ln4 * ln4, Count: 3},
	} {
		assert.InDelta(t, want.Sum, m[name].Sum, 1e-12, name)
		assert.Equal(t, want.Count, m[name].Count, name)
	}
	s := newSequence([]float64{0}, []float64{0}, nil, []float64{1})
	s.Rollout = []float64{-1000}
	loss, m := eval(t, objective.Corrected{Objective: objective.ImportanceSampling{}, Max: 2}, s)
	assert.Equal(t, -2., loss)
	assert.Equal(t, 1e6, m["rollout_weight"].Sum, "an infinite weight counts as a million")
}

// OpenRLHF's seq-mask-tis: sequences are selected by their geometric mean,
// tokens reweighted one by one.
func TestCorrectionsNest(t *testing.T) {
	tis := objective.Corrected{Objective: objective.ImportanceSampling{}, Max: 2}
	o := objective.Corrected{Objective: tis, Level: objective.LevelGeometric, Outside: objective.OutsideGate, Min: .5, Max: 5}
	s := mismatched()
	loss, _ := eval(t, o, s)
	assert.InDelta(t, -3.25, loss, 1e-12)
	o.Min = 1.1
	loss, _ = eval(t, o, s)
	assert.Zero(t, loss)
}

func TestCorrectionLeavesRegularisersAlone(t *testing.T) {
	kl := objective.KL{Estimator: objective.K3, Beta: 1}
	s := mismatched()
	s.Ref = []float64{-2, -1.5, -.5, excluded}
	want, _ := eval(t, kl, s)
	grad := append([]float64(nil), s.Grad...)
	got, _ := eval(t, objective.Corrected{Objective: kl, Max: .1}, s)
	assert.Equal(t, want, got)
	assert.Equal(t, grad, s.Grad)
}

func TestFromRollout(t *testing.T) {
	s := mismatched()
	loss, _ := eval(t, objective.FromRollout{Objective: objective.ImportanceSampling{}}, s)
	assert.InDelta(t, -5.25, loss, 1e-12)
	s.Old = nil
	again, _ := eval(t, objective.FromRollout{Objective: objective.ImportanceSampling{}}, s)
	assert.Equal(t, loss, again)
	assert.Equal(t, objective.InputRollout, objective.FromRollout{Objective: objective.ImportanceSampling{}}.Needs())
	s.Rollout = nil
	_, err := objective.FromRollout{Objective: objective.ImportanceSampling{}}.Eval(s, objective.Metrics{})
	require.ErrorContains(t, err, "Rollout is missing")
}

// Its expected gradient, by enumeration, is that of the reverse KL.
func TestDistilledFollowsTheReverseKL(t *testing.T) {
	policy, teacher := logSoftmax(.3, -.8, .5), logSoftmax(-.5, .1, .9)
	o := objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 2}
	want := reverseKLGradient(policy, teacher)
	for z := range want {
		want[z] *= 2
	}
	assert.InDeltaSlice(t, want, expected(t, o, policy, policy, teacher), 1e-15)
}

// Two tokens of three, the second with logits that depend on the first. By
// enumeration, Distilled's expected gradient is with Discount 1 that of the
// divergence of the two-token texts, and with Discount 0 that of the divergence of
// each next token with the prefixes' probabilities held fixed.
func TestDistilledDiscount(t *testing.T) {
	logits := []float64{.3, -.8, .5, 1, 0, -1, .2, .4, -.6, -.3, .9, .1} // of the first token, and after each first token
	q := append(logSoftmax(-.5, .1, .9), append(logSoftmax(.7, -.2, .3), append(logSoftmax(0, 1, -1), logSoftmax(.5, .5, -2)...)...)...)
	rows := func() (p []float64) {
		for r := range 4 {
			p = append(p, logSoftmax(append([]float64(nil), logits[3*r:3*r+3]...)...)...)
		}
		return p
	}
	fixed := rows()
	// divergence is Σ_t of the prefixes' expectation of KL_t.
	divergence := func(hold bool) (sum float64) {
		p := rows()
		prefix := p
		if hold {
			prefix = fixed
		}
		for a := range 3 {
			sum += math.Exp(p[a]) * (p[a] - q[a])
			for b := range 3 {
				i := 3 + 3*a + b
				sum += math.Exp(prefix[a]+p[i]) * (p[i] - q[i])
			}
		}
		return sum
	}
	for discount, hold := range map[float64]bool{0: true, 1: false} {
		o := objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 1, Discount: discount}
		grad, p := make([]float64, len(logits)), fixed
		for a := range 3 {
			for b := range 3 {
				i := 3 + 3*a + b
				s := newSequence([]float64{p[a], p[i]}, nil, nil, nil)
				s.Teacher = []float64{q[a], q[i]}
				eval(t, o, s)
				for at, token := range [2]int{a, i} {
					row := token / 3 * 3
					for z := row; z < row+3; z++ {
						score := -math.Exp(p[z]) // ∂logπ(token)/∂logit(z)
						if z == token {
							score++
						}
						grad[z] += math.Exp(p[a]+p[i]) * s.Grad[at] * score
					}
				}
			}
		}
		for z := range logits {
			const h = 1e-5
			at := logits[z]
			logits[z] = at + h
			up := divergence(hold)
			logits[z] = at - h
			assert.InDelta(t, (up-divergence(hold))/(2*h), grad[z], 1e-9, "discount %v, logit %d", discount, z)
			logits[z] = at
		}
	}
}

// The gains of excluded and masked tokens are in no sum, but they are steps of the
// discount.
func TestDistilledDiscountsByPosition(t *testing.T) {
	s := newSequence([]float64{-1, -1, -1, -1}, nil, nil, nil)
	s.Teacher = []float64{-1, -3, math.NaN(), 1}
	s.Weight[2], s.Keep = 0, []bool{true, false, true, true}
	_, m := eval(t, objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 2, Discount: .5}, s)
	assert.Equal(t, []float64{-.5, 0, 0, -4}, s.Grad) // 2·2·.5³ and 2·2
	assert.Equal(t, objective.Sum{Sum: -2, Count: 2}, m["teacher_kl"])
}

// GainClamp bounds each gain before they are discounted; the divergence is of all.
func TestDistilledGainClamp(t *testing.T) {
	s := newSequence([]float64{-1, -1, -1}, nil, nil, nil)
	s.Teacher = []float64{-3, -.5, -100}
	o := objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 2, Discount: .5, GainClamp: 1}
	_, m := eval(t, o, s)
	assert.Equal(t, []float64{2, 0, 2}, s.Grad) // gains -1, .5, -1
	assert.Equal(t, objective.Sum{Sum: 100.5, Count: 3}, m["teacher_kl"])
}

func TestDistilledAddsToTheAdvantage(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	s := randomSequence(rng, 8)
	_, m := eval(t, objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5}, s)
	got := append([]float64(nil), s.Grad...)
	adv := append([]float64(nil), s.Adv...)
	var kl float64
	for i, w := range s.Weight {
		if w != 0 {
			s.Adv[i] += .5 * (s.Teacher[i] - s.Old[i])
			if s.Keep[i] {
				kl += s.Old[i] - s.Teacher[i]
			}
		}
	}
	eval(t, objective.ImportanceSampling{}, s)
	assert.InDeltaSlice(t, s.Grad, got, 1e-12)
	assert.InDelta(t, kl, m["teacher_kl"].Sum, 1e-12)

	copy(s.Adv, adv)
	for i := range s.Adv {
		s.Adv[i] = 0
	}
	want, _ := eval(t, objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5}, s)
	s.Adv = nil
	alone, _ := eval(t, objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5}, s)
	require.Equal(t, want, alone, "absent advantages are 0")
}
