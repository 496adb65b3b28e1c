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
	var b tokens
	var logp block
	b.begin(s, 0)
	for b.next() {
		b.pick(&logp, s.LogP)
		for i, lr := range b.lr[:b.n] {
			a := b.adv[i]
			b.loss[i], b.byLogP[i] = -a*logp[i]+p.Beta/2*lr*lr, -a+p.Beta*lr
		}
	}
	return b.end(m)
}
