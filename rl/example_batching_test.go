package rl_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rl"
)

// The arithmetic of a step is known before it runs.
func ExampleBatching() {
	b := rl.Batching{Prompts: 64, GroupSize: 8, MiniBatches: 4, Accumulate: 2}
	fmt.Println(b)
	fmt.Println(rl.Batching{Prompts: 10, MiniBatches: 4}.Validate())
	// Output:
	// 64 prompts × 8 samples = 512 completions per collection; 4 optimiser steps (1 epochs × 4 mini-batches of 16 prompts), each in 2 passes
	// rl: Batching.Prompts is 10, which 4 MiniBatches do not divide: optimiser steps would differ in size
}
