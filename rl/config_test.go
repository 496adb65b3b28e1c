package rl_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
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
	reference := policytest.NewTablePolicy(vocab, nil, -1)
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

	// So are weights that do not fit the rewards' names.
	c, _ = setup()
	c.Estimator = advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}, 1, 2)
	c.Source = &rl.SliceSource{Problems: []rl.Problem{named{successor{0, vocab, 8}}}}
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, `Config.Source: problem 0 (""): its rewards are ["second"]: Config.Estimator: advantage: group 0, completion 0: the number of rewards is 1, want 2`)

	// A source that cannot list its problems is found out while it is drawn from.
	c, _ = setup()
	c.Batching.GroupSize = 7
	c.Source = sourceOf(c.Source.Next)
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorContains(t, tr.Run(t.Context()), "asks for 8 completions, Batching.GroupSize is 7")
}

// short is an engine that cannot sample more than so many tokens.
type short struct {
	*policytest.TablePolicy
	tokens int
}

func (s short) Check(r *rollout.Request) error {
	if n := len(r.Prompt) + r.Params.MaxTokens; n > s.tokens {
		return fmt.Errorf("%d tokens exceed %d", n, s.tokens)
	}
	return nil
}

func TestInvalidSettingsAreRefusedBeforeAnythingIsSampled(t *testing.T) {
	nan := math.NaN()
	reference := policytest.NewTablePolicy(vocab, nil, -1)
	for want, spoil := range map[string]func(*rl.Config){
		"Config.Estimator: advantage: GRPO.Epsilon is -1":     func(c *rl.Config) { c.Estimator = advantage.PerGroup(advantage.GRPO{Epsilon: -1}) },
		"Config.Estimator: advantage: GRPO.Epsilon is NaN":    func(c *rl.Config) { c.Estimator = advantage.PerGroup(advantage.GRPO{Epsilon: nan}) },
		"Config.Estimator: advantage: ReinforcePP.Gamma is 2": func(c *rl.Config) { c.Estimator = advantage.ReinforcePP{Gamma: 2} },
		"Config.Estimator: advantage: Weights[0] is NaN":      func(c *rl.Config) { c.Estimator = advantage.PerGroup(advantage.RLOO{}, nan) },
		"Config.Estimator: advantage: PassAtK.K is 1":         func(c *rl.Config) { c.Estimator = advantage.PerGroup(advantage.PassAtK{K: 1}) },
		"Config.Credit: advantage: PassAtK.K is -2":           func(c *rl.Config) { c.Credit = sam.Mask{Fill: advantage.PassAtK{K: -2}} },
		"Config.MaxNorm is NaN":                               func(c *rl.Config) { c.MaxNorm = nan },
		"Config.Source: rl: SliceSource.Epochs is -1":         func(c *rl.Config) { c.Source = &rl.SliceSource{Epochs: -1} },
		"Config.LR: rl: Constant.LR is NaN":                   func(c *rl.Config) { c.LR = rl.Constant{LR: nan} },
		"Config.Objective: objective: Corrected": func(c *rl.Config) {
			c.Objective = objective.Corrected{Objective: objective.FromRollout{Objective: c.Objective}, Max: 2}
		},
		"it asks for 8 completions, Batching.GroupSize is 7": func(c *rl.Config) { c.Batching.GroupSize = 7 },
		"problem 0 (\"\"): 3 tokens exceed 2":                func(c *rl.Config) { c.Engine = short{c.Engine.(*policytest.TablePolicy), 2} },
		"Horizon is 31, want at least the 32 samples": func(c *rl.Config) { // with the group size that the problems ask for
			c.Batching.GroupSize = 0
			c.Reference, c.RewardKL = reference, &objective.RewardKL{Estimator: objective.K1}
			c.AdaptiveKL = &objective.AdaptiveKL{Beta: 1, Target: 1, Horizon: 31}
		},
	} {
		c, _ := setup()
		spoil(&c)
		_, err := rl.NewTrainer(c)
		require.ErrorContains(t, err, want)
	}

	// What a custom schedule returns is looked at before it is used.
	c, _ := setup()
	c.LR = rl.ScheduleFunc(func(int64) float64 { return nan })
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorContains(t, tr.Run(t.Context()), "rl: optimiser step 0: rl: OptimOptions.LR is NaN")
}

type needing struct {
	objective.Objective
	n objective.Inputs
}

func (n needing) Needs() objective.Inputs { return n.n }

type named struct{ successor }

func (named) RewardNames() []string { return []string{"second"} }

func TestBatchArithmeticIsLogged(t *testing.T) {
	var buf bytes.Buffer
	c, _ := setup()
	c.Batching = rl.Batching{Prompts: 12, GroupSize: 8, MiniBatches: 3, Epochs: 2, Accumulate: 4}
	c.Logger = slog.New(slog.NewTextHandler(&buf, nil))
	_, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.Contains(t, buf.String(), "12 prompts × 8 samples = 96 completions per collection; 6 optimiser steps (2 epochs × 3 mini-batches of 4 prompts), each in 4 passes")
	require.Equal(t, "1 prompt × the problems' number of samples per collection; 1 optimiser step (1 epoch × 1 mini-batch of 1 prompt), each in 1 pass", rl.Batching{Prompts: 1}.String())

	for _, bad := range []rl.Batching{{}, {Prompts: 5, MiniBatches: 2}, {Prompts: 4, MiniBatches: 2, Accumulate: 3}, {Prompts: 4, Epochs: -1}} {
		require.Error(t, bad.Validate(), "%+v", bad)
	}
}
