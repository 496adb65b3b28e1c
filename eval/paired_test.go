package eval_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
)

// The first values are by hand: of the 8 assignments of signs to 1, 2, 3 only +++ and
// −−− have a mean as far from 0 as 2.
func TestSignFlip(t *testing.T) {
	require.Equal(t, .25, eval.SignFlip([]float64{1, 2, 3}, 0))
	require.Equal(t, 1.0, eval.SignFlip([]float64{1, -1}, 0))
	require.Equal(t, 1.0, eval.SignFlip([]float64{0, 0, 0}, 0))
	require.True(t, math.IsNaN(eval.SignFlip(nil, 0)))
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		require.True(t, math.IsNaN(eval.SignFlip([]float64{1, x}, 0)))
		require.True(t, math.IsNaN(eval.SignFlip(append(make([]float64, 17), x), 0)), "drawn")
	}
	// 17 equal differences: 2 of 2¹⁷ assignments, which 100,000 draws see 0 to 6 times.
	same := make([]float64, 17)
	for i := range same {
		same[i] = .1
	}
	require.Less(t, eval.SignFlip(same, 1), 1e-4)
	// Under the null hypothesis p-values are uniform.
	rng := rand.New(rand.NewPCG(1, 2))
	below := 0
	const trials = 400
	for range trials {
		d := make([]float64, 12)
		for i := range d {
			d[i] = rng.NormFloat64()
		}
		if eval.SignFlip(d, 0) <= .1 {
			below++
		}
	}
	require.InDelta(t, .1, float64(below)/trials, .05)
}

// By hand: sorted .01 .02 .03 .04 times
// 4 3 2 1 is .04 .06 .06 .04, of which the running maximum counts.
func TestHolm(t *testing.T) {
	got := eval.Holm([]float64{.03, .01, math.NaN(), .04, .02})
	require.True(t, math.IsNaN(got[2]))
	require.InDeltaSlice(t, []float64{.06, .04, 0, .06, .06}, []float64{got[0], got[1], 0, got[3], got[4]}, 1e-15)
	require.Equal(t, []float64{1, 1}, eval.Holm([]float64{.9, .8}))
}

// 1.959964 + .841621 standard errors, squared, are 7.848880.
func TestPairedRuns(t *testing.T) {
	require.Equal(t, 8, eval.PairedRuns(1, 1, .05, .8))
	require.Equal(t, 97, eval.PairedRuns(.01, .035, .05, .8)) // 96.15
	require.Equal(t, 1, eval.PairedRuns(.01, 0, .05, .8), "runs that all tie")
	require.Zero(t, eval.PairedDifference(2, 0, .05, .8))
	require.Panics(t, func() { eval.PairedRuns(0, 1, .05, .8) })
	require.PanicsWithValue(t, "eval: paired runs with a number of runs of 1, a deviation of NaN, alpha 0.05 and power 0.8, want the first above 0, the second 0 or more (NaN is that of fewer than two runs), and the others between 0 and 1",
		func() { eval.PairedDifference(1, math.NaN(), .05, .8) })
	require.InDelta(t, 2.801585, eval.PairedDifference(1, 1, .05, .8), 1e-6)
	require.InDelta(t, .01, eval.PairedDifference(97, .035, .05, .8), 5e-5)
}

// No number of runs is too large to say, and what a test sees by its level alone, it sees
// in one run.
func TestPairedRunsAtTheEnds(t *testing.T) {
	require.Equal(t, math.MaxInt, eval.PairedRuns(1e-10, 1, .05, .8), "7.8e20, which no int holds")
	require.Equal(t, math.MaxInt, eval.PairedRuns(1e-200, 1, .05, .8))
	require.Equal(t, 1, eval.PairedRuns(1e-200, 0, .05, .8))
	require.Equal(t, 1, eval.PairedRuns(.1, 1, .05, .01), "z₁₋α⁄₂ + z_power is −.37")
	require.Zero(t, eval.PairedDifference(4, 1, .05, .01))
}

// An example without a value leaves nothing that could be said: not the p-value of the others.
func TestCompareRunsOfWhatIsNaN(t *testing.T) {
	a := make([][]float64, 8)
	b := make([][]float64, 8)
	for i := range a {
		a[i], b[i] = []float64{1, 1, 1}, []float64{0, 0, 0}
	}
	a[3][1] = math.NaN()
	c := eval.CompareRuns(a, b, eval.BootstrapOptions{Replicates: 50})
	for name, v := range map[string]float64{"estimate": c.Estimate, "low": c.Low, "high": c.High, "p": c.P, "deviation": c.Deviation} {
		require.True(t, math.IsNaN(v), "%s is %v", name, v)
	}
	require.Equal(t, eval.FindingUnresolved, c.Finding(.01))
}

// With effects of runs and of examples that add up, the variance of the mean is the sum
// of both; a bootstrap of the runs alone would miss the examples'.
func TestBootstrapCrossed(t *testing.T) {
	const runs, examples = 30, 200
	rng := rand.New(rand.NewPCG(3, 4))
	column := make([]float64, examples)
	for j := range column {
		column[j] = 3 * rng.NormFloat64()
	}
	d := make([][]float64, runs)
	total := 0.0
	for i := range d {
		d[i] = make([]float64, examples)
		a := rng.NormFloat64()
		for j := range d[i] {
			d[i][j] = a + column[j]
			total += d[i][j]
		}
	}
	got := eval.BootstrapCrossed(d, eval.BootstrapOptions{Seed: 5})
	require.InDelta(t, total/(runs*examples), got.Estimate, 1e-12)
	want := 2 * 1.96 * math.Sqrt(1.0/runs+9.0/examples)
	require.InDelta(t, want, got.High-got.Low, .25*want)
	require.Panics(t, func() { eval.BootstrapCrossed([][]float64{{1}, {1, 2}}, eval.BootstrapOptions{}) })
	require.True(t, math.IsNaN(eval.BootstrapCrossed(nil, eval.BootstrapOptions{}).Estimate))
}

// Examples of a query are alike, so the interval is that of the queries' number.
func TestBootstrapCrossedByCluster(t *testing.T) {
	const runs, queries, each = 20, 50, 8
	rng := rand.New(rand.NewPCG(5, 6))
	d := make([][]float64, runs)
	var names []string
	for j := range queries * each {
		names = append(names, string(rune('A'+j/each)))
	}
	for range queries {
		x := rng.NormFloat64()
		for i := range d {
			for range each {
				d[i] = append(d[i], x)
			}
		}
	}
	got := eval.BootstrapCrossed(d, eval.BootstrapOptions{Seed: 7, Clusters: names})
	want := 2 * 1.96 / math.Sqrt(queries)
	require.InDelta(t, want, got.High-got.Low, .25*want)
	require.Panics(t, func() { eval.BootstrapCrossed(d, eval.BootstrapOptions{Clusters: names[1:]}) })

	// Two clusters of one and three examples are drawn as (a, a), (a, b) or (b, b), with
	// means 1, 1/4 and 0.
	one := eval.BootstrapCrossed([][]float64{{1, 0, 0, 0}}, eval.BootstrapOptions{Seed: 7, Clusters: []string{"a", "b", "b", "b"}})
	require.Equal(t, eval.Interval{Estimate: .25, Low: 0, High: 1}, one)
	// Examples of clusters of their own are those without clusters.
	alone := make([]string, len(names))
	for j := range alone {
		alone[j] = strconv.Itoa(j)
	}
	require.Equal(t, eval.BootstrapCrossed(d, eval.BootstrapOptions{Seed: 7}), eval.BootstrapCrossed(d, eval.BootstrapOptions{Seed: 7, Clusters: alone}))
}

// By hand: the runs' differences are 1, 0 and .5, their mean .5 and their deviation .5.
func TestCompareRuns(t *testing.T) {
	a := [][]float64{{1, 1}, {0, 1}, {1, 1}}
	b := [][]float64{{0, 0}, {1, 0}, {0, 1}}
	c := eval.CompareRuns(a, b, eval.BootstrapOptions{Seed: 1})
	require.InDelta(t, .5, c.Estimate, 1e-15)
	require.InDelta(t, .5, c.Deviation, 1e-15)
	require.Equal(t, 3, c.Runs)
	require.Equal(t, 2, c.Better)
	require.Equal(t, .5, c.P, "4 of 8 assignments of signs to 1, 0 and .5")
	other := eval.CompareRuns(b, a, eval.BootstrapOptions{Seed: 1})
	require.Equal(t, -c.Estimate, other.Estimate)
	require.Equal(t, c.P, other.P)

	one := eval.CompareRuns(a[:1], b[:1], eval.BootstrapOptions{})
	require.Equal(t, 1.0, one.Estimate)
	require.Equal(t, "+100.00 points, better in 1 of 1 runs, p 1, too few runs to conclude", one.String())
	require.True(t, math.IsNaN(one.Low) && math.IsNaN(one.High) && math.IsNaN(one.Deviation), "one run says nothing of how runs differ")
	require.Equal(t, eval.FindingUnresolved, one.Finding(1))
	require.True(t, math.IsNaN(eval.CompareRuns(nil, nil, eval.BootstrapOptions{}).Estimate))
	require.Panics(t, func() { eval.CompareRuns(a, b[:2], eval.BootstrapOptions{}) })
	require.Panics(t, func() { eval.CompareRuns(a, [][]float64{{1}, {1}, {1}}, eval.BootstrapOptions{}) })
}

func TestFinding(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      eval.Finding
		text      string
	}{
		{.001, .03, eval.FindingBetter, "better"},
		{.001, .005, eval.FindingBetter, "better"}, // though by too little to matter
		{-.03, -.001, eval.FindingWorse, "worse"},
		{-.009, .009, eval.FindingEqual, "no difference that matters"},
		{-.009, .011, eval.FindingUnresolved, "not resolved"},
		{-.011, .009, eval.FindingUnresolved, "not resolved"},
		{math.NaN(), math.NaN(), eval.FindingUnresolved, "not resolved"},
	} {
		contrast := eval.Contrast{Interval: eval.Interval{Low: c.low, High: c.high}, Runs: eval.FewestRuns}
		got := contrast.Finding(.01)
		require.Equal(t, c.want, got, "%v", c)
		require.Equal(t, c.text, got.String())
		require.NotContains(t, contrast.String(), "too few")
		contrast.Runs--
		require.Equal(t, eval.FindingUnresolved, contrast.Finding(.01), "of too few runs")
		require.Contains(t, contrast.String(), "too few runs to conclude")
	}
}

// With as many runs as it takes to conclude, all of them on one side, p is below .05; with
// one fewer it is not.
func TestFewestRuns(t *testing.T) {
	d := []float64{1, 2, 3, 4, 5, 6}
	require.Len(t, d, eval.FewestRuns)
	require.Equal(t, 2./64, eval.SignFlip(d, 1))
	require.Equal(t, 2./32, eval.SignFlip(d[1:], 1))
}
