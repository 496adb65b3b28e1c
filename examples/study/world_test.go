package main

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/examples/internal/arithmetic"
	"github.com/stepwise-rl/stepwise/examples/internal/notes"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
)

// The rules of steps are wrong about the share of the examples that the setting says, to
// half a kind, and a share of 0 is none.
func TestWrongKinds(t *testing.T) {
	counts := map[string]int{"a": 40, "b": 30, "c": 20, "d": 10}
	for _, share := range []float64{0, .1, .3, .5, 1} {
		n := 0
		for k := range wrongKinds(counts, 0, share) {
			n += counts[k]
		}
		require.InDelta(t, share, float64(n)/100, .2)
	}
	require.Empty(t, wrongKinds(counts, 0, 0))
	require.Len(t, wrongKinds(counts, 0, 1), 4)

	src := notes.New(notes.Config{Seed: dataSeed, Teacher: notes.DefaultTeacher()})
	kinds := map[string]int{}
	for i := range 3000 {
		kinds[noteKind(src.Train(i))]++
	}
	for step := range 4 {
		for _, share := range []float64{.1, .2} {
			wrong, n := wrongKinds(kinds, step, share), 0
			for i := range 3000 {
				if wrong[noteKind(src.Train(10*perSeed+i))] {
					n++
				}
			}
			require.InDelta(t, share, float64(n)/3000, .05, "step %d", step)
		}
	}
}

// A wrong label is wrong for the outcome and for the final step's rule alike, or arms that
// take the verdicts would see the right one.
func TestFlippedOutcomesReachTheFinalStep(t *testing.T) {
	d := arithmetic.Definition(2)
	template := d.Template()
	noisy := spoil(d, func(arithmetic.Sum) string { return "" }, nil, setting{FlipOutcomes: .25}, 1)
	score := func(rule reward.Rule[arithmetic.Sum], i, step int) float64 {
		e := arithmetic.Draw(dataSeed, arithmetic.Train, i, 2)
		text, err := template.Write(arithmetic.Teacher{Slip: .3}.Trace(e, rand.New(rand.NewPCG(1, uint64(i)))))
		require.NoError(t, err)
		trace := template.Parser().Parse(text, nil)
		s, err := rule.Score(context.Background(), e, &trace, step)
		require.NoError(t, err)
		return s.Value
	}
	const n = 400
	flipped := 0
	for i := range n {
		outcome := score(noisy.Outcomes[0].Rule, i, reward.WholeCompletion)
		require.Equal(t, outcome, score(noisy.Steps[1].Rule, i, 1))
		require.Equal(t, score(d.Steps[0].Rule, i, 0), score(noisy.Steps[0].Rule, i, 0), "inner steps are as before")
		if outcome != score(d.Outcomes[0].Rule, i, reward.WholeCompletion) {
			flipped++
		}
	}
	require.InDelta(t, .25, float64(flipped)/n, .065) // three standard deviations
}

// A wrong label is another label of the task, and goes for the outcome and the rule of the
// final step; the inner steps are judged as before.
func TestWrongLabels(t *testing.T) {
	w := notesWorld(setting{Task: "notes", Glance: .75, Test: 1})
	template := w.Template()
	score := func(rule reward.Rule[rows.Example], e rows.Example, text string, step int) float64 {
		trace := template.Parser().Parse(text, nil)
		s, err := rule.Score(context.Background(), e, &trace, step)
		require.NoError(t, err)
		return s.Value
	}
	const n = 1000
	said := map[string]int{}
	wrong := 0
	for i := range n {
		e, was, clean := w.labelled(i, .2), w.example(i), w.labelled(i, 0)
		require.Equal(t, was.Label(), clean.Label())
		if e.Label() == was.Label() {
			continue
		}
		wrong++
		said[e.Label()]++
		written := w.teach(was, rand.New(rand.NewPCG(1, uint64(i))))
		final := len(written) - 1
		for label, want := range map[string]float64{e.Label(): 1, was.Label(): 0} {
			written[final].Answer = label
			text := must(template.Write(written))
			require.Equal(t, want, score(w.Outcomes[0].Rule, e, text, reward.WholeCompletion))
			require.Equal(t, want, score(w.Steps[final].Rule, e, text, final))
			for k := range final {
				require.Equal(t, score(w.Steps[k].Rule, was, text, k), score(w.Steps[k].Rule, e, text, k))
			}
		}
	}
	require.InDelta(t, .2, float64(wrong)/n, .04) // three standard deviations
	require.Len(t, said, 5)
}
