package objective

import (
	"cmp"
	"fmt"
	"math"
)

// DPPO drops a token once its probability itself, not the ratio, has moved too
// far in the direction of its advantage (Divergence Proximal Policy Optimization,
// arXiv:2602.04879), so that rare tokens, whose ratios vary widely, are not
// clipped first. With p = π, q = π_old, r = p/q
//
//	L = -keep·A·r + Quadratic·(log r)²
//	∂L/∂logπ = -keep·A·r + 2·Quadratic·log r
//	keep = 0 if A > 0, p > q and D(q,p) > High, or A < 0, p < q and D(q,p) > Low
//
// and D(q,p) = |p-q|, the total variation between the distributions over
// {token, any other}, or with KL their divergence. Papers and trainers take
// the rollout's log-probs for π_old: see FromRollout.
//
// With MaxWeight the ratio is a constant to the gradient, and truncated: with sg
// stopping the gradient
//
//	L = -keep·A·sg(min(r, MaxWeight))·logπ + Quadratic·(log r)²
//
// The quadratic term is part of the policy loss and does not multiply the
// advantage: a kept token whose advantage is 0 is still trained. A masked token
// contributes nothing to either part.
type DPPO struct {
	// Low and High are the bounds of D, positive; 0.2 in prime-rl.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// KL makes D the divergence q·log(q/p) + (1-q)·log((1-q)/(1-p)).
	KL bool `json:"kl"`
	// Quadratic is the coefficient of the squared log-ratio; 0.001 in
	// prime-rl, 0 in the paper and in SkyRL.
	Quadratic float64 `json:"quadratic"`
	// MaxWeight bounds the ratio; it is greater than 1, or 0 for no bound, as in
	// prime-rl and SkyRL; verl takes its clip_ratio_c, by default 3 (the paper
	// has 20).
	MaxWeight float64 `json:"max_weight"`
	// LogRatioClamp limits log r to ±LogRatioClamp in r alone and stops the
	// gradient beyond (SkyRL: 20); 0 = none.
	LogRatioClamp float64 `json:"log_ratio_clamp"`
}

// Needs returns InputOld.
func (DPPO) Needs() Inputs { return InputOld }

// Validate returns an error that names the first invalid setting.
func (p DPPO) Validate() error {
	if !(p.Low > 0) || !(p.High > 0) || !finite(p.Low) || !finite(p.High) {
		return fmt.Errorf("objective: DPPO.Low and High are %v and %v, want positive bounds such as 0.2", p.Low, p.High)
	}
	if p.MaxWeight != 0 && !(p.MaxWeight > 1 && finite(p.MaxWeight)) {
		return fmt.Errorf("objective: DPPO.MaxWeight is %v, want a number above 1, or 0 for none", p.MaxWeight)
	}
	return cmp.Or(
		checkNonNegative("DPPO.Quadratic", p.Quadratic),
		checkNonNegative("DPPO.LogRatioClamp", p.LogRatioClamp),
	)
}

// Eval implements Objective.
func (p DPPO) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	ratio, slope, y, err := s.ratios(p.LogRatioClamp, m)
	if err != nil {
		return 0, err
	}
	old := s.old()
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		a, logp, lr := s.Adv[t], s.LogP[t], s.LogP[t]-old[t]
		l, byLogP := p.Quadratic*lr*lr, 2*p.Quadratic*lr
		met := p.bound(a, logp, lr)
		switch {
		case met != inside: // dropped
		case p.MaxWeight > 0:
			weight := min(ratio[t], p.MaxWeight)
			l -= a * weight * logp
			byLogP -= a * weight
		default:
			l -= a * ratio[t]
			byLogP -= a * slope[t]
		}
		loss += w * l
		s.Grad[t] += w * byLogP
		y.hits[met]++
	}
	y.end(m)
	return loss, nil
}

// bound returns the bound beyond which the probability of a token has moved, in
// the direction of its advantage a.
func (p DPPO) bound(a, logp, lr float64) bound {
	switch {
	case a > 0 && lr > 0 && p.divergence(logp, lr) > p.High:
		return clipHigh
	case a < 0 && lr < 0 && p.divergence(logp, lr) > p.Low:
		return clipLow
	}
	return inside
}

// divergence returns D of a token.
func (p DPPO) divergence(logp, lr float64) float64 {
	now, old := math.Exp(logp), math.Exp(logp-lr)
	if !p.KL {
		return math.Abs(now - old)
	}
	const eps = 1e-8                                 // against log of 0 at certainty, as in SkyRL
	others, were := max(1-now, 0)+eps, max(1-old, 0) // a log-prob can be above 0 by rounding
	return -old*lr + were*math.Log((were+eps)/others)
}
