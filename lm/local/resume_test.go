package local_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// successor is a problem: after token p write p+1, then p+2, modulo 10. Each token
// is a step; the reward is that of the last.
type successor int32

func (s successor) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{int32(s)}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}, nil
}

func (s successor) Judge(_ context.Context, c *rollout.Completion) error {
	for k, name := range []string{"first", "second"} {
		st := rollout.Step{Name: name, Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect, Final: k == 1}
		if c.Tokens[k] == (int32(s)+int32(k)+1)%10 {
			st.Verdict, st.Reward = rollout.VerdictCorrect, 1
		}
		c.Steps = append(c.Steps, st)
	}
	c.Rewards = []float64{c.Steps[1].Reward}
	return nil
}

// trainer returns a trainer of a policy, with adapters or with a reference or both, and
// the store of its checkpoints in dir.
func trainer(t *testing.T, b tensor.Backend, dir string, adapters bool, reference *local.ReferenceConfig) (*rl.Trainer, *checkpoint.Store, *local.Policy) {
	t.Helper()
	d := newDecoder(t, b, 5)
	if adapters {
		_, err := d.AddLoRA(tinyLoRA, 6)
		require.NoError(t, err)
	}
	p, err := local.NewPolicy(local.PolicyConfig{Decoder: d, Dir: dir})
	require.NoError(t, err)
	var loss objective.Objective = objective.PPO{ClipLow: 0.2, ClipHigh: 0.28}
	var follows rl.LogProber
	if reference != nil {
		loss = objective.Terms{loss, objective.KL{Estimator: objective.K3, Beta: 0.5}}
		follows, err = p.NewReference(*reference)
		require.NoError(t, err)
	}
	e, err := p.NewEngine(letters{}, local.EngineConfig{EOS: []int32{}})
	require.NoError(t, err)
	source := &rl.SliceSource{Seed: 2}
	for i := range int32(10) {
		source.Problems = append(source.Problems, successor(i))
	}
	store := &checkpoint.Store{Dir: dir}
	tr, err := rl.NewTrainer(rl.Config{
		Policy: p, Engine: e, Source: source, Reference: follows,
		Estimator:       advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:          sam.Mask{},
		Objective:       loss,
		Aggregation:     objective.TokenMean{},
		Batching:        rl.Batching{Prompts: 3, GroupSize: 4},
		LR:              rl.ScheduleFunc(func(step int64) float64 { return 0.03 / float64(1+step) }),
		Seed:            3,
		CheckpointEvery: 1,
		Checkpoint:      func(ctx context.Context, tr *rl.Trainer) error { return store.Save(ctx, tr) },
	})
	require.NoError(t, err)
	return tr, store, p
}

// A run that is resumed after every training step ends where an uninterrupted
// one does, bit for bit: weights, moments, schedule, random streams, the place
// in the data and the reference that follows the policy are all in a checkpoint.
func TestATrainingResumesBitForBit(t *testing.T) {
	for _, c := range []struct {
		backend   string
		adapters  bool
		reference *local.ReferenceConfig
	}{
		{"reference", false, nil},
		{"asynchronous", false, nil},
		{"cpu", false, nil},
		{"asynchronous", false, &local.ReferenceConfig{Every: 2, Mix: 0.6}},
		{"asynchronous", true, &local.ReferenceConfig{Every: 1, Mix: 0.6}},
	} {
		t.Run(fmt.Sprintf("%s, adapters %t, reference %+v", c.backend, c.adapters, c.reference), func(t *testing.T) {
			open := backends[c.backend]
			whole, _, want := trainer(t, open(t), t.TempDir(), c.adapters, c.reference)
			dir := t.TempDir()
			var got *local.Policy
			for range 4 {
				_, err := whole.Step(t.Context())
				require.NoError(t, err)
				tr, store, p := trainer(t, open(t), dir, c.adapters, c.reference)
				_, err = store.Resume(t.Context(), tr)
				require.NoError(t, err)
				_, err = tr.Step(t.Context())
				require.NoError(t, err)
				require.Equal(t, whole.Metrics()["loss"], tr.Metrics()["loss"])
				require.Equal(t, whole.Metrics()["objective/kl"], tr.Metrics()["objective/kl"])
				got = p
			}
			require.EqualValues(t, 4, got.Version())
			require.Equal(t, logProbs(t, want, batch()), logProbs(t, got, batch()))
			require.NotEqual(t, logProbs(t, newPolicy(t, open(t), 0), batch()), logProbs(t, got, batch()), "it learns")
		})
	}
}
