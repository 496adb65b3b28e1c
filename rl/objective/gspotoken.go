package objective

import "cmp"

// GSPOToken is the token form of GSPO (arXiv:2507.18071, section 4.3): the
// sequence's ratio in value, each token's own log-prob in gradient, so that
// tokens may differ in advantage. With s as in GSPO and sg stopping the
// gradient
//
//	s_t = sg(s)·π_t/sg(π_t)
//	L_t = max(-A_t·s_t, -A_t·clip(s_t, 1-ClipLow, 1+ClipHigh))
//	∂L_t/∂logπ_t = -A_t·s where not clipped, else 0
//
// The bound is decided token by token, since the sign of A_t may change inside
// a sequence. It is what verl and SkyRL call "gspo". With one advantage for
// all tokens its gradient is GSPO's, under every aggregation of this package.
//
// A masked token contributes nothing; under Stay it is still part of s.
type GSPOToken struct {
	// ClipLow and ClipHigh are the distances of the bounds from 1, both
	// positive; the paper has 3e-4 and 4e-4.
	ClipLow, ClipHigh float64
	// LogRatioMax limits log s from above and stops the gradient beyond
	// (verl, SkyRL: 10); 0 = none.
	LogRatioMax float64
}

// Needs returns Old.
func (GSPOToken) Needs() Inputs { return Old }

// Validate returns an error that names the first bad setting.
func (p GSPOToken) Validate() error {
	return cmp.Or(
		checkClip("GSPOToken", p.ClipLow, p.ClipHigh),
		checkNonNegative("GSPOToken.LogRatioMax", p.LogRatioMax),
	)
}

// Eval implements Objective.
func (p GSPOToken) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	q, err := shareRatio(s, p.LogRatioMax)
	if err != nil {
		return 0, err
	}
	c := PPO{ClipLow: p.ClipLow, ClipHigh: p.ClipHigh}.clip()
	var y tally
	for t, w := range s.Weight {
		if w == 0 || !s.kept(t) {
			continue
		}
		a := s.Adv[t]
		if !finite(a) {
			return 0, s.blame(t, Old)
		}
		v, byRatio, b := c.at(q.r, a)
		loss += w * v
		if !q.cut {
			s.Grad[t] += w * byRatio * q.r
		}
		y.add(q.r, b)
	}
	y.flush(m)
	return loss, nil
}
