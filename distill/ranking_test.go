package distill_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/rl"
)

func TestRankingGradientIsTheDerivative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "documents")
		s := rapid.SliceOfN(rapid.Float64Range(-4, 4), n, n).Draw(t, "scores")
		teacher := rapid.SliceOfN(rapid.Float64Range(-4, 4), n, n).Draw(t, "teacher")
		l := rapid.SampledFrom([]distill.RankingLoss{distill.MarginMSE{}, distill.ListKL{}, distill.ListKL{Temperature: 2}}).Draw(t, "loss")
		grad, scratch := make([]float64, n), make([]float64, n)
		_, err := l.Eval(s, teacher, grad)
		require.NoError(t, err)
		requireDerivative(t, s, grad, func(x []float64) float64 {
			v, err := l.Eval(x, teacher, scratch)
			require.NoError(t, err)
			return v
		})
	})
}

func TestRankingClosedForms(t *testing.T) {
	grad := make([]float64, 2)
	// A margin of 3 for one of 1, wherever the zeros are.
	loss, err := distill.MarginMSE{}.Eval([]float64{13, 10}, []float64{1, 0}, grad)
	require.NoError(t, err)
	require.InDelta(t, 4, loss, 1e-12)
	require.InDeltaSlice(t, []float64{4, -4}, grad, 1e-12)
	// q = (1/2, 1/2), p = (3/4, 1/4).
	loss, err = distill.ListKL{}.Eval([]float64{math.Log(3), 0}, []float64{5, 5}, grad)
	require.NoError(t, err)
	require.InDelta(t, .5*math.Log(.5/.75)+.5*math.Log(.5/.25), loss, 1e-12)
	require.InDeltaSlice(t, []float64{.25, -.25}, grad, 1e-12)

	_, err = distill.ListKL{}.Eval([]float64{0, math.NaN()}, []float64{0, 0}, grad)
	require.ErrorContains(t, err, "document 1")
	require.Error(t, distill.ListKL{Temperature: -1}.Validate())
	require.InDelta(t, 1.7, distill.ByGrade([]float64{.1, .1, .8}), 1e-12)
}

// A classifier as a ranker: the gradient goes through the expected class.
func TestGraderGradientIsTheDerivative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.SampledFrom([]distill.Head{distill.HeadSoftmax, distill.HeadOrdinal}).Draw(t, "head")
		z := rapid.SliceOfN(rapid.Float64Range(-3, 3), h.Outputs(4), h.Outputs(4)).Draw(t, "outputs")
		score := func(x []float64) float64 {
			dst := [][]float64{make([]float64, 1)}
			g := &distill.Grader{Student: &fixed{outputs: x}, Classes: 4, Head: h}
			require.NoError(t, g.Scores(context.Background(), []distill.Query{{Documents: [][]int32{{0}}}}, dst, false))
			return dst[0][0]
		}
		s := &fixed{outputs: z}
		g := &distill.Grader{Student: s, Classes: 4, Head: h}
		dst := [][]float64{make([]float64, 1), make([]float64, 2)}
		queries := []distill.Query{{Documents: [][]int32{{0}}}, {Documents: [][]int32{{0}, {0}}}}
		require.NoError(t, g.Scores(context.Background(), queries, dst, true))
		require.NoError(t, g.Backward(context.Background(), [][]float64{{.5}, {.25, .25}}))
		requireDerivative(t, z, s.grad, score)
	})
}

// A ranker by hand learns the order of documents from margins, one query at a time.
func TestFitRankingLearnsMargins(t *testing.T) {
	s := &linear{}
	f := distill.FitRanking{
		Ranker: &distill.Grader{Student: s, Classes: 2},
		Queries: []distill.Query{
			{Documents: [][]int32{{0}, {1}}, Teacher: []float64{.9, .1}},
			{Documents: [][]int32{{2}, {3}, {1}}, Teacher: []float64{.6, .3, .1}},
		},
		Loss: distill.MarginMSE{}, Batch: 1, Epochs: 2000, LR: rl.Constant{LR: 1},
	}
	require.Equal(t, 4000, f.Steps())
	loss := 1.0
	for i := range f.Steps() {
		var err error
		loss, err = f.Step(t.Context(), i)
		require.NoError(t, err)
	}
	require.Less(t, loss, 1e-6)
	require.ErrorContains(t, (&distill.FitRanking{}).Validate(), "FitRanking.Ranker")
	f.Queries[1].Teacher = nil
	require.ErrorContains(t, f.Validate(), "Queries[1] has 3 documents and 0 scores")
	f.Queries[1].Teacher = []float64{1, 2, math.Inf(1)}
	require.ErrorContains(t, f.Validate(), "Queries[1].Teacher[2] is +Inf")
}
