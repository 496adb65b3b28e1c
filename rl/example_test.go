package rl_test

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// letters a to e are the vocabulary.
const letters = 5

// alphabet is a problem: write the two letters that follow this one, a after
// e. Either is a step; the reward looks at the last.
type alphabet struct{ letter int32 }

func (a alphabet) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{a.letter}, N: 8, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}, nil
}

func (a alphabet) Judge(_ context.Context, c *rollout.Completion) error {
	for k, name := range []string{"next", "last"} {
		step := rollout.Step{Name: name, Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect, Final: k == 1}
		if c.Tokens[k] == (a.letter+int32(k)+1)%letters {
			step.Verdict, step.Reward = rollout.VerdictCorrect, 1
		}
		c.Steps = append(c.Steps, step)
	}
	c.Rewards = []float64{c.Steps[1].Reward}
	return nil
}

// A policy small enough to read, a table of logits that is its own engine,
// learns by GRPO with Stepwise Advantage Masking.
func Example() {
	policy := policytest.NewTablePolicy(letters, nil, -1)
	var problems []rl.Problem
	for letter := range int32(letters) {
		problems = append(problems, alphabet{letter})
	}
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy,
		Source:      &rl.SliceSource{Problems: problems, Seed: 1},
		Estimator:   advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:      sam.Mask{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: letters, GroupSize: 8},
		LR:          rl.Constant{LR: 2},
		Steps:       150,
	})
	if err != nil {
		panic(err)
	}
	if err := trainer.Run(context.Background()); err != nil {
		panic(err)
	}
	for letter := range int32(letters) {
		best, top := 0, math.Inf(-1)
		for next, logit := range policy.Logits(letter) {
			if logit > top {
				best, top = next, logit
			}
		}
		fmt.Printf("%c is followed by %c\n", 'a'+letter, 'a'+best)
	}
	// Output:
	// a is followed by b
	// b is followed by c
	// c is followed by d
	// d is followed by e
	// e is followed by a
}

// The arithmetic of a training step is known before it runs.
func ExampleBatching() {
	b := rl.Batching{Prompts: 64, GroupSize: 8, MiniBatches: 4, Accumulate: 2}
	fmt.Println(b)
	fmt.Println(rl.Batching{Prompts: 10, MiniBatches: 4}.Validate())
	// Output:
	// 64 prompts × 8 samples = 512 completions per collection; 4 optimiser steps (1 epoch × 4 mini-batches of 16 prompts), each in 2 passes
	// rl: Batching.Prompts is 10, which 4 MiniBatches do not divide: optimiser steps would differ in size
}

// Half of these problems have nothing to teach: every letter gets the same
// reward. Dynamic sampling draws on until two groups differ.
func ExampleCollectLive() {
	policy := policytest.NewTablePolicy(3, nil, -1)
	source := &rl.SliceSource{Seed: 4, Problems: []rl.Problem{
		say{"a": 0, "b": 0.5, "c": 1}, say{"a": 1, "b": 1, "c": 1},
		say{"a": 1, "b": 0, "c": 0}, say{"a": 0, "b": 0, "c": 0},
	}}
	r, err := rl.CollectLive(context.Background(), policy, source.Next, 2, rloo, rl.DynamicSampling{Rounds: 8}, [2]uint64{1, 0})
	if err != nil {
		panic(err)
	}
	fmt.Println("to train on:", r.Problems)
	fmt.Println("dropped:", r.Dynamic.Dropped.Problems, r.Dynamic.Reasons)
	fmt.Printf("share of live groups: %.2f\n", r.Sampled().LiveShare(rloo))
	// Output:
	// to train on: [map[a:0 b:0.5 c:1] map[a:1 b:0 c:0]]
	// dropped: [map[a:0 b:0 c:0]] [constant_0]
	// share of live groups: 0.67
}
