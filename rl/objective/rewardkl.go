package objective

import (
	"cmp"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// RewardKL is the KL penalty in the reward instead of the loss, as in
// Ziegler et al. (arXiv:1909.08593) and verl's use_kl_in_reward: with
// d = logπ - logref at the time of sampling every token is given
//
//	-Beta·k(d)
//
// through which no gradient flows. Put the result into a completion's Shaping: it
// is added to the advantages after step credit, so that it never decides a sign.
// Tokens that step credit masks are in no policy loss, and so do not feel the
// penalty; with step credit prefer KL, a term of the loss, which holds them too.
type RewardKL struct {
	// Estimator is k, usually K1: in the reward its expected gradient is the
	// gradient of KL(π‖ref).
	Estimator KLEstimator `json:"estimator"`
	// Beta is the coefficient, not negative.
	Beta float64 `json:"beta"`
	// LogRatioClamp limits d to ±LogRatioClamp, and ValueClamp the estimate, as in
	// KL; 0 = none.
	LogRatioClamp float64 `json:"log_ratio_clamp"`
	ValueClamp    float64 `json:"value_clamp"`
	// Center subtracts the mean over all included tokens of the batch from every
	// penalty, so that only differences count (tinker-cookbook).
	Center bool `json:"center"`
	// Discount γ > 0 gives a token the discounted sum of its own and all
	// later penalties of its completion, Σ_u γ^(u-t)·x_u (tinker-cookbook's
	// kl_discount_factor); 0 = its own alone. At most 1.
	Discount float64 `json:"discount"`
}

// Validate returns an error that names the first invalid setting.
func (k RewardKL) Validate() error {
	if !(k.Discount >= 0 && k.Discount <= 1) {
		return fmt.Errorf("objective: RewardKL.Discount is %v, want 0 to 1", k.Discount)
	}
	return cmp.Or(
		settings.CheckEnum("objective: RewardKL.Estimator", klEstimatorNames, k.Estimator),
		checkNonNegative("RewardKL.Beta", k.Beta),
		checkNonNegative("RewardKL.LogRatioClamp", k.LogRatioClamp),
		checkNonNegative("RewardKL.ValueClamp", k.ValueClamp),
	)
}

// Shape writes the penalty of every token of a batch to dst and returns the
// estimate of the divergence before Beta, summed and counted over the included
// tokens. dst, logp, ref and include have one entry per completion and token;
// include nil, or a nil entry, means all. Excluded positions get 0 and are not
// read. An error names an
// invalid setting, or completion and position.
func (k RewardKL) Shape(dst, logp, ref [][]float64, include [][]bool) (Sum, error) {
	if err := k.Validate(); err != nil {
		return Sum{}, err
	}
	if len(logp) != len(dst) || len(ref) != len(dst) || include != nil && len(include) != len(dst) {
		return Sum{}, fmt.Errorf("objective: Shape has %d, %d, %d and %d rows, want as many of each", len(dst), len(logp), len(ref), len(include))
	}
	included := func(i, t int) bool { return include == nil || include[i] == nil || include[i][t] }
	var kl Sum
	for i := range dst {
		if n := len(dst[i]); len(logp[i]) != n || len(ref[i]) != n || include != nil && include[i] != nil && len(include[i]) != n {
			return Sum{}, fmt.Errorf("objective: completion %d: Shape has slices that differ from dst in length, want %d", i, n)
		}
		for t := range dst[i] {
			dst[i][t] = 0
			if !included(i, t) {
				continue
			}
			d := logp[i][t] - ref[i][t]
			x := limited(d, k.LogRatioClamp)
			v, _ := k.Estimator.at(x, math.Exp(-x))
			v = limited(v, k.ValueClamp)
			if !finite(d) || !finite(v) {
				return Sum{}, fmt.Errorf("objective: completion %d: log-probs at position %d are %v and %v (reference), want finite numbers", i, t, logp[i][t], ref[i][t])
			}
			dst[i][t] = v
			kl.Sum += v
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
			if included(i, t) {
				later += -k.Beta * (dst[i][t] - mean)
				dst[i][t] = later
			}
		}
	}
	return kl, nil
}

// AdaptiveKL adapts the coefficient of a KL penalty towards a target divergence
// (Ziegler et al., arXiv:1909.08593, section 2.2):
//
//	Beta := Beta·(1 + clip(kl/Target - 1, -0.2, 0.2)·n/Horizon)
//
// Beta is its whole state: a checkpoint stores it, and the other fields are the program's
// after a resume, too.
type AdaptiveKL struct {
	// Beta is the current coefficient.
	Beta float64 `json:"beta"`
	// Target is the target divergence per token, in nats.
	Target float64 `json:"target"`
	// Horizon is the number of samples in which Beta changes by at most about
	// a factor of e^0.2; 10000 is usual.
	Horizon float64 `json:"horizon"`
}

// Validate returns an error unless all settings are positive and finite.
func (a *AdaptiveKL) Validate() error {
	for _, x := range []float64{a.Beta, a.Target, a.Horizon} {
		if !(x > 0) || !finite(x) {
			return fmt.Errorf("objective: AdaptiveKL has Beta %v, Target %v and Horizon %v, want positive numbers", a.Beta, a.Target, a.Horizon)
		}
	}
	return nil
}

// Update moves Beta after n samples, at most Horizon, with mean divergence kl.
// It is an error, and Beta stays, if Validate returns one, if kl is not finite,
// or if n is out of range.
func (a *AdaptiveKL) Update(kl float64, n int) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if !finite(kl) {
		return fmt.Errorf("objective: AdaptiveKL was given a divergence of %v, want a finite number", kl)
	}
	if n < 0 || float64(n) > a.Horizon {
		return fmt.Errorf("objective: AdaptiveKL was given %d samples, want 0 to its Horizon of %v", n, a.Horizon)
	}
	a.Beta *= 1 + min(max(kl/a.Target-1, -0.2), 0.2)*float64(n)/a.Horizon
	return nil
}
