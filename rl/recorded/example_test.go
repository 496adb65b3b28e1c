package recorded_test

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rl/recorded"
	"github.com/stepwise-rl/stepwise/rollout"
)

// A teacher samples completions and says what it thinks of each of their tokens. Later,
// without the teacher, a policy learns from the file. With decoders the teacher is a
// local.LogProber beside a local.Engine, and letters is their tokenizer.
func Example() {
	ctx, tok := context.Background(), letters{}
	teacher := policytest.NewTablePolicy(vocab, nil, 5) // f ends a completion
	teacher.Randomize(5, 1)

	// Sample. The problems have no reward; with one, Best(1, nil) takes the right ones.
	var problems []rl.Problem
	for token := range int32(5) {
		problems = append(problems, rl.NewProblem(rollout.Request{
			ID: fmt.Sprint(token), Prompt: []int32{token}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 8},
		}, nil))
	}
	r, err := rl.Collect(ctx, teacher, problems, [2]uint64{1, 0})
	check(err)
	demos, err := r.Best(math.Inf(-1), nil)
	check(err)

	// Record, here in one batch. Tokens hold the end-of-text token where it was sampled.
	var file bytes.Buffer
	w, err := recorded.NewWriter(&file, recorded.Header{K: 4, Vocab: recorded.Digest(tok)})
	check(err)
	batch, err := rl.DemonstrationBatch(demos, objective.TokenMean{})
	check(err)
	check(w.Record(ctx, teacher, batch))

	// Read, and imitate the same demonstrations: End stays empty, as they have theirs.
	from, err := recorded.Read(&file, tok)
	check(err)
	policy := policytest.NewTablePolicy(vocab, nil, 5)
	m := rl.Imitation{
		Policy: policy, Demonstrations: rl.Shuffled(demos, 1), Batch: len(demos), Steps: 200, LR: rl.Constant{LR: 2},
		Objective: objective.ForwardKL{},
		Teacher:   &rl.Teacher{LogProber: from, K: 4},
		Recorder: rl.RecorderFunc(func(step int64, metrics map[string]float64) error {
			if step == 1 || step == 200 {
				fmt.Printf("training step %3d: %.3f nats per token\n", step, metrics["loss"])
			}
			return nil
		}),
	}
	check(m.Run(ctx))
	// Output:
	// training step   1: 0.546 nats per token
	// training step 200: 0.001 nats per token
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
