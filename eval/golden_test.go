package eval_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
)

// golden holds what testdata/golden.py wrote; a nil number is undefined.
type golden struct {
	Labels []struct {
		Gold, Pred        []int
		Cut               int
		Accuracy          float64
		BinaryAccuracy    float64 `json:"binary_accuracy"`
		Labels            []int
		F1                []float64
		MacroF1           float64 `json:"macro_f1"`
		MacroF1Labels     []int   `json:"macro_f1_labels"`
		MacroF1OverLabels float64 `json:"macro_f1_over_labels"`
		Kappa             *float64
		Confusion         [][]int
	}
	AUC []struct {
		Score    []float64
		Positive []bool
		AUC      float64
	}
	NDCG []struct {
		Score, Gain []float64
		K           int
		NDCG        float64
	}
	PassAtK []struct {
		N, C, K int
		Pass    float64
	} `json:"pass_at_k"`
	Bootstrap []struct {
		A, B             []float64
		Level            float64
		Mean, Difference [2]float64
	}
}

func readGolden(t *testing.T) (g golden) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	return g
}

func near(t *testing.T, want, got float64, what string) {
	t.Helper()
	assert.InDelta(t, want, got, 1e-12, what)
}

func TestLabelsAgainstScikitLearn(t *testing.T) {
	cases := readGolden(t).Labels
	require.NotEmpty(t, cases)
	for _, c := range cases {
		var pairs []eval.Pair
		for i := range c.Gold {
			pairs = append(pairs, eval.Pair{Gold: c.Gold[i], Pred: c.Pred[i]})
		}
		near(t, c.Accuracy, eval.Accuracy(pairs), "accuracy")
		near(t, c.BinaryAccuracy, eval.BinaryAccuracy(pairs, c.Cut), "binary accuracy")
		for i, label := range c.Labels {
			near(t, c.F1[i], eval.F1(pairs, label), "F1")
		}
		near(t, c.MacroF1, eval.MacroF1(pairs, nil), "macro-F1")
		near(t, c.MacroF1OverLabels, eval.MacroF1(pairs, c.MacroF1Labels), "macro-F1 over labels")
		if c.Kappa == nil {
			assert.True(t, math.IsNaN(eval.QuadraticKappa(pairs)))
		} else {
			near(t, *c.Kappa, eval.QuadraticKappa(pairs), "kappa")
		}
		assert.Equal(t, eval.Confusion{Labels: c.Labels, Counts: c.Confusion}, eval.NewConfusion(pairs))
	}
}

func TestAUCAgainstScikitLearn(t *testing.T) {
	cases := readGolden(t).AUC
	require.NotEmpty(t, cases)
	for _, c := range cases {
		var examples []eval.Scored
		for i := range c.Score {
			examples = append(examples, eval.Scored{Score: c.Score[i], Positive: c.Positive[i]})
		}
		near(t, c.AUC, eval.AUC(examples), "AUC")
	}
}

func TestNDCGAgainstScikitLearn(t *testing.T) {
	cases := readGolden(t).NDCG
	require.NotEmpty(t, cases)
	for _, c := range cases {
		var docs []eval.Ranked
		for i := range c.Score {
			docs = append(docs, eval.Ranked{Score: c.Score[i], Gain: c.Gain[i]})
		}
		near(t, c.NDCG, eval.NDCG(docs, c.K), "nDCG")
	}
}

func TestPassAtKAgainstFractions(t *testing.T) {
	cases := readGolden(t).PassAtK
	require.NotEmpty(t, cases)
	for _, c := range cases {
		near(t, c.Pass, eval.PassAtK(c.N, c.C, c.K), "pass@k")
	}
}

// The resamples differ from scipy's, so the bounds agree up to their own noise:
// with 20,000 replicates, about a hundredth of the interval.
func TestBootstrapAgainstScipy(t *testing.T) {
	cases := readGolden(t).Bootstrap
	require.NotEmpty(t, cases)
	mean := func(x []float64) float64 { m, _ := eval.Mean(x); return m }
	for _, c := range cases {
		o := eval.BootstrapOptions{Replicates: 20_000, Level: c.Level, Seed: 1}
		for _, b := range []struct {
			got  eval.Interval
			want [2]float64
		}{
			{eval.Bootstrap(c.A, mean, o), c.Mean},
			{eval.BootstrapDifference(c.A, c.B, mean, o), c.Difference},
		} {
			noise := .03 * (b.want[1] - b.want[0])
			assert.InDelta(t, b.want[0], b.got.Low, noise)
			assert.InDelta(t, b.want[1], b.got.High, noise)
		}
		near(t, mean(c.A)-mean(c.B), eval.BootstrapDifference(c.A, c.B, mean, o).Estimate, "estimate")
	}
}
