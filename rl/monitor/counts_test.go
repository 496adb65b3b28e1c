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
	step := func(v rollout.Verdict) []rollout.Step {
		return []rollout.Step{{Name: "a", Verdict: v}}
	}
	dropped := &rl.Rollouts{Groups: []rollout.Group{{{Rewards: []float64{1}, Tokens: make([]int32, 3), Steps: step(rollout.VerdictCorrect)}}}}
	r := &rl.Rollouts{
		Problems: make([]rl.Problem, 2), Requests: nil,
		Groups: []rollout.Group{{
			{Rewards: []float64{1, 7}, Tokens: make([]int32, 2), Keep: []bool{true, false}, Steps: step(rollout.VerdictCorrect)},
			{Rewards: []float64{.5}, Tokens: make([]int32, 2), Keep: []bool{false, false}, Steps: step(rollout.VerdictCorrect)},
			{Rewards: []float64{1.5}, Tokens: make([]int32, 1), Keep: []bool{true}, Steps: step(rollout.VerdictBroken)},
			{Rewards: []float64{nan}, Tokens: make([]int32, 1), Keep: []bool{true}, Steps: step(rollout.VerdictUnknown)},
		}, {
			{Rewards: []float64{0}, Steps: step(rollout.VerdictIncorrect)},
			{Rewards: []float64{0}, Steps: step(rollout.VerdictIncorrect)},
		}},
	}
	want := monitor.Counts{
		Steps:       map[string]*monitor.StepCounts{"a": {rollout.VerdictCorrect: {1, 1, 0}, rollout.VerdictIncorrect: {0, 2, 0}, rollout.VerdictBroken: {1, 0, 0}, rollout.VerdictUnknown: {0, 0, 1}}},
		Completions: [3]int{2, 3, 1}, RightWithWrongStep: 1, Reward: 3, Credited: 4, FullyMasked: 1, Groups: 2, Dead: 1,
	}
	require.Equal(t, want, monitor.Count(r, rloo, 1))

	// What dynamic sampling dropped counts too.
	fit := func(r *rl.Rollouts) *rl.Rollouts {
		n := len(r.Groups)
		r.Problems = make([]rl.Problem, n)
		r.Requests = append(r.Requests[:0], make([]rollout.Request, n)...)
		return r
	}
	r.Dynamic = &rl.DynamicInfo{Dropped: fit(dropped)}
	with := monitor.Count(fit(r), rloo, 1)
	want.Merge(monitor.Count(dropped, rloo, 1))
	require.Equal(t, want, with)
	require.Equal(t, 2, with.Steps["a"][rollout.VerdictCorrect][monitor.ResultRight])
	require.Equal(t, 4, with.Credited, "dropped groups have no credit")
}

func TestStepCounts(t *testing.T) {
	s := monitor.StepCounts{{3, 4, 11}, {30, 10, 1}, {5, 20, 1}, {5, 10, 0}}
	require.InDelta(t, 41./100, s.Of(rollout.VerdictCorrect), 1e-15)
	require.InDelta(t, 18./100, s.Of(rollout.VerdictUnknown), 1e-15)
	require.InDelta(t, 41./82, s.Accuracy(), 1e-15)
	require.InDelta(t, 10./40, s.WrongIfRight(), 1e-15)
	require.InDelta(t, 10./40, s.CorrectIfWrong(), 1e-15)
	require.InDelta(t, 60./80, s.Agreement(), 1e-15)
	require.InDelta(t, .5, s.Phi(), 1e-15) // (30·30 − 10·10)/40²
	none := monitor.StepCounts{rollout.VerdictCorrect: {5, 0, 0}}
	require.True(t, math.IsNaN(none.Phi()), "nothing varies")
	require.Equal(t, 1.0, none.Agreement())
	require.True(t, math.IsNaN(none.CorrectIfWrong()))
	require.True(t, math.IsNaN((&monitor.StepCounts{}).Of(rollout.VerdictBroken)))
	require.Equal(t, "broken/unscorable", rollout.VerdictBroken.String()+"/"+monitor.ResultUnscorable.String())
	require.Equal(t, "Result(9)", monitor.Result(9).String())
}

func TestMergeAddsUp(t *testing.T) {
	w := usual(1)
	var parts monitor.Counts
	all := &rl.Rollouts{}
	for range 3 {
		r := w.rollouts()
		parts.Merge(monitor.Count(r, rloo, 1))
		all.Groups = append(all.Groups, r.Groups...)
	}
	require.Equal(t, monitor.Count(all, rloo, 1), parts)
}
