package rl_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// successor is a problem for a bigram table: after token p write p+1, then
// p+2, modulo the vocabulary. Each token is a step; the reward is the last's.
type successor struct {
	prompt int32
	vocab  int32
	group  int
}

func (s successor) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{s.prompt}, N: s.group, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}, nil
}

func (s successor) Judge(_ context.Context, c *rollout.Completion) error {
	for k, tok := range c.Tokens {
		st := rollout.Step{Name: [2]string{"first", "second"}[k], Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect, Final: k == 1}
		if tok == (s.prompt+int32(k)+1)%s.vocab {
			st.Verdict, st.Reward = rollout.VerdictCorrect, 1
		}
		c.Steps = append(c.Steps, st)
	}
	c.Rewards = []float64{c.Steps[1].Reward}
	return nil
}

const vocab = 5

func problems(group int) []rl.Problem {
	var ps []rl.Problem
	for v := range vocab {
		ps = append(ps, successor{int32(v), vocab, group})
	}
	return ps
}

// setup returns a configuration that trains a fresh table.
func setup() (rl.Config, *policytest.TablePolicy) {
	p := policytest.NewTablePolicy(vocab, nil, -1)
	p.Randomize(3, 0.1)
	return rl.Config{
		Policy: p, Engine: p,
		Source:      &rl.SliceSource{Problems: problems(8), Seed: 1},
		Estimator:   advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:      sam.Mask{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: 4, GroupSize: 8},
		LR:          rl.Constant{LR: 2},
		Steps:       8,
		Seed:        11,
	}, p
}

func logits(p *policytest.TablePolicy) []float64 {
	var out []float64
	for v := range int32(vocab) {
		out = append(out, p.Logits(v)...)
	}
	return out
}
