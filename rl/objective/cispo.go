package objective

import "fmt"

// CISPO clips the importance weight instead of the surrogate (MiniMax-M1,
// arXiv:2506.13585), so that a clipped token keeps a bounded gradient, where PPO
// drops it. With r = π/π_old and sg stopping the gradient
//
//	L = -sg(clip(r, Low, High))·A·logπ,  ∂L/∂logπ = -clip(r, Low, High)·A
//
// A masked token contributes nothing.
type CISPO struct {
	// Low and High bound the ratio itself, as in TRL and Tinker: TRL has no lower
	// bound (0) and an upper one such as 5. See RelativeCISPO for distances from
	// 1. High = +Inf means no upper bound.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// Drop makes the weight 0 outside the bounds instead of moving it to the
	// bound. Inside FromRollout that is SkyRL's "rollout_is" (GLM-5,
	// arXiv:2602.15763).
	Drop bool `json:"drop"`
	// LogRatioClamp limits log r to ±LogRatioClamp before exp (verl, SkyRL: 20);
	// 0 = none.
	LogRatioClamp float64 `json:"log_ratio_clamp"`
}

// RelativeCISPO returns CISPO with the bounds 1-low and 1+high, as verl, SkyRL
// and slime set them.
func RelativeCISPO(low, high float64) CISPO {
	return CISPO{Low: max(0, 1-low), High: 1 + high}
}

// Needs returns InputOld.
func (CISPO) Needs() Inputs { return InputOld }

// Validate returns an error that names the first invalid setting.
func (p CISPO) Validate() error {
	if !(p.Low >= 0) || !(p.High > p.Low) {
		return fmt.Errorf("objective: CISPO.Low and High are %v and %v, want 0 ≤ Low < High", p.Low, p.High)
	}
	return checkNonNegative("CISPO.LogRatioClamp", p.LogRatioClamp)
}

// Eval implements Objective.
func (p CISPO) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	ratio, _, y, err := s.ratios(p.LogRatioClamp, m)
	if err != nil {
		return 0, err
	}
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		weight, met := ratio[t], inside
		switch {
		case weight < p.Low:
			weight, met = p.Low, clipLow
		case weight > p.High:
			weight, met = p.High, clipHigh
		}
		y.hits[met]++
		if p.Drop && met != inside {
			continue
		}
		loss -= w * weight * s.Adv[t] * s.LogP[t]
		s.Grad[t] -= w * weight * s.Adv[t]
	}
	y.end(m)
	return loss, nil
}
