package objective

import (
	"cmp"
	"fmt"
	"math"
)

// VESPO weighs a policy gradient by a smooth function of the whole sequence's importance
// ratio in place of a clip (Variational Sequence-Level Soft Policy Optimization,
// arXiv:2602.10693; TRL's loss_type="vespo"). With w = Π_t π_t/π_old,t, the product over
// its tokens, sg stopping the gradient, and k and λ those of the sign of A_t,
//
//	φ(w) = w^k·exp(λ·(1-w))
//	L_t = -sg(φ(w))·A_t·logπ_t,  ∂L_t/∂logπ_t = -φ(w)·A_t
//
// φ is 1 at w = 1, largest at w = k/λ, and falls to 0 on both sides: samples of a policy
// that is far off, however they came, by age or by the engine's arithmetic, fade instead of
// being cut off. FromRollout around it takes w to the policy that sampled. As a product, w
// leaves 1 faster the longer the sequence is.
//
// Each log-ratio is held within ±20, and w within 1e-8 and e²⁰.
//
// Tokens may differ in advantage. A masked token contributes nothing; with MaskedStay it
// is still part of w.
type VESPO struct {
	// KPos and LambdaPos are k and λ where A ≥ 0, KNeg and LambdaNeg where A < 0; k is not
	// negative, λ positive. TRL has 2 and 3, and 3 and 2.
	KPos      float64 `json:"k_pos"`
	LambdaPos float64 `json:"lambda_pos"`
	KNeg      float64 `json:"k_neg"`
	LambdaNeg float64 `json:"lambda_neg"`
}

// Needs returns InputOld.
func (VESPO) Needs() Inputs { return InputOld }

// Validate returns an error that names the first invalid setting.
func (p VESPO) Validate() error {
	for _, f := range []struct {
		name string
		x    float64
	}{{"LambdaPos", p.LambdaPos}, {"LambdaNeg", p.LambdaNeg}} {
		if !(f.x > 0) || !finite(f.x) {
			return fmt.Errorf("objective: VESPO.%s is %v, want a positive number such as 2", f.name, f.x)
		}
	}
	return cmp.Or(checkNonNegative("VESPO.KPos", p.KPos), checkNonNegative("VESPO.KNeg", p.KNeg))
}

// vespoFloor is the smallest w, and vespoClamp the largest log-ratio.
const (
	vespoFloor = 1e-8
	vespoClamp = 20
)

// Eval implements Objective.
func (p VESPO) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	_, _, y, err := s.ratios(vespoClamp, m)
	if err != nil {
		return 0, err
	}
	log, _, err := s.logRatio(vespoClamp)
	if err != nil {
		return 0, err
	}
	log = min(max(log, math.Log(vespoFloor)), vespoClamp)
	pos := math.Exp(p.KPos*log + p.LambdaPos*(1-math.Exp(log)))
	neg := math.Exp(p.KNeg*log + p.LambdaNeg*(1-math.Exp(log)))
	var sum, n float64
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		phi := pos
		if s.Adv[t] < 0 {
			phi = neg
		}
		loss -= w * phi * s.Adv[t] * s.LogP[t]
		s.Grad[t] -= w * phi * s.Adv[t]
		sum += phi
		n++
	}
	if n > 0 {
		m.Add("vespo_weight", sum, n)
	}
	y.end(m)
	return loss, nil
}
