package rl

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// UpdateInfo is the result of an Update or of several, summed over their
// optimiser steps.
type UpdateInfo struct {
	// Loss is the mean loss per optimiser step. It does not show how well
	// training goes; see the package comment.
	Loss float64
	// GradNorm is the mean norm before clipping, over the optimiser steps that
	// were not skipped.
	GradNorm float64
	// OptimSteps counts optimiser steps, and Skipped those of them that were not
	// taken because the gradient was not finite.
	OptimSteps, Skipped int
	// Version is the policy's version after the last optimiser step.
	Version int64
	// Metrics are those of the objective.
	Metrics objective.Metrics
}

// Update takes one optimiser step on b, whose weights Batch.Weigh has fixed, in
// accumulate (at least 1) forward-backward passes. A *SampleError is about samples of b.
func Update(ctx context.Context, p Policy, b *Batch, o objective.Objective, accumulate int, opt OptimOptions) (UpdateInfo, error) {
	if err := errors.Join(o.Validate(), opt.Validate()); err != nil {
		return UpdateInfo{}, err
	}
	info := UpdateInfo{OptimSteps: 1, Metrics: objective.Metrics{}}
	err := b.inParts(accumulate, func(part *Batch) error {
		loss, m, err := p.ForwardBackward(ctx, part, o)
		info.Loss += loss
		info.Metrics.Merge(m)
		return err
	})
	if err != nil {
		return UpdateInfo{}, err
	}
	s, err := p.OptimStep(ctx, opt)
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

// TwoPass is ForwardBackward for a policy that can only compute a linear loss on
// log-probs, such as a remote training server: it asks p for the log-probs,
// evaluates o here, and then calls linear, which must add the gradient of
// Σ Grad[t]·logp[t] to the policy's. An objective that needs entropies or
// candidates is an error, because a linear loss cannot carry them; as a Supporter
// the policy declares that, so that the run does not start.
func TwoPass(ctx context.Context, p LogProber, b *Batch, o objective.Objective, linear func(context.Context, *Batch) error) (float64, objective.Metrics, error) {
	if err := Capabilities(0).Check(Required(o.Needs())); err != nil {
		return 0, nil, fmt.Errorf("rl: a linear loss on log-probs cannot carry the objective: %w", err)
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

// EvalObjective evaluates o on the samples [from, to) of b, in order, and returns
// the summed loss. LogP must be filled in and Grad cleared; metrics are added to
// m, which must not be nil. Policies call it between their forward and backward
// passes. An error is a *SampleError.
func EvalObjective(b *Batch, from, to int, o objective.Objective, m objective.Metrics) (float64, error) {
	loss := 0.0
	for i := from; i < to; i++ {
		l, err := o.Eval(&b.Samples[i].Sequence, m)
		if err == nil && (math.IsNaN(l) || math.IsInf(l, 0)) {
			err = fmt.Errorf("the loss is %v", l)
		}
		if err != nil {
			return 0, &SampleError{i, i + 1, err}
		}
		loss += l
	}
	return loss, nil
}

// SampleError is an error about the samples [From, To) of the batch that a policy was
// given. A policy that splits its batch translates the places of the parts.
type SampleError struct {
	From, To int
	Err      error
}

func (e *SampleError) Error() string {
	if e.To == e.From+1 {
		return fmt.Sprintf("sample %d: %v", e.From, e.Err)
	}
	return fmt.Sprintf("samples %d to %d: %v", e.From, e.To-1, e.Err)
}

func (e *SampleError) Unwrap() error { return e.Err }
