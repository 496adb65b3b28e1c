package advantage

import "errors"

// RLOO is the leave-one-out advantage of "Back to Basics" (arXiv:2402.14740):
//
//	A_i = r_i − mean of the other r_j = n/(n−1) · (r_i − mean(r))
//
// The baseline does not depend on the completion, so its expectation is the
// policy gradient itself. Unscorable rewards stay out (n counts the usable
// ones) and get 0, a dead group gets exact zeros, a singleton what Singleton
// says: TRL and SkyRL give 0, verl's rloo and rLLM the raw reward.
type RLOO struct {
	// Singleton is the rule for a single usable reward.
	Singleton Singleton
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none.
	Tolerance float64
}

// Validate implements Normalizer.
func (n RLOO) Validate() error {
	return errors.Join(checkSingleton("RLOO", n.Singleton), checkTolerance("RLOO", n.Tolerance))
}

// Normalize implements Normalizer.
func (n RLOO) Normalize(dst, rewards []float64) {
	centred(dst, rewards, n.Singleton, n.Tolerance, 1, func(m moments) float64 {
		return float64(m.n) / float64(m.n-1)
	})
}
