package curriculum_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/curriculum"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/sam"
)

// A run with curriculum and dynamic sampling that is stopped and resumed ends
// with the same bits as one that is not.
func TestATrainerResumesBitForBit(t *testing.T) {
	var problems []rl.Problem
	for letter := range int32(12) {
		problems = append(problems, &guess{letter, (letter + 5) % 12})
	}
	train := func(p *policytest.TablePolicy, steps int64, from []byte) []byte {
		source, err := curriculum.New(problems, curriculum.Options{Seed: 2})
		require.NoError(t, err)
		trainer, err := rl.NewTrainer(rl.Config{
			Policy: p, Engine: p, Source: source,
			Estimator:   advantage.PerGroup(advantage.RLOO{}),
			Credit:      sam.Outcome{},
			Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
			Aggregation: objective.TokenMean{},
			Batching:    rl.Batching{Prompts: 3},
			Dynamic:     rl.DynamicSampling{Rounds: 3, Short: rl.ShortTrain},
			LR:          rl.Constant{LR: 5},
			Steps:       steps,
		})
		require.NoError(t, err)
		if from != nil {
			require.NoError(t, trainer.Restore(t.Context(), from))
		}
		require.NoError(t, trainer.Run(t.Context()))
		saved, err := trainer.Save(t.Context(), "end")
		require.NoError(t, err)
		return saved
	}
	whole, parts := policytest.NewTablePolicy(12, nil, -1), policytest.NewTablePolicy(12, nil, -1)
	want := train(whole, 30, nil)
	got := train(parts, 30, train(parts, 13, nil))
	require.Equal(t, string(want), string(got))
	for letter := range int32(12) {
		require.Equal(t, whole.Logits(letter), parts.Logits(letter))
	}
}
