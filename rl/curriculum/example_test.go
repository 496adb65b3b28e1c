package curriculum_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/curriculum"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// guess is a problem: after the letter, write the wanted one.
type guess struct{ letter, want int32 }

func (g *guess) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{g.letter}, N: 8, Params: rollout.Params{Temperature: 1, MaxTokens: 1}}, nil
}

func (g *guess) Judge(_ context.Context, c *rollout.Completion) error {
	c.Rewards = []float64{0}
	if c.Tokens[0] == g.want {
		c.Rewards[0] = 1
	}
	return nil
}

// A trainer with a curriculum: problems that are solved make room for others.
func Example() {
	policy := policytest.NewTablePolicy(20, nil, -1)
	var problems []rl.Problem
	for letter := range int32(20) {
		problems = append(problems, &guess{letter, (letter + 7) % 20})
	}
	source, err := curriculum.New(problems, curriculum.Options{Seed: 1})
	if err != nil {
		panic(err)
	}
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy, Source: source,
		Estimator:   advantage.PerGroup(advantage.RLOO{}),
		Credit:      sam.Outcome{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: 4},
		LR:          rl.Constant{LR: 20},
		Steps:       150,
	})
	if err != nil {
		panic(err)
	}
	if err := trainer.Run(context.Background()); err != nil {
		panic(err)
	}
	_, m, err := rl.EvaluateProblems(context.Background(), policy, problems, 1)
	if err != nil {
		panic(err)
	}
	s := source.Summary()
	fmt.Printf("reward %.2f; %d of %d problems seen, estimated rate %.2f\n", m["reward/0"], s.Seen, s.Problems, s.Rate)
	// Output:
	// reward 0.99; 20 of 20 problems seen, estimated rate 0.93
}

// Your own loop draws with Next and shows the source the results.
func ExampleSource_Observe() {
	var problems []rl.Problem
	for i := range 100 {
		problems = append(problems, &problem{i})
	}
	source, err := curriculum.New(problems, curriculum.Options{Seed: 1})
	if err != nil {
		panic(err)
	}
	// The first 40 are never solved, the last 40 always, the others half the time.
	random := rand.New(rand.NewPCG(1, 1))
	live := 0
	for draw := range 2000 {
		p, err := source.Next(context.Background())
		if err != nil {
			panic(err)
		}
		id, right := p.(*problem).id, 0
		for range 8 {
			if id >= 60 || id >= 40 && random.Float64() < .5 {
				right++
			}
		}
		if err := source.Observe([]rl.Problem{p}, []rollout.Group{group(right, 8-right)}); err != nil {
			panic(err)
		}
		if draw >= 1000 && 0 < right && right < 8 {
			live++
		}
	}
	fmt.Printf("live groups: %.2f (a uniform source would have 0.20)\n", float64(live)/1000)
	// Output:
	// live groups: 0.48 (a uniform source would have 0.20)
}
