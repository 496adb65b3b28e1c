package rl

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// ShapeKL pays a KL penalty in the reward: it writes the penalty k of every token
// into the completions' Shaping, where Assign finds it, and the log-probs under
// the policy p and the reference into their Old and Ref, unless they are there
// already. It returns the estimate of the divergence per token.
func (r *Rollouts) ShapeKL(ctx context.Context, p, reference LogProber, k objective.RewardKL) (objective.Sum, error) {
	b := r.Batch()
	if err := b.fillMissing(ctx, p, reference); err != nil {
		return objective.Sum{}, fmt.Errorf("rl: log-probs for the KL penalty: %w", err)
	}
	n := len(b.Samples)
	dst, old, ref := make([][]float64, n), make([][]float64, n), make([][]float64, n)
	for i := range b.Samples {
		s := &b.Samples[i]
		dst[i], old[i], ref[i] = make([]float64, len(s.Tokens)), s.Old, s.Ref
	}
	kl, err := k.Shape(dst, old, ref, nil)
	if err != nil {
		return objective.Sum{}, fmt.Errorf("rl: %w", err)
	}
	i := 0
	for g := range r.Groups {
		for c := range r.Groups[g] {
			c := &r.Groups[g][c]
			c.Shaping, c.Old, c.Ref = dst[i], old[i], ref[i]
			i++
		}
	}
	return kl, nil
}
