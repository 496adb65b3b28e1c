package run_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/internal/toy"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/sam"
)

// train begins a run, or goes on with one, and takes the training steps that are left
// up to a number. The policy and its problems stand for yours.
func train(ctx context.Context, begin func(run.Config) (*run.Writer, error), dir string, lr float64, steps int64) error {
	problems := toy.Problems(4)[:3]
	digest, err := rl.Digest(problems)
	if err != nil {
		return err
	}
	w, err := begin(run.Config{
		Dir:      dir,
		Settings: map[string]any{"lr": lr},
		Data:     map[string]string{"problems": digest},
		Seed:     1,
		Keep:     checkpoint.Keep{Last: 2},
	})
	if err != nil {
		return err
	}
	defer w.Close()
	stage, err := w.Stage("train")
	if err != nil {
		return err
	}
	policy := newTable(stage.Checkpoints().Dir)
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy, Source: &rl.SliceSource{Problems: problems, Seed: 1},
		Estimator:       advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:          sam.Mask{},
		Objective:       objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
		Aggregation:     objective.TokenMean{},
		Batching:        rl.Batching{Prompts: 3, GroupSize: 4},
		LR:              rl.Constant{LR: lr},
		Seed:            1,
		Steps:           steps,
		Recorder:        stage,
		CheckpointEvery: 2,
		Checkpoint:      func(ctx context.Context, t *rl.Trainer) error { return stage.Save(ctx, t) },
	})
	if err != nil {
		return err
	}
	if _, err := stage.Resume(ctx, trainer); err != nil {
		return err
	}
	return trainer.Run(ctx)
}

// A run of five training steps goes on to eight. Nobody goes on with other settings.
// Then somebody reads it.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := train(ctx, run.Start, dir, 1, 5); err != nil {
		panic(err)
	}
	err = train(ctx, run.Resume, dir, 2, 8)
	if different, ok := errors.AsType[*run.DifferenceError](err); ok {
		fmt.Println(different.Differences)
	}
	if err := train(ctx, run.Resume, dir, 1, 8); err != nil {
		panic(err)
	}

	f, err := run.Open(dir)
	if err != nil {
		panic(err)
	}
	for l, err := range f.Lines("train", run.Metrics) {
		if err != nil {
			panic(err)
		}
		fmt.Print(l.Step, " ")
	}
	last, err := f.Checkpoints("train").Latest(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("and", last.Name)
	faults, err := run.Check(ctx, dir)
	fmt.Println(len(faults), "faults", err)
	// Output:
	// [settings.lr: 1 and 2]
	// 1 2 3 4 5 6 7 8 and 000005-step-8
	// 0 faults <nil>
}
