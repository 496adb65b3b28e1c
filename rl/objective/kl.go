package objective

import (
	"cmp"
	"errors"
	"fmt"
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

// estimate returns the estimate at log-ratio d and its derivative. e is exp(-d)
// of the log-ratio as far as it is allowed, if the estimator needs it.
func (k *KL) estimate(d, e float64) (v, dv float64) {
	x, cut := clamp(d, k.LogRatioClamp)
	v, dv = k.Kind.at(x, e)
	v, cutValue := clamp(v, k.ValueClamp)
	switch {
	case k.StraightThrough:
		dv = d
	case cut || cutValue:
		dv = 0
	}
	return v, dv
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
	var d, neg, e [blockSize]float64
	for from := 0; from < len(s.LogP); from += blockSize {
		to := min(from+blockSize, len(s.LogP))
		ref := s.Ref[from:to]
		for i, logp := range s.LogP[from:to] {
			d[i] = logp - ref[i]
		}
		if k.Kind == K3 {
			for i, d := range d[:to-from] {
				x, _ := clamp(d, k.LogRatioClamp)
				neg[i] = -x
			}
			exps(&e, &neg, to-from)
		}
		for i, w := range s.KLWeight[from:to] {
			if w == 0 {
				continue
			}
			v, dv := k.estimate(d[i], e[i])
			sum += v
			n++
			lr := 0.0
			if k.Importance {
				lr = s.LogP[from+i] - old[from+i]
				v, dv = k.importance(exp(lr), v, dv)
			}
			if !finite(d[i] + lr + v + dv) {
				return 0, s.blame(from+i, k.Needs())
			}
			loss += w * k.Beta * v
			s.Grad[from+i] += w * k.Beta * dv
		}
	}
	if n > 0 {
		m.Add("kl", sum, n)
	}
	return loss, nil
}
