// Package toy is a training that the tests of several packages share: a table policy
// learns to count.
package toy

import (
	"context"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// Vocab is the number of tokens of [Problems].
const Vocab = 5

// Successor is a problem for a bigram table: after token p write p+1, then p+2, modulo
// the vocabulary. Each token is a step; the reward is the last's.
type Successor struct {
	Prompt, Vocab int32
	Group         int
}

// Request implements rl.Problem.
func (s Successor) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{s.Prompt}, N: s.Group, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}, nil
}

// Judge implements rl.Problem.
func (s Successor) Judge(_ context.Context, c *rollout.Completion) error {
	for k, tok := range c.Tokens {
		st := rollout.Step{Name: [2]string{"first", "second"}[k], Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect, Final: k == 1}
		if tok == (s.Prompt+int32(k)+1)%s.Vocab {
			st.Verdict, st.Reward = rollout.VerdictCorrect, 1
		}
		c.Steps = append(c.Steps, st)
	}
	c.Rewards = []float64{c.Steps[1].Reward}
	return nil
}

// Problems returns one problem for each token, with so many completions.
func Problems(group int) (ps []rl.Problem) {
	for v := range int32(Vocab) {
		ps = append(ps, Successor{v, Vocab, group})
	}
	return ps
}

// Config returns a training of a policy that is its own engine, on [Problems] in a
// shuffled order.
func Config(p interface {
	rl.Policy
	rollout.Engine
}) rl.Config {
	return rl.Config{
		Policy: p, Engine: p, Source: &rl.SliceSource{Problems: Problems(4), Seed: 2},
		Estimator:   advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:      sam.Mask{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: 3, GroupSize: 4},
		LR:          rl.Constant{LR: 1},
		Seed:        3,
	}
}
