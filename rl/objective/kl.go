package objective

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"sync"
)

// KL is a term that holds the policy near the reference:
//
//	L = Beta·k(d),  ∂L/∂logπ = Beta·k'(d),  d = logπ - logref
//
// weighted by KLWeight, with the estimator k of Kind. A masked token counts if
// its KLWeight is not 0, that is under Stay and LeaveLoss.
type KL struct {
	// Kind is the estimator; GRPO (DeepSeekMath, arXiv:2402.03300) has K3.
	Kind Kind
	// Beta is the coefficient. 0 only measures.
	Beta float64
	// StraightThrough keeps the value of Kind and takes the gradient of K2,
	// that of KL(π‖ref): verl's "k1+" and "k3+".
	StraightThrough bool
	// Importance multiplies the estimate by the ratio r = π/π_old, which is
	// differentiated too: ∂L/∂logπ = Beta·r·(k' + k). With K3 that is an
	// unbiased gradient of KL(π‖ref) on samples of π_old (DeepSeek-V3.2,
	// arXiv:2512.02556; TRL's use_bias_correction_kl).
	//
	// With StraightThrough it weighs the gradient alone, by a ratio held
	// constant: ∂L/∂logπ = Beta·min(r, ImportanceMax)·d, the same gradient
	// with any Kind (OpenRLHF's unbiased_gradient).
	Importance bool
	// ImportanceMax bounds the ratio of Importance with StraightThrough
	// (OpenRLHF: 10); 0 = no bound.
	ImportanceMax float64
	// LogRatioClamp limits d to ± itself (verl, SkyRL: 20), and ValueClamp
	// the estimate (verl, SkyRL, OpenRLHF: 10). Beyond either the gradient
	// is 0, but for StraightThrough's. 0 = none, as in TRL.
	LogRatioClamp, ValueClamp float64
}

// Needs returns Ref, and Old if Importance is set.
func (k KL) Needs() Inputs {
	if k.Importance {
		return Ref | Old
	}
	return Ref
}

// Validate returns an error that names the first bad setting.
func (k KL) Validate() error {
	if !k.Kind.valid() {
		return fmt.Errorf("objective: KL.Kind is %v, want K1, K2, K3 or KAbs", k.Kind)
	}
	if k.ImportanceMax != 0 && !(k.StraightThrough && k.Importance) {
		return errors.New("objective: KL.ImportanceMax is set, but not both of StraightThrough and Importance")
	}
	return cmp.Or(
		checkNonNegative("KL.Beta", k.Beta),
		checkNonNegative("KL.ImportanceMax", k.ImportanceMax),
		checkNonNegative("KL.LogRatioClamp", k.LogRatioClamp),
		checkNonNegative("KL.ValueClamp", k.ValueClamp),
	)
}

// estimates is a block of tokens with weight w, log-ratio lr = logref - logp, x
// as far as it is allowed, the estimate v of the divergence, and its derivative
// dv with respect to logp.
type estimates struct {
	w, lr, x, v, dv block
	r               block // exp(x), if Kind needs it
}

// estimators are what workspaces are to policy losses.
var estimators = sync.Pool{New: func() any { return new(estimates) }}

// of computes the estimates of at most blockSize tokens. Where w is 0 log-probs
// are not read, and v is 0.
func (b *estimates) of(k *KL, logp, ref []float64) {
	n := len(logp)
	if limit := noLimit(k.LogRatioClamp); k.Kind == K3 {
		ratios(&b.lr, &b.x, &b.r, ref, logp, &b.w, limit)
	} else {
		difference(&b.lr, &b.x, ref, logp, &b.w, limit)
	}
	switch x := b.x[:n]; k.Kind {
	case K1:
		for i, x := range x {
			b.v[i], b.dv[i] = -x, 1
		}
	case K2:
		for i, x := range x {
			b.v[i], b.dv[i] = x*x/2, -x
		}
	case K3:
		k3(&b.v, &b.dv, &b.x, &b.r, n)
	default: // KAbs
		for i, x := range x {
			b.v[i], b.dv[i] = math.Abs(x), sign(-x)
		}
	}
	if k.LogRatioClamp > 0 || k.ValueClamp > 0 || k.StraightThrough {
		b.restrain(k, n)
	}
}

// restrain applies the clamps and StraightThrough.
func (b *estimates) restrain(k *KL, n int) {
	for i, lr := range b.lr[:n] {
		v, cut := clamp(b.v[i], k.ValueClamp)
		b.v[i] = v
		switch {
		case k.StraightThrough:
			b.dv[i] = -lr
		case cut || b.x[i] != lr:
			b.dv[i] = 0
		}
	}
}

// sign is 1, -1, or 0.
func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// importance weighs the estimates of n tokens and their derivatives by the
// ratio r, and joins the logarithm of r to lr, to be checked.
func (b *estimates) importance(k *KL, logp, old []float64) {
	var lr, r block
	n := len(logp)
	ratios(&lr, &b.x, &r, logp, old, &b.w, math.Inf(1))
	for i, r := range r[:n] {
		b.lr[i] += lr[i]
		switch {
		case !k.StraightThrough:
			b.v[i], b.dv[i] = b.v[i]*r, (b.dv[i]+b.v[i])*r
		case k.ImportanceMax > 0:
			b.dv[i] *= min(r, k.ImportanceMax)
		default:
			b.dv[i] *= r
		}
	}
}

// Eval implements Objective.
func (k KL) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := k.Validate(); err != nil {
		return 0, err
	}
	if err := s.checkRegularizer(k.Needs()); err != nil {
		return 0, err
	}
	var (
		b    = estimators.Get().(*estimates)
		sums regularizerSums
		n    int
	)
	defer estimators.Put(b)
	for from := 0; from < len(s.LogP); from += blockSize {
		to := min(from+blockSize, len(s.LogP))
		live := keepWeights(&b.w, s.KLWeight[from:to], allKept[:to-from])
		if live == 0 {
			continue
		}
		n += live
		b.of(&k, s.LogP[from:to], s.Ref[from:to])
		value := &b.v
		if k.Importance {
			plain := b.v
			value = &plain
			b.importance(&k, s.LogP[from:to], s.old()[from:to])
		}
		regularize(s.Grad[from:to], &b.w, &b.lr, value, &b.v, &b.dv, k.Beta, &sums)
		if !sums.finite() {
			if err := b.check(s, from, to, k.Needs()); err != nil {
				return 0, err
			}
		}
	}
	if n > 0 {
		m.Add("kl", sums.value.total(), float64(n))
	}
	return sums.loss.total(), nil
}

// check returns an error that names the first token of the block that is not
// finite, if there is one.
func (b *estimates) check(s *Sequence, from, to int, needs Inputs) error {
	for t := from; t < to; t++ {
		if i := t - from; !finite(b.v[i] + b.dv[i] + b.lr[i]) {
			return s.blame(t, needs)
		}
	}
	return nil
}
