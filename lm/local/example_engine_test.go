package local_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Two completions of one prompt, from a model that has learnt nothing.
func ExampleEngine() {
	decoder, err := model.NewDecoder(reference.New(), model.Config{
		Vocab: 12, Dim: 16, Layers: 2, Heads: 4, KVHeads: 2, FF: 24, MaxSeq: 32,
	}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	engine, err := local.NewEngine(decoder, letters{}, local.EngineConfig{EOS: []int32{end}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Free()
	request := rollout.Request{
		ID: "query 7", Prompt: []int32{1, 5, 3}, N: 2,
		Params: rollout.Params{Temperature: 1, TopP: 0.95, MaxTokens: 6},
		Stream: [3]uint64{1, 0, 0},
	}
	err = engine.Generate(context.Background(), []rollout.Request{request}, func(c rollout.Completion) error {
		fmt.Println(c.Index, c.Finish, len(c.Tokens) <= 6, len(c.Tokens) == len(c.LogP))
		return nil
	})
	fmt.Println(err)
	// Unordered output:
	// 0 length true true
	// 1 length true true
	// <nil>
}
