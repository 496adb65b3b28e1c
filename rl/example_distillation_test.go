package rl_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// On-policy distillation: the policy samples, and at every token of its samples the
// teacher's distribution is compared with its own, over the policy's two most likely
// tokens of six and the rest. The problems have no reward: a teacher is enough. With
// decoders the teacher is a local.LogProber, and Vocab and PolicyVocab are set.
func ExampleTeacher() {
	policy, teacher := policytest.NewTablePolicy(6, nil, -1), policytest.NewTablePolicy(6, nil, -1)
	teacher.Randomize(1, 2)
	var problems []rl.Problem
	for token := range int32(4) {
		request := rollout.Request{Prompt: []int32{token}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 3}}
		problems = append(problems, rl.NewProblem(request, nil))
	}
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy, Source: &rl.SliceSource{Problems: problems},
		Objective: objective.ReverseKL{},
		Teacher:   &rl.Teacher{LogProber: teacher, K: 2, Candidates: rl.CandidatesPolicy},
		Batching:  rl.Batching{Prompts: 4}, LR: rl.Constant{LR: 2},
	})
	if err != nil {
		panic(err)
	}
	for _, steps := range []int{1, 9, 90} {
		for range steps {
			if _, err := trainer.Step(context.Background()); err != nil {
				panic(err)
			}
		}
		fmt.Printf("after %3d training steps: %.3f nats per token\n", trainer.Steps(), trainer.Metrics()["objective/reverse_kl"])
	}
	// Output:
	// after   1 training steps: 0.377 nats per token
	// after  10 training steps: 0.214 nats per token
	// after 100 training steps: 0.001 nats per token
}
