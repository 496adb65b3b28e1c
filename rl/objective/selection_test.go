package objective_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Two sequences; logπ_rollout - logπ_old is .5, excluded, -1, 0 and -.25, .125.
var (
	included = objective.Layout{Include: [][]bool{{true, false, true, true}, {true, true}}}
	oldLogP  = [][]float64{{-1, excluded, -1, -2}, {-.5, -.5}}
	sampled  = [][]float64{{-.5, excluded, -2, -2}, {-.75, -.375}}
)

func TestReject(t *testing.T) {
	k1 := func(u objective.Unit, low, high float64) objective.Rejection {
		return objective.Rejection{Estimator: objective.K1, Unit: u, Min: low, Max: high}
	}
	up := func(k objective.KLEstimator, u objective.Unit, high float64) objective.Rejection {
		return objective.Rejection{Estimator: k, Unit: u, Max: high}
	}
	k3 := func(d float64) float64 { return math.Exp(-d) - 1 + d }
	all := [][]bool{{true, false, true, true}, {true, true}}
	none, second := [][]bool{{false, false, false, false}, {false, false}}, [][]bool{{false, false, false, false}, all[1]}
	const below = 1 - 1e-12
	for _, c := range []struct {
		name string
		by   []objective.Rejection
		want [][]bool
	}{
		{"bounds are inside", []objective.Rejection{k1(objective.UnitToken, -1, .5)}, all},
		{"above", []objective.Rejection{k1(objective.UnitToken, -1, .5*below)}, [][]bool{{false, false, true, true}, {true, true}}},
		{"below", []objective.Rejection{k1(objective.UnitToken, -1*below, .5)}, [][]bool{{true, false, false, true}, {true, true}}},
		{"one side", []objective.Rejection{k1(objective.UnitToken, math.Inf(-1), .125)}, [][]bool{{false, false, true, true}, {true, true}}},
		{"k2 of a token", []objective.Rejection{up(objective.K2, objective.UnitToken, .125)}, [][]bool{{true, false, false, true}, {true, true}}},
		{"k3 of a token", []objective.Rejection{up(objective.K3, objective.UnitToken, k3(.5))}, [][]bool{{true, false, false, true}, {true, true}}},
		{"abs of a token", []objective.Rejection{up(objective.KAbs, objective.UnitToken, .2)}, [][]bool{{false, false, false, true}, {false, true}}},
		{"the sums are -.5 and -.125", []objective.Rejection{k1(objective.UnitSum, -.125, 1)}, second},
		{"the means are -1/6 and -1/16", []objective.Rejection{k1(objective.UnitMean, -.1, 1)}, second},
		{"the means of k2 are .625/3 and .0390625/2", []objective.Rejection{up(objective.K2, objective.UnitMean, .2)}, second},
		{"nothing is left", []objective.Rejection{up(objective.K2, objective.UnitMean, .0195)}, none},
		{"the worst by k3 is that of -1", []objective.Rejection{up(objective.K3, objective.UnitWorst, math.E-2)}, all},
		{"the worst is too large", []objective.Rejection{up(objective.K3, objective.UnitWorst, (math.E-2)*below)}, second},
		{"both bounds of k1 are of every token", []objective.Rejection{k1(objective.UnitWorst, -.3, .5)}, second},
		{"each sees all tokens", []objective.Rejection{k1(objective.UnitToken, -.75, 1), k1(objective.UnitSum, -.375, 1)}, second},
		{"in any order", []objective.Rejection{k1(objective.UnitSum, -.5, .1), k1(objective.UnitToken, -.2, 1)}, [][]bool{{true, false, false, true}, {false, true}}},
		{"no rejection", nil, all},
	} {
		include, rejected, err := included.Reject(oldLogP, sampled, c.by...)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, include, c.name)
		left := 0
		for _, row := range include {
			for _, in := range row {
				if in {
					left++
				}
			}
		}
		assert.Equal(t, objective.Sum{Sum: float64(5 - left), Count: 5}, rejected, c.name)
	}
	assert.Equal(t, all, included.Include, "the caller's mask stays")
}

func TestRejectNamesWhatItCannotRead(t *testing.T) {
	r := objective.Rejection{Estimator: objective.K3, Max: 1}
	for want, rows := range map[string][2][][]float64{
		"objective: old log-probs of 0 sequences, want 2 as in Layout.Include":                           {nil, sampled},
		"objective: sequence 1: 0 rollout log-probs, want 2 as in Layout.Include":                        {oldLogP, {sampled[0], nil}},
		"objective: sequence 1: log-probs at position 0 are -0.5 and NaN (rollout), want finite numbers": {oldLogP, {sampled[0], {excluded, -1}}},
		"objective: sequence 0: log-probs at position 3 are -Inf and -2 (rollout), want finite numbers":  {{{-1, 0, -1, math.Inf(-1)}, oldLogP[1]}, sampled},
	} {
		_, _, err := included.Reject(rows[0], rows[1], r)
		assert.EqualError(t, err, want)
	}
	for want, r := range map[string]objective.Rejection{
		"objective: Rejection.Estimator is not set, want k1, k2, k3 or abs":              {Max: 1},
		"objective: Rejection.Unit is objective.Unit(4), want token, mean, sum or worst": {Estimator: objective.K2, Unit: 4, Max: 1},
		"objective: Rejection.Max is 0, want a positive number":                          {Estimator: objective.K2},
		"objective: Rejection.Max is NaN":                                                {Estimator: objective.K2, Max: excluded},
		"objective: Rejection.Min is 0, want a negative number of nats for k1":           {Estimator: objective.K1, Max: 1},
		"objective: Rejection.Min is NaN, want a negative number of nats for k1":         {Estimator: objective.K1, Min: excluded, Max: 1},
		"objective: Rejection.Min is -1, want 0 for k3, which is never negative":         {Estimator: objective.K3, Min: -1, Max: 1},
		"objective: Rejection.Min is 0.1, want 0 for abs, which is never negative":       {Estimator: objective.KAbs, Min: .1, Max: 1},
	} {
		assert.ErrorContains(t, r.Validate(), want)
		_, _, err := included.Reject(oldLogP, sampled, r)
		assert.ErrorContains(t, err, want)
	}
}

func TestUnitTexts(t *testing.T) {
	for u, name := range map[objective.Unit]string{objective.UnitToken: "token", objective.UnitMean: "mean", objective.UnitSum: "sum", objective.UnitWorst: "worst"} {
		text, err := u.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, name, string(text))
		assert.Equal(t, name, u.String())
		back, err := read[objective.Unit](text)
		require.NoError(t, err)
		assert.Equal(t, u, back)
	}
}

// What is rejected leaves the denominators, what a gate takes out does not.
func TestRejectedTokensLeaveTheDenominators(t *testing.T) {
	include, _, err := included.Reject(oldLogP, sampled, objective.Rejection{Estimator: objective.K2, Unit: objective.UnitWorst, Max: .25})
	require.NoError(t, err)
	for _, c := range []struct {
		agg  objective.Aggregation
		want float64
	}{
		{objective.TokenMean{}, 1. / 2},
		{objective.SeqMeanTokenMean{}, 1. / 2},
		{objective.SeqMeanTokenMean{CountEmpty: true}, 1. / 4},
		{objective.Constant{Tokens: 4, PerSequence: true}, 1. / 8},
	} {
		loss, kl, err := c.agg.Weigh(objective.Layout{Include: include})
		require.NoError(t, err)
		assert.Equal(t, [][]float64{{0, 0, 0, 0}, {c.want, c.want}}, loss, "%#v", c.agg)
		assert.Equal(t, loss, kl, "%#v", c.agg)
	}
}

func TestTopEntropy(t *testing.T) {
	entropy := [][]float64{{.1, excluded, .5, .3}, {.5, .2}}
	for _, c := range []struct {
		share, threshold float64
		keep             [][]bool
		want             [][]bool
	}{
		{1, .1, nil, [][]bool{{true, false, true, true}, {true, true}}},
		{.75, .2, nil, [][]bool{{false, false, true, true}, {true, true}}},
		{.7, .2 + .2*.1, nil, [][]bool{{false, false, true, true}, {true, false}}}, // at .3·4 of .1 .2 .3 .5 .5
		{.5, .3, nil, [][]bool{{false, false, true, true}, {true, false}}},
		{.2, .5, nil, [][]bool{{false, false, true, false}, {true, false}}}, // equal ones are all kept
		{.5, .3, [][]bool{{true, true, false, true}, nil}, [][]bool{{false, false, false, true}, {true, false}}},
	} {
		l := included
		l.Keep = c.keep
		keep, threshold, err := l.TopEntropy(entropy, c.share)
		require.NoError(t, err)
		assert.InDelta(t, c.threshold, threshold, 1e-15, "share %v", c.share)
		assert.Equal(t, c.want, keep, "share %v", c.share)
	}

	nothing := objective.Layout{Include: [][]bool{{false}}}
	keep, threshold, err := nothing.TopEntropy([][]float64{{excluded}}, .2)
	require.NoError(t, err)
	assert.Zero(t, threshold)
	assert.Equal(t, [][]bool{{false}}, keep)

	for _, share := range []float64{0, -1, 1.1, excluded} {
		_, _, err := included.TopEntropy(entropy, share)
		assert.ErrorContains(t, err, "want more than 0 and at most 1")
	}
	_, _, err = included.TopEntropy(nil, .2)
	assert.EqualError(t, err, "objective: entropies of 0 sequences, want 2 as in Layout.Include")
	_, _, err = included.TopEntropy([][]float64{entropy[0], {1, math.Inf(1)}}, .2)
	assert.EqualError(t, err, "objective: sequence 1: the entropy at position 1 is +Inf, want a finite number")
}

// Of 101 different entropies a share of k percent keeps the highest k+1, as torch.quantile
// defines it, whatever 1-share is in floating point.
func TestTopEntropyKeepsItsShare(t *testing.T) {
	const n = 101
	l, entropy := objective.Layout{Include: [][]bool{make([]bool, n)}}, make([]float64, n)
	for i := range n {
		l.Include[0][i], entropy[i] = true, math.Sin(float64(i))
	}
	for percent := 1; percent <= 100; percent++ {
		keep, _, err := l.TopEntropy([][]float64{entropy}, float64(percent)/100)
		require.NoError(t, err)
		kept := 0
		for _, k := range keep[0] {
			if k {
				kept++
			}
		}
		assert.Equal(t, percent+1, kept, "%d percent", percent)
	}
}

func TestAdaptiveEntropy(t *testing.T) {
	a := objective.AdaptiveEntropy{Coef: .5, Target: 2, Delta: .25, Min: .25, Max: 1}
	require.NoError(t, a.Validate())
	assert.Equal(t, objective.EntropyBonus{}, a.Bonus(), "nothing is known before the first step")
	for _, c := range []struct{ entropy, coef, bonus float64 }{
		{2, .75, .75}, {1, 1, 1}, {0, 1, 1}, {2.001, .75, 0}, {3, .5, 0}, {3, .25, 0}, {3, .25, 0}, {1.9, .5, .5},
	} {
		require.NoError(t, a.Update(c.entropy))
		assert.Equal(t, c.coef, a.Coef)
		assert.Equal(t, objective.EntropyBonus{Coef: c.bonus}, a.Bonus())
	}
	before := a
	assert.ErrorContains(t, a.Update(math.NaN()), "an entropy of NaN")
	assert.Equal(t, before, a)
	for want, bad := range map[string]objective.AdaptiveEntropy{
		"AdaptiveEntropy.Target is 0":                  {Delta: 1, Max: 1},
		"AdaptiveEntropy.Delta is +Inf":                {Target: 1, Delta: math.Inf(1), Max: 1},
		"has Min 0, Coef 2 and Max 1":                  {Target: 1, Delta: 1, Coef: 2, Max: 1},
		"has Min 0.5, Coef 0.25 and Max 1":             {Target: 1, Delta: 1, Coef: .25, Min: .5, Max: 1},
		"has Min -1, Coef 0 and Max 1":                 {Target: 1, Delta: 1, Min: -1, Max: 1},
		"has Min 0, Coef 0 and Max +Inf, want 0 ≤ Min": {Target: 1, Delta: 1, Max: math.Inf(1)},
	} {
		assert.ErrorContains(t, bad.Validate(), want)
		assert.ErrorContains(t, bad.Update(1), want)
	}
}

// Means of the five tokens that count: log-prob -1.5, advantage 0.5.
func TestCovRanks(t *testing.T) {
	l := objective.Layout{
		Include: [][]bool{{true, false, true, true}, {true, true, true}},
		Keep:    [][]bool{nil, {true, false, true}},
	}
	logp := [][]float64{{-.5, excluded, -2.5, -1.5}, {-.5, excluded, -2.5}}
	adv := [][]float64{{1.5, excluded, 1.5, -.5}, {-.5, excluded, .5}} // covariances 1, -1, 0, -1, 0
	ranks, err := l.CovRanks(logp, adv)
	require.NoError(t, err)
	require.Equal(t, [][]float64{{0, 1, .8, .4}, {1, 1, .6}}, ranks, "of equal ones the first is before")

	// A share of n tokens is the ranks up to it, and one token at least.
	for share, want := range map[float64]float64{.1: 1, .2: 1, .39: 1, .4: 2, .6: 3, 1: 5} {
		chosen := objective.Metrics{}
		for i, in := range l.Include {
			s := newSequence(make([]float64, len(in)), slices.Repeat([]float64{-1}, len(in)), nil, nil)
			s.CovRank, s.Keep = ranks[i], l.Keep[i]
			for t := range in {
				if !in[t] {
					s.Weight[t] = 0
				}
			}
			_, m := eval(t, objective.KLCov{Share: share, Coef: 1}, s)
			chosen.Merge(m)
		}
		require.Equal(t, objective.Sum{Sum: want, Count: want}, chosen["kl_cov"], share)
	}

	empty, err := objective.Layout{Include: [][]bool{{false}, {}}}.CovRanks([][]float64{{excluded}, {}}, [][]float64{{excluded}, {}})
	require.NoError(t, err)
	require.Equal(t, [][]float64{{1}, {}}, empty)
	_, err = l.CovRanks(logp[:1], adv)
	require.EqualError(t, err, "objective: log-probs of 1 sequences, want 2 as in Layout.Include")
	_, err = l.CovRanks(logp, [][]float64{adv[0], {1}})
	require.EqualError(t, err, "objective: sequence 1: 1 advantages, want 3 as in Layout.Include")
	adv[1][2] = math.Inf(1)
	_, err = l.CovRanks(logp, adv)
	require.EqualError(t, err, "objective: sequence 1: log-prob and advantage at position 2 are -2.5 and +Inf, want finite numbers")
}
