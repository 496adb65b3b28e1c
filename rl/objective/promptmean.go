package objective

import "fmt"

// PromptMean is the mean over prompts of each prompt's mean over the tokens of
// all its completions: a token of prompt p weighs 1/(P·n_p), with n_p the
// number of tokens of p that count and P the number of prompts that have any.
// Every prompt weighs the same, however long its completions (SkyRL's
// "prompt_mean").
type PromptMean struct {
	Masked Masked
	// CountEmpty makes prompts without a token that counts part of P, as in
	// SkyRL.
	CountEmpty bool
}

// Weigh implements Aggregation. Layout.Prompt must have an entry for every
// sequence.
func (a PromptMean) Weigh(l Layout) (loss, kl [][]float64, err error) {
	if len(l.Prompt) != len(l.Live) {
		return nil, nil, fmt.Errorf("objective: PromptMean has prompts for %d sequences, want %d", len(l.Prompt), len(l.Live))
	}
	return weigh(l, a.Masked, func(n []int, w []float64) {
		tokens := map[int]int{}
		for i, k := range n {
			if k > 0 || a.CountEmpty {
				tokens[l.Prompt[i]] += k
			}
		}
		for i, p := range l.Prompt {
			if n[i] > 0 {
				w[i] = 1 / (float64(len(tokens)) * float64(tokens[p]))
			}
		}
	})
}
