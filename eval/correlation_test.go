package eval_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/eval"
)

// Package eval/posir compares line and correlations with scipy's.
func TestCorrelations(t *testing.T) {
	x := []float64{1, 2, 3, 4}
	line := eval.FitLine(x, []float64{3, 5, 7, 9})
	assert.InDelta(t, 2, line.Slope, 1e-12)
	assert.InDelta(t, 1, line.Intercept, 1e-12)
	assert.InDelta(t, 1, line.R2, 1e-12)
	bent := []float64{1, 2, 9, 9}
	assert.InDelta(t, 15.5/math.Sqrt(5*56.75), eval.Pearson(x, bent), 1e-12)
	assert.InDelta(t, 4.5/math.Sqrt(5*4.5), eval.Spearman(x, bent), 1e-12, "ranks 1, 2, 3.5, 3.5")
	assert.InDelta(t, 5/math.Sqrt(6*5), eval.Kendall(x, bent), 1e-12, "five of six pairs agree, one is tied in y")
	same, nan := []float64{.7, .7, .7, .7}, []float64{1, 2, math.NaN(), 4}
	for _, f := range []func(x, y []float64) float64{eval.Pearson, eval.Spearman, eval.Kendall} {
		assert.True(t, math.IsNaN(f(x, same)) && math.IsNaN(f(same, x)) && math.IsNaN(f(x, nan)) && math.IsNaN(f(nil, nil)))
		assert.Panics(t, func() { f(x, x[1:]) })
		assert.Panics(t, func() { f(same, same[1:]) })
	}
	assert.True(t, math.IsNaN(eval.FitLine(same, x).Slope))
	assert.True(t, math.IsNaN(eval.FitLine(x, same).R2))
	assert.InDelta(t, 0, eval.FitLine(x, same).Slope, 1e-12)

	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "n")
		small := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 5), func(i int) float64 { return float64(i) }), n, n)
		a, b := small.Draw(t, "a"), small.Draw(t, "b")
		grown := make([]float64, n) // a monotone function of b
		for i, v := range b {
			grown[i] = math.Exp(v)
		}
		for _, f := range []func(x, y []float64) float64{eval.Spearman, eval.Kendall} {
			v := f(a, b)
			if math.IsNaN(v) {
				continue
			}
			assert.LessOrEqual(t, math.Abs(v), 1+1e-12)
			assert.InDelta(t, v, f(b, a), 1e-12)
			assert.InDelta(t, v, f(a, grown), 1e-12)
		}
	})
}

func TestNDCGWithTiesOfTREC(t *testing.T) {
	trec := func(k int, docs ...eval.Ranked) float64 { return eval.NDCGTies(docs, k, eval.TiesTREC) }
	second := 1 / math.Log2(3)
	a, b := eval.Ranked{Score: 1, Gain: 1, ID: "a"}, eval.Ranked{Score: 1, ID: "b"}
	assert.InDelta(t, second, trec(10, a, b), 1e-15, "descending by ID")
	assert.InDelta(t, second, trec(10, b, a), 1e-15)
	a.Score = 1 + 1e-9
	assert.InDelta(t, second, trec(10, a, b), 1e-15, "equal as float32")
	a.Score = 1 + 1e-6
	assert.InDelta(t, 1, trec(10, a, b), 1e-15)
	assert.Zero(t, trec(10, b, eval.Ranked{Score: math.Inf(-1), Gain: 1, ID: "z"}), "not retrieved, though there is room")
	assert.InDelta(t, (1+second)/2, eval.NDCG([]eval.Ranked{{Score: 1, Gain: 1}, {Score: 1}}, 10), 1e-15, "shared")
	assert.Panics(t, func() { eval.NDCGTies(nil, 1, 7) })
}
