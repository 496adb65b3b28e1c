package objective

import (
	"cmp"
	"fmt"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// RewardKL is the KL penalty paid in the reward instead of the loss, as in
// Ziegler et al. (arXiv:1909.08593) and verl's use_kl_in_reward: with
// d = logπ - logref at the time of sampling every token is given
//
//	-Beta·k(d)
//
// which no gradient flows through. Put the result into a completion's Shaping:
// it joins the advantages after step credit, so that it never decides a sign.
type RewardKL struct {
	// Kind is the estimator, usually K1: in the reward its expected gradient
	// is that of KL(π‖ref).
	Kind Kind
	Beta float64
	// LogRatioClamp limits d to ± itself, and ValueClamp the estimate, as in
	// KL; 0 = none.
	LogRatioClamp, ValueClamp float64
	// Center takes the mean over all live tokens of the batch from every
	// penalty, so that only differences count (tinker-cookbook).
	Center bool
	// Discount γ > 0 gives a token the discounted sum of its own and all
	// later penalties of its completion, Σ_u γ^(u-t)·x_u (tinker-cookbook's
	// kl_discount_factor); 0 = its own alone. At most 1.
	Discount float64
}

// Validate returns an error that names the first bad setting.
func (k RewardKL) Validate() error {
	if !k.Kind.valid() {
		return fmt.Errorf("objective: RewardKL.Kind is %v, want K1, K2, K3 or KAbs", k.Kind)
	}
	if !(k.Discount >= 0 && k.Discount <= 1) {
		return fmt.Errorf("objective: RewardKL.Discount is %v, want 0 to 1", k.Discount)
	}
	return cmp.Or(
		checkNonNegative("RewardKL.Beta", k.Beta),
		checkNonNegative("RewardKL.LogRatioClamp", k.LogRatioClamp),
		checkNonNegative("RewardKL.ValueClamp", k.ValueClamp),
	)
}

// Shape writes the penalty of every token of a batch to dst and returns the
// estimate of the divergence before Beta, summed and counted over live tokens.
// dst, logp, ref and live have one entry per completion and token; live nil,
// or a nil entry, means all. Dead positions get 0 and are not read. An error
// names completion and position.
func (k RewardKL) Shape(dst, logp, ref [][]float64, live [][]bool) (Sum, error) {
	if err := k.Validate(); err != nil {
		return Sum{}, err
	}
	if len(logp) != len(dst) || len(ref) != len(dst) || live != nil && len(live) != len(dst) {
		return Sum{}, fmt.Errorf("objective: Shape has %d, %d, %d and %d rows, want as many of each", len(dst), len(logp), len(ref), len(live))
	}
	alive := func(i, t int) bool { return live == nil || live[i] == nil || live[i][t] }
	kind := KL{Kind: k.Kind, LogRatioClamp: k.LogRatioClamp, ValueClamp: k.ValueClamp}
	var est estimates
	vecmath.Fill(est.w[:], 1)
	var kl Sum
	for i := range dst {
		if n := len(dst[i]); len(logp[i]) != n || len(ref[i]) != n || live != nil && live[i] != nil && len(live[i]) != n {
			return Sum{}, fmt.Errorf("objective: completion %d: Shape has slices that differ from dst in length, want %d", i, n)
		}
		for t := range dst[i] {
			b := t % blockSize
			if b == 0 {
				to := min(t+blockSize, len(dst[i]))
				est.of(&kind, logp[i][t:to], ref[i][t:to])
			}
			dst[i][t] = 0
			if !alive(i, t) {
				continue
			}
			if !finite(est.lr[b] + est.v[b]) {
				return Sum{}, fmt.Errorf("objective: completion %d: log-probs at position %d are %v and %v (reference), want finite numbers", i, t, logp[i][t], ref[i][t])
			}
			dst[i][t] = est.v[b]
			kl.Sum += est.v[b]
			kl.Count++
		}
	}
	mean := 0.0
	if k.Center {
		mean = kl.Mean()
	}
	for i := range dst {
		later := 0.0
		for t := len(dst[i]) - 1; t >= 0; t-- {
			later *= k.Discount
			if alive(i, t) {
				later += -k.Beta * (dst[i][t] - mean)
				dst[i][t] = later
			}
		}
	}
	return kl, nil
}
