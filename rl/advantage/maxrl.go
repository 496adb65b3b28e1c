package advantage

import "errors"

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
// flips every sign. A singleton gets what Singleton says.
type MaxRL struct {
	// Epsilon is added to the mean; SkyRL has 1e-6, prime-rl none.
	Epsilon float64
	// NegativeMean divides by means below zero as well (SkyRL).
	NegativeMean bool
	// Singleton is the rule for a single usable reward.
	Singleton Singleton
	// Tolerance of dead groups and zero means: 0 means DefaultTolerance,
	// negative none.
	Tolerance float64
}

// Validate implements Normalizer.
func (n MaxRL) Validate() error {
	return errors.Join(checkNonNegative("MaxRL.Epsilon", n.Epsilon), checkSingleton("MaxRL", n.Singleton), checkTolerance("MaxRL", n.Tolerance))
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
