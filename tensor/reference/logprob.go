package reference

import (
	"math"

	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/internal/shape"
)

// LogProb writes the log-prob of each row's target and the entropy of the
// row's distribution softmax(invTemp·logits); entropy may be nil.
func (b *Backend[E]) LogProb(logp, entropy, logits tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProb(logp, entropy, logits, targets, vocab)
	logps, zs := b.output(logp, logits), b.data(logits)
	var entropies []E
	if entropy != nil {
		entropies = b.output(entropy, logits, logp)
	}
	for i, target := range targets {
		logs := logSoftmax(row(zs, i, vocab), invTemp)
		logps[i] = E(logs[target])
		if entropy != nil {
			entropies[i] = E(entropyOf(logs))
		}
	}
}

// LogProbGrad overwrites logits with the gradient. With p the distribution
// and H its entropy,
//
//	∂logp/∂z_j = invTemp·(1[j = target] − p_j)
//	∂H/∂z_j    = −invTemp·p_j·(log p_j + H)
func (b *Backend[E]) LogProbGrad(logits, dlogp, dentropy tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProbGrad(logits, dlogp, dentropy, targets, vocab)
	zs, dlogps := b.output(logits, dlogp), b.data(dlogp)
	var dentropies []E
	if dentropy != nil {
		b.output(logits, dentropy)
		dentropies = b.data(dentropy)
	}
	for i, target := range targets {
		z := row(zs, i, vocab)
		logs := logSoftmax(z, invTemp)
		dlogp, dentropy, h := float64(dlogps[i]), 0.0, 0.0
		if dentropies != nil {
			dentropy, h = float64(dentropies[i]), entropyOf(logs)
		}
		for j, l := range logs {
			p := math.Exp(l)
			d := -dlogp * p
			if j == int(target) {
				d += dlogp
			}
			if dentropies != nil {
				d -= dentropy * p * (l + h)
			}
			z[j] = E(float64(invTemp) * d)
		}
	}
}

// logSoftmax returns log softmax(invTemp·z).
func logSoftmax[E Element](z []E, invTemp float32) []float64 {
	logs := make([]float64, len(z))
	top := math.Inf(-1)
	for j, v := range z {
		logs[j] = float64(v) * float64(invTemp)
		top = max(top, logs[j])
	}
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - top)
	}
	lse := top + math.Log(sum)
	for j := range logs {
		logs[j] -= lse
	}
	return logs
}

// entropyOf returns −Σ p·log p of a row of log-probs, in nats.
func entropyOf(logs []float64) float64 {
	h := 0.0
	for _, l := range logs {
		h -= math.Exp(l) * l
	}
	return h
}
