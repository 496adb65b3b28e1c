package rl_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	_, err := rl.NewTrainer(rl.Config{MaxNorm: -1})
	for _, field := range []string{"Policy", "Engine", "Source", "LR", "Batching.Prompts", "MaxNorm"} {
		require.ErrorContains(t, err, field)
	}
	for _, field := range []string{"Estimator", "Credit", "Objective", "Aggregation"} {
		require.NotContains(t, err.Error(), field)
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
	c.Source = &rl.SliceSource{Problems: []rl.Problem{named{successor{Prompt: 0, Vocab: vocab, Group: 8}}}}
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, `Config.Source: problem 0 (""): its rewards are ["second"]: Config.Estimator: advantage: group 0, completion 0: the number of rewards is 1, want 2`)

	// So are those of a credit, wherever they stand.
	weighs := sam.OutcomePlusVerdict{Norm: advantage.RLOO{}, Combine: advantage.Combine{Weights: []float64{1, 2}}}
	c.Estimator = advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4})
	for _, credit := range []sam.Credit{
		weighs, sam.Blend{A: sam.Mask{}, B: weighs, Lambda: 1}, sam.Permuted{Credit: weighs, Rand: rand.New(rand.NewPCG(1, 1))},
	} {
		c.Credit = credit
		_, err = rl.NewTrainer(c)
		require.ErrorContains(t, err, `Config.Source: problem 0 (""): its rewards are ["second"]: Config.Credit: sam: OutcomePlusVerdict.Combine: completion 0: the number of rewards is 1, want 2`)
	}
	weighs.Combine.Weights = []float64{2}
	c.Credit = weighs
	_, err = rl.NewTrainer(c)
	require.NoError(t, err)

	// A penalty in the reward reaches the tokens once: by way of estimator and credit, or
	// after them.
	c.Reference, c.RewardKL = reference, &objective.RewardKL{Estimator: objective.K1, Beta: 1}
	_, err = rl.NewTrainer(c)
	require.NoError(t, err)
	folding := advantage.GroupEstimator{Norm: advantage.RLOO{}, Combine: advantage.Combine{FoldShaping: true}}
	c.Estimator = folding
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "Config.Credit: sam: OutcomePlusVerdict.Combine.FoldShaping is false, want true as of Config.Estimator (advantage.GroupEstimator)")
	c.Credit = sam.Blend{A: sam.Outcome{}, B: sam.OutcomePlusVerdict{Norm: advantage.RLOO{}, Combine: folding.Combine}}
	_, err = rl.NewTrainer(c)
	require.NoError(t, err)
	c.Estimator = nil
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "FoldShaping is true, want false")

	// A source that cannot list its problems is found out while it is drawn from.
	c, _ = setup()
	c.Batching.GroupSize = 7
	c.Source = sourceOf(c.Source.Next)
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorContains(t, tr.Run(t.Context()), "asks for 8 completions, Batching.GroupSize is 7")
}

// Without estimator, credit, objective and aggregation a run is GRPO as TRL does it,
// and the log says so.
func TestDefaultsAreGRPO(t *testing.T) {
	trl, err := preset.Get("trl-1.16")
	require.NoError(t, err)
	train := func(change func(*rl.Config)) ([]float64, string) {
		c, p := setup()
		var log bytes.Buffer
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		change(&c)
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		require.NoError(t, tr.Run(t.Context()))
		return logits(p), log.String()
	}
	got, log := train(func(c *rl.Config) { c.Estimator, c.Credit, c.Objective, c.Aggregation = nil, nil, nil, nil })
	for _, want := range []string{`Credit: {"kind":"outcome"}`, `Objective: {"kind":"ppo","clip_low":0.2,"clip_high":0.2,`, `Aggregation: {"kind":"token_mean",`, `"epsilon":0.0001`} {
		require.Contains(t, strings.ReplaceAll(log, "\\", ""), want)
	}
	require.NotContains(t, log, "single completion")
	want, log := train(func(c *rl.Config) {
		c.Estimator, c.Credit, c.Objective, c.Aggregation = trl.Estimator, trl.Credit, trl.Objective(), trl.Aggregation
	})
	require.NotContains(t, log, "defaults")
	require.Equal(t, want, got)

	_, log = train(func(c *rl.Config) {
		one := rl.NewProblem(rollout.Request{ID: "a", Prompt: []int32{1}, N: 1, Params: rollout.Params{Temperature: 1, MaxTokens: 2}},
			func(context.Context, *rollout.Completion) (float64, error) { return 1, nil })
		c.Source, c.Batching, c.Steps = &rl.SliceSource{Problems: []rl.Problem{one}}, rl.Batching{Prompts: 1}, 1
	})
	require.Contains(t, log, "groups of a single completion get no advantage")
}

// unencodable is a problem that has no prompt.
type unencodable struct{ successor }

func (unencodable) Request() (rollout.Request, error) {
	return rollout.Request{ID: "row 17"}, errors.New("field \"title\" is empty")
}

// Every problem of a list is checked before anything is sampled, and the error names
// the first few that cannot be.
func TestEveryListedProblemIsChecked(t *testing.T) {
	c, p := setup()
	var ps []rl.Problem
	for range 1500 {
		ps = append(ps, successor{Prompt: 0, Vocab: vocab, Group: 8})
	}
	ps[1200] = unencodable{}
	ps = append(ps, successor{Prompt: 0, Vocab: vocab, Group: 7}, successor{Prompt: 0, Vocab: vocab, Group: 7}, successor{Prompt: 0, Vocab: vocab, Group: 7})
	c.Source = &rl.SliceSource{Problems: ps}
	_, err := rl.NewTrainer(c)
	require.ErrorContains(t, err, `problem 1200 ("row 17"): field "title" is empty`)
	require.ErrorContains(t, err, `problem 1501 (""): it asks for 7 completions, Batching.GroupSize is 8`)
	require.ErrorContains(t, err, "4 of 1503 problems cannot be sampled")
	require.NotContains(t, err.Error(), "problem 1502")

	// A source without a list finds out when the problem is drawn.
	c.Source = sourceOf(func(context.Context) (rl.Problem, error) { return unencodable{}, nil })
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.EqualError(t, tr.Run(t.Context()), `rl: problem "row 17": field "title" is empty`)
	_, err = rl.Collect(t.Context(), p, []rl.Problem{unencodable{}}, [2]uint64{})
	require.EqualError(t, err, `rl: request 0 (row 17): field "title" is empty`)
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
	require.ErrorContains(t, tr.Run(t.Context()), "rl: optimiser step 1: rl: OptimOptions.LR is NaN")
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

// A schedule that counts training steps where there are several optimiser steps in each
// ends too early.
func TestARateThatEndsBeforeTheRunIsWarnedAbout(t *testing.T) {
	for total, warned := range map[int64]bool{8: true, 15: true, 16: false, 20: false} {
		var log bytes.Buffer
		c, _ := setup()
		c.Steps, c.Batching.MiniBatches, c.LR = 8, 2, rl.WarmupLinear{LR: 1, Total: total}
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		_, err := rl.NewTrainer(c)
		require.NoError(t, err)
		require.Equal(t, warned, strings.Contains(log.String(), "the learning rate is 0 before the run ends"), total)
	}
}
