package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/report"
)

// Every student of the study has valid settings, a name of its own and enough to read.
func TestStudents(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range students() {
		c := relevance.Default()
		c.Student = x.student
		require.NoError(t, c.Validate(), x.name())
		require.NotNil(t, x.student.Encoder, x.name())
		require.False(t, seen[x.name()], x.name())
		seen[x.name()] = true
	}
}

// A layer of width 2 and inner width 3 has 4·4 + 3·2·3 = 34 weights: 2·34 operations
// for each of 5 tokens, and 4·2 for each of 25 pairs of tokens.
func TestFLOPs(t *testing.T) {
	require.Equal(t, 5*68.0+25*8, flops(model.Config{Dim: 2, Layers: 1, FF: 3}, 5, 25))
}

func TestPlotHasALinePerLoss(t *testing.T) {
	q := .5
	stage := &report.Stage{Tests: map[string]*report.Scores{notesRandom: {Accuracy: .75, QWK: &q}}}
	var all []result
	for _, n := range []int{8000, 64000} {
		all = append(all, result{cell: cell{"a", "b", relevance.Student{Examples: n}}, stage: stage})
	}
	svg := string(plot(result{stage: stage}, all))
	require.Contains(t, svg, `<path d="M60.0 205.0L510.0 205.0"`)
	require.Contains(t, svg, ">a, b</text>")
}

func TestTally(t *testing.T) {
	var x tally
	x.add([]float64{.2, .8}, 1, 1)
	x.add([]float64{.6, .4}, 1, 1)
	require.Equal(t, .5, eval.Accuracy(x.pairs))
	require.InDelta(t, (.2+.6)/2, eval.ECE(x.sure, x.right, 10), 1e-12)
}
