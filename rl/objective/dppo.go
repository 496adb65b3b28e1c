package objective

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// DPPO drops a token once its probability itself, not the ratio, has moved too
// far in the direction of its advantage (Divergence Proximal Policy
// Optimization, arXiv:2602.04879), so that rare tokens, whose ratios swing
// widely, are not the first to be clipped. With p = π, q = π_old, r = p/q
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
// advantage: a kept token whose advantage is 0 is still trained. A masked
// token contributes nothing, neither to the one part nor to the other.
type DPPO struct {
	// Low and High are the bounds of D, positive; 0.2 in prime-rl.
	Low, High float64
	// KL makes D the divergence q·log(q/p) + (1-q)·log((1-q)/(1-p)).
	KL bool
	// Quadratic is the coefficient of the squared log-ratio; 0.001 in
	// prime-rl, 0 in the paper and in SkyRL.
	Quadratic float64
	// MaxWeight is greater than 1, or 0 for none, as in prime-rl and SkyRL;
	// verl takes its clip_ratio_c, by default 3 (the paper has 20).
	MaxWeight float64
	// LogRatioClamp limits log r to ± itself in r alone and stops the
	// gradient beyond (SkyRL: 20); 0 = none.
	LogRatioClamp float64
}

// Needs returns Old.
func (DPPO) Needs() Inputs { return Old }

// Validate returns an error that names the first bad setting.
func (p DPPO) Validate() error {
	if !(p.Low > 0) || !(p.High > 0) {
		return fmt.Errorf("objective: DPPO.Low and High are %v and %v, want positive bounds such as 0.2", p.Low, p.High)
	}
	if p.MaxWeight != 0 && !(p.MaxWeight > 1) {
		return fmt.Errorf("objective: DPPO.MaxWeight is %v, want more than 1, or 0 for none", p.MaxWeight)
	}
	if err := checkNonNegative("DPPO.Quadratic", p.Quadratic); err != nil {
		return err
	}
	return checkNonNegative("DPPO.LogRatioClamp", p.LogRatioClamp)
}

// Eval implements Objective.
func (p DPPO) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	var b tokens
	var logp, now, old block
	b.begin(s, p.LogRatioClamp)
	for b.next() {
		b.pick(&logp, s.LogP)
		for i, logp := range logp[:b.n] {
			old[i] = logp - b.lr[i]
		}
		vecmath.Exp(now[:b.n], logp[:b.n])
		vecmath.Exp(old[:b.n], old[:b.n])
		for i, logp := range logp[:b.n] {
			p.token(&b, i, logp, now[i], old[i])
		}
	}
	return b.end(m)
}

// token evaluates token i of the block, of probability now and old.
func (p DPPO) token(b *tokens, i int, logp, now, old float64) {
	lr, r, a := b.lr[i], b.r[i], b.adv[i]
	b.loss[i], b.byRatio[i], b.byLogP[i] = p.Quadratic*lr*lr, 0, 2*p.Quadratic*lr
	switch {
	case a > 0 && lr > 0 && p.divergence(now, old, lr) > p.High:
		b.tally.meet(clipHigh)
	case a < 0 && lr < 0 && p.divergence(now, old, lr) > p.Low:
		b.tally.meet(clipLow)
	case p.MaxWeight > 0:
		w := min(r, p.MaxWeight)
		b.loss[i] -= a * w * logp
		b.byLogP[i] -= a * w
	default:
		b.loss[i] -= a * r
		b.byRatio[i] = -a
	}
}

func (p DPPO) divergence(now, old, lr float64) float64 {
	if !p.KL {
		return math.Abs(now - old)
	}
	const eps = 1e-8 // against log of 0 at certainty, as in SkyRL
	return -old*lr + (1-old)*math.Log((1-old+eps)/(1-now+eps))
}
