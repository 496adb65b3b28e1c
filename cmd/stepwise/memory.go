package main

import "github.com/stepwise-rl/stepwise/model"

// activationFloats estimates the float32s that a training step on rows tokens
// holds besides parameters and optimiser: what model's layers keep for the
// backward pass, the working memory of the pass, and a chunk of logits.
func activationFloats(c model.Config, rows int) int {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	heads := q + kv // q and k, kept before and after their norms
	if c.QKNorm {
		heads = 2*heads + c.Heads + c.KVHeads
	}
	layer := 4*c.Dim + 2 + heads + kv + q + c.Heads + 3*c.FF
	head := 2*c.Dim + 2
	backward := 2*c.Dim + c.FF + 2*q + 2*kv // of one layer, and the state's gradient
	if c.QKNorm {
		backward += q + kv
	}
	logits := min(rows, max(64, (4<<20)/c.Vocab)) * c.Vocab
	return rows*(c.Dim+c.Layers*layer+head+backward) + logits
}

// cacheFloats is the size of a token's keys and values.
func cacheFloats(c model.Config) int { return 2 * c.Layers * c.KVHeads * c.HeadDim }
