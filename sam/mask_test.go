package sam_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// example is a completion of nine tokens: text, a right step, text, a wrong
// step, a final step that is wrong, and the end.
//
//	token   0 | 1 2 | 3 | 4 5 | 6 7 | 8
//	step      | a   |   | b   | c   |
func example() rollout.Completion {
	return rollout.Completion{Tokens: make([]int32, 9), Steps: []rollout.Step{
		{Name: "a", Start: 1, End: 3, Verdict: rollout.VerdictCorrect},
		{Name: "b", Start: 4, End: 6, Verdict: rollout.VerdictIncorrect},
		{Name: "c", Start: 6, End: 8, Verdict: rollout.VerdictIncorrect, Final: true},
	}}
}

func TestMaskOptions(t *testing.T) {
	broken := func(c *rollout.Completion) { c.Steps[1].Verdict, c.Steps[1].Reward = rollout.VerdictBroken, 1 }
	missing := func(c *rollout.Completion) {
		// b should have begun with c, at token 6.
		c.Steps[1] = rollout.Step{Name: "b", Start: 6, End: 6, Verdict: rollout.VerdictBroken}
		c.Steps[2].Verdict = rollout.VerdictCorrect
		c.Steps[2].Final = false
	}
	missingLast := func(c *rollout.Completion) {
		c.Steps[2] = rollout.Step{Name: "c", Start: 9, End: 9, Verdict: rollout.VerdictBroken, Final: true}
	}
	// The wrong final step is so short that no token begins in it.
	shortFinal := func(c *rollout.Completion) { c.Steps[2].Start, c.Steps[2].End = 4, 4 }
	tests := []struct {
		name   string
		mask   sam.Mask
		change func(*rollout.Completion)
		scalar float64
		want   []float64
		masked []int
	}{
		{"good outcome", sam.Mask{}, nil, 2, []float64{2, 2, 2, 2, 0, 0, 2, 2, 2}, []int{4, 5}},
		{"bad outcome", sam.Mask{}, nil, -2, []float64{-2, 0, 0, -2, -2, -2, -2, -2, -2}, []int{1, 2}},
		{"dead group", sam.Mask{MaskOutside: true}, nil, 0, make([]float64, 9), nil},
		{"positive only, bad", sam.Mask{Sign: sam.SignPositive}, nil, -1, []float64{-1, -1, -1, -1, -1, -1, -1, -1, -1}, nil},
		{"positive only, good", sam.Mask{Sign: sam.SignPositive}, nil, 1, []float64{1, 1, 1, 1, 0, 0, 1, 1, 1}, []int{4, 5}},
		{"leaks, good", sam.Mask{LeakPositive: .5, LeakNegative: -.25}, nil, 2, []float64{2, 2, 2, 2, 1, 1, 2, 2, 2}, nil},
		{"leaks, bad", sam.Mask{LeakPositive: .5, LeakNegative: -.25}, nil, -2, []float64{-2, .5, .5, -2, -2, -2, -2, -2, -2}, nil},
		{"final too", sam.Mask{MaskFinal: true}, nil, 1, []float64{1, 1, 1, 1, 0, 0, 0, 0, 1}, []int{4, 5, 6, 7}},
		{"outside too", sam.Mask{MaskOutside: true}, nil, 1, []float64{0, 1, 1, 0, 0, 0, 1, 1, 0}, []int{0, 3, 4, 5, 8}},
		{"broken, good", sam.Mask{}, broken, 1, []float64{1, 1, 1, 1, 0, 0, 1, 1, 1}, []int{4, 5}},
		{"broken, bad", sam.Mask{}, broken, -1, []float64{-1, 0, 0, -1, -1, -1, -1, -1, -1}, []int{1, 2}},
		{"broken kept, good", sam.Mask{Broken: sam.BrokenKeep}, broken, 1, []float64{1, 1, 1, 1, 1, 1, 1, 1, 1}, nil},
		{"broken kept, bad", sam.Mask{Broken: sam.BrokenKeep}, broken, -1, []float64{-1, 0, 0, -1, -1, -1, -1, -1, -1}, []int{1, 2}},
		{"broken masked, bad", sam.Mask{Broken: sam.BrokenMask, LeakNegative: 1}, broken, -1, []float64{-1, -1, -1, -1, 0, 0, -1, -1, -1}, []int{4, 5}},
		{"broken final is not exempt", sam.Mask{}, func(c *rollout.Completion) { c.Steps[2].Verdict = rollout.VerdictBroken }, 1, []float64{1, 1, 1, 1, 0, 0, 0, 0, 1}, []int{4, 5, 6, 7}},
		{"missing, good", sam.Mask{}, missing, 1, []float64{1, 1, 1, 1, 1, 1, 0, 1, 1}, []int{6}},
		{"missing, bad", sam.Mask{}, missing, -1, []float64{-1, 0, 0, -1, -1, -1, -1, 0, -1}, []int{1, 2, 7}},
		{"missing kept, bad", sam.Mask{Broken: sam.BrokenKeep}, missing, -1, []float64{-1, 0, 0, -1, -1, -1, 0, 0, -1}, []int{1, 2, 6, 7}},
		{"missing masked, good", sam.Mask{Broken: sam.BrokenMask}, missing, 1, []float64{1, 1, 1, 1, 1, 1, 1, 1, 1}, nil},
		{"missing at the end", sam.Mask{}, missingLast, 1, []float64{1, 1, 1, 1, 0, 0, 1, 1, 0}, []int{4, 5, 8}},
		{"short final, good", sam.Mask{}, shortFinal, 1, []float64{1, 1, 1, 1, 0, 0, 1, 1, 1}, []int{4, 5}},
		{"short final, bad", sam.Mask{}, shortFinal, -1, []float64{-1, 0, 0, -1, -1, -1, -1, -1, -1}, []int{1, 2}},
		{"rescaled", sam.Mask{Rescale: 10}, nil, 2, []float64{18. / 7, 18. / 7, 18. / 7, 18. / 7, 0, 0, 18. / 7, 18. / 7, 18. / 7}, []int{4, 5}},
		{"rescaled to the bound", sam.Mask{Rescale: 1.25}, nil, 2, []float64{2.5, 2.5, 2.5, 2.5, 0, 0, 2.5, 2.5, 2.5}, []int{4, 5}},
		{"nothing left to rescale", sam.Mask{Rescale: 10, MaskOutside: true, MaskFinal: true}, func(c *rollout.Completion) { c.Steps[0].Verdict = rollout.VerdictIncorrect }, 1, make([]float64, 9), []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := example()
			if test.change != nil {
				test.change(&c)
			}
			advantage.Broadcast(&c, test.scalar)
			_, err := test.mask.Assign([]rollout.Group{{c}})
			require.NoError(t, err)
			require.InDeltaSlice(t, test.want, c.Adv, 1e-12)
			var masked []int
			for tok, keep := range c.Keep {
				if !keep {
					masked = append(masked, tok)
				}
			}
			require.Equal(t, test.masked, masked)
			for _, a := range c.Adv {
				require.False(t, a == 0 && math.Signbit(a), "negative zero")
			}
		})
	}
}

// With token returns the sign is that of the outcome's advantage, not of the
// token's: a KL penalty in the return must not decide what is masked.
func TestMaskTakesTheSignOfTheOutcome(t *testing.T) {
	c := example()
	advantage.Broadcast(&c, 1)
	c.Adv[1], c.Adv[4] = -.5, -.5
	_, err := sam.Mask{}.Assign([]rollout.Group{{c}})
	require.NoError(t, err)
	require.Equal(t, []float64{1, -.5, 1, 1, 0, 0, 1, 1, 1}, c.Adv)
}

// A token that an earlier stage masked stays masked.
func TestMaskRevivesNothing(t *testing.T) {
	c := example()
	advantage.Broadcast(&c, 1)
	c.Keep[1] = false
	_, err := sam.Mask{LeakPositive: .5}.Assign([]rollout.Group{{c}})
	require.NoError(t, err)
	require.False(t, c.Keep[1])
	require.True(t, c.Keep[4])
}

func TestPrefixMasksFromTheFirstErrorOn(t *testing.T) {
	c := rollout.Completion{Tokens: make([]int32, 8), Steps: []rollout.Step{
		{Name: "a", Start: 0, End: 2, Verdict: rollout.VerdictCorrect},
		{Name: "b", Start: 2, End: 4, Verdict: rollout.VerdictIncorrect},
		{Name: "c", Start: 4, End: 6, Verdict: rollout.VerdictCorrect},
		{Name: "d", Start: 6, End: 8, Verdict: rollout.VerdictCorrect, Final: true},
	}}
	for _, test := range []struct {
		credit sam.Prefix
		scalar float64
		want   []float64
	}{
		{sam.Prefix{}, 1, []float64{1, 1, 0, 0, 0, 0, 1, 1}}, // the final step is exempt
		{sam.Prefix{}, -1, []float64{0, 0, -1, -1, -1, -1, -1, -1}},
		{sam.Prefix{Mask: sam.Mask{MaskFinal: true}}, 1, []float64{1, 1, 0, 0, 0, 0, 0, 0}},
	} {
		advantage.Broadcast(&c, test.scalar)
		_, err := test.credit.Assign([]rollout.Group{{c}})
		require.NoError(t, err)
		require.Equal(t, test.want, c.Adv)
	}
}

// A missing step comes before the one that begins in its place, which is then
// after an error.
func TestPrefixFromAMissingStepOn(t *testing.T) {
	c := rollout.Completion{Tokens: make([]int32, 6), Steps: []rollout.Step{
		{Name: "a", Start: 0, End: 2, Verdict: rollout.VerdictCorrect},
		{Name: "b", Start: 2, End: 2, Verdict: rollout.VerdictBroken},
		{Name: "c", Start: 2, End: 4, Verdict: rollout.VerdictCorrect},
		{Name: "d", Start: 6, End: 6, Verdict: rollout.VerdictBroken},
	}}
	for _, test := range []struct {
		credit sam.Prefix
		scalar float64
		want   []float64
	}{
		{sam.Prefix{}, 1, []float64{1, 1, 0, 0, 1, 0}}, // d's blame is on the last token
		{sam.Prefix{}, -1, []float64{0, 0, -1, -1, -1, -1}},
		// What is masked whatever the sign blames no token.
		{sam.Prefix{Mask: sam.Mask{Broken: sam.BrokenMask}}, 1, []float64{1, 1, 1, 1, 1, 1}},
	} {
		advantage.Broadcast(&c, test.scalar)
		_, err := test.credit.Assign([]rollout.Group{{c}})
		require.NoError(t, err)
		require.Equal(t, test.want, c.Adv)
	}
	// Nor does it behind an error that is not its own.
	c.Steps[0].Verdict = rollout.VerdictIncorrect
	advantage.Broadcast(&c, -1)
	_, err := sam.Prefix{Mask: sam.Mask{Broken: sam.BrokenMask}}.Assign([]rollout.Group{{c}})
	require.NoError(t, err)
	require.Equal(t, []float64{-1, -1, -1, -1, -1, -1}, c.Adv)
}

func TestMaskStats(t *testing.T) {
	good, bad := example(), example()
	advantage.Broadcast(&good, 2)
	bad.Steps[0].Verdict = rollout.VerdictBroken
	advantage.Broadcast(&bad, -1)
	empty := rollout.Completion{}
	advantage.Broadcast(&empty, 0)
	stats, err := sam.Mask{}.Assign([]rollout.Group{{good, bad}, {empty}})
	require.NoError(t, err)
	want := sam.Stats{
		Steps: map[string]*sam.StepStats{
			// [unknown, correct, incorrect, broken] × [negative, zero, positive]
			"a": {Kept: 4, MassBefore: 6, MassAfter: 6, ByVerdict: [4][3]int{1: {0, 0, 1}, 3: {1, 0, 0}}},
			"b": {Kept: 2, Masked: 2, MassBefore: 6, MassAfter: 2, ByVerdict: [4][3]int{2: {1, 0, 1}}},
			"c": {Kept: 4, MassBefore: 6, MassAfter: 6, ByVerdict: [4][3]int{2: {1, 0, 1}}},
		},
		Outside:     sam.StepStats{Kept: 6, MassBefore: 9, MassAfter: 9},
		Completions: 3, Groups: 2, FlatGroups: 1,
	}
	require.Equal(t, want, stats)
}

func TestErrorsNameTheStep(t *testing.T) {
	tests := []struct {
		change func(*rollout.Completion)
		want   string
	}{
		{func(c *rollout.Completion) { c.Steps[1].End = 12 }, `sam: group 1, completion 0: step 1 ("b"): tokens [4, 12) outside the completion's [0, 9)`},
		{func(c *rollout.Completion) { c.Steps[1].Start = 2 }, `sam: group 1, completion 0: step 1 ("b"): tokens [2, 6) overlap those of step 0 ("a"), [1, 3)`},
		{func(c *rollout.Completion) { c.Steps[0].Verdict = 7 }, `sam: group 1, completion 0: step 0 ("a"): rollout.Verdict(7), want unknown, correct, incorrect or broken`},
		{func(c *rollout.Completion) { c.Steps[0].Reward = math.Inf(1) }, `sam: group 1, completion 0: step 0 ("a"): reward is +Inf, want a finite number or NaN (unscorable)`},
		{func(c *rollout.Completion) { c.Adv = nil }, `sam: group 1, completion 0: the lengths of Tokens, Adv and Keep are 9, 0 and 9, want them equal: run an estimator first`},
		{func(c *rollout.Completion) { c.Advantage = math.NaN() }, `sam: group 1, completion 0: outcome advantage is NaN, want a finite number (0 for an unscorable completion)`},
	}
	for _, test := range tests {
		sound, c := example(), example()
		advantage.Broadcast(&sound, 1)
		advantage.Broadcast(&c, 1)
		test.change(&c)
		_, err := sam.Outcome{}.Assign([]rollout.Group{{sound}, {c}})
		require.EqualError(t, err, test.want)
	}
}

func TestInvalidSettings(t *testing.T) {
	for want, c := range map[string]sam.Credit{
		"sam: Mask.Rescale is 0.5, want 0 or a bound of at least 1":                     sam.Mask{Rescale: .5},
		"sam: Mask.Sign is sam.Sign(2), want both or positive":                          sam.Mask{Sign: 2},
		"sam: Mask.Broken is sam.Broken(3), want incorrect, keep or mask":               sam.Mask{Broken: 3},
		"sam: Mask.LeakPositive and LeakNegative are NaN and 0, want finite numbers":    sam.Prefix{Mask: sam.Mask{LeakPositive: nan}},
		"advantage: GRPO.Epsilon is -1, want a finite number of at least 0":             sam.Mask{Fill: advantage.GRPO{Epsilon: -1}},
		"sam: Blend.Lambda is 2, want a number in [0, 1]":                               sam.Blend{A: sam.Outcome{}, B: sam.Outcome{}, Lambda: 2},
		"sam: Blend.B is nil, want a kind of credit":                                    sam.Blend{A: sam.Outcome{}},
		"sam: StepGroup.Norm is nil, want a normaliser such as advantage.RLOO":          sam.Blend{A: sam.Outcome{}, B: sam.StepGroup{}},
		"sam: ReturnToGo.BrokenReward is NaN, want a number from -1e+100 to 1e+100":     sam.ReturnToGo{Norm: advantage.RLOO{}, BrokenReward: nan},
		"sam: StepGroup.BrokenReward is -2e+100, want a number from -1e+100 to 1e+100":  sam.StepGroup{Norm: advantage.RLOO{}, BrokenReward: -2e100},
		"sam: OutcomePlusVerdict.Norm is nil, want a normaliser such as advantage.RLOO": sam.OutcomePlusVerdict{},
		"advantage: Weights[0] is NaN, want a finite number":                            sam.OutcomePlusVerdict{Norm: advantage.RLOO{}, Combine: advantage.Combine{Weights: []float64{nan}}},
	} {
		require.EqualError(t, c.Validate(), want)
	}
	for name, c := range everyCredit {
		require.NoError(t, c.Validate(), name)
	}
}
