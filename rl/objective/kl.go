package objective

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
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

// estimates is a block of tokens with log-ratio d = logp - ref, the estimate v of
// the divergence, and its derivative dv with respect to logp.
type estimates struct {
	d, v, dv   [blockSize]float64
	allowed, e [blockSize]float64 // d as far as it is allowed; scratch
}

// of computes the estimates of at most blockSize tokens. Of dead ones nothing
// is to be expected.
func (b *estimates) of(k *KL, logp, ref []float64) {
	for i, logp := range logp {
		b.d[i] = logp - ref[i]
		b.allowed[i] = b.d[i]
	}
	n := len(logp)
	if k.LogRatioClamp > 0 {
		for i, d := range b.d[:n] {
			b.allowed[i], _ = clamp(d, k.LogRatioClamp)
		}
	}
	switch x := b.allowed[:n]; k.Kind {
	case K1:
		for i, x := range x {
			b.v[i], b.dv[i] = x, 1
		}
	case K2:
		for i, x := range x {
			b.v[i], b.dv[i] = x*x/2, x
		}
	case K3:
		for i, x := range x {
			b.v[i] = -x
		}
		vecmath.Exp(b.e[:n], b.v[:n])
		for i, x := range x {
			b.v[i], b.dv[i] = b.e[i]-1+x, 1-b.e[i]
		}
	default: // KAbs
		for i, x := range x {
			b.v[i], b.dv[i] = math.Abs(x), sign(x)
		}
	}
	if k.LogRatioClamp > 0 || k.ValueClamp > 0 || k.StraightThrough {
		b.restrain(k, n)
	}
}

// restrain applies the clamps and StraightThrough.
func (b *estimates) restrain(k *KL, n int) {
	for i, d := range b.d[:n] {
		v, cut := clamp(b.v[i], k.ValueClamp)
		b.v[i] = v
		switch {
		case k.StraightThrough:
			b.dv[i] = d
		case cut || b.allowed[i] != d:
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

// importance weighs an estimate and its derivative by the ratio r.
func (k KL) importance(r, v, dv float64) (float64, float64) {
	switch {
	case !k.StraightThrough:
		return v * r, (dv + v) * r
	case k.ImportanceMax > 0:
		r = min(r, k.ImportanceMax)
	}
	return v, dv * r
}

// Eval implements Objective.
func (k KL) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := k.Validate(); err != nil {
		return 0, err
	}
	if err := s.checkRegularizer(k.Needs()); err != nil {
		return 0, err
	}
	old := s.old()
	var sum, n float64
	var b estimates
	for from := 0; from < len(s.LogP); from += blockSize {
		to := min(from+blockSize, len(s.LogP))
		b.of(&k, s.LogP[from:to], s.Ref[from:to])
		grad := s.Grad[from:to]
		for i, w := range s.KLWeight[from:to] {
			if w == 0 {
				continue
			}
			v, dv, lr := b.v[i], b.dv[i], 0.0
			sum += v
			n++
			if k.Importance {
				lr = s.LogP[from+i] - old[from+i]
				v, dv = k.importance(math.Exp(lr), v, dv)
			}
			if !finite(b.d[i] + lr + v + dv) {
				return 0, s.blame(from+i, k.Needs())
			}
			loss += w * k.Beta * v
			grad[i] += w * k.Beta * dv
		}
	}
	if n > 0 {
		m.Add("kl", sum, n)
	}
	return loss, nil
}
