package checkpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// imitation is a custom loop: supervised optimiser steps on demonstrations. To
// go on it needs the policy and how far it is in the data.
type imitation struct {
	policy rl.Policy
	step   int64
	loss   float64
}

type imitationState struct {
	Policy string `json:"policy"`
	Step   int64  `json:"step"`
}

func (l *imitation) Steps() int64                { return l.step }
func (l *imitation) Metrics() map[string]float64 { return map[string]float64{"loss": l.loss} }

func (l *imitation) Save(ctx context.Context, name string) ([]byte, error) {
	ref, err := l.policy.Save(ctx, name)
	if err != nil {
		return nil, err
	}
	return json.Marshal(imitationState{ref, l.step})
}

func (l *imitation) Restore(ctx context.Context, saved []byte) error {
	var s imitationState
	if err := json.Unmarshal(saved, &s); err != nil {
		return err
	}
	if err := l.policy.Load(ctx, s.Policy); err != nil {
		return err
	}
	l.step = s.Step
	return nil
}

// take takes the next training step.
func (l *imitation) take(ctx context.Context) error {
	batch, err := rl.DemonstrationBatch([]rl.Demonstration{
		{Prompt: []int32{1}, Tokens: []int32{2, int32(3 + l.step%2)}},
	}, objective.TokenMean{})
	if err != nil {
		return err
	}
	if l.loss, _, err = l.policy.ForwardBackward(ctx, batch, objective.CrossEntropy{}); err != nil {
		return err
	}
	if _, err = l.policy.OptimStep(ctx, rl.OptimOptions{LR: 1}); err != nil {
		return err
	}
	l.step++
	return nil
}

// A custom loop is saved as a trainer is. Here the two best checkpoints are kept
// beside the last.
func ExampleTraining() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store := checkpoint.Store{Dir: dir, Keep: checkpoint.Keep{Best: 2, Metric: "loss", Lower: true}}
	loop := &imitation{policy: newTable(dir)} // a policy that saves in the same directory
	if _, err := store.Resume(ctx, loop); err != nil {
		panic(err)
	}
	for loop.step < 6 {
		if err := loop.take(ctx); err != nil {
			panic(err)
		}
		if err := store.Save(ctx, loop); err != nil {
			panic(err)
		}
	}
	all, err := store.List()
	if err != nil {
		panic(err)
	}
	for _, c := range all {
		fmt.Println(c.Name)
	}
	// Output:
	// 000003-step-3
	// 000005-step-5
	// 000006-step-6
}
