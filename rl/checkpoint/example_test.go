package checkpoint_test

import (
	"context"
	"fmt"
	"os"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

// A run is stopped after 4 of its steps. Another process, of which newRun
// stands for the set-up, finds the last checkpoint and goes on. Checkpoints
// are made as the package comment shows.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	first, err := newRun(dir, func(int64) {})
	if err != nil {
		panic(err)
	}
	for range 4 {
		if _, err := first.Step(ctx); err != nil {
			panic(err)
		}
	}

	second, err := newRun(dir, func(int64) {})
	if err != nil {
		panic(err)
	}
	store := checkpoint.Store{Dir: dir, Keep: checkpoint.Keep{Last: 2}}
	found, err := store.Resume(ctx, second)
	if err != nil {
		panic(err)
	}
	fmt.Println("found:", found, "after step", second.Steps())
	for range 3 {
		if _, err := second.Step(ctx); err != nil {
			panic(err)
		}
	}
	c, err := store.Latest(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("last:", c.Name)
	// Output:
	// found: true after step 4
	// last: 000007-step-7
}

// Of a run of many checkpoints stay the last two, one in a hundred steps, and
// the three that were best in the evaluation.
func ExampleKeep() {
	store := checkpoint.Store{
		Dir:  "run/checkpoints",
		Keep: checkpoint.Keep{Last: 2, Every: 100, Best: 3, Metric: "eval/accuracy"},
	}
	config := rl.Config{
		CheckpointEvery: 20,
		EvalEvery:       20, // or a multiple: what has no eval is never the best
		Checkpoint: func(ctx context.Context, t *rl.Trainer) error {
			return store.Save(ctx, t)
		},
	}
	fmt.Println(config.CheckpointEvery)
	// Output: 20
}
