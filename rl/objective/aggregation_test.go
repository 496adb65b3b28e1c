package objective_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Three sequences of two prompts and an empty one, with 4, 2, 1 and 0 tokens,
// of which step credit keeps 3, 0 and 1.
var layout = objective.Layout{
	Include: [][]bool{{true, true, true, true}, {true, true, false}, {false, true}, {false}},
	Keep:    [][]bool{{true, false, true, true}, {false, false, true}, nil, {true}},
	Prompt:  []int{7, 7, 3, 3},
}

func TestWeights(t *testing.T) {
	type rows = [][]float64
	every := func(a, b, c float64) rows { return rows{{a, a, a, a}, {b, b, 0}, {0, c}, {0}} }
	kept := func(a, c float64) rows { return rows{{a, 0, a, a}, {0, 0, 0}, {0, c}, {0}} }
	const s, l = objective.MaskedStay, objective.MaskedExclude
	for _, c := range []struct {
		name string
		agg  func(objective.Masked) objective.Aggregation
		stay rows
		kept rows
	}{
		{"token mean", func(m objective.Masked) objective.Aggregation { return objective.TokenMean{Masked: m} },
			every(1./7, 1./7, 1./7), kept(1./4, 1./4)},
		{"token sum", func(m objective.Masked) objective.Aggregation { return objective.TokenSum{Masked: m} },
			every(1, 1, 1), kept(1, 1)},
		{"sequence mean of token mean", func(m objective.Masked) objective.Aggregation { return objective.SeqMeanTokenMean{Masked: m} },
			every(1./12, 1./6, 1./3), kept(1./6, 1./2)},
		{"the same with empty rows", func(m objective.Masked) objective.Aggregation {
			return objective.SeqMeanTokenMean{Masked: m, CountEmpty: true}
		}, every(1./16, 1./8, 1./4), kept(1./12, 1./4)},
		{"the same with an epsilon", func(m objective.Masked) objective.Aggregation {
			return objective.SeqMeanTokenMean{Masked: m, Epsilon: 1}
		}, every(1./15, 1./9, 1./6), kept(1./8, 1./4)},
		{"sequence mean of token sum", func(m objective.Masked) objective.Aggregation { return objective.SeqMeanTokenSum{Masked: m} },
			every(1./3, 1./3, 1./3), kept(1./2, 1./2)},
		{"the same with empty rows", func(m objective.Masked) objective.Aggregation {
			return objective.SeqMeanTokenSum{Masked: m, CountEmpty: true}
		}, every(1./4, 1./4, 1./4), kept(1./4, 1./4)},
		{"constant", func(m objective.Masked) objective.Aggregation { return objective.Constant{Masked: m, Tokens: 10} },
			every(.1, .1, .1), kept(.1, .1)},
		{"constant per sequence", func(m objective.Masked) objective.Aggregation {
			return objective.Constant{Masked: m, Tokens: 10, PerSequence: true}
		}, every(.025, .025, .025), kept(.025, .025)},
		{"prompt mean", func(m objective.Masked) objective.Aggregation { return objective.PromptMean{Masked: m} },
			every(1./12, 1./12, 1./2), kept(1./6, 1./2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range []struct {
				masked   objective.Masked
				loss, kl rows
			}{{s, c.stay, c.stay}, {l, c.kept, c.kept}, {objective.MaskedExcludeLoss, c.kept, c.stay}} {
				loss, kl, err := c.agg(v.masked).Weigh(layout)
				require.NoError(t, err)
				for i := range loss {
					assert.InDeltaSlice(t, v.loss[i], loss[i], 1e-15, "%v: loss of sequence %d", v.masked, i)
					assert.InDeltaSlice(t, v.kl[i], kl[i], 1e-15, "%v: kl of sequence %d", v.masked, i)
				}
			}
		})
	}
}

func aggregations(m objective.Masked) []objective.Aggregation {
	return []objective.Aggregation{
		objective.TokenMean{Masked: m}, objective.TokenSum{Masked: m}, objective.SeqMeanTokenMean{Masked: m},
		objective.SeqMeanTokenSum{Masked: m}, objective.Constant{Masked: m, Tokens: 3}, objective.PromptMean{Masked: m},
	}
}

func TestNoTokens(t *testing.T) {
	none := objective.Layout{Include: [][]bool{{false, false}, {}}, Prompt: []int{0, 0}}
	masked := objective.Layout{Include: [][]bool{{true, true}}, Keep: [][]bool{{false, false}}, Prompt: []int{0}}
	for _, agg := range aggregations(objective.MaskedStay) {
		loss, kl, err := agg.Weigh(none)
		require.ErrorIs(t, err, objective.ErrNoTokens, "%T", agg)
		require.Equal(t, [][]float64{{0, 0}, {}}, loss, "%T", agg)
		require.Equal(t, loss, kl, "%T", agg)
		_, _, err = agg.Weigh(objective.Layout{})
		require.ErrorIs(t, err, objective.ErrNoTokens, "%T", agg)
		_, _, err = agg.Weigh(masked)
		require.NoError(t, err, "%T", agg)
	}
	for _, agg := range aggregations(objective.MaskedExclude) {
		_, _, err := agg.Weigh(masked)
		require.ErrorIs(t, err, objective.ErrNoTokens, "%T", agg)
	}
	for _, agg := range aggregations(objective.MaskedExcludeLoss) {
		loss, kl, err := agg.Weigh(masked)
		require.NoError(t, err, "%T: KL is left to train on", agg)
		require.Equal(t, [][]float64{{0, 0}}, loss, "%T", agg)
		require.Positive(t, kl[0][0], "%T", agg)
	}
}

func TestLayoutErrors(t *testing.T) {
	include := [][]bool{{true, true}, {true}}
	weigh := func(agg objective.Aggregation, l objective.Layout) string {
		_, _, err := agg.Weigh(l)
		require.Error(t, err)
		return err.Error()
	}
	assert.Contains(t, weigh(objective.TokenMean{}, objective.Layout{Include: include, Keep: include[:1]}), "want 2 as in Include")
	assert.Contains(t, weigh(objective.TokenMean{}, objective.Layout{Include: include, Keep: [][]bool{{true}, nil}}), "sequence 0")
	assert.Contains(t, weigh(objective.PromptMean{}, objective.Layout{Include: include}), "0 sequences, want 2")
}

func TestAggregationsValidate(t *testing.T) {
	for _, agg := range append(aggregations(objective.MaskedExcludeLoss), objective.Split{Loss: objective.TokenSum{}, Regularizer: objective.TokenMean{}}) {
		require.NoError(t, agg.Validate(), "%#v", agg)
	}
	for _, agg := range aggregations(9) {
		require.ErrorContains(t, agg.Validate(), "Masked is objective.Masked(9), want stay, exclude or exclude_loss", "%T", agg)
	}
	inf, nan := math.Inf(1), math.NaN()
	for want, agg := range map[string]objective.Aggregation{
		"Constant.Tokens is 0":             objective.Constant{},
		"Constant.Tokens is NaN":           objective.Constant{Tokens: nan},
		"Constant.Tokens is +Inf":          objective.Constant{Tokens: inf},
		"SeqMeanTokenMean.Epsilon is -1":   objective.SeqMeanTokenMean{Epsilon: -1},
		"SeqMeanTokenMean.Epsilon is NaN":  objective.SeqMeanTokenMean{Epsilon: nan},
		"want two aggregations":            objective.Split{Loss: objective.TokenSum{}},
		"TokenMean.Masked":                 objective.Split{Loss: objective.TokenMean{Masked: 9}, Regularizer: objective.TokenSum{}},
		"objective: Constant.Tokens is -1": objective.Split{Loss: objective.TokenSum{}, Regularizer: objective.Constant{Tokens: -1}},
	} {
		require.ErrorContains(t, agg.Validate(), want, "%#v", agg)
	}
}

// Means sum to one, whatever the masks: the loss of an objective that is 1 at
// every token is 1.
func TestMeansSumToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		masks := rapid.SliceOfN(rapid.SliceOfN(rapid.Bool(), 0, 6), 1, 5)
		var l objective.Layout
		l.Include = masks.Draw(t, "include")
		some := false
		for i := range l.Include {
			l.Prompt = append(l.Prompt, rapid.IntRange(0, 2).Draw(t, "prompt"))
			for _, x := range l.Include[i] {
				some = some || x
			}
		}
		if !some {
			return
		}
		for _, agg := range []objective.Aggregation{objective.TokenMean{}, objective.SeqMeanTokenMean{}, objective.PromptMean{}} {
			loss, _, err := agg.Weigh(l)
			require.NoError(t, err)
			sum := 0.0
			for i := range loss {
				for _, w := range loss[i] {
					sum += w
				}
			}
			require.InDelta(t, 1, sum, 1e-12, "%T", agg)
		}
	})
}

func TestSplitTakesEachWeightFromItsOwnAggregation(t *testing.T) {
	a := objective.Split{
		Loss:        objective.TokenMean{Masked: objective.MaskedExclude},
		Regularizer: objective.SeqMeanTokenMean{CountEmpty: true},
	}
	loss, kl, err := a.Weigh(layout)
	require.NoError(t, err)
	wantLoss, _, err := a.Loss.Weigh(layout)
	require.NoError(t, err)
	_, wantKL, err := a.Regularizer.Weigh(layout)
	require.NoError(t, err)
	assert.Equal(t, wantLoss, loss)
	assert.Equal(t, wantKL, kl)
}

func TestSplitWithoutTokens(t *testing.T) {
	a := objective.Split{Loss: objective.TokenMean{Masked: objective.MaskedExclude}, Regularizer: objective.TokenMean{}}
	masked := objective.Layout{Include: [][]bool{{true, true}}, Keep: [][]bool{{false, false}}}
	loss, kl, err := a.Weigh(masked)
	require.NoError(t, err, "the regulariser still counts")
	assert.Equal(t, [][]float64{{0, 0}}, loss)
	assert.Equal(t, [][]float64{{.5, .5}}, kl)

	excluded := objective.Layout{Include: [][]bool{{false, false}}}
	_, _, err = a.Weigh(excluded)
	assert.ErrorIs(t, err, objective.ErrNoTokens)
	_, _, err = a.Weigh(objective.Layout{Include: excluded.Include, Keep: [][]bool{}})
	assert.ErrorContains(t, err, "rows", "errors of the parts come through")
}

// A prompt all of whose tokens are excluded is part of the mean only on request.
func TestPromptMeanCountsEmptyPromptsOnRequest(t *testing.T) {
	l := objective.Layout{Include: [][]bool{{true, true}, {false}, {true, true}}, Prompt: []int{1, 2, 3}}
	loss, _, err := objective.PromptMean{}.Weigh(l)
	require.NoError(t, err)
	assert.Equal(t, [][]float64{{1. / 4, 1. / 4}, {0}, {1. / 4, 1. / 4}}, loss)
	loss, _, err = objective.PromptMean{CountEmpty: true}.Weigh(l)
	require.NoError(t, err)
	assert.Equal(t, [][]float64{{1. / 6, 1. / 6}, {0}, {1. / 6, 1. / 6}}, loss)
}

// The masked tokens count as regularised in the loss's aggregation, which Split does not
// take from there: nothing is left.
func TestSplitLooksAtTheWeightsThatItTakes(t *testing.T) {
	a := objective.Split{Loss: objective.TokenMean{Masked: objective.MaskedExcludeLoss}, Regularizer: objective.TokenMean{Masked: objective.MaskedExclude}}
	loss, kl, err := a.Weigh(objective.Layout{Include: [][]bool{{true, true}}, Keep: [][]bool{{false, false}}})
	require.ErrorIs(t, err, objective.ErrNoTokens)
	assert.Equal(t, [][]float64{{0, 0}}, loss)
	assert.Equal(t, [][]float64{{0, 0}}, kl)
}
