package objective

// DRO is Direct Reward Optimisation with the advantage in place of reward
// minus value (Richemond et al., arXiv:2405.19107; Tinker's "dro"): no ratio
// but a quadratic tie to the policy that sampled. With lr = logπ - logπ_old
//
//	L = -A·logπ + Beta/2·lr²,  ∂L/∂logπ = -A + Beta·lr
//
// The tie is part of the policy loss and does not multiply the advantage: a
// kept token whose advantage is 0 is still trained. A masked token contributes
// nothing, neither to the one part nor to the other.
type DRO struct {
	// Beta is the weight of the tie; Tinker's example has 0.05.
	Beta float64
}

// Needs returns Old.
func (DRO) Needs() Inputs { return Old }

// Validate returns an error if Beta is negative or not finite.
func (p DRO) Validate() error { return checkNonNegative("DRO.Beta", p.Beta) }

// Eval implements Objective.
func (p DRO) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	return sumTokens(p, 0, s, m)
}

func (p DRO) token(logp, lr, _, a float64) (loss, byRatio, byLogP float64, b bound) {
	return -a*logp + p.Beta/2*lr*lr, 0, -a + p.Beta*lr, inside
}
