package advantage

import "errors"

// GRPO is the group-relative advantage of Group Relative Policy Optimization
// (DeepSeekMath, arXiv:2402.03300, section 4.1):
//
//	A_i = (r_i − mean(r)) / (std(r) + ε)
//
// Unscorable rewards stay out of mean and std and get 0. A dead group gets
// exact zeros, a singleton what Singleton says. Trainers differ in std and ε:
// TRL has the sample std with 1e-4, verl and SkyRL with 1e-6, others the
// population std. For a std of the whole batch see GRPOBatchStd.
type GRPO struct {
	// Std is the kind of standard deviation.
	Std Std
	// Epsilon is added to the standard deviation.
	Epsilon float64
	// MinStd is a floor under the standard deviation, before Epsilon is added.
	MinStd float64
	// Singleton is the rule for a single usable reward. SingletonRaw divides
	// it by max(1, MinStd) + Epsilon.
	Singleton Singleton
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none, so
	// that only a group whose std is exactly 0 gets zeros.
	Tolerance float64
}

// Validate implements Normalizer.
func (n GRPO) Validate() error {
	return errors.Join(checkStd("GRPO", n.Std), checkNonNegative("GRPO.Epsilon", n.Epsilon), checkNonNegative("GRPO.MinStd", n.MinStd), checkSingleton("GRPO", n.Singleton), checkTolerance("GRPO", n.Tolerance))
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
