package rl_test

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/sam"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	_, err := rl.NewTrainer(rl.Config{MaxNorm: -1})
	for _, field := range []string{"Policy", "Engine", "Source", "Estimator", "Credit", "Objective", "Aggregation", "LR", "Batching.Prompts", "MaxNorm"} {
		require.ErrorContains(t, err, field)
	}
	c, _ := setup()
	c.Objective = needing{c.Objective, objective.InputRef}
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "Config.Reference")
	c.Objective = needing{c.Objective, objective.InputCandidates}
	c.Reference = c.Policy
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "candidates")

	// Settings of the parts are found before anything is sampled.
	reference := policytest.NewTable(vocab, nil, -1)
	for want, spoil := range map[string]func(*rl.Config){
		"Config.Objective: objective: PPO.ClipLow":        func(c *rl.Config) { c.Objective = objective.PPO{} },
		"Config.Credit: sam: StepGroup.Norm is nil":       func(c *rl.Config) { c.Credit = sam.StepGroup{} },
		"Config.Aggregation: objective: Constant.Tokens":  func(c *rl.Config) { c.Aggregation = objective.Constant{} },
		"Config.Estimator: advantage: GroupEstimator.Nor": func(c *rl.Config) { c.Estimator = advantage.GroupEstimator{} },
		"Config.AdaptiveKL: objective: AdaptiveKL has Be": func(c *rl.Config) {
			c.Reference, c.RewardKL, c.AdaptiveKL = reference, &objective.RewardKL{Estimator: objective.K1}, &objective.AdaptiveKL{}
		},
		"Horizon is 31, want at least the 32 samples": func(c *rl.Config) {
			c.Reference, c.RewardKL = reference, &objective.RewardKL{Estimator: objective.K1}
			c.AdaptiveKL = &objective.AdaptiveKL{Beta: 1, Target: 1, Horizon: 31}
		},
	} {
		c, _ := setup()
		spoil(&c)
		_, err := rl.NewTrainer(c)
		require.ErrorContains(t, err, want)
	}

	c, _ = setup()
	c.Batching.GroupSize = 7
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorContains(t, tr.Run(t.Context()), "asks for 8 completions, Batching.GroupSize is 7")
}

type needing struct {
	objective.Objective
	n objective.Inputs
}

func (n needing) Needs() objective.Inputs { return n.n }

func TestBatchArithmeticIsLogged(t *testing.T) {
	var buf bytes.Buffer
	c, _ := setup()
	c.Batching = rl.Batching{Prompts: 12, GroupSize: 8, MiniBatches: 3, Epochs: 2, Accumulate: 4}
	c.Logger = slog.New(slog.NewTextHandler(&buf, nil))
	_, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.Contains(t, buf.String(), "12 prompts × 8 samples = 96 completions per collection; 6 optimiser steps (2 epochs × 3 mini-batches of 4 prompts), each in 4 passes")

	for _, bad := range []rl.Batching{{}, {Prompts: 5, MiniBatches: 2}, {Prompts: 4, MiniBatches: 2, Accumulate: 3}, {Prompts: 4, Epochs: -1}} {
		require.Error(t, bad.Validate(), "%+v", bad)
	}
}
