package rl_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/sam"
)

// remote is a policy on a server that computes log-probs and linear losses on them,
// and nothing else. Save, Load, OptimStep and LogProbs are plain calls. The server is
// here in the same process; rl/policytest/pipe_test.go has one behind a connection.
type remote struct{ *policytest.TablePolicy }

// linear is what the server can differentiate: Σ weight·log-prob.
type linear struct{}

func (linear) Needs() objective.Inputs { return 0 }
func (linear) Validate() error         { return nil }
func (linear) Eval(s *objective.Sequence, _ objective.Metrics) (loss float64, err error) {
	for t, w := range s.Weight {
		loss += w * s.LogP[t]
		s.Grad[t] += w
	}
	return loss, nil
}

// ForwardBackward evaluates the objective here and sends the server its gradient.
func (r remote) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (float64, objective.Metrics, error) {
	loss, m, err := rl.TwoPass(ctx, r, b, o, func(ctx context.Context, b *rl.Batch) error {
		sent := &rl.Batch{Prompts: b.Prompts, Temperature: b.Temperature}
		for _, s := range b.Samples {
			sent.Samples = append(sent.Samples, rl.Sample{Prompt: s.Prompt, Tokens: s.Tokens, Sequence: objective.Sequence{Weight: s.Grad}})
		}
		_, _, err := r.TablePolicy.ForwardBackward(ctx, sent, linear{})
		return err
	})
	if err != nil { // a failed call clears the gradient: a step with learning rate 0 does
		_, cerr := r.OptimStep(context.WithoutCancel(ctx), rl.OptimOptions{})
		err = errors.Join(err, cerr)
	}
	return loss, m, err
}

// Supports makes NewTrainer refuse what TwoPass would refuse at the first update.
func (r remote) Supports() rl.Capabilities {
	return rl.CapAll &^ (rl.CapEntropy | rl.CapCandidates)
}

// A policy on a server with a linear loss trains with any objective of log-probs.
func ExampleTwoPass() {
	policy := remote{policytest.NewTablePolicy(3, nil, -1)}
	config := rl.Config{
		Policy: policy, Engine: policy,
		Source:      &rl.SliceSource{Problems: []rl.Problem{say{"a": 0, "b": 0.5, "c": 1}}},
		Estimator:   advantage.PerGroup(advantage.RLOO{}),
		Credit:      sam.Outcome{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: 1},
		LR:          rl.Constant{LR: 1},
		Steps:       20,
	}
	trainer, err := rl.NewTrainer(config)
	if err != nil {
		panic(err)
	}
	if err := trainer.Run(context.Background()); err != nil {
		panic(err)
	}
	fmt.Printf("reward %.1f\n", trainer.Metrics()["reward/0"])

	config.Objective = objective.Terms{config.Objective, objective.EntropyBonus{Coef: 0.01}}
	_, err = rl.NewTrainer(config)
	fmt.Println(err)
	// Output:
	// reward 1.0
	// rl: Config.Objective: the policy does not support entropies
}

// Dynamic sampling in a trainer, with a recorder of the metrics: two of these four
// problems have nothing to teach, so a collection draws on until it has two others.
func ExampleTrainer_dynamicSampling() {
	policy := policytest.NewTablePolicy(3, nil, -1)
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy,
		Source: &rl.SliceSource{Seed: 4, Problems: []rl.Problem{
			say{"a": 0, "b": 0.5, "c": 1}, say{"a": 1, "b": 1, "c": 1},
			say{"a": 0, "b": 0, "c": 1}, say{"a": 0, "b": 0, "c": 0},
		}},
		Estimator:   advantage.PerGroup(advantage.RLOO{}),
		Credit:      sam.Outcome{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: 2},
		Dynamic:     rl.DynamicSampling{Rounds: 8, OnShortage: rl.ShortageTrain},
		LR:          rl.Constant{LR: 0.1},
		Steps:       2,
		Recorder: rl.RecorderFunc(func(step int64, m map[string]float64) error {
			fmt.Printf("step %d: %v groups sampled in %v rounds, %v missing\n", step, m["dynamic/sampled"], m["dynamic/rounds"], m["dynamic/missing"])
			return nil
		}),
	})
	if err != nil {
		panic(err)
	}
	if err := trainer.Run(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// step 1: 3 groups sampled in 2 rounds, 0 missing
	// step 2: 3 groups sampled in 2 rounds, 0 missing
}

// A KL penalty in the reward, whose coefficient adapts so that the divergence from
// the reference policy comes near 0.1 per token.
func ExampleTrainer_rewardKL() {
	policy, reference := policytest.NewTablePolicy(3, nil, -1), policytest.NewTablePolicy(3, nil, -1)
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy, Reference: reference,
		Source:      &rl.SliceSource{Problems: []rl.Problem{say{"a": 0, "b": 0.5, "c": 1}}},
		Estimator:   advantage.PerGroup(advantage.RLOO{}),
		Credit:      sam.Outcome{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
		Aggregation: objective.TokenMean{},
		RewardKL:    &objective.RewardKL{Estimator: objective.K1},
		AdaptiveKL:  &objective.AdaptiveKL{Beta: 0.05, Target: 0.1, Horizon: 100},
		Batching:    rl.Batching{Prompts: 1, GroupSize: 16},
		LR:          rl.Constant{LR: 0.5},
		Steps:       300,
	})
	if err != nil {
		panic(err)
	}
	kl := 0.0
	for trainer.Steps() < 300 {
		m, err := trainer.Step(context.Background())
		if err != nil {
			panic(err)
		}
		if trainer.Steps() > 200 {
			kl += m["reward_kl"] / 100
		}
	}
	fmt.Printf("mean divergence of the last 100 training steps: %.1f\n", kl)
	// Output:
	// mean divergence of the last 100 training steps: 0.1
}

func ExampleWarmupLinear() {
	rate := rl.WarmupLinear{LR: 1e-3, Warmup: 2, Total: 6}
	for step := range int64(6) {
		fmt.Printf("%.2e\n", rate.At(step))
	}
	// Output:
	// 5.00e-04
	// 1.00e-03
	// 7.50e-04
	// 5.00e-04
	// 2.50e-04
	// 0.00e+00
}
