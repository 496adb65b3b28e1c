package tinker_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// A trainer whose policy and engine are on a server: nothing but the constructors
// differs from a run on this machine.
func Example() {
	var problems []rl.Problem      // yours
	var vocab *tokenizer.Tokenizer // the model's
	_ = func(ctx context.Context) error {
		client, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{
			URL: "http://skyrl.example.com:8000",
			Key: remote.Key{Env: "TINKER_API_KEY"}, // where the key is, never the key
		}})
		if err != nil {
			return err
		}
		defer client.Close()
		policy, err := tinker.NewPolicy(ctx, client, tinker.PolicyConfig{
			Model: "Qwen/Qwen3-8B",
			LoRA:  tinker.LoRA{Rank: 32},
		})
		if err != nil {
			return err
		}
		defer policy.Free(context.WithoutCancel(ctx))
		engine, err := tinker.NewEngine(client, vocab, tinker.EngineConfig{
			Model: "Qwen/Qwen3-8B", VocabSize: 151936, EOS: []int32{151645},
		})
		if err != nil {
			return err
		}
		trainer, err := rl.NewTrainer(rl.Config{
			Policy: policy, Engine: engine, Source: &rl.SliceSource{Problems: problems},
			Batching: rl.Batching{Prompts: 64}, LR: rl.Constant{LR: 4e-5}, Steps: 200,
		})
		if err != nil {
			return err
		}
		return trainer.Run(ctx)
	}
}

// An optimiser step on a server that takes means, which the policy finds out: its
// gradient is that of the sum all the same.
func ExamplePolicy() {
	server := tinkertest.NewServer(tinkertest.Options{Mean: true})
	defer server.Close()
	client, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: server.URL}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	policy, err := tinker.NewPolicy(ctx, client, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the server's scaling:", policy.Scaling())
	batch, err := rl.DemonstrationBatch([]rl.Demonstration{{Prompt: []int32{1}, Tokens: []int32{2, 3}}}, objective.TokenMean{})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		info, err := rl.Update(ctx, policy, batch, objective.CrossEntropy{}, 1, rl.OptimOptions{LR: 4})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("version %d: loss %.3f, gradient norm %.3f\n", info.Version, info.Loss, info.GradNorm)
	}
	_, err = policy.OptimStep(ctx, rl.OptimOptions{LR: 1, MaxNorm: 1})
	fmt.Println(err)
	// Output:
	// the server's scaling: mean
	// version 1: loss 3.656, gradient norm 0.735
	// version 2: loss 1.642, gradient norm 0.601
	// version 3: loss 0.526, gradient norm 0.306
	// tinker: MaxNorm 1: the policy does not support clipping of the gradient by its norm
}
