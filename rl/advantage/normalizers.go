package advantage

import (
	"errors"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// GRPO is the group-relative advantage of Group Relative Policy Optimization
// (DeepSeekMath, arXiv:2402.03300, section 4.1):
//
//	A_i = (r_i − mean(r)) / (std(r) + ε)
//
// Unscorable rewards stay out of mean and std and get 0. A dead group gets
// exact zeros, a singleton as Singleton sets. Trainers differ in std and ε:
// TRL has the sample std with 1e-4, verl and SkyRL with 1e-6, others the
// population std. For a std of the whole batch see GRPOBatchStd.
type GRPO struct {
	// Std is the kind of standard deviation.
	Std Std `json:"std"`
	// Epsilon is added to the standard deviation.
	Epsilon float64 `json:"epsilon"`
	// MinStd is a floor under the standard deviation, before Epsilon is added.
	MinStd float64 `json:"min_std"`
	// Singleton is the advantage in a group with a single usable reward.
	// SingletonRaw divides it by max(1, MinStd) + Epsilon.
	Singleton Singleton `json:"singleton"`
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none, so
	// that only a group whose std is exactly 0 gets zeros.
	Tolerance float64 `json:"tolerance"`
}

// Validate implements Normalizer.
func (n GRPO) Validate() error {
	return errors.Join(settings.CheckEnum("advantage: GRPO.Std", stdNames, n.Std), checkNonNegative("GRPO.Epsilon", n.Epsilon), checkNonNegative("GRPO.MinStd", n.MinStd), settings.CheckEnum("advantage: GRPO.Singleton", singletonNames, n.Singleton), checkTolerance("GRPO", n.Tolerance))
}

// Normalize implements Normalizer.
func (n GRPO) Normalize(dst, rewards []float64) {
	raw := inverse(max(1, n.MinStd) + n.Epsilon)
	centred(dst, rewards, n.Singleton, n.Tolerance, raw, func(m moments) float64 {
		return inverse(max(m.std(n.Std), n.MinStd) + n.Epsilon)
	})
}

// inverse is 1/x, and 0 for 0: no spread, no signal.
func inverse(x float64) float64 {
	if x == 0 {
		return 0
	}
	return 1 / x
}

// DrGRPO is the advantage of "Understanding R1-Zero-Like Training"
// (arXiv:2503.20783), GRPO without the division, which would weigh prompts by
// how uniform their rewards are:
//
//	A_i = r_i − mean(r)
//
// The mean includes the completion itself, so its expectation is the policy
// gradient times 1−1/n. Unscorable rewards stay out and get 0, a dead group
// gets exact zeros, a singleton as Singleton sets. (Its loss denominator, a
// constant, is an aggregation of package objective.)
type DrGRPO struct {
	// Singleton is the advantage in a group with a single usable reward.
	Singleton Singleton `json:"singleton"`
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none.
	Tolerance float64 `json:"tolerance"`
}

// Validate implements Normalizer.
func (n DrGRPO) Validate() error {
	return errors.Join(settings.CheckEnum("advantage: DrGRPO.Singleton", singletonNames, n.Singleton), checkTolerance("DrGRPO", n.Tolerance))
}

// Normalize implements Normalizer.
func (n DrGRPO) Normalize(dst, rewards []float64) {
	centred(dst, rewards, n.Singleton, n.Tolerance, 1, func(moments) float64 { return 1 })
}

// RLOO is the leave-one-out advantage of "Back to Basics" (arXiv:2402.14740):
//
//	A_i = r_i − mean of the other r_j = n/(n−1) · (r_i − mean(r))
//
// The baseline does not depend on the completion, so its expectation is the
// policy gradient itself. Unscorable rewards stay out (n counts the usable ones)
// and get 0, a dead group gets exact zeros, a singleton as Singleton sets: TRL
// and SkyRL give 0, verl's rloo and rLLM the raw reward.
type RLOO struct {
	// Singleton is the advantage in a group with a single usable reward.
	Singleton Singleton `json:"singleton"`
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none.
	Tolerance float64 `json:"tolerance"`
}

// Validate implements Normalizer.
func (n RLOO) Validate() error {
	return errors.Join(settings.CheckEnum("advantage: RLOO.Singleton", singletonNames, n.Singleton), checkTolerance("RLOO", n.Tolerance))
}

// Normalize implements Normalizer.
func (n RLOO) Normalize(dst, rewards []float64) {
	centred(dst, rewards, n.Singleton, n.Tolerance, 1, func(m moments) float64 {
		return float64(m.n) / float64(m.n-1)
	})
}

// MaxRL is the advantage of Maximum Likelihood Reinforcement Learning
// (arXiv:2602.02710) for rewards that are not negative:
//
//	A_i = (r_i − mean(r)) / (mean(r) + ε)
//
// With 0/1 rewards and ε = 0 its expectation is the gradient of the first n−1
// terms of log p = −Σ_k (1−p)^k / k, so that hard prompts weigh like 1/p.
//
// Unscorable rewards stay out and get 0. A dead group gets exact zeros, and so
// does one whose mean is not above zero, because dividing by a negative mean
// flips every sign. A singleton gets the advantage that Singleton sets.
type MaxRL struct {
	// Epsilon is added to the mean; SkyRL has 1e-6, prime-rl none.
	Epsilon float64 `json:"epsilon"`
	// NegativeMean divides by means below zero as well (SkyRL).
	NegativeMean bool `json:"negative_mean"`
	// Singleton is the advantage in a group with a single usable reward.
	Singleton Singleton `json:"singleton"`
	// Tolerance of dead groups and zero means: 0 means DefaultTolerance,
	// negative none.
	Tolerance float64 `json:"tolerance"`
}

// Validate implements Normalizer.
func (n MaxRL) Validate() error {
	return errors.Join(checkNonNegative("MaxRL.Epsilon", n.Epsilon), settings.CheckEnum("advantage: MaxRL.Singleton", singletonNames, n.Singleton), checkTolerance("MaxRL", n.Tolerance))
}

// Normalize implements Normalizer.
func (n MaxRL) Normalize(dst, rewards []float64) {
	centred(dst, rewards, n.Singleton, n.Tolerance, 1, func(m moments) float64 {
		if m.mean <= m.noise(n.Tolerance) && !n.NegativeMean {
			return 0
		}
		return inverse(m.mean + n.Epsilon)
	})
}
