package objective

import (
	"cmp"
	"errors"
	"fmt"
	"math"
)

// ErrSharedRatio is what GSPO returns for a sequence whose tokens differ in
// advantage.
var ErrSharedRatio = errors.New("objective: GSPO shares one ratio among all tokens, which would average step credit away; use GSPOToken")

// GSPO is Group Sequence Policy Optimization (arXiv:2507.18071): the clipped
// surrogate with one ratio for the whole sequence, through which its gradient
// flows. With n tokens that count
//
//	s = exp(1/n·Σ_t log π_t/π_old,t)
//	L_t = max(-A·s, -A·clip(s, 1-ClipLow, 1+ClipHigh))
//	∂L_t/∂logπ_u = -A·s/n for every t and u where not clipped, else 0
//
// This is TRL's importance_sampling_level="sequence". Every token receives the
// mean of all tokens' advantages, so a sequence whose tokens differ in
// advantage, masked ones counting as 0, is an error that wraps ErrSharedRatio:
// step credit needs GSPOToken.
//
// A token counts if its Weight is not 0. So under Stay a completion that step
// credit masked in part is that error, and one masked as a whole contributes
// nothing; under Leave and LeaveLoss masked tokens are no part of s, and
// contribute nothing.
type GSPO struct {
	// ClipLow and ClipHigh are the distances of the bounds from 1, both
	// positive; the paper has 3e-4 and 4e-4.
	ClipLow, ClipHigh float64
	// LogRatioMax limits log s from above and stops the gradient beyond
	// (verl, SkyRL: 10); 0 = none.
	LogRatioMax float64
}

// Needs returns Old.
func (GSPO) Needs() Inputs { return Old }

// Validate returns an error that names the first bad setting.
func (p GSPO) Validate() error {
	return cmp.Or(
		checkClip("GSPO", p.ClipLow, p.ClipHigh),
		checkNonNegative("GSPO.LogRatioMax", p.LogRatioMax),
	)
}

// Eval implements Objective.
func (p GSPO) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	q, err := shareRatio(s, p.LogRatioMax)
	if err != nil || q.n == 0 {
		return 0, err
	}
	c := PPO{ClipLow: p.ClipLow, ClipHigh: p.ClipHigh}.clip()
	var y tally
	var adv, grad float64
	first := -1
	for t, w := range s.Weight {
		if w == 0 {
			continue
		}
		a := 0.0
		if s.kept(t) {
			a = s.Adv[t]
		}
		if !finite(a) {
			return 0, s.blame(t, Old)
		}
		if first < 0 {
			first, adv = t, a
		} else if a != adv {
			return 0, fmt.Errorf("%w (advantages %v at position %d, %v at position %d)", ErrSharedRatio, adv, first, a, t)
		}
		v, byRatio, b := c.at(q.r, a)
		loss += w * v
		grad += w * byRatio
		if s.kept(t) {
			y.add(q.r, b)
		}
	}
	y.flush(m)
	if !q.cut {
		grad *= q.r / q.n
		for t, w := range s.Weight {
			if w != 0 {
				s.Grad[t] += grad
			}
		}
	}
	return loss, nil
}

// shared is the ratio of a whole sequence.
type shared struct {
	n   float64 // tokens with a weight
	r   float64 // exp of their mean log-ratio
	cut bool    // whether a bound has cut r off from its gradient
}

// shareRatio computes the ratio of GSPO over all tokens with a weight.
func shareRatio(s *Sequence, logRatioMax float64) (q shared, err error) {
	if err := s.checkPolicy(0); err != nil {
		return q, err
	}
	old := s.old()
	var sum float64
	for t, w := range s.Weight {
		if w == 0 {
			continue
		}
		lr := s.LogP[t] - old[t]
		if !finite(lr) {
			return q, s.blame(t, Old)
		}
		sum += lr
		q.n++
	}
	if q.n == 0 {
		return q, nil
	}
	x := sum / q.n
	if logRatioMax > 0 && x > logRatioMax {
		x, q.cut = logRatioMax, true
	}
	q.r = math.Exp(x)
	if !finite(q.r) {
		return q, fmt.Errorf("objective: the sequence ratio overflows at a mean log-ratio of %v; limit it or find out why the policies differ so much", x)
	}
	return q, nil
}
