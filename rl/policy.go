package rl

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// LogProber gives the log-probs of given tokens. A policy is one, and so are a
// reference policy and a teacher.
type LogProber interface {
	// LogProbs writes the log-prob of token t of sample i into dst[i][t].
	LogProbs(ctx context.Context, b *Batch, dst [][]float64) error
}

// LogProbChecker is a LogProber that may have none to give: an engine on servers, some
// of which have only those of the tokens that they sample. NewTrainer asks the
// reference, so that a run that cannot work does not start.
type LogProbChecker interface {
	// CheckLogProbs returns the error that every call of LogProbs would; nil if
	// there is none.
	CheckLogProbs() error
}

// OptimOptions are the settings of one optimiser step.
type OptimOptions struct {
	// LR is the learning rate.
	LR float64
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64
}

// Validate returns an error that names the first invalid setting.
func (o OptimOptions) Validate() error {
	if !(o.LR >= 0) || math.IsInf(o.LR, 1) {
		return fmt.Errorf("rl: OptimOptions.LR is %v, want a finite number of at least 0", o.LR)
	}
	if err := checkMaxNorm(o.MaxNorm); err != nil {
		return fmt.Errorf("rl: OptimOptions.%w", err)
	}
	return nil
}

func checkMaxNorm(n float64) error {
	if !(n >= 0) {
		return fmt.Errorf("MaxNorm is %v, want 0 (no clipping) or a positive number", n)
	}
	return nil
}

// OptimInfo is the result of an optimiser step.
type OptimInfo struct {
	// Version counts the policy's optimiser steps; it identifies the weights.
	Version int64
	// GradNorm is the global norm before clipping.
	GradNorm float64
	// Skipped is set if the gradient was not finite and no step was taken.
	Skipped bool
}

// Policy is a model that can be trained. One goroutine uses a policy at a time.
// LogProbs and ForwardBackward return the context's error if it is done.
type Policy interface {
	LogProber
	// ForwardBackward computes LogP of every sample (and Entropy or candidates,
	// if o needs them), evaluates o on each sample in order, and adds the
	// gradient of the summed loss to the accumulated gradient, so that several
	// calls can share an optimiser step. It calls b.Prepare first and leaves
	// LogP and Grad filled in.
	//
	// What the policy does not support (Supporter) is an error that names it. An
	// error of the objective is returned wrapped, with the sample's index. After
	// an error the accumulated gradient is cleared.
	ForwardBackward(ctx context.Context, b *Batch, o objective.Objective) (loss float64, m objective.Metrics, err error)
	// OptimStep applies the accumulated gradient and clears it.
	OptimStep(ctx context.Context, o OptimOptions) (OptimInfo, error)
	// Save stores weights, optimiser state and version under a name, in memory,
	// on a server, or as a file or folder of that name, and returns a reference
	// for Load. Training continues from it bit for bit.
	Save(ctx context.Context, name string) (ref string, err error)
	// Load restores what Save stored and clears the accumulated gradient.
	Load(ctx context.Context, ref string) error
}

// Publisher is a Policy that can hand its current weights to an engine that is a
// rollout.Refresher. The trainer does so before it samples and before Config.Eval.
type Publisher interface {
	// Publish returns the current weights.
	Publish(ctx context.Context) (rollout.Weights, error)
}
