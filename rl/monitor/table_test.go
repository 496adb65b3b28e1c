package monitor_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/monitor"
	"github.com/stepwise-rl/stepwise/rollout"
)

func TestCount(t *testing.T) {
	step := func(v rollout.Verdict, broken bool) []rollout.Step {
		return []rollout.Step{{Name: "a", Verdict: v, Broken: broken}}
	}
	dropped := &rl.Rollouts{Groups: []rollout.Group{{{Rewards: []float64{1}, Tokens: 3, Steps: step(rollout.VerdictCorrect, false)}}}}
	r := &rl.Rollouts{
		Problems: make([]rl.Problem, 2), Requests: nil,
		Groups: []rollout.Group{{
			{Rewards: []float64{1, 7}, Tokens: 2, Keep: []bool{true, false}, Steps: step(rollout.VerdictCorrect, false)},
			{Rewards: []float64{.5}, Tokens: 2, Keep: []bool{false, false}, Steps: step(rollout.VerdictCorrect, false)},
			{Rewards: []float64{1.5}, Tokens: 1, Keep: []bool{true}, Steps: step(rollout.VerdictIncorrect, true)},
			{Rewards: []float64{nan}, Tokens: 1, Keep: []bool{true}, Steps: step(rollout.VerdictUnknown, false)},
		}, {
			{Rewards: []float64{0}, Steps: step(rollout.VerdictIncorrect, false)},
			{Rewards: []float64{0}, Steps: step(rollout.VerdictIncorrect, false)},
		}},
	}
	want := monitor.Table{
		Steps:       map[string]*monitor.StepTable{"a": {{1, 1, 0}, {0, 2, 0}, {1, 0, 0}, {0, 0, 1}}},
		Completions: [3]int{2, 3, 1}, RightWithWrongStep: 1, Reward: 3, Credited: 4, FullyMasked: 1, Groups: 2, Dead: 1,
	}
	require.Equal(t, want, monitor.Count(r, 1))

	// What dynamic sampling dropped counts too.
	fit := func(r *rl.Rollouts) *rl.Rollouts {
		n := len(r.Groups)
		r.Problems = make([]rl.Problem, n)
		r.Requests = append(r.Requests[:0], make([]requestOf, n)...)
		r.Completions = make([][]completionOf, n)
		return r
	}
	r.Dynamic = &rl.DynamicInfo{Dropped: fit(dropped)}
	with := monitor.Count(fit(r), 1)
	want.Merge(monitor.Count(dropped, 1))
	require.Equal(t, want, with)
	require.Equal(t, 2, with.Steps["a"][monitor.Correct][monitor.Right])
	require.Equal(t, 4, with.Credited, "dropped groups have no credit")
}

func TestStepTable(t *testing.T) {
	s := monitor.StepTable{{30, 10, 1}, {5, 20, 1}, {5, 10, 0}, {3, 4, 11}}
	require.InDelta(t, 41./100, s.Of(monitor.Correct), 1e-15)
	require.InDelta(t, 18./100, s.Of(monitor.Unknown), 1e-15)
	require.InDelta(t, 41./82, s.Accuracy(), 1e-15)
	require.InDelta(t, 10./40, s.WrongIfRight(), 1e-15)
	require.InDelta(t, 10./40, s.CorrectIfWrong(), 1e-15)
	require.InDelta(t, 60./80, s.Agreement(), 1e-15)
	require.InDelta(t, .5, s.Phi(), 1e-15) // (30·30 − 10·10)/40²
	none := monitor.StepTable{{5, 0, 0}}
	require.True(t, math.IsNaN(none.Phi()), "nothing varies")
	require.Equal(t, 1.0, none.Agreement())
	require.True(t, math.IsNaN(none.CorrectIfWrong()))
	require.True(t, math.IsNaN((&monitor.StepTable{}).Of(monitor.Broken)))
	require.Equal(t, "broken/unscored", monitor.Broken.String()+"/"+monitor.Unscored.String())
	require.Equal(t, "verdict 9/outcome 9", monitor.Verdict(9).String()+"/"+monitor.Outcome(9).String())
}

func TestMergeAddsUp(t *testing.T) {
	w := usual(1)
	var parts monitor.Table
	all := &rl.Rollouts{}
	for range 3 {
		r := w.rollouts()
		parts.Merge(monitor.Count(r, 1))
		all.Groups = append(all.Groups, r.Groups...)
	}
	require.Equal(t, monitor.Count(all, 1), parts)
}
