package local_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Asynchronous training in one process: while the policy is trained on one backend, the
// engine samples the next collection on another, with the weights of the training step
// before. The policy learns to begin with the letter of id 7.
func ExampleAsyncEngine() {
	load := func(b tensor.Backend) *model.Decoder { // usually LoadDecoder, the engine's with Frozen
		d, err := model.NewDecoder(b, model.Config{
			Vocab: 8, Dim: 16, Layers: 1, Heads: 2, KVHeads: 1, FF: 32, MaxSeq: 16,
		}, 1)
		if err != nil {
			panic(err)
		}
		return d
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: load(reference.New())}) // tensor.Open("cuda:0")
	if err != nil {
		panic(err)
	}
	defer policy.Free()
	sampled := load(reference.New()) // tensor.Open("cuda:1")
	sampled.Freeze()
	defer sampled.Free()
	engine, err := local.NewAsyncEngine(sampled, letters{}, local.EngineConfig{EOS: []int32{0}, Static: true})
	if err != nil {
		panic(err)
	}
	defer engine.Free()

	problem := rl.NewProblem(rollout.Request{
		Prompt: []int32{1, 2}, N: 16, Params: rollout.Params{Temperature: 1, MaxTokens: 2},
	}, func(_ context.Context, c *rollout.Completion) (float64, error) {
		if c.Tokens[0] == 7 {
			return 1, nil
		}
		return 0, nil
	})
	var rewards []float64
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: engine, Async: rl.Async{Staleness: 1},
		Source:    &rl.SliceSource{Problems: slices.Repeat([]rl.Problem{problem}, 30)},
		Estimator: advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Objective: objective.Corrected{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.28}, Max: 2}, // samples are stale
		Batching:  rl.Batching{Prompts: 1}, LR: rl.Constant{LR: 2e-2}, Steps: 30,
		Recorder: rl.RecorderFunc(func(step int64, m map[string]float64) error {
			if step <= 3 {
				fmt.Printf("training step %d: staleness %v\n", step, m["async/staleness"])
			}
			return nil
		}),
		OnRollouts: func(step int64, r *rl.Rollouts) error {
			sum := 0.0
			for _, c := range r.Groups[0] {
				sum += c.Rewards[0]
			}
			rewards = append(rewards, sum/float64(len(r.Groups[0])))
			if step <= 3 {
				fmt.Printf("training step %d: sampled with version %d\n", step, r.Groups[0][0].FirstVersion)
			}
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	if err := trainer.Run(context.Background()); err != nil {
		panic(err)
	}
	fmt.Printf("it learns: %v\n", rewards[0] < 0.5 && rewards[29] > 0.9)
	// Output:
	// training step 1: sampled with version 0
	// training step 1: staleness 0
	// training step 2: sampled with version 0
	// training step 2: staleness 1
	// training step 3: sampled with version 1
	// training step 3: staleness 1
	// it learns: true
}
