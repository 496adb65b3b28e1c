package rl_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// say is a problem without steps: the reward of a letter is its own.
type say map[string]float64

func (say) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{0}, N: 16, Params: rollout.Params{Temperature: 1, MaxTokens: 1}}, nil
}

func (s say) Judge(_ context.Context, c *rollout.Completion) error {
	c.Rewards = []float64{s[c.Text]}
	return nil
}

// A training loop of your own, from the stages that Trainer.Step runs. It
// samples until one collection has nothing left to learn.
func Example_stages() {
	ctx := context.Background()
	policy := policytest.NewTablePolicy(3, nil, -1)
	problems := []rl.Problem{say{"a": 0, "b": 0.5, "c": 1}}
	loss, estimator := objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}, advantage.PerGroup(advantage.RLOO{})
	for step := range uint64(100) {
		r, err := rl.Collect(ctx, policy, problems, [2]uint64{1, step})
		if err != nil {
			panic(err)
		}
		if r.LiveShare(estimator) == 0 { // all samples have the same reward
			fmt.Println("reward", rl.Summarize(r)["reward/0"])
			return
		}
		if _, err := r.Assign(estimator, sam.Outcome{}); err != nil {
			panic(err)
		}
		batch := r.Batch()
		if err := batch.Weigh(objective.TokenMean{}); err != nil {
			panic(err)
		}
		if _, err := rl.Update(ctx, policy, batch, loss, 1, rl.OptimOptions{LR: 1}); err != nil {
			panic(err)
		}
	}
	// Output:
	// reward 1
}
