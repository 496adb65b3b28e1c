package distill_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// teacher is a bigram over the tokens 0..4: 3 and 4 are labels, and 4 is
// written as 2 4, so that labels differ in length.
func teacher() *policytest.TablePolicy {
	p := policytest.NewTablePolicy(5, nil, -1)
	copy(p.Logits(0), []float64{0, 0, math.Log(2), math.Log(4), 0}) // sum 9
	copy(p.Logits(1), []float64{0, 0, math.Log(8), math.Log(8), 0}) // sum 19
	copy(p.Logits(2), []float64{0, 0, 0, 0, math.Log(4)})           // sum 8
	return p
}

func TestBeliefsAreTheMeanOverRationales(t *testing.T) {
	l := distill.Labeler{Teacher: teacher(), Labels: [][]int32{{3}, {2, 4}}}
	got, err := l.Beliefs(t.Context(), [][]distill.Rationale{
		{{Prompt: []int32{1, 4}, Tokens: []int32{0}}, {Prompt: []int32{1, 4}, Tokens: []int32{0, 1}}},
		{},
		{{Prompt: []int32{0}}},
	})
	require.NoError(t, err)
	// After 0: P(3) = 4/9, P(2 4) = 2/9·4/8 = 1/9. After 1: 8/19 and 4/19.
	require.Len(t, got, 3)
	require.Equal(t, 2, got[0].Rationales)
	require.InDeltaSlice(t, []float64{(4./5 + 2./3) / 2, (1./5 + 1./3) / 2}, got[0].P, 1e-12)
	require.InDelta(t, (5./9+12./19)/2, got[0].Coverage, 1e-12)
	require.Nil(t, got[1].P, "no rationale: unknown, not uniform")
	require.InDeltaSlice(t, []float64{0.8, 0.2}, got[2].P, 1e-12)
}

func TestLabelerRefusesAmbiguousLabels(t *testing.T) {
	for _, labels := range [][][]int32{{{1}}, {{1}, {}}, {{1}, {1, 2}}, {{2}, {2}}} {
		l := distill.Labeler{Teacher: teacher(), Labels: labels}
		require.Error(t, l.Validate(), "%v", labels)
	}
}

func TestCut(t *testing.T) {
	parser := prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "a"}, {Name: "label", Answers: []string{"0", "1"}}})
	for name, c := range map[string]struct {
		pieces []string
		want   int // tokens before the answer, -1 if it cannot be cut
	}{
		"answer in its own token":         {[]string{`x \boxed{`, `0`, `} so \boxed{`, `1`, `}`}, 3},
		"answer joined with what follows": {[]string{`x \boxed{0} so `, `\boxed{`, `1}`}, 2},
		"answer joined with its mark":     {[]string{`x \boxed{0} so \boxed`, `{1`, `}`}, -1},
		"one token":                       {[]string{`x \boxed{0} so \boxed{1}`}, -1},
		"answer not allowed":              {[]string{`x \boxed{0} so \boxed{`, `2`, `}`}, -1},
		"no answer":                       {[]string{`x \boxed{0}`}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			text, ends, tokens := "", []int(nil), []int32(nil)
			for i, p := range c.pieces {
				text += p
				ends, tokens = append(ends, len(text)), append(tokens, int32(i))
			}
			tr := parser.Parse(text, ends)
			got, ok := distill.Cut(&rollout.Completion{Text: text, Tokens: tokens, Ends: ends, Trace: &tr})
			require.Equal(t, c.want >= 0, ok)
			if ok {
				require.Equal(t, tokens[:c.want], got)
			}
		})
	}
}

func TestNothingParsedCannotBeCut(t *testing.T) {
	_, ok := distill.Cut(&rollout.Completion{Text: "1", Tokens: []int32{1}, Ends: []int{1}})
	require.False(t, ok)
}
