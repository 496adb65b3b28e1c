package objective

import "fmt"

// CISPO clips the importance weight instead of the surrogate (MiniMax-M1,
// arXiv:2506.13585), so that a clipped token keeps a bounded gradient where
// PPO drops it. With r = π/π_old and sg stopping the gradient
//
//	L = -sg(clip(r, Low, High))·A·logπ,  ∂L/∂logπ = -clip(r, Low, High)·A
//
// A masked token contributes nothing.
type CISPO struct {
	// Low and High are bounds of the ratio itself, as TRL and Tinker set
	// them: TRL has no lower bound (0) and an upper one such as 5. See
	// RelativeCISPO for distances from 1. High = +Inf is no upper bound.
	Low, High float64
	// Drop makes the weight 0 outside the bounds instead of moving it to the
	// bound. Over FromRollout that is SkyRL's "rollout_is" (GLM-5,
	// arXiv:2602.15763).
	Drop bool
	// LogRatioClamp limits log r to ± itself before exp (verl, SkyRL: 20);
	// 0 = none.
	LogRatioClamp float64
}

// RelativeCISPO returns CISPO with the bounds 1-low and 1+high, as verl, SkyRL
// and slime set them.
func RelativeCISPO(low, high float64) CISPO {
	return CISPO{Low: max(0, 1-low), High: 1 + high}
}

// Needs returns Old.
func (CISPO) Needs() Inputs { return Old }

// Validate returns an error that names the first bad setting.
func (p CISPO) Validate() error {
	if !(p.Low >= 0) || !(p.High > p.Low) {
		return fmt.Errorf("objective: CISPO.Low and High are %v and %v, want 0 ≤ Low < High", p.Low, p.High)
	}
	return checkNonNegative("CISPO.LogRatioClamp", p.LogRatioClamp)
}

// Eval implements Objective.
func (p CISPO) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	var b tokens
	var logp block
	b.begin(s, p.LogRatioClamp)
	for b.next() {
		b.pick(&logp, s.LogP)
		for i, r := range b.r[:b.n] {
			w, met := min(max(r, p.Low), p.High), inside
			switch {
			case r < p.Low:
				met = clipLow
			case r > p.High:
				met = clipHigh
			}
			if p.Drop && met != inside {
				w = 0
			}
			if b.counts(i) {
				b.tally.meet(met)
			}
			wa := w * b.adv[i]
			b.loss[i], b.byLogP[i] = -wa*logp[i], -wa
		}
	}
	return b.end(m)
}
