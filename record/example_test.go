package record_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/record"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// token is a problem: write the token 1.
type token struct{}

func (token) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{0}, N: 8, Params: rollout.Params{Temperature: 1, MaxTokens: 1}}, nil
}

func (token) Judge(_ context.Context, c *rollout.Completion) error {
	c.Rewards = []float64{float64(c.Tokens[0])}
	return nil
}

// train runs a training whose metrics go into the folder. There are no
// checkpoints, so a second call begins anew.
func train(dir string, steps int64) (err error) {
	lines, err := record.OpenJSONLines(filepath.Join(dir, "metrics.jsonl"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lines.Close()) }()
	board, err := record.OpenTensorBoard(filepath.Join(dir, "tensorboard"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, board.Close()) }()
	policy := policytest.NewTablePolicy(2, nil, -1)
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy,
		Source:      &rl.SliceSource{Problems: []rl.Problem{token{}}},
		Estimator:   advantage.PerGroup(advantage.RLOO{}),
		Credit:      sam.Outcome{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: 1},
		LR:          rl.Constant{LR: 4},
		Steps:       steps,
		Recorder:    record.Tee(lines, board),
	})
	if err != nil {
		return err
	}
	return trainer.Run(context.Background())
}

// A run that is stopped after two training steps and begun anew has every step
// once.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for _, steps := range []int64{2, 4} {
		if err := train(dir, steps); err != nil {
			panic(err)
		}
	}
	file, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		panic(err)
	}
	defer file.Close()
	for line, err := range record.Lines(file) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("training step %d: reward %.3f\n", line.Step, line.Metrics["reward/0"])
	}
	// Output:
	// training step 1: reward 0.500
	// training step 2: reward 0.875
	// training step 3: reward 0.875
	// training step 4: reward 1.000
}

// A recorder of your own is a function.
func ExampleTee() {
	best := 0.0
	keepBest := rl.RecorderFunc(func(step int64, metrics map[string]float64) error {
		if v, ok := metrics["eval/reward/label"]; ok {
			best = max(best, v)
		}
		return nil
	})
	print := rl.RecorderFunc(func(step int64, metrics map[string]float64) error {
		_, err := fmt.Println("training step", step, "loss", metrics["loss"])
		return err
	})
	r := record.Tee(keepBest, print)
	for step, accuracy := range []float64{0.5, 0.75, 0.625} {
		if err := r.Record(int64(step)+1, map[string]float64{"loss": 0, "eval/reward/label": accuracy}); err != nil {
			panic(err)
		}
	}
	fmt.Println("best", best)
	// Output:
	// training step 1 loss 0
	// training step 2 loss 0
	// training step 3 loss 0
	// best 0.75
}

func ExampleEscapeName() {
	fmt.Println(record.EscapeName("step/主题/correct"))
	fmt.Println(record.EscapeName("two\nlines"))
	// Output:
	// step/主题/correct
	// two\nlines
}
