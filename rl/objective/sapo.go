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
// At r = 1 value 2/τ times -A and gradient -A; far from it the gradient fades
// out on both sides. A masked token contributes nothing.
type SAPO struct {
	// TauPos and TauNeg are the gate's temperatures, positive; the paper has
	// 1 and 1.05, so that unlikely tokens of bad completions fade sooner.
	TauPos, TauNeg float64
	// LogRatioClamp limits log r to ± itself and stops the gradient beyond
	// (verl, SkyRL: 20); 0 = none.
	LogRatioClamp float64
}

// Needs returns Old.
func (SAPO) Needs() Inputs { return Old }

// Validate returns an error that names the first bad setting.
func (p SAPO) Validate() error {
	if !(p.TauPos > 0) || !(p.TauNeg > 0) || !finite(p.TauPos) || !finite(p.TauNeg) {
		return fmt.Errorf("objective: SAPO.TauPos and TauNeg are %v and %v, want positive numbers such as 1 and 1.05", p.TauPos, p.TauNeg)
	}
	return checkNonNegative("SAPO.LogRatioClamp", p.LogRatioClamp)
}

// Eval implements Objective.
func (p SAPO) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	var b tokens
	b.begin(s, p.LogRatioClamp)
	for b.next() {
		for i, r := range b.r[:b.n] {
			a, tau := b.adv[i], p.TauNeg
			if a > 0 {
				tau = p.TauPos
			}
			gate := 1 / (1 + math.Exp(-tau*(r-1)))
			b.loss[i], b.byRatio[i] = -a*gate*4/tau, -a*4*gate*(1-gate)
		}
	}
	return b.end(m)
}
