package objective_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

func TestSplitTakesEachWeightFromItsOwnAggregation(t *testing.T) {
	a := objective.Split{
		Loss:        objective.TokenMean{Masked: objective.Leave},
		Regularizer: objective.SeqMeanTokenMean{CountEmpty: true},
	}
	loss, kl := like(layout.Live), like(layout.Live)
	require.NoError(t, a.Weigh(layout, loss, kl))
	wantLoss, wantKL, unused := like(layout.Live), like(layout.Live), like(layout.Live)
	require.NoError(t, a.Loss.Weigh(layout, wantLoss, unused))
	require.NoError(t, a.Regularizer.Weigh(layout, unused, wantKL))
	assert.Equal(t, wantLoss, loss)
	assert.Equal(t, wantKL, kl)
}

func TestSplitWithoutLiveTokens(t *testing.T) {
	a := objective.Split{Loss: objective.TokenMean{Masked: objective.Leave}, Regularizer: objective.TokenMean{}}
	masked := objective.Layout{Live: [][]bool{{true, true}}, Keep: [][]bool{{false, false}}}
	loss, kl := like(masked.Live), like(masked.Live)
	require.NoError(t, a.Weigh(masked, loss, kl), "the regulariser still counts")
	assert.Equal(t, [][]float64{{0, 0}}, loss)
	assert.Equal(t, [][]float64{{.5, .5}}, kl)

	dead := objective.Layout{Live: [][]bool{{false, false}}}
	assert.ErrorIs(t, a.Weigh(dead, loss, kl), objective.ErrNoLiveToken)
	assert.ErrorContains(t, objective.Split{Loss: objective.TokenSum{}}.Weigh(dead, loss, kl), "want two aggregations")
	assert.ErrorContains(t, a.Weigh(dead, loss[:0], kl), "rows", "errors of the parts come through")
	a.Regularizer = objective.Constant{}
	assert.ErrorContains(t, a.Weigh(masked, loss, kl), "Constant.Tokens")
}

// A prompt all of whose tokens are dead is part of the mean only on request.
func TestPromptMeanCountsEmptyPromptsOnRequest(t *testing.T) {
	l := objective.Layout{Live: [][]bool{{true, true}, {false}, {true, true}}, Prompt: []int{1, 2, 3}}
	loss, kl := like(l.Live), like(l.Live)
	require.NoError(t, objective.PromptMean{}.Weigh(l, loss, kl))
	assert.Equal(t, [][]float64{{1. / 4, 1. / 4}, {0}, {1. / 4, 1. / 4}}, loss)
	require.NoError(t, objective.PromptMean{CountEmpty: true}.Weigh(l, loss, kl))
	assert.Equal(t, [][]float64{{1. / 6, 1. / 6}, {0}, {1. / 6, 1. / 6}}, loss)
}
