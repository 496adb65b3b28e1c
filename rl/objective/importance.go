package objective

// ImportanceSampling is the policy gradient reweighted to the policy that
// sampled, without any bound: with r = π/π_old
//
//	L = -A·r,  ∂L/∂logπ = -A·r
//
// (Tinker's "importance_sampling"). One update on fresh samples is REINFORCE.
// A masked token contributes nothing.
type ImportanceSampling struct {
	// LogRatioClamp limits log r to ± itself and stops the gradient beyond;
	// 0 = none.
	LogRatioClamp float64
}

// Needs returns Old.
func (ImportanceSampling) Needs() Inputs { return Old }

// Validate returns an error that names the first bad setting.
func (p ImportanceSampling) Validate() error {
	return checkNonNegative("ImportanceSampling.LogRatioClamp", p.LogRatioClamp)
}

// Eval implements Objective.
func (p ImportanceSampling) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	var b tokens
	b.begin(s, p.LogRatioClamp)
	for b.next() {
		for i, r := range b.r[:b.n] {
			a := b.adv[i]
			b.loss[i], b.byRatio[i] = -a*r, -a
		}
	}
	return b.end(m)
}
