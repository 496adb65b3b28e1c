package objective

// EntropyBonus is a term that rewards spread: with H the entropy of a token's
// distribution
//
//	L = -Coef·H,  ∂L/∂H = -Coef
//
// weighted by KLWeight (Williams and Peng 1991; Mnih et al.,
// arXiv:1602.01783). A masked token counts if its KLWeight is not 0, that is
// under Stay and LeaveLoss.
type EntropyBonus struct {
	// Coef is usually between 0.001 and 0.01; negative to penalise entropy.
	Coef float64
}

// Needs returns Entropy.
func (EntropyBonus) Needs() Inputs { return Entropy }

// Validate returns an error if Coef is not finite.
func (e EntropyBonus) Validate() error {
	return checkFinite("EntropyBonus.Coef", e.Coef)
}

// Eval implements Objective.
func (e EntropyBonus) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := e.Validate(); err != nil {
		return 0, err
	}
	if err := s.checkRegularizer(Entropy); err != nil {
		return 0, err
	}
	var sum, n float64
	for t, w := range s.KLWeight {
		if w == 0 {
			continue
		}
		h := s.Entropy[t]
		if !finite(h) {
			return 0, s.blame(t, Entropy)
		}
		loss -= w * e.Coef * h
		s.EntropyGrad[t] -= w * e.Coef
		sum += h
		n++
	}
	if n > 0 {
		m.Add("entropy", sum, n)
	}
	return loss, nil
}
