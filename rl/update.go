package rl

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// UpdateInfo is what an Update did, summed over its optimiser steps.
type UpdateInfo struct {
	// Loss is the mean loss per optimiser step. It says nothing of how well
	// training goes: with group-relative advantages, fresh samples and no
	// masking it is near 0 throughout. Watch the reward instead.
	Loss float64
	// GradNorm is the mean norm before clipping, over the steps not skipped.
	GradNorm float64
	// OptimSteps counts optimiser steps, Skipped those not taken because the
	// gradient was not finite.
	OptimSteps, Skipped int
	// Version is the policy's version after the last step.
	Version int64
	Metrics objective.Metrics
}

// Update takes one optimiser step on b, whose weights are fixed (see
// Batch.Weigh), in accumulate forward-backward passes.
func Update(ctx context.Context, p Policy, b *Batch, o objective.Objective, accumulate int, step OptimOptions) (UpdateInfo, error) {
	info := UpdateInfo{OptimSteps: 1, Metrics: objective.Metrics{}}
	for _, part := range b.Split(accumulate) {
		loss, m, err := p.ForwardBackward(ctx, part, o)
		if err != nil {
			return UpdateInfo{}, err
		}
		info.Loss += loss
		info.Metrics.Merge(m)
	}
	s, err := p.OptimStep(ctx, step)
	if err != nil {
		return UpdateInfo{}, err
	}
	info.Version, info.GradNorm = s.Version, s.GradNorm
	if s.Skipped {
		info.Skipped, info.GradNorm = 1, 0
	}
	return info, nil
}

// merge adds the info of a further update.
func (u *UpdateInfo) merge(v UpdateInfo) {
	taken, more := float64(u.OptimSteps-u.Skipped), float64(v.OptimSteps-v.Skipped)
	if taken+more > 0 {
		u.GradNorm = (u.GradNorm*taken + v.GradNorm*more) / (taken + more)
	}
	u.Loss = (u.Loss*float64(u.OptimSteps) + v.Loss*float64(v.OptimSteps)) / float64(u.OptimSteps+v.OptimSteps)
	u.OptimSteps += v.OptimSteps
	u.Skipped += v.Skipped
	u.Version = v.Version
	if u.Metrics == nil {
		u.Metrics = objective.Metrics{}
	}
	u.Metrics.Merge(v.Metrics)
}

// TwoPass lets a policy that knows only a linear loss on log-probs, such as a
// remote training server, train on any objective of log-probs: it computes
// the log-probs, evaluates o here, and then calls linear, which must add the
// gradient of Σ Grad[t]·logp[t] to the policy's. Entropies and candidates are
// beyond a linear loss; asking for them is an error.
func TwoPass(ctx context.Context, p LogProber, b *Batch, o objective.Objective, linear func(context.Context, *Batch) error) (float64, objective.Metrics, error) {
	if n := o.Needs() & (objective.InputEntropy | objective.InputCandidates); n != 0 {
		return 0, nil, fmt.Errorf("rl: the objective needs %v, which a linear loss on log-probs cannot carry", n)
	}
	b.Prepare(o.Needs())
	dst := make([][]float64, len(b.Samples))
	for i := range b.Samples {
		dst[i] = b.Samples[i].LogP
	}
	if err := p.LogProbs(ctx, b, dst); err != nil {
		return 0, nil, err
	}
	m := objective.Metrics{}
	loss, err := EvalObjective(b, 0, len(b.Samples), o, m)
	if err != nil {
		return 0, nil, err
	}
	return loss, m, linear(ctx, b)
}

// EvalObjective runs o over samples [from, to) of b, whose LogP is filled in and
// whose gradients are clear, in order; it adds to m, which must not be nil,
// and returns the summed loss. Policies use it between their forward and
// backward passes. An error names the sample.
func EvalObjective(b *Batch, from, to int, o objective.Objective, m objective.Metrics) (float64, error) {
	loss := 0.0
	for i := from; i < to; i++ {
		l, err := o.Eval(&b.Samples[i].Sequence, m)
		if err != nil {
			return 0, fmt.Errorf("rl: sample %d: %w", i, err)
		}
		if math.IsNaN(l) || math.IsInf(l, 0) {
			return 0, fmt.Errorf("rl: sample %d: the loss is %v", i, l)
		}
		loss += l
	}
	return loss, nil
}
