package distill

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Loss is the distillation loss of Hinton, Vinyals and Dean
// (arXiv:1503.02531) on one example with logits z, teacher distribution q,
// label y and temperature T. Log-probs, such as those of a Head, are logits, too:
//
//	q_T ∝ q^(1/T),  p_T = softmax(z/T)
//	loss = Soft·T²·KL(q_T ‖ p_T) + (1−Soft)·(−log softmax(z)_y)
//
// The factor T² keeps the scale of the soft part's gradient independent of T.
type Loss struct {
	// Temperature softens both distributions; 0 means 1.
	Temperature float64
	// Soft is the share of the soft part, in [0, 1].
	Soft float64
}

// Validate returns an error that names the first invalid field.
func (l Loss) Validate() error {
	switch {
	case l.Temperature < 0 || math.IsNaN(l.Temperature) || math.IsInf(l.Temperature, 0):
		return fmt.Errorf("distill: Loss.Temperature is %v, want a positive number, or 0 for 1", l.Temperature)
	case !(0 <= l.Soft && l.Soft <= 1):
		return fmt.Errorf("distill: Loss.Soft is %v, want 0 to 1", l.Soft)
	}
	return nil
}

// Eval returns the loss of one example and writes d(loss)/d(logits) into grad.
// teacher holds the teacher's probabilities; if it is nil, the loss is the hard
// part alone, with factor 1. label is the index of the true label; if it is -1
// (unknown), the loss is the soft part alone, with factor T². An example with
// neither is an error, and so are non-finite logits and invalid probabilities.
// The settings must be valid. It panics if lengths differ or label is too large.
func (l Loss) Eval(logits, teacher []float64, label int, grad []float64) (float64, error) {
	n := len(logits)
	if len(grad) != n || teacher != nil && len(teacher) != n {
		panic(fmt.Sprintf("distill: %d logits, %d teacher probabilities, %d gradients", n, len(teacher), len(grad)))
	}
	if label >= n {
		panic(fmt.Sprintf("distill: label %d of %d classes", label, n))
	}
	for c, z := range logits {
		if math.IsNaN(z) || math.IsInf(z, 0) {
			return 0, fmt.Errorf("distill: logit %d is %v", c, z)
		}
	}
	soft := l.Soft
	switch {
	case teacher == nil && label < 0:
		return 0, fmt.Errorf("distill: an example has neither a teacher's distribution nor a label")
	case teacher == nil:
		soft = 0
	case label < 0:
		soft = 1
	}
	T := cmp.Or(l.Temperature, 1)
	clear(grad)
	loss := 0.0
	if soft > 0 {
		kl, err := softPart(logits, teacher, T, soft*T, grad)
		if err != nil {
			return 0, err
		}
		loss += soft * T * T * kl
	}
	if soft < 1 {
		logZ := logSumExp(logits, 1)
		loss += (1 - soft) * (logZ - logits[label])
		for c, z := range logits {
			grad[c] += (1 - soft) * math.Exp(z-logZ)
		}
		grad[label] -= 1 - soft
	}
	return loss, nil
}

// evalHead is Eval of the log-probs that a head makes of outputs.
func (l Loss) evalHead(h Head, outputs, teacher []float64, label int, grad []float64) (float64, error) {
	if h == HeadSoftmax {
		return l.Eval(outputs, teacher, label, grad)
	}
	for i, z := range outputs {
		if math.IsNaN(z) || math.IsInf(z, 0) {
			return 0, fmt.Errorf("distill: output %d is %v", i, z)
		}
	}
	logp, dlogp := make([]float64, len(outputs)+1), make([]float64, len(outputs)+1)
	h.LogProbs(outputs, logp)
	loss, err := l.Eval(logp, teacher, label, dlogp)
	if err != nil {
		return 0, err
	}
	h.Gradient(outputs, dlogp, grad)
	return loss, nil
}

// softPart returns KL(q_T ‖ p_T) and adds scale·(p_T − q_T) to grad.
func softPart(logits, teacher []float64, T, scale float64, grad []float64) (float64, error) {
	if err := checkDistribution(teacher); err != nil {
		return 0, fmt.Errorf("distill: %w", err)
	}
	top, norm := 1.0, 0.0
	if T < 1 {
		top = slices.Max(teacher) // or all powers might be 0
	}
	for _, q := range teacher {
		norm += math.Pow(q/top, 1/T)
	}
	logZ, kl := logSumExp(logits, T), 0.0
	for c, z := range logits {
		q, logP := math.Pow(teacher[c]/top, 1/T)/norm, z/T-logZ
		if q > 0 {
			kl += q * (math.Log(q) - logP)
		}
		grad[c] += scale * (math.Exp(logP) - q)
	}
	return kl, nil
}

// checkDistribution returns an error unless a teacher's probabilities are some that sum to 1.
func checkDistribution(teacher []float64) error {
	sum := 0.0
	for c, q := range teacher {
		if !(q >= 0 && q <= 1+1e-9) {
			return fmt.Errorf("the teacher's probability of class %d is %v", c, q)
		}
		sum += q
	}
	if math.Abs(sum-1) > 1e-6 {
		return fmt.Errorf("the teacher's probabilities sum to %v, want 1", sum)
	}
	return nil
}

// logSumExp is log Σ exp(z/T).
func logSumExp(logits []float64, T float64) float64 {
	top := math.Inf(-1)
	for _, z := range logits {
		top = max(top, z/T)
	}
	sum := 0.0
	for _, z := range logits {
		sum += math.Exp(z/T - top)
	}
	return top + math.Log(sum)
}
