package local_test

import (
	"context"
	"fmt"
	"math"
	"os"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// A policy of which only adapters are trained. What it saves is a folder of
// adapters; the decoder without them is the reference policy.
func ExamplePolicy_adapters() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	decoder, err := model.NewDecoder(reference.New(), model.Config{ // usually LoadDecoder with Frozen
		Vocab: 8, Dim: 16, Layers: 1, Heads: 2, KVHeads: 1, FF: 32, MaxSeq: 16,
	}, 1)
	if err != nil {
		panic(err)
	}
	lora, err := decoder.AddLoRA(model.LoRAConfig{Rank: 4, Alpha: 8, Targets: model.AllProjections}, 2)
	if err != nil {
		panic(err)
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: dir})
	if err != nil {
		panic(err)
	}
	before := local.NewLogProber(lora.Base(), 0)
	batch, err := rl.NewDemonstrations([]rl.Demonstration{{Prompt: []int32{1, 2, 3}, Tokens: []int32{4, 5}}}, objective.TokenMean{})
	if err != nil {
		panic(err)
	}
	for range 100 {
		if _, _, err := policy.ForwardBackward(ctx, batch, objective.CrossEntropy{}); err != nil {
			panic(err)
		}
		if _, err := policy.OptimStep(ctx, rl.OptimOptions{LR: 2e-2, MaxNorm: 1}); err != nil {
			panic(err)
		}
	}
	for _, s := range []rl.LogProber{before, policy} {
		logp := [][]float64{make([]float64, 2)}
		if err := s.LogProbs(ctx, batch, logp); err != nil {
			panic(err)
		}
		fmt.Printf("probability above 0.5: %v\n", math.Exp(logp[0][0]+logp[0][1]) > 0.5)
	}
	ref, err := policy.Save(ctx, "adapter")
	if err != nil {
		panic(err)
	}
	saved, err := model.ReadLoRAConfig(ref)
	if err != nil {
		panic(err)
	}
	fmt.Println("rank", saved.Rank, "of", saved.Targets)
	// Output:
	// probability above 0.5: false
	// probability above 0.5: true
	// rank 4 of q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj
}
