package policytest_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// The suite in the test of a policy; here a TablePolicy takes the place of yours.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestMyPolicy(t *testing.T) {
		policytest.Run(t, policytest.Options{
			Vocab: 16,
			Open:  func(*testing.T) rl.Policy { return policytest.NewTablePolicy(16, nil, -1) },
			LR:    0.5, // plain gradient descent can take more than AdamW
		})
	}
}

// A policy whose numbers are known in advance, which is an engine too.
func ExampleTablePolicy() {
	ctx := context.Background()
	p := policytest.NewTablePolicy(3, nil, -1)
	copy(p.Logits(0), []float64{math.Log(1), math.Log(2), math.Log(5)}) // after token 0

	b := &rl.Batch{Prompts: [][]int32{{2, 0}}, Samples: []rl.Sample{{Tokens: []int32{2}}, {Tokens: []int32{1, 1}}}}
	logp := [][]float64{{0}, {0, 0}}
	if err := p.LogProbs(ctx, b, logp); err != nil {
		panic(err)
	}
	fmt.Printf("c after a: %.4f; b after a: %.4f, b after b: %.4f\n",
		math.Exp(logp[0][0]), math.Exp(logp[1][0]), math.Exp(logp[1][1]))

	p.Logits(1)[2] = 100 // after b always c
	ask := rollout.Request{Prompt: []int32{1}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 1}}
	err := p.Generate(ctx, []rollout.Request{ask}, func(c rollout.Completion) error {
		fmt.Printf("sample %d: %s, finished by %s\n", c.Index, c.Text, c.Finish)
		return nil
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// c after a: 0.6250; b after a: 0.2500, b after b: 0.3333
	// sample 0: c, finished by length
	// sample 1: c, finished by length
}
