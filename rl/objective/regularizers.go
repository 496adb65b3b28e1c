package objective

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// KLEstimator estimates the divergence KL(π‖ref) from one sampled token with d =
// logπ - logref (Schulman, "Approximating KL divergence", 2020). A good estimate
// of the value need not have a good gradient; gradients here are taken at fixed
// samples of π. The zero value is invalid.
type KLEstimator uint8

const (
	// K1 is d: unbiased in value, its gradient 1 is zero in expectation.
	K1 KLEstimator = iota + 1
	// K2 is d²/2: biased in value, its gradient d is that of KL(π‖ref).
	K2
	// K3 is exp(-d) - 1 + d: unbiased and never negative, the usual choice;
	// its gradient 1 - exp(-d) is that of KL(ref‖π), the other direction.
	K3
	// KAbs is |d|, verl's and SkyRL's "abs"; its gradient is the sign of d.
	KAbs
)

var klEstimatorNames = []string{K1: "k1", K2: "k2", K3: "k3", KAbs: "abs"}

// String returns "k1", "k2", "k3" or "abs".
func (e KLEstimator) String() string { return settings.EnumString(klEstimatorNames, e) }

// MarshalText returns the same; an invalid value is an error.
func (e KLEstimator) MarshalText() ([]byte, error) { return settings.EnumText(klEstimatorNames, e) }

// UnmarshalText is the inverse of MarshalText.
func (e *KLEstimator) UnmarshalText(text []byte) error {
	return settings.ParseEnum(klEstimatorNames, text, e)
}

// at returns the estimate k(d) and its derivative, given d and exp(-d).
func (e KLEstimator) at(d, expNeg float64) (k, slope float64) {
	switch e {
	case K3:
		return expNeg - 1 + d, 1 - expNeg
	case K2:
		return d * d / 2, d
	case K1:
		return d, 1
	}
	return math.Abs(d), sign(d)
}

// sign is 1, -1 or 0.
func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// KL is a term that keeps the policy near the reference:
//
//	L = Beta·k(d),  ∂L/∂logπ = Beta·k'(d),  d = logπ - logref
//
// weighted by KLWeight, with the estimator k. A masked token counts if its
// KLWeight is not 0, that is with MaskedStay and MaskedExcludeLoss.
type KL struct {
	// Estimator is k; GRPO (DeepSeekMath, arXiv:2402.03300) has K3.
	Estimator KLEstimator `json:"estimator"`
	// Beta is the coefficient. With 0 the divergence is only measured.
	Beta float64 `json:"beta"`
	// StraightThrough keeps the value of Estimator and takes the gradient of
	// K2, that of KL(π‖ref): verl's "k1+" and "k3+".
	StraightThrough bool `json:"straight_through"`
	// Importance multiplies the estimate by the ratio r = π/π_old, which is
	// differentiated too: ∂L/∂logπ = Beta·r·(k' + k). With K3 that is an
	// unbiased gradient of KL(π‖ref) on samples of π_old (DeepSeek-V3.2,
	// arXiv:2512.02556; TRL's use_bias_correction_kl).
	//
	// With StraightThrough it weighs the gradient alone, by a ratio held
	// constant: ∂L/∂logπ = Beta·min(r, ImportanceMax)·d, the same gradient
	// with any Estimator (OpenRLHF's unbiased_gradient).
	Importance bool `json:"importance"`
	// ImportanceMax bounds the ratio of Importance with StraightThrough
	// (OpenRLHF: 10); 0 = no bound.
	ImportanceMax float64 `json:"importance_max"`
	// LogRatioClamp limits d to ±LogRatioClamp (verl, SkyRL: 20), and ValueClamp
	// the estimate (verl, SkyRL, OpenRLHF: 10). Beyond either the gradient is 0,
	// also through the ratio of Importance; StraightThrough's gradient is never
	// clamped. 0 = no clamp, as in TRL.
	LogRatioClamp float64 `json:"log_ratio_clamp"`
	ValueClamp    float64 `json:"value_clamp"`
}

// Needs returns InputRef, and InputOld if Importance is set.
func (k KL) Needs() Inputs {
	if k.Importance {
		return InputRef | InputOld
	}
	return InputRef
}

// Validate returns an error that names the first invalid setting.
func (k KL) Validate() error {
	if k.ImportanceMax != 0 && !(k.StraightThrough && k.Importance) {
		return errors.New("objective: KL.ImportanceMax is set, but not both of StraightThrough and Importance")
	}
	return cmp.Or(
		settings.CheckEnum("objective: KL.Estimator", klEstimatorNames, k.Estimator),
		checkNonNegative("KL.Beta", k.Beta),
		checkNonNegative("KL.ImportanceMax", k.ImportanceMax),
		checkNonNegative("KL.LogRatioClamp", k.LogRatioClamp),
		checkNonNegative("KL.ValueClamp", k.ValueClamp),
	)
}

// Eval implements Objective.
func (k KL) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := s.checkRegularizer(k.Needs()); err != nil {
		return 0, err
	}
	n := len(s.LogP)
	weight, logp, old, ref, grad := s.KLWeight[:n], s.LogP[:n], s.old()[:n], s.Ref[:n], s.Grad[:n]
	expNeg, ratio := borrow(n), []float64(nil)
	if k.Importance {
		ratio = borrow(n)
	}
	for t, w := range weight {
		if w == 0 {
			continue
		}
		d := logp[t] - ref[t]
		expNeg[t] = -limited(d, k.LogRatioClamp)
		if k.Importance {
			ratio[t] = logp[t] - old[t]
			d += ratio[t]
		}
		if !finite(d) {
			return 0, s.blame(t, k.Needs())
		}
	}
	vecmath.Exp(expNeg, expNeg)
	vecmath.Exp(ratio, ratio)

	beta, estimator := k.Beta, k.Estimator
	plain := !k.StraightThrough && !k.Importance && k.LogRatioClamp == 0 && k.ValueClamp == 0
	var sum, count float64
	for t, w := range weight {
		if w == 0 {
			continue
		}
		d := logp[t] - ref[t]
		v, slope := estimator.at(d, expNeg[t])
		value := v
		if !plain {
			r := 1.0
			if k.Importance {
				r = ratio[t]
			}
			v, value, slope = k.adjusted(d, expNeg[t], r)
		}
		if !finite(value + slope) {
			return 0, s.blame(t, k.Needs())
		}
		sum += v
		count++
		loss += w * beta * value
		grad[t] += w * beta * slope
	}
	if count > 0 {
		m.Add("kl", sum, count)
	}
	giveBack(expNeg)
	giveBack(ratio)
	return loss, nil
}

// adjusted returns a token's estimate within the clamps, its value in the loss,
// and the derivative of that, with the importance ratio r.
func (k *KL) adjusted(d, expNeg, r float64) (v, value, slope float64) {
	x := limited(d, k.LogRatioClamp)
	free, slope := k.Estimator.at(x, expNeg)
	v = limited(free, k.ValueClamp)
	switch {
	case k.StraightThrough:
		if k.ImportanceMax > 0 {
			r = min(r, k.ImportanceMax)
		}
		return v, v, r * d
	case x != d || v != free:
		return v, r * v, 0
	case k.Importance:
		return v, r * v, r * (slope + v)
	}
	return v, v, slope
}

// EntropyBonus is a term that rewards entropy: with H the entropy of a token's
// distribution
//
//	L = -Coef·H,  ∂L/∂H = -Coef
//
// weighted by KLWeight (Williams and Peng 1991; Mnih et al.,
// arXiv:1602.01783). A masked token counts if its KLWeight is not 0, that is
// with MaskedStay and MaskedExcludeLoss.
type EntropyBonus struct {
	// Coef is usually between 0.001 and 0.01; a negative one penalises entropy.
	Coef float64 `json:"coef"`
}

// Needs returns InputEntropy.
func (EntropyBonus) Needs() Inputs { return InputEntropy }

// Validate returns an error if Coef is not finite.
func (e EntropyBonus) Validate() error {
	return checkFinite("EntropyBonus.Coef", e.Coef)
}

// Eval implements Objective.
func (e EntropyBonus) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := s.checkRegularizer(InputEntropy); err != nil {
		return 0, err
	}
	var sum, n float64
	for t, w := range s.KLWeight {
		if w == 0 {
			continue
		}
		h := s.Entropy[t]
		if !finite(h) {
			return 0, s.blame(t, InputEntropy)
		}
		loss -= w * e.Coef * h
		s.EntropyGrad[t] -= w * e.Coef
		sum += h
		n++
	}
	if n > 0 {
		m.Add("entropy", sum, n)
	}
	return loss, nil
}

// AdaptiveEntropy adapts the coefficient of an EntropyBonus, so that the entropy does not
// collapse (Skywork-OR1, arXiv:2505.22312; TRL's use_adaptive_entropy). After an optimiser
// step with mean entropy H per token
//
//	Coef := min(Coef + Delta, Max) if H ≤ Target, else max(Coef - Delta, Min)
//
// and the next one has the bonus, with that coefficient, only if H ≤ Target. So the
// coefficient grows as long as the entropy is too low, and a policy whose entropy is
// high enough is left alone.
//
// Coef and On are its whole state: a checkpoint stores them, and the other fields are the
// program's after a resume, too.
type AdaptiveEntropy struct {
	// Coef is the current coefficient, between Min and Max.
	Coef float64 `json:"coef"`
	// On is whether the entropy was at most Target after the last step, so that the
	// next has the bonus: false before the first.
	On bool `json:"on"`
	// Target is the mean entropy per token that counts in the loss (not of those that
	// Rejection excludes), in nats, below which the bonus acts. It depends on model and
	// task: look at the metric objective/entropy at the start of a run.
	Target float64 `json:"target"`
	// Delta is the change of Coef per optimiser step (TRL: 0.005).
	Delta float64 `json:"delta"`
	// Min and Max bound Coef (TRL: 0 and 1).
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// Validate returns an error that names the first invalid setting.
func (a *AdaptiveEntropy) Validate() error {
	for _, f := range []struct {
		name string
		x    float64
	}{{"Target", a.Target}, {"Delta", a.Delta}} {
		if !(f.x > 0) || !finite(f.x) {
			return fmt.Errorf("objective: AdaptiveEntropy.%s is %v, want a positive number", f.name, f.x)
		}
	}
	if !(0 <= a.Min && a.Min <= a.Coef && a.Coef <= a.Max && a.Max > 0) || !finite(a.Max) {
		return fmt.Errorf("objective: AdaptiveEntropy has Min %v, Coef %v and Max %v, want 0 ≤ Min ≤ Coef ≤ Max, and Max positive (TRL: 1)", a.Min, a.Coef, a.Max)
	}
	return nil
}

// Bonus is the term of the next optimiser step. Without On its coefficient is 0, and the
// entropy is only measured.
func (a *AdaptiveEntropy) Bonus() EntropyBonus {
	if a.On {
		return EntropyBonus{Coef: a.Coef}
	}
	return EntropyBonus{}
}

// Update moves Coef after an optimiser step with the given mean entropy. It is an error,
// and nothing changes, if Validate returns one or if the entropy is not finite.
func (a *AdaptiveEntropy) Update(entropy float64) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if !finite(entropy) {
		return fmt.Errorf("objective: AdaptiveEntropy was given an entropy of %v, want a finite number", entropy)
	}
	a.On = entropy <= a.Target
	if a.On {
		a.Coef = min(a.Coef+a.Delta, a.Max)
	} else {
		a.Coef = max(a.Coef-a.Delta, a.Min)
	}
	return nil
}
