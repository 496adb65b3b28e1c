package objective_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// compared makes a sequence of one token with the candidates given.
func compared(teacher, policy []float64) *objective.Sequence {
	s := newSequence([]float64{-1}, nil, nil, nil)
	s.Cand = &objective.Candidate{K: len(teacher), Teacher: teacher, LogP: policy, Grad: make([]float64, len(teacher))}
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
	none, both := objective.NormalizeNone, objective.NormalizeBoth
	for _, c := range []struct {
		name            string
		o               objective.Objective
		teacher, policy []float64
		loss            float64
		grad            []float64
	}{
		{"forward", objective.ForwardKL{}, teacher, policy, .25 * ln(2), []float64{-.5, -.25, -.25}},
		{"forward, normalised", objective.ForwardKL{Normalize: both}, teacher, policy, .25 * ln(2), []float64{-.25, .25, 0}},
		{"reverse", objective.ReverseKL{}, teacher, policy, .25 * ln(2), []float64{.25 - .25*ln(2), .5 + .5*ln(2), .25}},
		// M = .375, .375, .25
		{"jsd", objective.JSD{Beta: .5}, teacher, policy,
			.5*(.5*ln(4./3)+.25*ln(2./3)) + .5*(.25*ln(2./3)+.5*ln(4./3)), []float64{.125 * ln(2./3), .25 * ln(4./3), 0}},
		{"jsd is bounded where both rule each other out", objective.JSD{Beta: .5}, logs(1, 0), logs(0, 1), ln(2), []float64{0, .5 * ln(2)}},
		{"a teacher's zero is no information lost", objective.ForwardKL{}, logs(1, 0), logs(.5, .5), ln(2), []float64{-1, 0}},
		{"the policy's zero costs the reverse nothing", objective.ReverseKL{Normalize: none}, logs(.5, .5), logs(1, 0), ln(2), []float64{1 + ln(2), 0}},
		// Top two of a larger vocabulary.
		{"top-K as it is", objective.ForwardKL{}, logs(.4, .2), logs(.1, .2), .4 * ln(4), []float64{-.4, -.2}},
		{"top-K, soft targets", objective.ForwardKL{Normalize: objective.NormalizeTeacher}, logs(.4, .2), logs(.1, .2),
			2./3*ln(20./3) + 1./3*ln(5./3), []float64{-2. / 3, -1. / 3}},
		{"top-K, given that one is chosen", objective.ForwardKL{Normalize: both}, logs(.4, .2), logs(.1, .2), 1. / 3 * ln(2), []float64{-1. / 3, 1. / 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compared(c.teacher, c.policy)
			loss, m := eval(t, c.o, s)
			assert.InDelta(t, c.loss, loss, 1e-12)
			assert.InDeltaSlice(t, c.grad, s.Cand.Grad, 1e-12)
			for _, sum := range m {
				assert.InDelta(t, c.loss, sum.Sum, 1e-12)
				assert.Equal(t, 1., sum.Count)
			}
		})
	}
}

// Over the full vocabulary the choice of normalisation moves the gradient of
// the log-probs but not that of the logits beneath them.
func TestNormalisationDoesNotMatterOverTheFullVocabulary(t *testing.T) {
	logits := func(grad, policy []float64) []float64 {
		sum := 0.0
		for _, g := range grad {
			sum += g
		}
		out := make([]float64, len(grad))
		for k := range out {
			out[k] = grad[k] - math.Exp(policy[k])*sum
		}
		return out
	}
	teacher, policy := logSoftmax(1, -.5, .3, 0), logSoftmax(.2, .9, -1, 0)
	for _, pair := range [][2]objective.Objective{
		{objective.ForwardKL{}, objective.ForwardKL{Normalize: objective.NormalizeBoth}},
		{objective.ForwardKL{}, objective.ForwardKL{Normalize: objective.NormalizeTeacher}},
		{objective.ReverseKL{}, objective.ReverseKL{Normalize: objective.NormalizeBoth}},
		{objective.JSD{Beta: .3}, objective.JSD{Beta: .3, Normalize: objective.NormalizeBoth}},
	} {
		a, b := compared(teacher, policy), compared(teacher, policy)
		want, _ := eval(t, pair[0], a)
		got, _ := eval(t, pair[1], b)
		assert.InDelta(t, want, got, 1e-12)
		assert.InDeltaSlice(t, logits(a.Cand.Grad, policy), logits(b.Cand.Grad, policy), 1e-12)
	}
}

func TestDivergenceErrors(t *testing.T) {
	_, err := objective.ReverseKL{}.Eval(compared(logs(1, 0), logs(.5, .5)), objective.Metrics{})
	assert.ErrorContains(t, err, "candidate 1 at position 0 has log-probs -Inf (teacher)")
	_, err = objective.ForwardKL{}.Eval(compared(logs(.5, .5), logs(1, 0)), objective.Metrics{})
	assert.ErrorContains(t, err, "candidate 1 at position 0")
	for _, norm := range []objective.Normalize{objective.NormalizeNone, objective.NormalizeTeacher, objective.NormalizeBoth} {
		for _, o := range []objective.Objective{
			objective.ForwardKL{Normalize: norm}, objective.ReverseKL{Normalize: norm}, objective.JSD{Beta: .5, Normalize: norm},
		} {
			_, err = o.Eval(compared([]float64{-1, math.NaN()}, logs(.5, .5)), objective.Metrics{})
			assert.ErrorContains(t, err, "candidate 1 at position 0", "%#v", o)
			_, err = o.Eval(compared(logs(.5, .5), []float64{math.NaN(), -1}), objective.Metrics{})
			assert.ErrorContains(t, err, "candidate 0 at position 0", "%#v", o)
		}
	}
	s := newSequence([]float64{-1, -1}, nil, nil, nil)
	_, err = objective.ForwardKL{}.Eval(s, objective.Metrics{})
	assert.ErrorContains(t, err, "Cand is missing")
	s.Cand = &objective.Candidate{}
	_, err = objective.ForwardKL{}.Eval(s, objective.Metrics{})
	assert.ErrorContains(t, err, "Cand.K is 0")
	s.Cand = &objective.Candidate{K: 2, Teacher: make([]float64, 4), LogP: make([]float64, 3), Grad: make([]float64, 4)}
	_, err = objective.ForwardKL{}.Eval(s, objective.Metrics{})
	assert.ErrorContains(t, err, "want 2 tokens × 2")
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

func TestDistilledAddsToTheAdvantage(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	s := randomSequence(rng, 8)
	_, m := eval(t, objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5}, s)
	got := append([]float64(nil), s.Grad...)
	adv := append([]float64(nil), s.Adv...)
	var kl float64
	for i, w := range s.Weight {
		if w != 0 {
			s.Adv[i] += .5 * (s.Ref[i] - s.Old[i])
			if s.Keep[i] {
				kl += s.Old[i] - s.Ref[i]
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
