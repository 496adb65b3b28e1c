package advantage

import "errors"

// DrGRPO is the advantage of "Understanding R1-Zero-Like Training"
// (arXiv:2503.20783), GRPO without the division, which would weigh prompts by
// how uniform their rewards are:
//
//	A_i = r_i − mean(r)
//
// The mean includes the completion itself, so its expectation is the policy
// gradient times 1−1/n. Unscorable rewards stay out and get 0, a dead group
// gets exact zeros, a singleton what Singleton says. (Its loss denominator, a
// constant, is an aggregation of package objective.)
type DrGRPO struct {
	// Singleton is the rule for a single usable reward.
	Singleton Singleton
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none.
	Tolerance float64
}

// Validate implements Normalizer.
func (n DrGRPO) Validate() error {
	return errors.Join(checkSingleton("DrGRPO", n.Singleton), checkTolerance("DrGRPO", n.Tolerance))
}

// Normalize implements Normalizer.
func (n DrGRPO) Normalize(dst, rewards []float64) {
	centred(dst, rewards, n.Singleton, n.Tolerance, 1, func(moments) float64 { return 1 })
}
