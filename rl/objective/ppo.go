package objective

import (
	"fmt"
	"math"
)

// PPO is the clipped surrogate of Schulman et al., "Proximal Policy
// Optimization Algorithms" (arXiv:1707.06347), with separate bounds on both
// sides ("clip-higher", DAPO, arXiv:2503.14476). With ratio r = π/π_old and
// advantage A the loss of a token is
//
//	L = max(-A·r, -A·clip(r, 1-ClipLow, 1+ClipHigh))
//	∂L/∂logπ = -A·r where the first is the larger or both are equal, else 0
//
// so that a ratio is clipped only on the side to which the advantage pushes it:
// above for A > 0, below for A < 0. On the other side a negative advantage has no
// bound; DualClip sets one.
//
// A masked token contributes nothing.
type PPO struct {
	// ClipLow and ClipHigh are the distances of the bounds from 1, both positive.
	// Usual: 0.2 and 0.2, or 0.28 above. ClipLow of 1 or more, or ClipHigh =
	// +Inf, switches that side off.
	ClipLow  float64 `json:"clip_low"`
	ClipHigh float64 `json:"clip_high"`
	// DualClip bounds the loss of tokens with A < 0 at -A·DualClip (Ye et
	// al., arXiv:1912.09729); greater than 1, 0 = off. verl always has 3,
	// OpenRLHF and SkyRL have it on request.
	DualClip float64 `json:"dual_clip"`
	// LogRatioClamp limits log r to ±LogRatioClamp before exp and stops the
	// gradient beyond (verl, SkyRL and OpenRLHF: 20); 0 = none, as in TRL.
	LogRatioClamp float64 `json:"log_ratio_clamp"`
}

// TwoSidedPPO returns TRL's two-sided clip (INTELLECT-2, arXiv:2505.07291): the
// ratio is cut at delta in the unclipped branch, L = -min(min(r, delta)·A,
// clip(r, 1-low, 1+high)·A), which for any delta > 1 is a dual clip.
func TwoSidedPPO(low, high, delta float64) PPO {
	dual := min(max(delta, 1+high), math.MaxFloat64) // high may be +Inf
	return PPO{ClipLow: low, ClipHigh: min(high, delta-1), DualClip: dual}
}

// Needs returns InputOld.
func (PPO) Needs() Inputs { return InputOld }

// Validate returns an error that names the first invalid setting.
func (p PPO) Validate() error {
	if err := checkClip("PPO", p.ClipLow, p.ClipHigh); err != nil {
		return err
	}
	if p.DualClip != 0 && !(p.DualClip > 1 && finite(p.DualClip)) {
		return fmt.Errorf("objective: PPO.DualClip is %v, want a number above 1, or 0 for none", p.DualClip)
	}
	return checkNonNegative("PPO.LogRatioClamp", p.LogRatioClamp)
}

// checkClip checks the bounds of objectives that clip a ratio around 1.
func checkClip(name string, low, high float64) error {
	for _, f := range []struct {
		name string
		x    float64
		ok   bool
	}{{"ClipLow", low, low > 0 && finite(low)}, {"ClipHigh", high, high > 0}} {
		if !f.ok {
			return fmt.Errorf("objective: %s.%s is %v, want a positive distance from 1, such as 0.2", name, f.name, f.x)
		}
	}
	return nil
}

// Eval implements Objective.
func (p PPO) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	ratio, slope, y, err := s.ratios(p.LogRatioClamp, m)
	if err != nil {
		return 0, err
	}
	clip := p.clip()
	n := len(ratio)
	weight, adv, grad, keep := s.Weight[:n], s.Adv[:n], s.Grad[:n], s.Keep // in local variables: faster
	slope = slope[:n]
	for t, w := range weight {
		if w == 0 || keep != nil && !keep[t] {
			continue
		}
		l, byRatio, met := clip.at(ratio[t], adv[t])
		loss += w * l
		grad[t] += w * byRatio * slope[t]
		y.hits[met]++
	}
	y.end(m)
	return loss, nil
}

// clip is PPO's surrogate: the bounds of the ratio.
type clip struct{ low, high, dual float64 }

func (p PPO) clip() clip {
	c := clip{1 - p.ClipLow, 1 + p.ClipHigh, math.Inf(1)}
	if p.DualClip > 0 {
		c.dual = p.DualClip
	}
	return c
}

// at returns the loss at ratio r and advantage a, its derivative with respect
// to r, and the bound that the ratio met.
func (c clip) at(r, a float64) (loss, byRatio float64, met bound) {
	switch {
	case a > 0 && r > c.high:
		return -a * c.high, 0, clipHigh
	case a < 0 && r < c.low:
		return -a * c.low, 0, clipLow
	case a < 0 && r > c.dual:
		return -a * c.dual, 0, clipDual
	}
	return -a * r, -a, inside
}
