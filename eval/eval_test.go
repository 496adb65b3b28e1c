package eval_test

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/eval"
)

var nan = math.NaN()

func TestUndefinedIsNaN(t *testing.T) {
	for name, got := range map[string]float64{
		"accuracy of nothing":        eval.Accuracy(nil),
		"binary accuracy of nothing": eval.BinaryAccuracy(nil, 1),
		"F1 of an unused label":      eval.F1([]eval.Pair{{1, 1}}, 2),
		"macro-F1 of nothing":        eval.MacroF1(nil, nil),
		"macro-F1 of unused labels":  eval.MacroF1([]eval.Pair{{1, 1}}, []int{2}),
		"kappa of nothing":           eval.QuadraticKappa(nil),
		"kappa of one label":         eval.QuadraticKappa([]eval.Pair{{3, 3}, {3, 3}}),
		"AUC of nothing":             eval.AUC(nil),
		"AUC of positives":           eval.AUC([]eval.Scored{{1, true}, {2, true}}),
		"AUC of negatives":           eval.AUC([]eval.Scored{{1, false}, {2, false}}),
		"AUC with a NaN":             eval.AUC([]eval.Scored{{1, false}, {nan, true}, {2, true}}),
		"nDCG of nothing":            eval.NDCG(nil, 10),
		"nDCG without gain":          eval.NDCG([]eval.Ranked{{Score: 1, Gain: 0}, {Score: 2, Gain: 0}}, 10),
		"nDCG with a NaN":            eval.NDCG([]eval.Ranked{{Score: 1, Gain: 1}, {Score: nan, Gain: 0}}, 10),
		"pass@k of too few":          eval.PassAtK(3, 1, 4),
	} {
		assert.True(t, math.IsNaN(got), "%s: %v", name, got)
	}
	mean, n := eval.Mean([]float64{nan, nan})
	assert.True(t, math.IsNaN(mean))
	assert.Zero(t, n)
	mean, n = eval.Mean([]float64{1, nan, 2})
	assert.Equal(t, 1.5, mean)
	assert.Equal(t, 2, n)
}

// One cluster is no sample of clusters, however many items it has.
func TestOneClusterHasNoInterval(t *testing.T) {
	mean := func(x []float64) float64 { m, _ := eval.Mean(x); return m }
	for _, o := range []eval.BootstrapOptions{{Clusters: []string{"a", "a", "a"}}, {}} {
		x := []float64{0, 1, 1}
		if o.Clusters == nil {
			x = x[1:2]
		}
		for _, i := range []eval.Interval{eval.Bootstrap(x, mean, o), eval.BootstrapDifference(x, make([]float64, len(x)), mean, o)} {
			assert.Equal(t, mean(x), i.Estimate)
			assert.True(t, math.IsNaN(i.Low) && math.IsNaN(i.High))
		}
	}
	i := eval.Bootstrap([]float64{0, 1}, mean, eval.BootstrapOptions{})
	assert.Equal(t, []float64{0, 1}, []float64{i.Low, i.High})
}

func TestMistakesPanic(t *testing.T) {
	one := []float64{1}
	mean := func(x []float64) float64 { return x[0] }
	for name, f := range map[string]func(){
		"negative gain":     func() { eval.NDCG([]eval.Ranked{{Score: 1, Gain: -1}}, 10) },
		"NaN gain":          func() { eval.NDCG([]eval.Ranked{{Score: 1, Gain: nan}}, 10) },
		"infinite gain":     func() { eval.NDCG([]eval.Ranked{{Score: 1, Gain: math.Inf(1)}}, 10) },
		"more right than n": func() { eval.PassAtK(3, 4, 1) },
		"k 0":               func() { eval.PassAtK(3, 1, 0) },
		"level":             func() { eval.Bootstrap(one, mean, eval.BootstrapOptions{Level: 95}) },
		"replicates":        func() { eval.Bootstrap(one, mean, eval.BootstrapOptions{Replicates: -1}) },
		"clusters":          func() { eval.Bootstrap(one, mean, eval.BootstrapOptions{Clusters: []string{"a", "b"}}) },
		"pairs":             func() { eval.BootstrapDifference(one, nil, mean, eval.BootstrapOptions{}) },
	} {
		assert.Panics(t, f, name)
	}
}

func TestAUCIsTheShareOfOrderedPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		examples := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) eval.Scored {
			return eval.Scored{Score: float64(rapid.IntRange(-3, 3).Draw(t, "score")), Positive: rapid.Bool().Draw(t, "positive")}
		}), 0, 30).Draw(t, "examples")
		wins, pairs := 0.0, 0
		for _, p := range examples {
			for _, n := range examples {
				if p.Positive && !n.Positive {
					pairs++
					if p.Score > n.Score {
						wins++
					} else if p.Score == n.Score {
						wins += .5
					}
				}
			}
		}
		got := eval.AUC(examples)
		if pairs == 0 {
			assert.True(t, math.IsNaN(got))
			return
		}
		assert.InDelta(t, wins/float64(pairs), got, 1e-12)
	})
}

func TestKappaIsItsDoubleSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) eval.Pair {
			return eval.Pair{Gold: rapid.IntRange(-9, 9).Draw(t, "gold"), Pred: rapid.IntRange(-9, 9).Draw(t, "pred")}
		}), 1, 30).Draw(t, "pairs")
		var observed, expected float64
		for _, p := range pairs {
			observed += math.Pow(float64(p.Gold-p.Pred), 2)
			for _, q := range pairs {
				expected += math.Pow(float64(p.Gold-q.Pred), 2) / float64(len(pairs))
			}
		}
		if expected == 0 {
			t.Skip("one label")
		}
		assert.InDelta(t, 1-observed/expected, eval.QuadraticKappa(pairs), 1e-9)
	})
}

func TestNDCGOfTiesIsTheMeanOverTheirOrders(t *testing.T) {
	// Gains 3 and 0 tie: the mean of nDCG over both orders.
	a := eval.NDCG([]eval.Ranked{{Score: 2, Gain: 3}, {Score: 1, Gain: 0}, {Score: 0, Gain: 1}}, 2)
	b := eval.NDCG([]eval.Ranked{{Score: 1, Gain: 3}, {Score: 2, Gain: 0}, {Score: 0, Gain: 1}}, 2)
	assert.InDelta(t, (a+b)/2, eval.NDCG([]eval.Ranked{{Score: 1, Gain: 3}, {Score: 1, Gain: 0}, {Score: 0, Gain: 1}}, 2), 1e-12)
	assert.Equal(t, 1., eval.NDCG([]eval.Ranked{{Score: 9, Gain: 3}, {Score: 8, Gain: 1}, {Score: 7, Gain: 0}}, 0))
}

func sum(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s
}

func TestBootstrapIsDeterministic(t *testing.T) {
	items := []float64{1, 5, 2, 8, 3}
	a := eval.Bootstrap(items, sum, eval.BootstrapOptions{Seed: 1})
	assert.Equal(t, a, eval.Bootstrap(items, sum, eval.BootstrapOptions{Seed: 1, Replicates: 2000, Level: .95}))
	assert.NotEqual(t, a, eval.Bootstrap(items, sum, eval.BootstrapOptions{Seed: 2}))
	assert.Equal(t, 19., a.Estimate)
	assert.Equal(t, []float64{1, 5, 2, 8, 3}, items)
}

// Two items give the sums 2, 3, 4 with probabilities 1/4, 1/2, 1/4.
func TestBootstrapOfTwoItems(t *testing.T) {
	items := []float64{1, 2}
	wide := eval.Bootstrap(items, sum, eval.BootstrapOptions{Seed: 1, Level: .9})
	assert.Equal(t, eval.Interval{Estimate: 3, Low: 2, High: 4}, wide)
	narrow := eval.Bootstrap(items, sum, eval.BootstrapOptions{Seed: 1, Level: .2})
	assert.Equal(t, eval.Interval{Estimate: 3, Low: 3, High: 3}, narrow)
}

func TestBootstrapLeavesUndefinedReplicatesOut(t *testing.T) {
	// One positive among four: a resample without it has no AUC, which
	// happens with probability (3/4)^4 = .316, or with nothing else (1/4)^4.
	examples := []eval.Scored{{3, true}, {1, false}, {2, false}, {4, false}}
	got := eval.Bootstrap(examples, eval.AUC, eval.BootstrapOptions{Seed: 1, Replicates: 10_000})
	assert.InDelta(t, (81+1)/256., float64(got.Undefined)/10_000, .02)
	assert.InDelta(t, 2./3, got.Estimate, 1e-12)
	assert.Equal(t, [2]float64{0, 1}, [2]float64{got.Low, got.High})

	none := eval.Bootstrap(nil, eval.AUC, eval.BootstrapOptions{Replicates: 10})
	assert.Equal(t, 10, none.Undefined)
	assert.True(t, math.IsNaN(none.Estimate) && math.IsNaN(none.Low) && math.IsNaN(none.High))
}

// Copies of an item in its cluster add nothing: the interval of the mean stays.
func TestBootstrapOfClusters(t *testing.T) {
	mean := func(x []float64) float64 { return sum(x) / float64(len(x)) }
	items := []float64{1, 5, 2, 8, 3}
	var copies []float64
	var clusters []string
	for range 4 {
		for i, x := range items {
			copies = append(copies, x)
			clusters = append(clusters, strconv.Itoa(i))
		}
	}
	want := eval.Bootstrap(items, mean, eval.BootstrapOptions{Seed: 3})
	assert.Equal(t, want, eval.Bootstrap(copies, mean, eval.BootstrapOptions{Seed: 3, Clusters: clusters}))
	naive := eval.Bootstrap(copies, mean, eval.BootstrapOptions{Seed: 3})
	assert.InDelta(t, .5, (naive.High-naive.Low)/(want.High-want.Low), .1, "four copies halve the naive interval")
}

func TestBootstrapDifferenceIsPaired(t *testing.T) {
	a := []float64{1, 50, 2, 80, 3}
	b := make([]float64, len(a))
	for i := range a {
		b[i] = a[i] - 1
	}
	got := eval.BootstrapDifference(a, b, sum, eval.BootstrapOptions{Seed: 1})
	assert.Equal(t, eval.Interval{Estimate: 5, Low: 5, High: 5}, got)
}

func TestWilson(t *testing.T) {
	// Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
	for _, c := range []struct {
		successes, n int
		low, high    float64
	}{{81, 263, .2553, .3662}, {15, 148, .0624, .1605}, {0, 20, 0, .1611}, {1, 29, .0061, .1718}} {
		got := eval.Wilson(c.successes, c.n, 0)
		require.InDelta(t, c.low, got.Low, 5e-5)
		require.InDelta(t, c.high, got.High, 5e-5)
		require.Equal(t, float64(c.successes)/float64(c.n), got.Estimate)
	}
	require.True(t, math.IsNaN(eval.Wilson(0, 0, 0).Low))
	for _, f := range []func(){
		func() { eval.Wilson(-1, 3, 0) }, func() { eval.Wilson(4, 3, 0) }, func() { eval.Wilson(1, 3, 1) }, func() { eval.Wilson(1, 3, math.NaN()) },
	} {
		require.Panics(t, f)
	}
}

// The bounds are the proportions p whose own score test just accepts what was
// seen: |p̂ − p| = z·√(p(1−p)/n).
func TestWilsonInvertsTheScoreTest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "successes")
		level := rapid.Float64Range(.5, .999).Draw(t, "level")
		i := eval.Wilson(k, n, level)
		z := math.Sqrt2 * math.Erfinv(level)
		if !(0 <= i.Low && i.Low <= i.Estimate && i.Estimate <= i.High && i.High <= 1) {
			t.Fatalf("%+v", i)
		}
		for _, p := range []float64{i.Low, i.High} {
			left, right := math.Abs(i.Estimate-p), z*math.Sqrt(p*(1-p)/float64(n))
			if math.Abs(left-right) > 1e-7 {
				t.Fatalf("%d of %d at %v: bound %v: %v, %v", k, n, level, p, left, right)
			}
		}
	})
}

func TestRight(t *testing.T) {
	require.Equal(t, []float64{1, 0, 0, 1}, eval.Right([]eval.Pair{{Gold: 2, Pred: 2}, {Gold: 0, Pred: -1}, {Gold: 1, Pred: 3}, {Gold: -1, Pred: -1}}))
	require.Empty(t, eval.Right(nil))
}
