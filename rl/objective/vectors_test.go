package objective_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// The batch whose numbers are worked out by hand: two sequences of three and
// four tokens in four columns. The last column of the first is excluded: whatever
// stands there must not matter.
func handBatch() []*objective.Sequence {
	return []*objective.Sequence{
		newSequence([]float64{-.5, -1, -2, excluded}, []float64{-.7, -1, -1.2, excluded}, []float64{-.6, -.8, -1.9, excluded}, []float64{1, 1, 1, excluded}),
		newSequence([]float64{-.2, -.3, -1.5, -.7}, []float64{-.2, -.9, -1.5, -.5}, []float64{-.4, -.3, -1, -.9}, []float64{-.5, -.5, -.5, -.5}),
	}
}

// tokenLosses returns the loss of each token of s on its own: the share of the
// loss that goes with its weight.
func tokenLosses(t *testing.T, o objective.Objective, s *objective.Sequence) []float64 {
	t.Helper()
	whole, _ := eval(t, o, s)
	out := make([]float64, len(s.LogP))
	for i := range out {
		if s.Weight[i] == 0 {
			continue
		}
		s.Weight[i], s.KLWeight[i] = 2, 2
		doubled, _ := eval(t, o, s)
		s.Weight[i], s.KLWeight[i] = 1, 1
		out[i] = doubled - whole
	}
	eval(t, o, s)
	return out
}

func TestTokenLossesByHand(t *testing.T) {
	gspo := [2][]float64{{-0.8187307531, -0.8187307531, -0.8187307531, 0}, {0.5525854590, 0.5525854590, 0.5525854590, 0.5525854590}}
	for _, c := range []struct {
		name       string
		o          objective.Objective
		loss, grad [2][]float64 // grad nil: not given
	}{
		{name: "ppo", o: objective.PPO{ClipLow: .2, ClipHigh: .28},
			loss: [2][]float64{{-1.221402758, -1, -0.4493289641, 0}, {0.5, 0.9110594002, 0.5, 0.4093653765}},
			grad: [2][]float64{{-1.221402758, -1, -0.4493289641, 0}, {0.5, 0.9110594002, 0.5, 0.4093653765}}},
		{name: "gspo", o: objective.GSPO{ClipLow: .2, ClipHigh: .28}, loss: gspo, grad: gspo},
		{name: "gspo token", o: objective.GSPOToken{ClipLow: .2, ClipHigh: .28}, loss: gspo, grad: gspo},
		{name: "cispo, relative", o: objective.RelativeCISPO(.2, .28),
			loss: [2][]float64{{0.6107013791, 1, 1.6, 0}, {-0.1, -0.192, -0.75, -0.2865557636}},
			grad: [2][]float64{{-1.221402758, -1, -.8, 0}, {0.5, 0.64, 0.5, 0.4093653765}}},
		{name: "cispo, absolute upper bound only", o: objective.CISPO{High: 5},
			loss: [2][]float64{{0.6107013791, 1, 0.8986579282, 0}, {-0.1, -0.2733178201, -0.75, -0.2865557636}}},
		{name: "sapo", o: objective.SAPO{TauPos: 1, TauNeg: 1.05},
			loss: [2][]float64{{-2.220502754, -2, -1.46283495, 0}, {0.9523809524, 1.339683723, 0.9523809524, 0.8620189562}}},
		{name: "k3", o: objective.KL{Estimator: objective.K3, Beta: 1},
			loss: [2][]float64{{.004837418036, .02140275816, .005170918076, 0}, {.01873075308, 0, .1487212707, .01873075308}},
			grad: [2][]float64{{.09516258196, -.2214027582, -.1051709181, 0}, {.1812692469, 0, -.6487212707, .1812692469}}},
		{name: "importance sampling is ppo before any bound", o: objective.ImportanceSampling{},
			loss: [2][]float64{{-1.221402758, -1, -0.4493289641, 0}, {0.5, 0.9110594002, 0.5, 0.4093653765}}},
		{name: "cross entropy", o: objective.CrossEntropy{},
			loss: [2][]float64{{.5, 1, 2, 0}, {.2, .3, 1.5, .7}}, grad: [2][]float64{{-1, -1, -1, 0}, {-1, -1, -1, -1}}},
		{name: "dro", o: objective.DRO{Beta: .1}, // -A·logp + .05·lr²
			loss: [2][]float64{{.502, 1, 2.032, 0}, {-.1, -.132, -.75, -.348}},
			grad: [2][]float64{{-.98, -1, -1.08, 0}, {.5, .56, .5, .48}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, s := range handBatch() {
				assert.InDeltaSlice(t, c.loss[i], tokenLosses(t, c.o, s), 1e-9, "losses of sequence %d", i)
				if c.grad[i] != nil {
					assert.InDeltaSlice(t, c.grad[i], s.Grad, 1e-9, "gradient of sequence %d", i)
				}
			}
		})
	}
}

// Both signs of the advantage on both sides of both bounds, and beyond the
// dual clip's: with log r = log of the ratio in the first column.
func TestClipRegions(t *testing.T) {
	type point struct{ r, a, loss, grad float64 }
	for _, c := range []struct {
		name   string
		o      objective.Objective
		points []point
	}{
		{"ppo", objective.PPO{ClipLow: .2, ClipHigh: .28}, []point{
			{.5, 2, -1, -1}, {.9, 2, -1.8, -1.8}, {1.2, 2, -2.4, -2.4}, {1.5, 2, -2.56, 0}, {4, 2, -2.56, 0},
			{.5, -2, 1.6, 0}, {.9, -2, 1.8, 1.8}, {1.2, -2, 2.4, 2.4}, {1.5, -2, 3, 3}, {4, -2, 8, 8},
			{4, 0, 0, 0},
		}},
		{"dual clip at 3", objective.PPO{ClipLow: .2, ClipHigh: .28, DualClip: 3}, []point{
			{.5, -2, 1.6, 0}, {1.5, -2, 3, 3}, {2.9, -2, 5.8, 5.8}, {4, -2, 6, 0}, {4, 2, -2.56, 0},
		}},
		{"two-sided, delta above the bound", objective.TwoSidedPPO(.2, .28, 2), []point{
			{1.5, -2, 3, 3}, {4, -2, 4, 0}, {1.2, 2, -2.4, -2.4}, {4, 2, -2.56, 0},
		}},
		// -min(min(r, 1.1)·A, clip(r, .8, 1.28)·A), worked out branch by branch.
		{"two-sided, delta below the bound", objective.TwoSidedPPO(.2, .28, 1.1), []point{
			{1.05, 2, -2.1, -2.1}, {1.2, 2, -2.2, 0}, {4, 2, -2.2, 0},
			{.5, -2, 1.6, 0}, {1.2, -2, 2.4, 2.4}, {4, -2, 2.56, 0},
		}},
		{"dppo: probability moved by more than .2", objective.DPPO{Low: .2, High: .2}, []point{
			// logp is log .4, so that q = .4/r.
			{1.5, 2, -3, -3}, {4, 2, 0, 0}, {4, -2, 8, 8}, {.8, -2, 1.6, 1.6}, {.7, -2, 1.4, 1.4}, {.6, -2, 0, 0}, {.6, 2, -1.2, -1.2},
		}},
		{"sapo", objective.SAPO{TauPos: 1, TauNeg: 2}, []point{
			{1, 2, -4, -2}, {1, -2, 2, 2},
			{3, 1, -4 / (1 + math.Exp(-2)), -12 * math.Exp(-2) / ((1 + math.Exp(-2)) * (1 + math.Exp(-2)))},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range c.points {
				logp := math.Log(.4)
				s := newSequence([]float64{logp}, []float64{logp - math.Log(p.r)}, nil, []float64{p.a})
				loss, _ := eval(t, c.o, s)
				assert.InDelta(t, p.loss, loss, 1e-12, "loss at r=%v A=%v", p.r, p.a)
				assert.InDelta(t, p.grad, s.Grad[0], 1e-12, "gradient at r=%v A=%v", p.r, p.a)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	s := newSequence(
		[]float64{0, 0, 0, 0, 0, excluded}, []float64{-math.Log(2), -math.Log(2), math.Log(2), math.Log(2), -math.Log(4), excluded},
		nil, []float64{1, -1, 1, -1, -1, excluded})
	_, m := eval(t, objective.PPO{ClipLow: .2, ClipHigh: .28, DualClip: 3}, s)
	ln2 := math.Log(2)
	want := map[string]objective.Sum{
		"ratio":     {Sum: 9, Count: 5}, // 2 + 2 + 1/2 + 1/2 + 4
		"clip_high": {Sum: 1, Count: 5},
		"clip_low":  {Sum: 1, Count: 5},
		"clip_dual": {Sum: 1, Count: 5},
		"old_kl":    {Sum: 2*(1-ln2) + 2*(-.5+ln2) + (3 - 2*ln2), Count: 5},
	}
	require.Len(t, m, len(want))
	for name, sum := range want {
		assert.InDelta(t, sum.Sum, m[name].Sum, 1e-12, name)
		assert.Equal(t, sum.Count, m[name].Count, name)
	}
	m.Merge(m)
	assert.Equal(t, objective.Sum{Sum: 18, Count: 10}, m["ratio"])
	assert.InDelta(t, 1.8, m["ratio"].Mean(), 1e-15)
	assert.Zero(t, objective.Sum{}.Mean())
}

func TestAggregatesByHand(t *testing.T) {
	for _, c := range []struct {
		name string
		agg  objective.Aggregation
		want float64
	}{
		{"token mean", objective.TokenMean{}, -0.05004384936},
		{"sequence mean of token mean", objective.SeqMeanTokenMean{}, -0.15506885662},
		{"sequence mean of token sum", objective.SeqMeanTokenSum{}, -0.17515347277},
		{"verl's norm", objective.Constant{Tokens: 4}, -0.08757673639},
		{"Dr. GRPO", objective.Constant{Tokens: 4, PerSequence: true}, -0.04378836819},
	} {
		t.Run(c.name, func(t *testing.T) {
			seqs := handBatch()
			weigh(t, c.agg, seqs)
			total := 0.0
			for _, s := range seqs {
				loss, _ := eval(t, objective.PPO{ClipLow: .2, ClipHigh: .28}, s)
				total += loss
			}
			assert.InDelta(t, c.want, total, 1e-10)
		})
	}
}

// weigh applies an aggregation to whole sequences, each of its own prompt.
func weigh(t *testing.T, agg objective.Aggregation, seqs []*objective.Sequence) {
	t.Helper()
	var l objective.Layout
	for i, s := range seqs {
		include := make([]bool, len(s.LogP))
		for t := range include {
			include[t] = s.Weight[t] != 0
		}
		l.Include, l.Keep, l.Prompt = append(l.Include, include), append(l.Keep, s.Keep), append(l.Prompt, i)
	}
	loss, kl, err := agg.Weigh(l)
	require.NoError(t, err)
	for i, s := range seqs {
		s.Weight, s.KLWeight = loss[i], kl[i]
	}
}

var (
	gspo      = objective.GSPO{ClipLow: .2, ClipHigh: .2}
	gspoToken = objective.GSPOToken{ClipLow: .2, ClipHigh: .2}
)

func TestGSPORefusesStepCredit(t *testing.T) {
	s := newSequence([]float64{-1, -1, excluded}, nil, nil, []float64{1, .5, excluded})
	_, err := gspo.Eval(s, objective.Metrics{})
	require.ErrorIs(t, err, objective.ErrSharedRatio)
	assert.ErrorContains(t, err, "1 at position 0, 0.5 at position 1")

	// A masked token that stays is a token with advantage 0.
	s.Adv = []float64{1, 1, excluded}
	s.Keep = []bool{true, false, true}
	_, err = gspo.Eval(s, objective.Metrics{})
	require.ErrorIs(t, err, objective.ErrSharedRatio)

	// One that has left is none, and no part of the ratio.
	weigh(t, objective.TokenSum{Masked: objective.MaskedExclude}, []*objective.Sequence{s})
	s.Old = []float64{-1.1, -9, excluded}
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
	weigh(t, objective.TokenSum{Masked: objective.MaskedExclude}, []*objective.Sequence{s})
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
