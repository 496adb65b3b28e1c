package rl_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// noting is a policy that notes the settings of its optimiser steps, and gives back
// scripted infos, as many as there are.
type noting struct {
	*policytest.TablePolicy
	options []rl.OptimOptions
	infos   []rl.OptimInfo
}

func (n *noting) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	info, err := n.TablePolicy.OptimStep(ctx, o)
	if i := len(n.options); i < len(n.infos) {
		info = n.infos[i]
	}
	n.options = append(n.options, o)
	return info, err
}

func TestOptimiserStepsHaveTheirSettings(t *testing.T) {
	c, p := setup()
	policy := &noting{TablePolicy: p}
	c.Policy, c.MaxNorm = policy, 0.25
	c.Batching.MiniBatches = 2
	c.LR = rl.ScheduleFunc(func(step int64) float64 { return 1 / float64(step+1) })
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	for i := range 2 {
		m, err := tr.Step(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1/float64(2*i+2), m["lr"], "of the last optimiser step")
	}
	require.Equal(t, []rl.OptimOptions{{LR: 1, MaxNorm: 0.25}, {LR: 1. / 2, MaxNorm: 0.25}, {LR: 1. / 3, MaxNorm: 0.25}, {LR: 1. / 4, MaxNorm: 0.25}}, policy.options)
}

// The gradient norm is the mean over the optimiser steps that were taken.
func TestSkippedStepsStayOutOfTheGradientNorm(t *testing.T) {
	for _, test := range []struct {
		infos   []rl.OptimInfo
		skipped float64
		norm    any
	}{
		{[]rl.OptimInfo{{GradNorm: 1}, {GradNorm: 2}, {GradNorm: 6}, {GradNorm: 7}}, 0, 4.},
		{[]rl.OptimInfo{{GradNorm: 1}, {GradNorm: 99, Skipped: true}, {GradNorm: 3}, {GradNorm: 5}}, 1, 3.},
		{[]rl.OptimInfo{{GradNorm: 99, Skipped: true}, {GradNorm: 99, Skipped: true}, {GradNorm: 99, Skipped: true}, {GradNorm: 2}}, 3, 2.},
		{[]rl.OptimInfo{{Skipped: true}, {Skipped: true}, {Skipped: true}, {Skipped: true}}, 4, nil},
	} {
		c, p := setup()
		c.Policy = &noting{TablePolicy: p, infos: test.infos}
		c.Batching.MiniBatches, c.Batching.Epochs = 2, 2
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		m, err := tr.Step(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 4, m["optimizer_steps"])
		require.Equal(t, test.skipped, m["skipped"])
		if test.norm == nil {
			require.NotContains(t, m, "grad_norm")
		} else {
			require.InDelta(t, test.norm, m["grad_norm"], 1e-12)
		}
	}
}

// An error names a sample by its place in the batch, however many passes that takes.
func TestUpdateNamesTheSample(t *testing.T) {
	for accumulate := range 3 {
		b := &rl.Batch{Prompts: [][]int32{{1}, {2}}}
		for i := range 4 {
			s := rl.Sample{Prompt: i % 2, Tokens: []int32{1}}
			s.Weight = []float64{1}
			b.Samples = append(b.Samples, s)
		}
		b.Samples[3].Weight[0] = math.Inf(1) // the second sample of the second prompt
		_, err := rl.Update(t.Context(), policytest.NewTablePolicy(8, nil, 7), b, objective.CrossEntropy{}, accumulate+1, rl.OptimOptions{})
		require.Equal(t, "sample 3: the loss is +Inf", err.Error(), accumulate)
		err = b.FillEntropy(t.Context(), secondFails{policytest.NewTablePolicy(8, nil, 7)}, accumulate+1)
		require.Equal(t, "sample 3: no entropy", err.Error(), accumulate)
	}
}

// secondFails is a policy without the entropy of the last sample of prompt 2.
type secondFails struct{ rl.Policy }

func (p secondFails) ForwardBackward(_ context.Context, b *rl.Batch, _ objective.Objective) (float64, objective.Metrics, error) {
	last := len(b.Samples) - 1
	if b.Prompts[len(b.Prompts)-1][0] != 2 {
		return 0, nil, nil
	}
	return 0, nil, &rl.SampleError{From: last, To: last + 1, Err: errors.New("no entropy")}
}

// A sample without a prompt would be in no part, and its gradient missing.
func TestSplitLosesNoSample(t *testing.T) {
	for _, prompt := range []int{-1, 2} {
		b := &rl.Batch{Prompts: [][]int32{{1}, {2}}, Samples: []rl.Sample{{Prompt: 0, Tokens: []int32{1}}, {Prompt: prompt, Tokens: []int32{1}}}}
		require.PanicsWithValue(t, fmt.Sprintf("rl: Split: sample 1 is of prompt %d, but there are 2", prompt), func() { b.Split(2) })
	}
}
