package rl_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// There is nothing to learn from a completion that no rule could score, unless
// step credit finds something.
func TestIncludedSamples(t *testing.T) {
	nan := math.NaN()
	r := &rl.Rollouts{
		Groups: []rollout.Group{
			{{Rewards: []float64{0}}, {Rewards: []float64{nan, nan}, Adv: []float64{0, 0}}, {Rewards: []float64{1}, Finish: rollout.FinishLength}},
			{{Rewards: []float64{nan, 2}}, {Rewards: []float64{nan, nan}, Adv: []float64{0, -1}}},
		},
	}
	for finishedOnly, want := range map[bool][]bool{false: {true, false, true, true, true}, true: {true, false, false, true, true}} {
		included := r.Included(finishedOnly)
		for i := range want {
			require.Equal(t, want[i], included(i), "sample %d, finished only %v", i, finishedOnly)
		}
	}
}

func TestOldIsTheEnginesOnlyOnTrust(t *testing.T) {
	for _, trust := range []bool{false, true} {
		c, p := setup()
		c.Engine = tampered{p, func(c rollout.Completion, emit func(rollout.Completion) error) error {
			c.LogP[0] -= 0.5
			return emit(c)
		}}
		c.Batching.Epochs, c.TrustRollout, c.Steps = 2, trust, 1
		spy := &ratios{Objective: c.Objective}
		c.Objective = spy
		run(t, c)
		want := 0.
		if trust {
			want = 0.5
		}
		require.InDelta(t, want, spy.diff[0], 1e-12, "largest log-ratio of the first epoch")
	}
}

// publishing is a policy and an engine that hand weights over.
type publishing struct {
	*policytest.TablePolicy
	published int64
	refreshed []int64
}

func (p *publishing) Publish(context.Context) (rollout.Weights, error) {
	p.published++
	return rollout.Weights{Version: p.published}, nil
}

func (p *publishing) Refresh(_ context.Context, w rollout.Weights) error {
	p.refreshed = append(p.refreshed, w.Version)
	return nil
}

func TestWeightsArePublishedBeforeSamplingAndBeforeEval(t *testing.T) {
	c, p := setup()
	both := &publishing{TablePolicy: p}
	c.Policy, c.Engine = both, both
	c.Steps, c.EvalEvery = 4, 2
	var seen []int
	c.OnRollouts = func(int64, *rl.Rollouts) error {
		seen = append(seen, len(both.refreshed))
		return nil
	}
	c.Eval = func(context.Context, int64) (map[string]float64, error) {
		seen = append(seen, -len(both.refreshed))
		return nil, nil
	}
	run(t, c)
	require.Equal(t, []int{1, 2, -3, 4, 5, -6}, seen)
	require.Equal(t, []int64{1, 2, 3, 4, 5, 6}, both.refreshed)
}
