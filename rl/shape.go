package rl

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// ShapeKL pays a KL penalty in the reward: it computes every token's log-prob
// under the policy p and the reference, and writes the penalty k into the
// completions' Shaping, where Assign finds it. It returns the estimate of the
// divergence per token.
func (r *Rollouts) ShapeKL(ctx context.Context, p, reference LogProber, k objective.RewardKL) (objective.Sum, error) {
	b := r.Batch()
	if err := b.FillOld(ctx, p); err != nil {
		return objective.Sum{}, fmt.Errorf("rl: the policy's log-probs for the KL penalty: %w", err)
	}
	if err := b.FillRef(ctx, reference); err != nil {
		return objective.Sum{}, fmt.Errorf("rl: the reference's log-probs for the KL penalty: %w", err)
	}
	n := len(b.Samples)
	dst, logp, ref := make([][]float64, n), make([][]float64, n), make([][]float64, n)
	for i := range b.Samples {
		s := &b.Samples[i]
		dst[i], logp[i], ref[i] = make([]float64, len(s.Tokens)), s.Old, s.Ref
	}
	kl, err := k.Shape(dst, logp, ref, nil)
	if err != nil {
		return objective.Sum{}, fmt.Errorf("rl: %w", err)
	}
	for g := range r.Groups {
		for i := range r.Groups[g] {
			r.Groups[g][i].Shaping = dst[0]
			dst = dst[1:]
		}
	}
	return kl, nil
}
