package posir_test

import (
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/eval/posir"
)

func TestMirror(t *testing.T) {
	assert.Equal(t, "iJgHeFcDaB", posir.Mirror("aBcDeFgHiJ"))
	assert.Equal(t, "é日äbß", posir.Mirror("ßbä日é"), "characters, not bytes")
	assert.Equal(t, "", posir.Mirror(""))
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		m := posir.Mirror(text)
		require.Len(t, m, len(text))
		n := utf8.RuneCountInString(text)
		if n%posir.Segments == 0 {
			require.Equal(t, text, posir.Mirror(m))
		}
		// One character of evidence goes where its character goes.
		if n > 0 {
			at := rapid.IntRange(0, n-1).Draw(t, "at")
			e := posir.MirrorEvidence(posir.Evidence{Start: at, End: at + 1, Chars: n, Tokens: 1})
			require.Equal(t, []rune(text)[at], []rune(m)[e.Start])
		}
	})
}

func TestReversal(t *testing.T) {
	var before, unbiased, primacy []posir.Result
	for i := range 200 {
		p := (float64(i) + .5) / 200
		r := result(fmt.Sprint("q", i), p, 100, .5)
		unbiased = append(unbiased, r)
		r.NDCG = 1 - p
		before = append(before, r)
		m, _ := posir.MirrorEvidence(r.Evidence).Position()
		r.NDCG = 1 - m
		primacy = append(primacy, r)
	}
	o := eval.BootstrapOptions{Replicates: 50}
	none, err := posir.CompareMirrored(unbiased, unbiased, o)
	require.NoError(t, err)
	assert.Equal(t, eval.Interval{}, none.Delta)
	got, err := posir.CompareMirrored(before, primacy, o)
	require.NoError(t, err)
	// Evidence from 0 to 2/5 goes to 3/5 to 1 and back: each gains 3/5.
	assert.InDelta(t, 1.2, got.Delta.Estimate, 1e-3)
	assert.Equal(t, 80, got.Front)
	assert.Equal(t, 80, got.Back)
	assert.InDelta(t, .8, got.FrontBefore, 1e-9)
	assert.InDelta(t, got.Curve.Mean[2], got.Mirrored.Mean[2], .05, "the same curve for the same retriever")

	_, err = posir.CompareMirrored(before, before[1:], o)
	assert.ErrorContains(t, err, `query "q0" has no result on mirrored`)
	_, err = posir.CompareMirrored(before[1:], before, o)
	assert.ErrorContains(t, err, `query "q0" has a result on mirrored documents only`)
}

func TestSaliency(t *testing.T) {
	ramp := make([]float64, 100)
	for i := range ramp {
		ramp[i] = float64(i)
	}
	s := posir.SummarizeSaliency([][]float64{ramp, {3, 3, 3}, nil, {0, 0}})
	assert.Equal(t, 2, s.Documents)
	// The 99th percentile of 0..99 is 98.01, at which the last point is clipped.
	assert.InDelta(t, (50/98.01+1)/2, s.Mean[50], 1e-12)
	assert.InDelta(t, 1, s.Mean[99], 1e-12)
	assert.InDelta(t, (1-50/98.01)/2, s.Std[50], 1e-12)
	one := posir.SummarizeSaliency([][]float64{{7}})
	assert.Equal(t, 1., one.Mean[0])
	assert.Equal(t, 1., one.Mean[99])
}
