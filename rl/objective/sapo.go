package objective

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
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
	var e block
	b.begin(s, p.LogRatioClamp)
	for b.next() {
		for i, r := range b.r[:b.n] {
			e[i] = -p.tau(b.adv[i]) * (r - 1)
		}
		vecmath.Exp(e[:b.n], e[:b.n])
		for i, a := range b.adv[:b.n] {
			gate := 1 / (1 + e[i])
			b.loss[i], b.byRatio[i] = -a*gate*4/p.tau(a), -a*4*gate*(1-gate)
		}
	}
	return b.end(m)
}

// tau is the temperature for advantage a.
func (p SAPO) tau(a float64) float64 {
	if a > 0 {
		return p.TauPos
	}
	return p.TauNeg
}
