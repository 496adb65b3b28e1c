package linear

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Coefficients and log-probs as scikit-learn finds them, with soft labels as sample
// weights.
func TestFitAgainstScikitLearn(t *testing.T) {
	data, err := os.ReadFile("testdata/logistic.json")
	require.NoError(t, err)
	var cases []struct {
		L2           float64
		X, Y         [][]float64
		Coefficients [][]float64
		LogProbs     [][]float64 `json:"log_probs"`
		Unseen       [][]float64
	}
	require.NoError(t, json.Unmarshal(data, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		m, err := Fit(c.X, c.Y, c.L2)
		require.NoError(t, err)
		for k, row := range c.Coefficients {
			assert.InDeltaSlice(t, row, m.Weights[k], 1e-6)
		}
		for i, x := range c.Unseen {
			p := m.Probs(x)
			for k, want := range c.LogProbs[i] {
				assert.InDelta(t, want, math.Log(p[k]), 1e-6)
			}
		}
	}
}

// Without informative features, the fitted probabilities are the mean labels.
func TestBiasIsTheMeanLabel(t *testing.T) {
	x := [][]float64{{1}, {1}, {1}, {1}}
	y := [][]float64{{1, 0, 0}, {1, 0, 0}, {.5, .5, 0}, {0, 1, 0}}
	m, err := Fit(x, y, 1)
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float64{.625, .375, 0}, m.Probs([]float64{1}), 1e-3)
}

// Two rows, one of each class, with the features ±1 after standardising: by
// symmetry the weights are ∓w without a bias. The objective 2·ln(1 + e^(-2w)) + l2·w²
// is least where 2σ(-2w) = l2·w.
func TestPenaltyInClosedForm(t *testing.T) {
	const l2 = .5
	m, err := Fit([][]float64{{0}, {10}}, [][]float64{{1, 0}, {0, 1}}, l2)
	require.NoError(t, err)
	w := m.Weights[1][0]
	assert.InDelta(t, -w, m.Weights[0][0], 1e-7)
	assert.InDelta(t, l2*w, 2/(1+math.Exp(2*w)), 1e-6)
	assert.InDelta(t, 1/(1+math.Exp(2*w)), m.Probs([]float64{0})[1], 1e-7)
}

// One feature that the row of class 1 has and that of class 0 has not: by symmetry
// the weights are ∓w and the biases ±w/2, and a stationary point has
// σ(-w) = l2·w, for the objective's derivative by the weight of class 1 is
// -(1 - σ(w)) + l2·w.
func TestCountsInClosedForm(t *testing.T) {
	const l2 = .1
	m, err := FitCounts([][]int{{}, {0}}, 1, [][]float64{{1, 0}, {0, 1}}, l2)
	require.NoError(t, err)
	w := m.Weights[1][0]
	assert.InDelta(t, -w, m.Weights[0][0], 1e-6)
	assert.InDelta(t, l2*w, 1/(1+math.Exp(w)), 1e-6)
	assert.InDelta(t, 1/(1+math.Exp(-w)), m.ProbsOfCounts([]int{0})[1], 1e-6)
	assert.InDelta(t, 1/(1+math.Exp(w)), m.ProbsOfCounts(nil)[1], 1e-6)

	// A feature that stands twice in a list counts twice.
	twice, err := FitCounts([][]int{{}, {0, 0}}, 1, [][]float64{{1, 0}, {0, 1}}, 4*l2)
	require.NoError(t, err)
	assert.InDelta(t, w, 2*twice.Weights[1][0], 1e-6)
}

func TestUnknownValueCountsAsTheMean(t *testing.T) {
	nan := math.NaN()
	x := [][]float64{{1}, {3}, {nan}, {2}}
	y := [][]float64{{1, 0}, {0, 1}, {1, 0}, {0, 1}}
	m, err := Fit(x, y, 1)
	require.NoError(t, err)
	assert.InDelta(t, 2, m.Mean[0], 1e-12)
	assert.Equal(t, m.Probs([]float64{2}), m.Probs([]float64{nan}))
	_, err = Fit([][]float64{{math.Inf(1)}, {0}}, y[:2], 1)
	assert.EqualError(t, err, "linear: feature 0 of row 0 is infinite")
}

func TestFitPanicsOnMisuse(t *testing.T) {
	one := [][]float64{{1}}
	for name, f := range map[string]func(){
		"rows":     func() { Fit(nil, nil, 1) },
		"lengths":  func() { Fit(one, nil, 1) },
		"classes":  func() { Fit(one, one, 1) },
		"l2":       func() { Fit(one, [][]float64{{1, 0}}, 0) },
		"counted":  func() { FitCounts([][]int{{1}}, 1, [][]float64{{1, 0}}, 1) },
		"features": func() { Fit([][]float64{{1}, {1, 2}}, [][]float64{{1, 0}, {1, 0}}, 1) },
	} {
		assert.Panics(t, f, name)
	}
}

// Expected grades that separate the labels are cut between them.
func TestCuts(t *testing.T) {
	expected := []float64{.1, .2, .9, 1.1, 1.2, 2.8}
	labels := []int{0, 0, 1, 2, 2, 3}
	cuts := Cuts(expected, labels, 4)
	for i, s := range expected {
		assert.Equal(t, labels[i], Grade(s, cuts), "%v of %v", s, cuts)
	}
	assert.IsNonDecreasing(t, cuts)
	bagged := BaggedCuts(expected, labels, []string{"a", "b", "a", "b", "a", "b"}, 4, 1)
	assert.IsNonDecreasing(t, bagged)
	// One query is the whole of every resample.
	assert.InDeltaSlice(t, cuts, BaggedCuts(expected, labels, make([]string, 6), 4, 1), 1e-12)
	assert.Equal(t, bagged, BaggedCuts(expected, labels, []string{"a", "b", "a", "b", "a", "b"}, 4, 1))
	assert.Equal(t, []int{0, 2}, []int{MostProbable([]float64{.4, .4, .2}), MostProbable([]float64{.1, .2, .7})})
	assert.InDelta(t, 1.6, Expected([]float64{.1, .2, .7}), 1e-15)
}

// A feature that copies the label of each training row, which CrossFit's caller
// must not do, shows what every model has seen: beliefs come from other queries.
func TestCrossFitKeepsQueriesApart(t *testing.T) {
	d := Data{}
	n := 40
	for i := range n {
		d.Queries = append(d.Queries, string(rune('a'+i/4)))
		d.Labels = append(d.Labels, i%2)
		soft := []float64{1, 0}
		if i%2 == 1 {
			soft = []float64{0, 1}
		}
		d.Soft = append(d.Soft, soft)
	}
	calls := 0
	d.Features = func(train, rows []int) [][]float64 {
		calls++
		known := make(map[string]bool)
		for _, i := range train {
			known[d.Queries[i]] = true
		}
		var out [][]float64
		for _, i := range rows {
			if len(rows) != len(train) || rows[0] != train[0] { // held-out rows
				assert.False(t, known[d.Queries[i]])
			}
			out = append(out, []float64{float64(d.Labels[i]), float64(i % 3)})
		}
		return out
	}
	var train, test []int
	for i := range n {
		if i < 32 {
			train = append(train, i)
		} else {
			test = append(test, i)
		}
	}
	s := Settings{L2: []float64{1, 100}, Folds: 4}
	b, err := CrossFit(d, train, test, s)
	require.NoError(t, err)
	assert.Equal(t, 10, calls)
	assert.Equal(t, 1., b.L2, "the label is known, so little restraint is best")
	for i, p := range append(b.Train, b.Test...) {
		assert.Equal(t, d.Labels[i], MostProbable(p))
		assert.Equal(t, d.Labels[i], Grade(Expected(p), b.Cuts))
	}
	again, err := CrossFit(d, train, test, s)
	require.NoError(t, err)
	assert.Equal(t, b, again)
	_, err = CrossFit(d, train[:4], test, s)
	assert.EqualError(t, err, "linear: too few queries for 4 folds")
}

func TestSettings(t *testing.T) {
	assert.NoError(t, DefaultSettings().Validate())
	assert.ErrorContains(t, Settings{Folds: 2}.Validate(), "Settings.L2 is empty")
	assert.ErrorContains(t, Settings{L2: []float64{0}, Folds: 2}.Validate(), "Settings.L2 has 0")
	assert.ErrorContains(t, Settings{L2: []float64{1}, Folds: 1}.Validate(), "Settings.Folds is 1")
}
