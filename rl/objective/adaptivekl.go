package objective

import "fmt"

// AdaptiveKL steers the coefficient of a KL penalty towards a target value of
// the divergence (Ziegler et al., arXiv:1909.08593, section 2.2):
//
//	Beta := Beta·(1 + clip(kl/Target - 1, -0.2, 0.2)·n/Horizon)
//
// Its fields are its whole state: a checkpoint stores them.
type AdaptiveKL struct {
	// Beta is the coefficient now.
	Beta float64
	// Target is the wanted divergence per token, in nats.
	Target float64
	// Horizon is in how many samples Beta changes by at most about a factor
	// e^0.2; 10000 is usual.
	Horizon float64
}

// Validate returns an error unless all settings are positive.
func (a *AdaptiveKL) Validate() error {
	if !(a.Beta > 0) || !(a.Target > 0) || !(a.Horizon > 0) {
		return fmt.Errorf("objective: AdaptiveKL has Beta %v, Target %v and Horizon %v, want positive numbers", a.Beta, a.Target, a.Horizon)
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
