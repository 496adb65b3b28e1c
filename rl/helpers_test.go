package rl_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/internal/toy"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/sam"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// successor is the problem of most tests.
type successor = toy.Successor

const vocab = toy.Vocab

func problems(group int) []rl.Problem { return toy.Problems(group) }

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
