package objective

import "github.com/stepwise-rl/stepwise/internal/vecmath"

// TokenMean weighs every token that counts alike: 1/N, with N the number of
// tokens that count in the whole optimiser step. Long completions weigh more.
// It is the loss of DAPO (arXiv:2503.14476), TRL's "dapo" and "cispo", verl's
// and SkyRL's "token-mean". (TRL's "bnpo" is the same over a micro-batch
// alone, which makes the loss depend on the split; it is not offered.)
type TokenMean struct {
	Masked Masked
}

// Weigh implements Aggregation.
func (a TokenMean) Weigh(l Layout) (loss, kl [][]float64, err error) {
	return weigh(l, a.Masked, func(n []int, w []float64) {
		total := 0
		for _, k := range n {
			total += k
		}
		vecmath.Fill(w, 1/float64(total))
	})
}

// TokenSum weighs every token that counts 1: no denominator at all, as the
// losses of the Tinker protocol. The learning rate must fit the batch.
type TokenSum struct {
	Masked Masked
}

// Weigh implements Aggregation.
func (a TokenSum) Weigh(l Layout) (loss, kl [][]float64, err error) {
	return weigh(l, a.Masked, func(_ []int, w []float64) { vecmath.Fill(w, 1) })
}
