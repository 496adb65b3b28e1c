package objective

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// Constant divides the sum over all tokens that count by a number that does
// not depend on how long the completions turned out, so that length has no
// influence on a token's weight: Dr. GRPO, "Understanding R1-Zero-Like
// Training" (arXiv:2503.20783).
type Constant struct {
	Masked Masked
	// Tokens is the constant, usually the longest completion that sampling
	// allows; positive.
	Tokens float64
	// PerSequence divides by B·Tokens, B being the number of all sequences of
	// the step, also those without a token that counts: Dr. GRPO, TRL's
	// "dr_grpo", SkyRL's "seq_mean_token_sum_norm", and verl's
	// "seq-mean-token-sum-norm", whose loss_scale_factor is the padded length
	// if not set. Without it the divisor is Tokens alone.
	PerSequence bool
}

// Weigh implements Aggregation.
func (a Constant) Weigh(l Layout) (loss, kl [][]float64, err error) {
	if !(a.Tokens > 0) || !finite(a.Tokens) {
		return nil, nil, fmt.Errorf("objective: Constant.Tokens is %v, want a positive number of tokens", a.Tokens)
	}
	d := a.Tokens
	if a.PerSequence {
		d *= float64(len(l.Live))
	}
	return weigh(l, a.Masked, func(_ []int, w []float64) { vecmath.Fill(w, 1/d) })
}
