package rl_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// rewarded is a group with one reward per completion.
func rewarded(rewards ...float64) rollout.Group {
	var g rollout.Group
	for _, r := range rewards {
		g = append(g, rollout.Completion{Rewards: []float64{r}})
	}
	return g
}

func TestDropConstant(t *testing.T) {
	nan := math.NaN()
	filter := rl.DropConstant{}
	for _, c := range []struct {
		group rollout.Group
		want  string
	}{
		{rewarded(0, 1), ""},
		{rewarded(1, 1, 1), "constant_1"},
		{rewarded(0, 0), "constant_0"},
		{rewarded(-0.04, -0.04), "constant_0"},
		{rewarded(-1, -1), "constant_-1"},
		{rewarded(0.26, 0.26), "constant_0.3"},
		{rewarded(0.3, above), "constant_0.3"},
		{rewarded(1e12, 1e12+1e-3), "constant_above_10"},
		{rewarded(0, 1e-8), ""},
		{rewarded(nan, 1, nan), "single"},
		{rewarded(nan, 1, 0), ""},
		{rewarded(nan, nan), "unscorable"},
		{nil, "unscorable"},
		{rollout.Group{{}, {}}, "unscorable"},
		{rewarded(math.Inf(1), math.Inf(1)), ""}, // for the estimator to refuse
	} {
		require.Equal(t, c.want, filter.Drop(c.group), "%v", c.group)
	}
	require.ErrorContains(t, rl.DropConstant{Reward: -1}.Validate(), "Reward is -1")

	// The second reward, a length penalty, differs; the first does not.
	g := rollout.Group{{Rewards: []float64{1, -0.5}}, {Rewards: []float64{1, 0}}}
	require.Equal(t, "constant_1", rl.DropConstant{}.Drop(g))
	require.Empty(t, rl.DropConstant{Reward: 1}.Drop(g))
	require.Equal(t, "unscorable", rl.DropConstant{Reward: 7}.Drop(g))
}

func TestDropMeanOutside(t *testing.T) {
	filter := rl.DropMeanOutside{High: 1}
	for want, g := range map[string]rollout.Group{
		"":           rewarded(0, 1, math.NaN()),
		"too_hard":   rewarded(0, 0),
		"too_easy":   rewarded(1, 1),
		"unscorable": rewarded(math.NaN()),
	} {
		require.Equal(t, want, filter.Drop(g))
	}
	require.Empty(t, filter.Drop(rewarded(0.5, 0.5)), "dead, but of middling difficulty")
	require.NoError(t, filter.Validate())
	for _, bad := range []rl.DropMeanOutside{{Low: 1, High: 1}, {High: math.NaN()}, {Reward: -1, High: 1}} {
		require.Error(t, bad.Validate(), "%+v", bad)
	}
}

// above is the next number after 0.3.
var above = math.Nextafter(0.3, 1)
