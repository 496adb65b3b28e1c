package rl_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// What the estimator cannot use is not in a denominator either, unless step credit
// or shaping gives it an advantage.
func TestUnscorableCompletionsAreExcluded(t *testing.T) {
	nan := math.NaN()
	r := &rl.Rollouts{
		Problems: make([]rl.Problem, 2),
		Requests: make([]rollout.Request, 2),
		Groups: []rollout.Group{{
			{Tokens: []int32{1, 2}, Rewards: []float64{1, 0}},
			{Tokens: []int32{1, 2}, Rewards: []float64{0, 1}},
			{Tokens: []int32{1, 2}, Rewards: []float64{1, nan}},
		}, {
			{Tokens: []int32{1, 2}, Rewards: []float64{nan, nan}, Shaping: []float64{0, -1}},
		}},
	}
	for _, c := range []struct {
		combine advantage.Combine
		want    []float64 // of each token
	}{
		{advantage.Combine{}, []float64{1. / 6, 1. / 6, 0, 1. / 6}},
		{advantage.Combine{SkipUnscorable: true}, []float64{1. / 8, 1. / 8, 1. / 8, 1. / 8}},
		{advantage.Combine{Weights: []float64{1, 0}}, []float64{1. / 8, 1. / 8, 1. / 8, 1. / 8}},
		{advantage.Combine{Weights: []float64{0, 1}}, []float64{1. / 6, 1. / 6, 0, 1. / 6}},
	} {
		_, err := r.Assign(advantage.GroupEstimator{Norm: advantage.RLOO{}, Combine: c.combine}, sam.Outcome{})
		require.NoError(t, err)
		b := r.Batch()
		require.NoError(t, b.Weigh(objective.TokenMean{}))
		for i, s := range b.Samples {
			require.Equal(t, []float64{c.want[i], c.want[i]}, s.Weight, "sample %d, %+v", i, c.combine)
		}
	}

	only := r.Subset(0, 1)
	_, err := only.Assign(advantage.PerGroup(advantage.GRPO{}), sam.Outcome{})
	require.NoError(t, err)
	b := only.Batch()
	for _, agg := range []objective.Aggregation{
		objective.SeqMeanTokenMean{}, objective.SeqMeanTokenMean{CountEmpty: true}, objective.PromptMean{CountEmpty: true}, objective.TokenMean{},
		objective.Constant{Tokens: 2, PerSequence: true},
	} {
		require.NoError(t, b.Weigh(agg))
		for i, want := range []float64{1. / 2, 1. / 2, 0} {
			require.Equal(t, want, b.Samples[i].Weight[0]+b.Samples[i].Weight[1], "sample %d, %T", i, agg)
		}
	}
}

// A completion that is left out for its length counts where TRL counts it.
func TestEmptySamplesCountAsSequences(t *testing.T) {
	sample := func(include []bool) rl.Sample { return rl.Sample{Tokens: []int32{1, 2}, Include: include} }
	b := &rl.Batch{Prompts: [][]int32{{0}}, Samples: []rl.Sample{sample(nil), sample(make([]bool, 2))}}
	for _, c := range []struct {
		count bool
		want  float64
	}{{false, 1. / 2}, {true, 1. / 4}} {
		require.NoError(t, b.Weigh(objective.SeqMeanTokenMean{CountEmpty: c.count}))
		require.Equal(t, []float64{c.want, c.want}, b.Samples[0].Weight)
		require.Equal(t, []float64{0, 0}, b.Samples[1].Weight)
	}
}

// spyKL notes how many samples have a weight in the KL term.
type spyKL struct {
	objective.Objective
	weighed map[bool]int
}

func (s spyKL) Eval(q *objective.Sequence, m objective.Metrics) (float64, error) {
	s.weighed[q.KLWeight[0] != 0]++
	return s.Objective.Eval(q, m)
}

func TestDeadGroupsCanDoWithoutKL(t *testing.T) {
	for exclude, want := range map[bool]map[bool]int{false: {true: 6}, true: {true: 2, false: 4}} {
		c, p := setup()
		c.Source, c.Batching = sourceOf(script("rlw")), rl.Batching{Prompts: 3}
		c.Reference, c.ExcludeDeadKL = p, exclude
		spy := spyKL{objective.Terms{c.Objective, objective.KL{Estimator: objective.K3, Beta: 1}}, map[bool]int{}}
		c.Objective = spy
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		_, err = tr.Step(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, spy.weighed)
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

	c.Engine = p
	_, err := rl.NewTrainer(c)
	require.ErrorContains(t, err, "rl: Config.Policy (*rl_test.publishing) is a Publisher, but Config.Engine (*policytest.TablePolicy) is no rollout.Refresher")
}
