package rl

import "fmt"

// Batching sets the sizes of one training step. A collection of Prompts ×
// GroupSize completions is divided, by prompts, into MiniBatches optimiser steps,
// and there are Epochs passes over it. Each optimiser step is computed in
// Accumulate forward-backward passes, which changes its memory but not the
// result.
type Batching struct {
	// Prompts is the number of problems sampled per collection.
	Prompts int
	// GroupSize is the number of completions that each problem must ask for;
	// 0 leaves that to the problems.
	GroupSize int
	// MiniBatches is the number of optimiser steps per epoch; 0 means 1.
	MiniBatches int
	// Epochs is the number of passes over each collection; 0 means 1.
	Epochs int
	// Accumulate is the number of forward-backward calls per optimiser step;
	// 0 means 1.
	Accumulate int
}

func (b Batching) withDefaults() Batching {
	b.MiniBatches = max(b.MiniBatches, 1)
	b.Epochs = max(b.Epochs, 1)
	b.Accumulate = max(b.Accumulate, 1)
	return b
}

// Validate returns an error that names the first invalid setting.
func (b Batching) Validate() error {
	for _, f := range []struct {
		name string
		v    int
	}{{"GroupSize", b.GroupSize}, {"MiniBatches", b.MiniBatches}, {"Epochs", b.Epochs}, {"Accumulate", b.Accumulate}} {
		if f.v < 0 {
			return fmt.Errorf("rl: Batching.%s is %d, must not be negative", f.name, f.v)
		}
	}
	b = b.withDefaults()
	switch {
	case b.Prompts < 1:
		return fmt.Errorf("rl: Batching.Prompts is %d, need at least 1", b.Prompts)
	case b.Prompts%b.MiniBatches != 0:
		return fmt.Errorf("rl: Batching.Prompts is %d, which %d MiniBatches do not divide: optimiser steps would differ in size", b.Prompts, b.MiniBatches)
	case b.Prompts/b.MiniBatches < b.Accumulate:
		return fmt.Errorf("rl: Batching.Accumulate is %d, but a mini-batch has only %d prompts", b.Accumulate, b.Prompts/b.MiniBatches)
	}
	return nil
}

// OptimSteps is the number of optimiser steps per collection.
func (b Batching) OptimSteps() int {
	b = b.withDefaults()
	return b.MiniBatches * b.Epochs
}

// String states all counts, derived ones included. A trainer logs it at its
// start.
func (b Batching) String() string {
	b = b.withDefaults()
	group, per := "the problems' number of samples", ""
	if b.GroupSize > 0 {
		group = count(b.GroupSize, "sample", "samples")
		per = " = " + count(b.Prompts*b.GroupSize, "completion", "completions")
	}
	return fmt.Sprintf("%s × %s%s per collection; %s (%s × %s of %s), each in %s",
		count(b.Prompts, "prompt", "prompts"), group, per, count(b.OptimSteps(), "optimiser step", "optimiser steps"), count(b.Epochs, "epoch", "epochs"),
		count(b.MiniBatches, "mini-batch", "mini-batches"), count(b.Prompts/b.MiniBatches, "prompt", "prompts"), count(b.Accumulate, "pass", "passes"))
}

// count returns a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
