package distill

import (
	"fmt"
	"math"
)

// Head says how a student's outputs for one input become log-probs of the classes.
type Head string

const (
	// HeadSoftmax has an output per class, its logit. It is the zero value.
	HeadSoftmax Head = ""
	// HeadOrdinal is for classes in order. Its outputs z, one fewer than classes, are
	// cumulative logits (McCullagh, "Regression Models for Ordinal Data", 1980), made
	// to fall with the class whatever z is:
	//
	//	logit P(class > 0) = c_0 = z_0,  logit P(class > k) = c_k = c_(k-1) - softplus(z_k)
	//
	// In McCullagh's model the distances between them are constants; here they may
	// depend on the input. A class far from the true one is only reached through those
	// between. Of two classes it has a single output, the logit of class 1, so Loss is the
	// binary cross-entropy: this is the head of a cross-encoder with one score.
	HeadOrdinal Head = "ordinal"
)

// Validate returns an error unless the head is one of those above and fits the
// number of classes.
func (h Head) Validate(classes int) error {
	switch {
	case h != HeadSoftmax && h != HeadOrdinal:
		return fmt.Errorf("distill: the head is %q, want %q or %q", h, HeadSoftmax, HeadOrdinal)
	case h == HeadOrdinal && classes < 2:
		return fmt.Errorf("distill: the head is %q, which needs at least 2 classes, not %d", h, classes)
	}
	return nil
}

// Outputs is the number of outputs for so many classes.
func (h Head) Outputs(classes int) int {
	if h == HeadOrdinal {
		return classes - 1
	}
	return classes
}

// LogProbs writes the log-probs of the classes into dst. It panics unless dst has a
// value per class.
func (h Head) LogProbs(outputs, dst []float64) {
	h.fits(outputs, dst)
	if h == HeadSoftmax {
		logZ := logSumExp(outputs, 1)
		for c, z := range outputs {
			dst[c] = z - logZ
		}
		return
	}
	// P(k) = σ(c_(k-1)) - σ(c_k) = σ(c_(k-1)) · σ(-c_k) · (1 - exp(c_k - c_(k-1))), and
	// the last factor is σ(z_k), because the difference is softplus(z_k).
	above, c := math.Inf(1), outputs[0]
	for k := range dst {
		dst[k] = logSigmoid(above)
		if k < len(outputs) {
			dst[k] += logSigmoid(-c)
			if k > 0 {
				dst[k] += logSigmoid(outputs[k])
			}
			above = c
			if k+1 < len(outputs) {
				c -= softplus(outputs[k+1])
			}
		}
	}
}

// Probs returns the probabilities of so many classes.
func (h Head) Probs(outputs []float64, classes int) []float64 {
	p := make([]float64, classes)
	h.LogProbs(outputs, p)
	for c := range p {
		p[c] = math.Exp(p[c])
	}
	return p
}

// Gradient writes d(loss)/d(outputs) into dst, given d(loss)/d(log-probs).
func (h Head) Gradient(outputs, dlogp, dst []float64) {
	h.fits(outputs, dlogp)
	if len(dst) != len(outputs) {
		panic(fmt.Sprintf("distill: %d outputs, but room for the gradients of %d", len(outputs), len(dst)))
	}
	if h == HeadSoftmax {
		logZ, sum := logSumExp(outputs, 1), 0.0
		for _, d := range dlogp {
			sum += d
		}
		for c, z := range outputs {
			dst[c] = dlogp[c] - sum*math.Exp(z-logZ)
		}
		return
	}
	// d/dc_k: +σ(-c_k) of class k+1, which is above the cut, and -σ(c_k) of class k.
	last := len(outputs) - 1
	cuts := make([]float64, len(outputs))
	cuts[0] = outputs[0]
	for k := 1; k <= last; k++ {
		cuts[k] = cuts[k-1] - softplus(outputs[k])
	}
	sum := 0.0 // of d/dc_j for j ≥ k: all of them move with z_k
	for k := last; k >= 0; k-- {
		sum += dlogp[k+1]*sigmoid(-cuts[k]) - dlogp[k]*sigmoid(cuts[k])
		if k == 0 {
			dst[0] = sum
		} else {
			dst[k] = -sum*sigmoid(outputs[k]) + dlogp[k]*sigmoid(-outputs[k])
		}
	}
}

func (h Head) fits(outputs, classes []float64) {
	if len(outputs) != h.Outputs(len(classes)) {
		panic(fmt.Sprintf("distill: %d outputs for %d classes, want %d", len(outputs), len(classes), h.Outputs(len(classes))))
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func logSigmoid(x float64) float64 { return -softplus(-x) }

// softplus is log(1 + exp(x)).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
