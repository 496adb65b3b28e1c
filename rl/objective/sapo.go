package objective

import (
	"fmt"
	"math"
)

// SAPO replaces the clip by a smooth gate (Soft Adaptive Policy Optimization,
// arXiv:2511.20347). With r = π/π_old, the logistic function σ and
// τ = TauPos for A > 0, else TauNeg,
//
//	L = -A·σ(τ(r-1))·4/τ
//	∂L/∂logπ = -A·4σ(1-σ)·r
//
// At r = 1 the loss is -2A/τ and the gradient -A; far from it the gradient
// vanishes on both sides. A masked token contributes nothing.
type SAPO struct {
	// TauPos and TauNeg are the gate's temperatures, positive; the paper has 1
	// and 1.05, so that the gradient of unlikely tokens of bad completions
	// vanishes sooner.
	TauPos float64 `json:"tau_pos"`
	TauNeg float64 `json:"tau_neg"`
	// LogRatioClamp limits log r to ±LogRatioClamp and stops the gradient beyond
	// (verl, SkyRL: 20); 0 = none.
	LogRatioClamp float64 `json:"log_ratio_clamp"`
}

// Needs returns InputOld.
func (SAPO) Needs() Inputs { return InputOld }

// Validate returns an error that names the first invalid setting.
func (p SAPO) Validate() error {
	if !(p.TauPos > 0) || !(p.TauNeg > 0) || !finite(p.TauPos) || !finite(p.TauNeg) {
		return fmt.Errorf("objective: SAPO.TauPos and TauNeg are %v and %v, want positive numbers such as 1 and 1.05", p.TauPos, p.TauNeg)
	}
	return checkNonNegative("SAPO.LogRatioClamp", p.LogRatioClamp)
}

// Eval implements Objective.
func (p SAPO) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	ratio, slope, y, err := s.ratios(p.LogRatioClamp, m)
	if err != nil {
		return 0, err
	}
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		a, tau := s.Adv[t], p.TauNeg
		if a > 0 {
			tau = p.TauPos
		}
		gate := 1 / (1 + math.Exp(-tau*(ratio[t]-1)))
		loss -= w * a * gate * 4 / tau
		s.Grad[t] -= w * a * 4 * gate * (1 - gate) * slope[t]
	}
	y.end(m)
	return loss, nil
}
