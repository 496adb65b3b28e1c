package objective_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

func TestSplitTakesEachWeightFromItsOwnAggregation(t *testing.T) {
	a := objective.Split{
		Loss:        objective.TokenMean{Masked: objective.MaskedLeave},
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

func TestSplitWithoutLiveTokens(t *testing.T) {
	a := objective.Split{Loss: objective.TokenMean{Masked: objective.MaskedLeave}, Regularizer: objective.TokenMean{}}
	masked := objective.Layout{Include: [][]bool{{true, true}}, Keep: [][]bool{{false, false}}}
	loss, kl, err := a.Weigh(masked)
	require.NoError(t, err, "the regulariser still counts")
	assert.Equal(t, [][]float64{{0, 0}}, loss)
	assert.Equal(t, [][]float64{{.5, .5}}, kl)

	dead := objective.Layout{Include: [][]bool{{false, false}}}
	_, _, err = a.Weigh(dead)
	assert.ErrorIs(t, err, objective.ErrNoTokens)
	_, _, err = objective.Split{Loss: objective.TokenSum{}}.Weigh(dead)
	assert.ErrorContains(t, err, "want two aggregations")
	_, _, err = a.Weigh(objective.Layout{Include: dead.Live, Keep: [][]bool{}})
	assert.ErrorContains(t, err, "rows", "errors of the parts come through")
	a.Regularizer = objective.Constant{}
	_, _, err = a.Weigh(masked)
	assert.ErrorContains(t, err, "Constant.Tokens")
}

// A prompt all of whose tokens are dead is part of the mean only on request.
func TestPromptMeanCountsEmptyPromptsOnRequest(t *testing.T) {
	l := objective.Layout{Include: [][]bool{{true, true}, {false}, {true, true}}, Prompt: []int{1, 2, 3}}
	loss, _, err := objective.PromptMean{}.Weigh(l)
	require.NoError(t, err)
	assert.Equal(t, [][]float64{{1. / 4, 1. / 4}, {0}, {1. / 4, 1. / 4}}, loss)
	loss, _, err = objective.PromptMean{CountEmpty: true}.Weigh(l)
	require.NoError(t, err)
	assert.Equal(t, [][]float64{{1. / 6, 1. / 6}, {0}, {1. / 6, 1. / 6}}, loss)
}
