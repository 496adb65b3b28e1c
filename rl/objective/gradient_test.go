package objective_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// stopped lists the objectives whose gradient is, by definition, not that of
// their value; their tests follow below.
var stopped = map[string]bool{
	"cispo": true, "cispo absolute": true, "cispo drop": true, "gspo token": true, "corrected gspo token": true, "k1+": true, "k3+": true,
	"dppo weight": true, "vespo": true, "k3+ importance": true, "k3 importance clamp": true,
}

func TestGradientIsThatOfTheLoss(t *testing.T) {
	for name, o := range all() {
		if stopped[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				s := randomSequence(rng, 12)
				eval(t, o, s)
				scratch := *s
				scratch.Grad, scratch.EntropyGrad = make([]float64, 12), make([]float64, 12)
				cand := *s.Cand
				cand.Grad = make([]float64, 48)
				scratch.Cand = &cand
				requireGradients(t, s, func() float64 {
					loss, _ := eval(t, o, &scratch)
					return loss
				})
			}
		})
	}
}

// The references below restate each loss with its stopped parts frozen at the
// log-probs that were evaluated.

func TestGradientOfCISPOStopsAtTheWeight(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		s := randomSequence(rng, 12)
		eval(t, objective.CISPO{Low: .8, High: 1.28}, s)
		frozen := append([]float64(nil), s.LogP...)
		requireGradients(t, s, func() (loss float64) {
			for i, w := range s.Weight {
				if w != 0 && s.Keep[i] {
					c := math.Min(math.Max(math.Exp(frozen[i]-s.Old[i]), .8), 1.28)
					loss -= w * c * s.Adv[i] * s.LogP[i]
				}
			}
			return loss
		})
	}
}

// What CISPO drops has neither value nor gradient; the rest is as without.
func TestCISPODropsWhatIsOutsideItsBounds(t *testing.T) {
	ln := math.Log
	s := newSequence([]float64{-1, -1, -1}, []float64{-1 - ln(2), -1, -1 + ln(2)}, nil, []float64{1, 1, -1}) // ratios 2, 1, 1/2
	loss, m := eval(t, objective.CISPO{Low: .8, High: 1.5, Drop: true}, s)
	require.InDelta(t, 1, loss, 1e-15)
	require.Equal(t, []float64{0, -1, 0}, s.Grad)
	require.Equal(t, objective.Sum{Sum: 1, Count: 3}, m["clip_low"])
	require.Equal(t, objective.Sum{Sum: 1, Count: 3}, m["clip_high"])
	loss, _ = eval(t, objective.CISPO{Low: .8, High: 1.5}, s)
	require.InDelta(t, 1.5+1-.8, loss, 1e-12)
	require.InDeltaSlice(t, []float64{-1.5, -1, .8}, s.Grad, 1e-12)
}

// A log-prob above 0 by rounding is that of a certain token, whose divergence is large.
func TestDPPOOfCertainTokens(t *testing.T) {
	o := objective.FromRollout{Objective: objective.DPPO{Low: .2, High: .2, KL: true}}
	for _, c := range []struct{ logp, old, adv float64 }{
		{-1, 0, -1}, {-1, 1e-7, -1}, {-1, 5e-5, -1}, // certain before
		{0, -1, 1}, {1e-7, -1, 1}, {5e-5, -1, 1}, // certain now
	} {
		s := newSequence([]float64{c.logp}, nil, nil, []float64{c.adv})
		s.Rollout = []float64{c.old}
		m := objective.Metrics{}
		loss, err := o.Eval(s, m)
		require.NoError(t, err)
		require.Equal(t, []float64{0, 0}, []float64{loss, s.Grad[0]}, "%+v", c)
		require.Equal(t, 1., m["clip_low"].Sum+m["clip_high"].Sum, "%+v", c)
	}
}

func TestGradientOfDPPOWithMaxWeightStopsAtTheWeight(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	o := objective.DPPO{Low: 1e9, High: 1e9, MaxWeight: 1.2} // nothing is dropped
	for range 20 {
		s := randomSequence(rng, 12)
		eval(t, o, s)
		frozen := append([]float64(nil), s.LogP...)
		requireGradients(t, s, func() (loss float64) {
			for i, w := range s.Weight {
				if w != 0 && s.Keep[i] {
					loss -= w * math.Min(math.Exp(frozen[i]-s.Old[i]), 1.2) * s.Adv[i] * s.LogP[i]
				}
			}
			return loss
		})
	}
}

func TestGradientOfVESPOStopsAtTheWeight(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 6))
	for range 20 {
		s := randomSequence(rng, 6)
		_, m := eval(t, objective.VESPO{KPos: 2, LambdaPos: 3, KNeg: .5, LambdaNeg: 1}, s)
		ratio := 1.
		for i, w := range s.Weight {
			if w != 0 { // masked tokens, too
				ratio *= math.Exp(s.LogP[i] - s.Old[i])
			}
		}
		pos, neg := ratio*ratio*math.Exp(3*(1-ratio)), math.Sqrt(ratio)*math.Exp(1-ratio)
		sum := 0.
		for i, w := range s.Weight {
			if w != 0 && s.Keep[i] && s.Adv[i] >= 0 {
				sum += pos
			} else if w != 0 && s.Keep[i] {
				sum += neg
			}
		}
		require.InDelta(t, sum, m["vespo_weight"].Sum, 1e-12)
		requireGradients(t, s, func() (loss float64) {
			for i, w := range s.Weight {
				switch {
				case w == 0 || !s.Keep[i]:
				case s.Adv[i] >= 0:
					loss -= w * pos * s.Adv[i] * s.LogP[i]
				default:
					loss -= w * neg * s.Adv[i] * s.LogP[i]
				}
			}
			return loss
		})
	}
}

// The weight of VESPO is 1 on fresh samples, largest at k/λ, and nothing far off, where
// log-ratio and ratio are held.
func TestVESPOWeight(t *testing.T) {
	o := objective.VESPO{KPos: 2, LambdaPos: 3, KNeg: 3, LambdaNeg: 2}
	weight := func(log, adv float64) float64 {
		s := newSequence([]float64{-1, -2}, []float64{-1 - log/2, -2 - log/2}, nil, []float64{adv, adv})
		eval(t, o, s)
		require.Equal(t, s.Grad[0], s.Grad[1])
		return -s.Grad[0] / adv
	}
	require.Equal(t, []float64{1, 1}, []float64{weight(0, 2), weight(0, -2)})
	require.InDelta(t, 4./9*math.E, weight(math.Log(2./3), 1), 1e-12)
	require.InDelta(t, 27./8/math.E, weight(math.Log(1.5), -1), 1e-12)
	for _, d := range []float64{-1, -.1, .1, 1} {
		require.Less(t, weight(math.Log(2./3)+d, 1), 4./9*math.E)
		require.Less(t, weight(math.Log(1.5)+d, -1), 27./8/math.E)
	}
	require.InEpsilon(t, 1e-16*math.Exp(3), weight(-1000, 1), 1e-6)
	require.Zero(t, weight(1000, -1))
	o.KPos = 0
	require.InDelta(t, math.Exp(3), weight(-1000, 1), 1e-6)
}

func TestGradientOfGSPOTokenIsEachTokensOwn(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	clipped := 0
	for range 40 {
		s := randomSequence(rng, 6)
		eval(t, objective.GSPOToken{ClipLow: .1, ClipHigh: .15}, s)
		frozen := append([]float64(nil), s.LogP...)
		mean, n := 0.0, 0.0
		for i, w := range s.Weight {
			if w != 0 {
				mean, n = mean+s.LogP[i]-s.Old[i], n+1
			}
		}
		if n == 0 {
			continue
		}
		if r := math.Exp(mean / n); r < .9 || r > 1.15 {
			clipped++
		}
		requireGradients(t, s, func() (loss float64) {
			for i, w := range s.Weight {
				if w != 0 && s.Keep[i] {
					r := math.Exp(mean/n + s.LogP[i] - frozen[i])
					loss += w * math.Max(-s.Adv[i]*r, -s.Adv[i]*math.Min(math.Max(r, .9), 1.15))
				}
			}
			return loss
		})
	}
	assert.Greater(t, clipped, 5, "sequences beyond a bound")
}

func TestGradientOfGSPOFlowsThroughTheSharedRatio(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	o := objective.GSPO{ClipLow: .1, ClipHigh: .15}
	for range 40 {
		s := randomSequence(rng, 6)
		for i := range s.Adv {
			s.Keep[i] = true
			if s.Weight[i] != 0 {
				s.Adv[i] = 0.7
			}
		}
		eval(t, o, s)
		scratch := *s
		scratch.Grad = make([]float64, 6)
		requireGradients(t, s, func() float64 {
			loss, _ := eval(t, o, &scratch)
			return loss
		})
	}
}

func TestStraightThroughHasTheValueOfOneAndTheGradientOfK2(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, kind := range []objective.KLEstimator{objective.K1, objective.K2, objective.K3, objective.KAbs} {
		s := randomSequence(rng, 12)
		plain, _ := eval(t, objective.KL{Estimator: kind, Beta: .3}, s)
		loss, _ := eval(t, objective.KL{Estimator: kind, Beta: .3, StraightThrough: true}, s)
		got := append([]float64(nil), s.Grad...)
		eval(t, objective.KL{Estimator: objective.K2, Beta: .3}, s)
		require.Equal(t, plain, loss, kind)
		require.Equal(t, s.Grad, got, kind)
	}
}

// With StraightThrough, Importance weighs the gradient by a ratio, the same for
// every kind, and leaves the value alone.
func TestStraightThroughImportance(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 11))
	for _, kind := range []objective.KLEstimator{objective.K1, objective.K2, objective.K3, objective.KAbs} {
		s := randomSequence(rng, 12)
		plain, _ := eval(t, objective.KL{Estimator: kind, Beta: .3}, s)
		loss, _ := eval(t, objective.KL{Estimator: kind, Beta: .3, StraightThrough: true, Importance: true, ImportanceMax: 1.1}, s)
		require.Equal(t, plain, loss, kind)
		for u, w := range s.KLWeight {
			if w == 0 {
				require.Zero(t, s.Grad[u])
				continue
			}
			r := min(math.Exp(s.LogP[u]-s.Old[u]), 1.1)
			require.InDelta(t, w*.3*r*(s.LogP[u]-s.Ref[u]), s.Grad[u], 1e-14, kind)
		}
	}
}

// A token that a clamp holds is a constant, with its importance ratio.
func TestGradientOfClampedKLStopsWithItsImportance(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 12))
	held := 0
	for range 20 {
		s := randomSequence(rng, 12)
		eval(t, all()["k3 importance clamp"], s)
		frozen := append([]float64(nil), s.LogP...)
		k3 := func(d float64) float64 { return math.Exp(-d) - 1 + d }
		requireGradients(t, s, func() (loss float64) {
			for i, w := range s.KLWeight {
				if w == 0 {
					continue
				}
				logp := s.LogP[i]
				if d := frozen[i] - s.Ref[i]; math.Abs(d) > .5 || k3(d) > .1 {
					logp = frozen[i]
					held++
				}
				d := min(max(logp-s.Ref[i], -.5), .5)
				loss += w * .3 * math.Exp(logp-s.Old[i]) * min(k3(d), .1)
			}
			return loss
		})
	}
	assert.Positive(t, held)
}

// An absent Old is LogP with its gradient stopped: the value at ratio 1, the
// gradient as if Old had been written down.
func TestAbsentOldIsLogPStopped(t *testing.T) {
	for name, o := range all() {
		rng := rand.New(rand.NewPCG(11, 12))
		s := randomSequence(rng, 12)
		s.Old = append([]float64(nil), s.LogP...)
		want, wantM := eval(t, o, s)
		grad := append([]float64(nil), s.Grad...)
		s.Old = nil
		got, gotM := eval(t, o, s)
		assert.Equal(t, want, got, name)
		assert.Equal(t, grad, s.Grad, name)
		assert.Equal(t, wantM, gotM, name)
	}
}
