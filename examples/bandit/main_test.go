package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/sam"
)

// The references of the table: outcome credit is exactly the gradient of right
// answers, step-loo exactly that of right steps if the step rule is right.
func TestMeasure(t *testing.T) {
	w := newWorld(.7, false)
	outcome, err := w.measure(3, sam.Outcome{})
	require.NoError(t, err)
	require.InDelta(t, 1, outcome.answerCosine, 1e-12)
	steps, err := w.measure(3, sam.StepGroup{Norm: normalizer})
	require.NoError(t, err)
	require.InDelta(t, 1, steps.cosine, 1e-12)
	require.InDelta(t, 0, steps.bias, 1e-12)
	mask, err := w.measure(3, sam.Mask{})
	require.NoError(t, err)
	require.Greater(t, mask.cosine, outcome.cosine)
	require.Less(t, mask.noise, outcome.noise)

	fooled, err := newWorld(.7, true).measure(3, sam.StepGroup{Norm: normalizer})
	require.NoError(t, err)
	require.Less(t, fooled.cosine, .6)
}

// Luck is what makes right answers hold wrong steps.
func TestWrongInRight(t *testing.T) {
	require.InDelta(t, .066, newWorld(.1, false).wrongInRight(), 5e-4)
	require.InDelta(t, .325, newWorld(.95, false).wrongInRight(), 5e-4)
	require.InDelta(t, .5, newWorld(.1, false).rightSteps(), 1e-12)
}

func TestRun(t *testing.T) {
	var a, b bytes.Buffer
	tr := training{updates: 2, seeds: 1, rate: .5}
	require.NoError(t, run(&a, 2, tr))
	require.NoError(t, run(&b, 2, tr))
	require.Equal(t, a.String(), b.String(), "the same seeds give the same table")
	require.Equal(t, 6*len(credits), strings.Count(a.String(), "%\n"))
}

// Numbers that would print NaN, or 0% for trainings that never were, are refused.
func TestRunRefuses(t *testing.T) {
	for _, tr := range []training{{-1, 1, .5}, {2, 0, .5}, {2, 1, 0}, {2, 1, math.NaN()}, {2, 1, math.Inf(1)}} {
		require.ErrorContains(t, run(io.Discard, 2, tr), fmt.Sprintf("%d updates, %d seeds, learning rate %v: want", tr.updates, tr.seeds, tr.rate))
	}
	require.ErrorContains(t, run(io.Discard, 1, training{2, 1, .5}), "1 completions in a group")
}
