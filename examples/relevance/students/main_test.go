package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/examples/internal/notes"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
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
	stage := &report.Stage{Tests: map[string]*report.Scores{notes.Random: {Accuracy: .75, QWK: new(.5)}}}
	all := []*result{{stage: stage}}
	for _, n := range []int{64000, 8000} {
		all = append(all, &result{cell: cell{size: "64 × 2", loss: "b", student: relevance.Student{Form: relevance.FormCrossEncoder, Examples: n, Epochs: 256_000 / n}}, stage: stage, cost: 5e6})
	}
	path := filepath.Join(t.TempDir(), "plot.svg")
	require.NoError(t, drawTo(path, all))
	svg, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(svg), ">b, 256,000 shown</text>"))
	require.Equal(t, 2, strings.Count(string(svg), ">97% of the teacher</text>"))
}

func TestByKindPutsTheCostliestFirst(t *testing.T) {
	pair := func(wanted, excluded, body string) rows.Example {
		return rows.Example{Document: rows.Document{Body: body}, Truth: []string{"same", wanted, "none", excluded, "3"}}
	}
	es := []rows.Example{pair("met", "none", "has a pool."), pair("unmet", "violated", "no pool, has wifi."), pair("met", "none", "has a pool.")}
	said := []relevance.Prediction{{Gold: 4, Said: 3}, {Gold: 0, Said: 4}, {Gold: 4, Said: 4}}
	require.Equal(t, []*errorsOf{
		{kind: "wanted unmet, excluded violated, 1 denied", rows: 1, wrong: 1, cost: 16},
		{kind: "wanted met, excluded none, 0 denied", rows: 2, wrong: 1, cost: 1},
	}, byKind(es, said))
}

func TestTally(t *testing.T) {
	var x tally
	x.add([]float64{.2, .8}, 1, 1)
	x.add([]float64{.6, .4}, 1, 1)
	require.Equal(t, .5, eval.Accuracy(x.pairs))
	require.InDelta(t, (.2+.6)/2, eval.ECE(x.sure, x.right, 10), 1e-12)
}
