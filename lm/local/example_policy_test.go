package local_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Supervised learning: a policy imitates two completions of a prompt. Training
// by reinforcement differs in the batch and in the objective only.
func ExamplePolicy() {
	ctx := context.Background()
	decoder, err := model.NewDecoder(reference.New(), model.Config{
		Vocab: 8, Dim: 16, Layers: 1, Heads: 2, KVHeads: 1, FF: 32, MaxSeq: 16,
	}, 1)
	if err != nil {
		panic(err)
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder})
	if err != nil {
		panic(err)
	}
	batch, err := rl.NewDemonstrations([]rl.Demonstration{
		{Prompt: []int32{1, 2, 3}, Tokens: []int32{4, 5}},
		{Prompt: []int32{1, 2, 3}, Tokens: []int32{6, 0}},
	}, objective.TokenMean{})
	if err != nil {
		panic(err)
	}
	for range 200 {
		if _, _, err := policy.ForwardBackward(ctx, batch, objective.CrossEntropy{}); err != nil {
			panic(err)
		}
		if _, err := policy.OptimStep(ctx, rl.OptimOptions{LR: 3e-3, MaxNorm: 1}); err != nil {
			panic(err)
		}
	}
	// Half of the probability each for the first token, all for the second:
	// the loss goes to (ln 2 + 0)/2.
	loss, _, err := policy.ForwardBackward(ctx, batch, objective.CrossEntropy{})
	if err != nil {
		panic(err)
	}
	fmt.Printf("version %d, loss %.2f\n", policy.Version(), loss)
	// Output: version 200, loss 0.35
}
