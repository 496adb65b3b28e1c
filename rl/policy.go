package rl

import (
	"context"

	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// LogProber computes log-probs: what a policy, a frozen reference and a teacher share.
type LogProber interface {
	// LogProbs writes the log-prob of every completion token into dst[i][t].
	LogProbs(ctx context.Context, b *Batch, dst [][]float64) error
}

// OptimOptions are the settings of one optimiser step.
type OptimOptions struct {
	// LR is the learning rate.
	LR float64
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64
}

// OptimInfo is what an optimiser step did.
type OptimInfo struct {
	// Version counts the policy's steps; it names its weights.
	Version int64
	// GradNorm is the global norm before clipping.
	GradNorm float64
	// Skipped is set if the gradient was not finite and no step was taken.
	Skipped bool
}

// Policy is a model that can be trained. One goroutine uses a policy at a time.
type Policy interface {
	LogProber
	// ForwardBackward computes LogP (and Entropy or candidates, if o needs
	// them) of every sample, evaluates o on each in order, and adds the
	// gradient of the summed loss to the policy's own, so that several calls
	// before a Step accumulate. It calls b.Prepare first and leaves LogP and
	// Grad filled in. An error of the objective comes back wrapped with the
	// sample's index. An objective whose inputs the policy cannot provide is
	// an error, whether or not Supports was asked before. After an error the
	// accumulated gradient is cleared.
	ForwardBackward(ctx context.Context, b *Batch, o objective.Objective) (loss float64, m objective.Metrics, err error)
	// Step applies the accumulated gradient and clears it.
	OptimStep(ctx context.Context, o OptimOptions) (OptimInfo, error)
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
	// Supports returns an error that names the inputs it cannot provide;
	// ForwardBackward refuses such an objective, too.
	Supports(n objective.Inputs) error
}
