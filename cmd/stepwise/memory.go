package main

import "github.com/stepwise-rl/stepwise/lm/model"

// activationFloats estimates the float32s that a training step on rows tokens,
// each with a target, holds besides parameters and optimiser: what model's
// layers keep for the backward pass, and the larger of what the head needs, for
// some chunks of logits, and what the backward pass of a layer does.
func activationFloats(c model.Config, rows int) int {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	heads := q + kv // q and k, kept before and after their norms
	backward := c.Dim + 2*q + 2*kv
	if c.QKNorm {
		heads = 2*heads + c.Heads + c.KVHeads
		backward += q + kv
	}
	layer := 4*c.Dim + 2 + heads + kv + q + c.Heads + 3*c.FF
	chunk := max(64, (4<<20)/c.Vocab)
	kept := chunk * max(1, (16<<20)/(chunk*c.Vocab))
	head := rows*(4*c.Dim+6) + min(rows, kept)*c.Vocab
	return rows*(2*c.Dim+c.Layers*layer) + max(head, rows*max(backward, c.Dim+c.FF))
}

// cacheFloats is the size of a token's keys and values.
func cacheFloats(c model.Config) int { return 2 * c.Layers * c.KVHeads * c.HeadDim }
