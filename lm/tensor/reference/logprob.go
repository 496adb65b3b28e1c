package reference

import (
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// LogProb writes the log-prob of each row's target and the entropy of the
// row's distribution softmax(invTemp·logits); entropy may be nil.
func (b *Backend[E]) LogProb(logp, entropy, stats, logits tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProb(logp, entropy, stats, logits, targets, vocab)
	logps, rowStats, zs := b.output(logp, logits), b.output(stats, logits, logp), b.data(logits)
	var entropies []E
	if entropy != nil {
		entropies = b.output(entropy, logits, logp, stats)
	}
	for i, target := range targets {
		z, s := row(zs, i, vocab), row(rowStats, i, 3)
		largest := slices.Max(z)
		sum := 0.0
		for _, v := range z {
			sum += math.Exp(float64(invTemp) * float64(v-largest))
		}
		s[0], s[1] = largest, E(math.Log(sum))
		logs := logProbs(z, s, invTemp)
		logps[i], s[2] = E(logs[target]), E(entropyOf(logs))
		if entropy != nil {
			entropies[i] = s[2]
		}
	}
}

// LogProbGrad overwrites logits with the gradient. With p the distribution
// and H its entropy,
//
//	∂logp/∂z_j = invTemp·(1[j = target] − p_j)
//	∂H/∂z_j    = −invTemp·p_j·(log p_j + H)
func (b *Backend[E]) LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProbGrad(logits, dlogp, dentropy, stats, targets, vocab)
	zs, dlogps, rowStats := b.output(logits, dlogp, stats), b.data(dlogp), b.data(stats)
	var dentropies []E
	if dentropy != nil {
		b.output(logits, dentropy)
		dentropies = b.data(dentropy)
	}
	for i, target := range targets {
		z, s := row(zs, i, vocab), row(rowStats, i, 3)
		dlogp := float64(dlogps[i])
		for j, l := range logProbs(z, s, invTemp) {
			p := math.Exp(l)
			d := -dlogp * p
			if j == int(target) {
				d += dlogp
			}
			if dentropies != nil && p != 0 {
				d -= float64(dentropies[i]) * p * (l + float64(s[2]))
			}
			z[j] = E(float64(invTemp) * d)
		}
	}
}

// logProbs returns log softmax(invTemp·z), given the row's statistics.
func logProbs[E Element](z, stats []E, invTemp float32) []float64 {
	logs := make([]float64, len(z))
	for j, v := range z {
		logs[j] = float64(invTemp)*float64(v-stats[0]) - float64(stats[1])
	}
	return logs
}

// entropyOf returns −Σ p·log p of a row of log-probs, in nats; 0·log 0 is 0.
func entropyOf(logs []float64) float64 {
	h := 0.0
	for _, l := range logs {
		if p := math.Exp(l); p != 0 {
			h -= p * l
		}
	}
	return h
}
