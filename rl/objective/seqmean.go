package objective

import "github.com/stepwise-rl/stepwise/internal/vecmath"

// SeqMeanTokenMean is the mean over sequences of each sequence's mean over
// tokens: a token of sequence i weighs 1/(B·n_i), with n_i the number of its
// tokens that count and B the number of sequences. Every completion weighs the
// same, so tokens of long ones weigh less. It is the loss of GRPO
// (DeepSeekMath, arXiv:2402.03300), TRL's "grpo" and "sapo", verl's
// "seq-mean-token-mean", SkyRL's "sequence_mean".
type SeqMeanTokenMean struct {
	Masked Masked
	// CountEmpty makes sequences in which no token counts part of B, as in
	// TRL and SkyRL, and as verl and OpenRLHF do when they train; without it
	// they are left out, as those two do where no global batch size is given.
	CountEmpty bool
	// Epsilon is added to n_i: 1e-8 in verl.
	Epsilon float64
}

// Weigh implements Aggregation.
func (a SeqMeanTokenMean) Weigh(l Layout) (loss, kl [][]float64, err error) {
	if err := checkNonNegative("SeqMeanTokenMean.Epsilon", a.Epsilon); err != nil {
		return nil, nil, err
	}
	return weigh(l, a.Masked, func(n []int, w []float64) {
		b := sequences(n, a.CountEmpty)
		for i, k := range n {
			if k > 0 {
				w[i] = 1 / (b * (float64(k) + a.Epsilon))
			}
		}
	})
}

// SeqMeanTokenSum is the mean over sequences of each sequence's sum over
// tokens: every token that counts weighs 1/B. It is verl's
// "seq-mean-token-sum" and, on a shared sequence ratio, TRL's "luspo".
type SeqMeanTokenSum struct {
	Masked Masked
	// CountEmpty makes sequences in which no token counts part of B.
	CountEmpty bool
}

// Weigh implements Aggregation.
func (a SeqMeanTokenSum) Weigh(l Layout) (loss, kl [][]float64, err error) {
	return weigh(l, a.Masked, func(n []int, w []float64) {
		vecmath.Fill(w, 1/sequences(n, a.CountEmpty))
	})
}

// sequences is the number of sequences with a token that counts, or of all.
func sequences(n []int, all bool) float64 {
	b := 0
	for _, k := range n {
		if all || k > 0 {
			b++
		}
	}
	return float64(b)
}
