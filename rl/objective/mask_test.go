package objective_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// regularising lists the objectives with a part that KLWeight weighs. All
// others are policy losses alone.
var regularising = map[string]bool{
	"entropy": true, "k1": true, "k2": true, "k3": true, "abs": true, "k3 clamped": true, "k3 importance": true, "k3 importance clamp": true,
	"k1+": true, "k3+": true, "k3+ importance": true, "terms": true, "scaled": true,
}

// What stands at an excluded position never matters: with NaN and infinities there
// all numbers are those of a sequence without the position. (It is enough to
// exclude the last token: no objective here looks at order.)
func TestExcludedPositionsAreNeverRead(t *testing.T) {
	for name, o := range all() {
		rng := rand.New(rand.NewPCG(21, 22))
		for range 20 {
			s := randomSequence(rng, 8)
			exclude(s, 7)
			short := cut(s, 7)
			want, wantM := eval(t, o, short)
			got, gotM := eval(t, o, s)
			require.Equal(t, want, got, name)
			require.Equal(t, wantM, gotM, name)
			require.Equal(t, short.Grad, s.Grad[:7], name)
			require.Zero(t, s.Grad[7], name)
			require.Zero(t, s.EntropyGrad[7], name)
			require.Equal(t, make([]float64, 4), s.Cand.Grad[28:], name)
		}
	}
}

// cut returns the first n tokens of s with gradients of their own.
func cut(s *objective.Sequence, n int) *objective.Sequence {
	return &objective.Sequence{
		LogP: s.LogP[:n], Entropy: s.Entropy[:n], Old: s.Old[:n], Ref: s.Ref[:n], Rollout: s.Rollout[:n], Teacher: s.Teacher[:n], Adv: s.Adv[:n], CovRank: s.CovRank[:n],
		Keep: s.Keep[:n], Weight: s.Weight[:n], KLWeight: s.KLWeight[:n], Grad: make([]float64, n), EntropyGrad: make([]float64, n),
		Cand: &objective.Candidates{K: 3, IDs: s.Cand.IDs[:3*n], Teacher: s.Cand.Teacher[:4*n], LogP: s.Cand.LogP[:4*n], Grad: make([]float64, 4*n)},
	}
}

// No objective looks at the order of the tokens: in another one a sequence has
// the same loss and metrics, and each token its gradient. The sequence is long
// enough for several blocks, at whose ends a mistake would show.
func TestOrderOfTokensDoesNotMatter(t *testing.T) {
	const n = 3*128 + 5
	for name, o := range all() {
		rng := rand.New(rand.NewPCG(31, 32))
		s := randomSequence(rng, n)
		order := rng.Perm(n)
		u := permuted(s, order)
		want, wantM := eval(t, o, s)
		got, gotM := eval(t, o, u)
		require.InDelta(t, want, got, 1e-9*(1+math.Abs(want)), name)
		for i, j := range order {
			require.InDelta(t, s.Grad[j], u.Grad[i], 1e-12*(1+math.Abs(s.Grad[j])), "%s: position %d", name, j)
			require.Equal(t, s.EntropyGrad[j], u.EntropyGrad[i], name)
			require.Equal(t, s.Cand.Grad[4*j:4*j+4], u.Cand.Grad[4*i:4*i+4], name)
		}
		require.Len(t, gotM, len(wantM), name)
		for metric, sum := range wantM {
			require.InDelta(t, sum.Sum, gotM[metric].Sum, 1e-9*(1+math.Abs(sum.Sum)), "%s: %s", name, metric)
			require.Equal(t, sum.Count, gotM[metric].Count, "%s: %s", name, metric)
		}
	}
}

// permuted returns s with token order[i] at position i.
func permuted(s *objective.Sequence, order []int) *objective.Sequence {
	n := len(order)
	u := &objective.Sequence{Keep: make([]bool, n), Grad: make([]float64, n), EntropyGrad: make([]float64, n),
		Cand: &objective.Candidates{K: 3, IDs: make([]int32, 3*n), Grad: make([]float64, 4*n)}}
	for _, f := range []struct{ to, from *[]float64 }{
		{&u.LogP, &s.LogP}, {&u.Entropy, &s.Entropy}, {&u.Old, &s.Old}, {&u.Ref, &s.Ref}, {&u.Rollout, &s.Rollout}, {&u.Teacher, &s.Teacher},
		{&u.Adv, &s.Adv}, {&u.CovRank, &s.CovRank}, {&u.Weight, &s.Weight}, {&u.KLWeight, &s.KLWeight},
	} {
		for _, j := range order {
			*f.to = append(*f.to, (*f.from)[j])
		}
	}
	for i, j := range order {
		u.Keep[i] = s.Keep[j]
		u.Cand.Teacher = append(u.Cand.Teacher, s.Cand.Teacher[4*j:4*j+4]...)
		u.Cand.LogP = append(u.Cand.LogP, s.Cand.LogP[4*j:4*j+4]...)
	}
	return u
}

func TestSequenceWithoutTokensContributesNothing(t *testing.T) {
	for name, o := range all() {
		s := randomSequence(rand.New(rand.NewPCG(23, 24)), 4)
		for i := range 4 {
			exclude(s, i)
		}
		loss, m := eval(t, o, s)
		assert.Zero(t, loss, name)
		assert.Empty(t, m, name)
	}
	loss, m := eval(t, objective.PPO{ClipLow: .2, ClipHigh: .2}, newSequence(nil, nil, nil, nil))
	assert.Zero(t, loss)
	assert.Empty(t, m)
}

// A masked token adds nothing to a policy loss and gets no gradient from it,
// whatever its advantage says and although its weight is not 0.
func TestMaskedTokensStayOutOfPolicyLosses(t *testing.T) {
	for name, o := range all() {
		if regularising[name] {
			continue
		}
		rng := rand.New(rand.NewPCG(25, 26))
		for range 20 {
			s := randomSequence(rng, 8)
			want, wantM := eval(t, o, s)
			grad := append([]float64(nil), s.Grad...)
			for i := range s.Keep {
				if !s.Keep[i] {
					require.Zero(t, s.Grad[i], "%s: position %d", name, i)
					require.Equal(t, make([]float64, 4), s.Cand.Grad[4*i:4*i+4], "%s: position %d", name, i)
					s.Adv[i] = math.NaN()
				}
			}
			got, gotM := eval(t, o, s)
			require.Equal(t, want, got, name)
			require.Equal(t, wantM, gotM, name)
			require.Equal(t, grad, s.Grad, name)
		}
	}
}

// Where tokens do not see each other, a masked token's log-probs are not even
// read by a policy loss.
func TestMaskedTokensOfTokenLossesAreNotRead(t *testing.T) {
	for _, o := range []objective.Objective{
		objective.PPO{ClipLow: .2, ClipHigh: .2}, objective.CISPO{High: 5}, objective.SAPO{TauPos: 1, TauNeg: 1}, objective.DRO{Beta: 1},
		objective.DPPO{Low: .2, High: .2, Quadratic: 1}, objective.ImportanceSampling{}, objective.CrossEntropy{},
	} {
		s := newSequence([]float64{-1, math.Inf(-1)}, []float64{-1, math.NaN()}, nil, []float64{1, 1})
		s.Weight[1] = 1
		s.Keep = []bool{true, false}
		eval(t, o, s)
		assert.Zero(t, s.Grad[1], "%T", o)
	}
}

// Regularisers do not look at Keep but at KLWeight, which is what the choice of
// Masked decides.
func TestMaskedTokensInRegularisers(t *testing.T) {
	for _, c := range []struct {
		masked objective.Masked
		counts bool
	}{{objective.MaskedStay, true}, {objective.MaskedExclude, false}, {objective.MaskedExcludeLoss, true}} {
		s := randomSequence(rand.New(rand.NewPCG(27, 28)), 3)
		for i := range 3 {
			s.LogP[i], s.Ref[i], s.Entropy[i], s.Weight[i] = -1, -2, 1, 1
		}
		s.Keep = []bool{true, false, true}
		weigh(t, objective.TokenMean{Masked: c.masked}, []*objective.Sequence{s})
		for _, o := range []objective.Objective{objective.KL{Estimator: objective.K3, Beta: 1}, objective.EntropyBonus{Coef: 1}} {
			eval(t, o, s)
			assert.Equal(t, c.counts, s.Grad[1]+s.EntropyGrad[1] != 0, "%T, %v", o, c.masked)
			assert.NotZero(t, s.Grad[0]+s.EntropyGrad[0], "%T, %v", o, c.masked)
		}
	}
}

// DRO's and DPPO's quadratic terms do not multiply the advantage: they are what
// tells a masked token from one of advantage zero.
func TestMaskedIsNotZero(t *testing.T) {
	for _, o := range []objective.Objective{objective.DRO{Beta: 1}, objective.DPPO{Low: .2, High: .2, Quadratic: 1}} {
		s := newSequence([]float64{-1, -1}, []float64{-1.5, -1.5}, nil, []float64{0, 0})
		s.Keep = []bool{true, false}
		eval(t, o, s)
		assert.NotZero(t, s.Grad[0], "%T", o)
		assert.Zero(t, s.Grad[1], "%T", o)
	}
}

// A sequence whose advantages change sign is clipped token by token: the loss
// of the whole is the sum of its tokens' as sequences of their own.
func TestSignMayChangeInsideASequence(t *testing.T) {
	objectives := all()
	for _, name := range []string{"ppo", "dual clip", "cispo", "sapo", "dro", "dppo", "dppo kl", "terms", "corrected truncate", "distilled", "kl cov"} {
		rng := rand.New(rand.NewPCG(29, 30))
		s := randomSequence(rng, 16)
		want, _ := eval(t, objectives[name], s)
		var got float64
		for i := range 16 {
			u := *s
			u.Weight, u.KLWeight = make([]float64, 16), make([]float64, 16)
			u.Weight[i], u.KLWeight[i] = s.Weight[i], s.KLWeight[i]
			loss, err := objectives[name].Eval(&u, objective.Metrics{})
			require.NoError(t, err)
			got += loss
		}
		require.InDelta(t, want, got, 1e-12, name)
	}
	// The ratio of the sequence is 2: above the bound for the token with
	// A > 0, below none for the one with A < 0.
	s := newSequence([]float64{0, 0}, []float64{-math.Log(2), -math.Log(2)}, nil, []float64{1, -1})
	loss, m := eval(t, objective.GSPOToken{ClipLow: .2, ClipHigh: .2}, s)
	assert.InDelta(t, -1.2+2, loss, 1e-15)
	assert.InDeltaSlice(t, []float64{0, 2}, s.Grad, 1e-15)
	assert.Equal(t, objective.Sum{Sum: 1, Count: 2}, m["clip_high"])
}

// Weights are fixed for a whole step, so it does not matter how its sequences
// are split into micro-batches: losses add up, gradients are the same numbers.
func TestSplitInvariance(t *testing.T) {
	objectives := all()
	names := slices.Sorted(maps.Keys(objectives))
	rapid.Check(t, func(t *rapid.T) {
		o := objectives[rapid.SampledFrom(names).Draw(t, "objective")]
		seed := rapid.Uint64().Draw(t, "seed")
		n := rapid.IntRange(1, 6).Draw(t, "sequences")
		first := rapid.IntRange(0, n).Draw(t, "in the first part")
		step := func() (seqs []*objective.Sequence) {
			rng := rand.New(rand.NewPCG(seed, 1))
			for range n {
				seqs = append(seqs, randomSequence(rng, 1+rng.IntN(8)))
			}
			return seqs
		}
		sum := func(seqs []*objective.Sequence) (loss float64, m objective.Metrics) {
			m = objective.Metrics{}
			for _, s := range seqs {
				l, err := o.Eval(s, m)
				require.NoError(t, err)
				loss += l
			}
			return loss, m
		}
		whole, parts := step(), step()
		want, wantM := sum(whole)
		a, gotM := sum(parts[:first])
		b, more := sum(parts[first:])
		gotM.Merge(more)
		require.InDelta(t, want, a+b, 1e-9*(1+math.Abs(want)))
		require.Len(t, gotM, len(wantM))
		for name := range wantM {
			require.InDelta(t, wantM[name].Mean(), gotM[name].Mean(), 1e-9*(1+math.Abs(wantM[name].Mean())), name)
			require.Equal(t, wantM[name].Count, gotM[name].Count, name)
		}
		for i := range whole {
			require.Equal(t, whole[i].Grad, parts[i].Grad)
			require.Equal(t, whole[i].EntropyGrad, parts[i].EntropyGrad)
			require.Equal(t, whole[i].Cand.Grad, parts[i].Cand.Grad)
		}
	})
}
