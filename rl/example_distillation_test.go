package rl_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// ask is a problem that nobody judges: a teacher is enough.
type ask int32

func (a ask) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{int32(a)}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 3}}, nil
}

func (ask) Judge(context.Context, *rollout.Completion) error { return nil }

// On-policy distillation: the policy samples, and at every token of its samples the
// teacher's distribution is compared with its own, over the policy's two most likely
// tokens of six and the rest. With decoders the teacher is a local.LogProber.
func ExampleTeacher() {
	policy, teacher := policytest.NewTablePolicy(6, nil, -1), policytest.NewTablePolicy(6, nil, -1)
	teacher.Randomize(1, 2)
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy, Source: &rl.SliceSource{Problems: []rl.Problem{ask(0), ask(1), ask(2), ask(3)}},
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
