package objective_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

var (
	gspo      = objective.GSPO{ClipLow: .2, ClipHigh: .2}
	gspoToken = objective.GSPOToken{ClipLow: .2, ClipHigh: .2}
)

func TestGSPORefusesStepCredit(t *testing.T) {
	s := newSequence([]float64{-1, -1, dead}, nil, nil, []float64{1, .5, dead})
	_, err := gspo.Eval(s, objective.Metrics{})
	require.ErrorIs(t, err, objective.ErrSharedRatio)
	assert.ErrorContains(t, err, "1 at position 0, 0.5 at position 1")

	// A masked token that stays is a token with advantage 0.
	s.Adv = []float64{1, 1, dead}
	s.Keep = []bool{true, false, true}
	_, err = gspo.Eval(s, objective.Metrics{})
	require.ErrorIs(t, err, objective.ErrSharedRatio)

	// One that has left is none, and no part of the ratio.
	weigh(t, objective.TokenSum{Masked: objective.MaskedLeave}, []*objective.Sequence{s})
	s.Old = []float64{-1.1, -9, dead}
	loss, m := eval(t, gspo, s)
	assert.InDelta(t, -math.Exp(.1), loss, 1e-15)
	assert.InDeltaSlice(t, []float64{-math.Exp(.1), 0, 0}, s.Grad, 1e-15)
	assert.Equal(t, 1., m["ratio"].Count)

	// All masked: nothing to disagree about, and nothing to learn.
	weigh(t, objective.TokenSum{}, []*objective.Sequence{{Weight: []float64{1, 1}, LogP: make([]float64, 2), KLWeight: make([]float64, 2)}})
	s = newSequence([]float64{-1, -1}, nil, nil, []float64{1, 1})
	s.Keep = []bool{false, false}
	loss, m = eval(t, gspo, s)
	assert.Zero(t, loss)
	assert.Equal(t, []float64{0, 0}, s.Grad)
	assert.Empty(t, m)
}

// With one advantage for all tokens both forms agree under every aggregation,
// in value and gradient.
func TestGSPOAndGSPOTokenAgreeOnOneAdvantage(t *testing.T) {
	for _, agg := range aggregations(objective.MaskedStay) {
		rng := rand.New(rand.NewPCG(31, 32))
		for range 20 {
			a, b := randomSequence(rng, 5), randomSequence(rng, 7)
			for _, s := range []*objective.Sequence{a, b} {
				adv := rng.NormFloat64()
				s.Keep = nil
				for i := range s.Adv {
					s.Adv[i] = adv
				}
			}
			a.Weight[0], a.LogP[0], a.Old[0] = 1, -1, -1.1
			weigh(t, agg, []*objective.Sequence{a, b})
			for _, s := range []*objective.Sequence{a, b} {
				want, wantM := eval(t, gspoToken, s)
				grad := append([]float64(nil), s.Grad...)
				got, gotM := eval(t, gspo, s)
				require.InDelta(t, want, got, 1e-12)
				require.InDeltaSlice(t, grad, s.Grad, 1e-12)
				require.Equal(t, wantM, gotM)
			}
		}
	}
}

// GSPOToken keeps what the shared ratio would average away.
func TestGSPOTokenKeepsStepCredit(t *testing.T) {
	s := newSequence([]float64{-1, -1, -1, -1}, nil, nil, []float64{1, 1, 0, -1})
	s.Keep = []bool{true, true, false, true}
	eval(t, gspoToken, s)
	assert.Equal(t, []float64{-1, -1, 0, 1}, s.Grad)
}

func TestMaskedTokenThatStaysIsPartOfTheSequenceRatio(t *testing.T) {
	s := newSequence([]float64{0, 0}, []float64{0, -.2}, nil, []float64{1, 1})
	s.Keep = []bool{true, false}
	_, m := eval(t, gspoToken, s)
	assert.InDelta(t, math.Exp(.1), m["ratio"].Sum, 1e-15)
	weigh(t, objective.TokenSum{Masked: objective.MaskedLeave}, []*objective.Sequence{s})
	_, m = eval(t, gspoToken, s)
	assert.Equal(t, 1., m["ratio"].Sum)
}

func TestSequenceRatioLimit(t *testing.T) {
	for _, limit := range []float64{0, 10} {
		s := newSequence([]float64{800, 800}, []float64{0, 0}, nil, []float64{-1, -1})
		for _, o := range []objective.Objective{
			objective.GSPO{ClipLow: .2, ClipHigh: .2, LogRatioMax: limit}, objective.GSPOToken{ClipLow: .2, ClipHigh: .2, LogRatioMax: limit},
		} {
			clearGrads(s)
			loss, err := o.Eval(s, objective.Metrics{})
			if limit == 0 {
				require.ErrorContains(t, err, "overflows at a mean log-ratio of 800")
				continue
			}
			require.NoError(t, err)
			assert.InDelta(t, 2*math.Exp(10), loss, 1e-9)
			assert.Equal(t, []float64{0, 0}, s.Grad)
		}
	}
}
