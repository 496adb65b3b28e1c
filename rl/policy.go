package rl

import (
	"context"

	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Sample is one completion in a training batch.
type Sample struct {
	// Prompt is the index of its prompt in Batch.Prompts.
	Prompt int
	// Tokens are the completion's token ids.
	Tokens []int32
	// Sequence holds the per-token numbers, one per entry of Tokens.
	objective.Sequence
}

// Batch is what a policy computes on. Every prompt stands in it once, however
// many samples share it, so that a policy can compute it once.
type Batch struct {
	Prompts [][]int32
	Samples []Sample
	// Temperature divides the logits before log-probs are taken; 0 means 1.
	Temperature float64
}

// Tokens is the number of completion tokens in the batch.
func (b *Batch) Tokens() int {
	n := 0
	for i := range b.Samples {
		n += len(b.Samples[i].Tokens)
	}
	return n
}

// Scorer computes log-probs: what a policy, a frozen reference and a teacher share.
type Scorer interface {
	// LogProbs writes the log-prob of every completion token into dst[i][t].
	LogProbs(ctx context.Context, b *Batch, dst [][]float64) error
}

// StepOptions are the settings of one optimiser step.
type StepOptions struct {
	// LR is the learning rate.
	LR float64
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64
}

// StepInfo is what an optimiser step did.
type StepInfo struct {
	// Version counts the policy's steps; it names its weights.
	Version int64
	// GradNorm is the global norm before clipping.
	GradNorm float64
	// Skipped is set if the gradient was not finite and no step was taken.
	Skipped bool
}

// Policy is a model that can be trained. One goroutine uses a policy at a time.
type Policy interface {
	Scorer
	// ForwardBackward computes LogP (and Entropy or candidates, if o needs
	// them) of every sample, evaluates o on each, and adds the gradient of
	// the summed loss to the policy's own. It leaves LogP and Grad filled in.
	// After an error the accumulated gradient is cleared.
	ForwardBackward(ctx context.Context, b *Batch, o objective.Objective) (loss float64, m objective.Metrics, err error)
	// Step applies the accumulated gradient and clears it.
	Step(ctx context.Context, o StepOptions) (StepInfo, error)
	// Save stores weights, optimiser state and version under a name and
	// returns a reference for Load. Training continues bit for bit from it.
	Save(ctx context.Context, name string) (ref string, err error)
	// Load restores what Save stored and clears the accumulated gradient.
	Load(ctx context.Context, ref string) error
}

// Publisher is a policy that can hand its current weights to an engine.
type Publisher interface {
	Publish(ctx context.Context) (rollout.Weights, error)
}

// Supporter is a policy that cannot compute every objective. NewTrainer asks
// it, so that nothing is silently dropped later.
type Supporter interface {
	// Supports returns an error that names the inputs it cannot provide.
	Supports(n objective.Inputs) error
}
