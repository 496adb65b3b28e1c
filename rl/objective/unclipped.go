package objective

// ImportanceSampling is the policy gradient with importance weights and no bound:
// with r = π/π_old
//
//	L = -A·r,  ∂L/∂logπ = -A·r
//
// (Tinker's "importance_sampling"). One update on fresh samples is REINFORCE.
// A masked token contributes nothing.
type ImportanceSampling struct {
	// LogRatioClamp limits log r to ±LogRatioClamp and stops the gradient beyond;
	// 0 = none.
	LogRatioClamp float64 `json:"log_ratio_clamp"`
}

// Needs returns InputOld.
func (ImportanceSampling) Needs() Inputs { return InputOld }

// Validate returns an error that names the first invalid setting.
func (p ImportanceSampling) Validate() error {
	return checkNonNegative("ImportanceSampling.LogRatioClamp", p.LogRatioClamp)
}

// Eval implements Objective.
func (p ImportanceSampling) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	ratio, slope, y, err := s.ratios(p.LogRatioClamp, m)
	if err != nil {
		return 0, err
	}
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		loss -= w * s.Adv[t] * ratio[t]
		s.Grad[t] -= w * s.Adv[t] * slope[t]
	}
	y.end(m)
	return loss, nil
}

// DRO is Direct Reward Optimisation with the advantage in place of reward minus
// value (Richemond et al., arXiv:2405.19107; Tinker's "dro"): it has no ratio,
// but a quadratic penalty on moving away from the policy that sampled. With lr =
// logπ - logπ_old
//
//	L = -A·logπ + Beta/2·lr²,  ∂L/∂logπ = -A + Beta·lr
//
// The penalty is part of the policy loss and does not multiply the advantage: a
// kept token whose advantage is 0 is still trained. A masked token contributes
// nothing to either part.
type DRO struct {
	// Beta is the weight of the quadratic penalty; Tinker's example has 0.05.
	Beta float64 `json:"beta"`
}

// Needs returns InputOld.
func (DRO) Needs() Inputs { return InputOld }

// Validate returns an error if Beta is negative or not finite.
func (p DRO) Validate() error { return checkNonNegative("DRO.Beta", p.Beta) }

// Eval implements Objective.
func (p DRO) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	_, _, y, err := s.ratios(0, m)
	if err != nil {
		return 0, err
	}
	old := s.old()
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		a, lr := s.Adv[t], s.LogP[t]-old[t]
		loss += w * (-a*s.LogP[t] + p.Beta/2*lr*lr)
		s.Grad[t] += w * (-a + p.Beta*lr)
	}
	y.end(m)
	return loss, nil
}

// CrossEntropy is supervised learning on the tokens of a sequence:
//
//	L = -logπ,  ∂L/∂logπ = -1
//
// It reads no advantage. A masked token contributes nothing.
type CrossEntropy struct{}

// Needs returns 0.
func (CrossEntropy) Needs() Inputs { return 0 }

// Validate returns nil: there is nothing to set.
func (CrossEntropy) Validate() error { return nil }

// Eval implements Objective.
func (CrossEntropy) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := s.check(0); err != nil {
		return 0, err
	}
	var sum, n float64
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		logp := s.LogP[t]
		if !finite(logp) {
			return 0, s.blame(t, 0)
		}
		loss -= w * logp
		s.Grad[t] -= w
		sum -= logp
		n++
	}
	if n > 0 {
		m.Add("nll", sum, n)
	}
	return loss, nil
}
