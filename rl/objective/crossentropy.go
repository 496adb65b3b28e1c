package objective

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
		if w == 0 || !s.kept(t) {
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
