package tinker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// say rewards completions with many a's. Its step is the first half of the text,
// which is correct if it contains a b.
type say struct{ prompt []int32 }

func (s say) Request() (rollout.Request, error) {
	return rollout.Request{ID: fmt.Sprint(s.prompt), Prompt: s.prompt, N: 6, Params: rollout.Params{Temperature: 1, MaxTokens: 6}}, nil
}

func (s say) Judge(_ context.Context, c *rollout.Completion) error {
	c.Rewards = []float64{float64(strings.Count(c.Text, "a"))}
	half := len(c.Tokens) / 2
	step := rollout.Step{Name: "b", End: half, Verdict: rollout.VerdictIncorrect, Status: prompt.StatusOK}
	if half > 0 && strings.Contains(c.Text[:c.Ends[half-1]], "b") {
		step.Verdict = rollout.VerdictCorrect
	}
	c.Steps = []rollout.Step{step}
	return nil
}

// training is a configuration with step credit, several updates on each collection,
// batches in several parts, and regularisers: all that changes a gradient.
func training(p rl.Policy, e rollout.Engine, reference rl.LogProber) rl.Config {
	return rl.Config{
		Policy: p, Engine: e, Reference: reference,
		Source:      &rl.SliceSource{Seed: 3, Problems: []rl.Problem{say{[]int32{1}}, say{[]int32{2, 3}}, say{[]int32{4, 5, 6}}, say{[]int32{7, 1}}}},
		Estimator:   advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:      sam.Mask{},
		Objective:   objective.Terms{objective.PPO{ClipLow: 0.2, ClipHigh: 0.28}, objective.KL{Estimator: objective.K3, Beta: 0.1}},
		Aggregation: objective.SeqMeanTokenMean{},
		Batching:    rl.Batching{Prompts: 4, Epochs: 2, MiniBatches: 2, Accumulate: 2},
		LR:          rl.Constant{LR: 0.5},
		Steps:       5, Seed: 9,
	}
}

// replayed gives the completions of another run.
type replayed struct{ runs [][]rollout.Group }

func (r *replayed) Generate(_ context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	groups := r.runs[0]
	r.runs = r.runs[1:]
	for _, g := range groups {
		for _, c := range g {
			if err := emit(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordInto keeps what the engine sampled.
func recordInto(r *replayed) func(int64, *rl.Rollouts) error {
	return func(_ int64, rollouts *rl.Rollouts) error {
		var groups []rollout.Group
		for _, g := range rollouts.Groups {
			var copies rollout.Group
			for _, c := range g {
				copies = append(copies, rollout.Completion{
					Request: c.Request, Index: c.Index, Tokens: c.Tokens, Text: c.Text, Ends: c.Ends, LogP: c.LogP, Finish: c.Finish,
				})
			}
			groups = append(groups, copies)
		}
		r.runs = append(r.runs, groups)
		return nil
	}
}

// A run with policy and engine on a server comes to the weights of a run on the table
// itself with the same samples, whichever way the server scales losses.
func TestTrainerEqualsLocal(t *testing.T) {
	for _, mean := range []bool{false, true} {
		t.Run(fmt.Sprint("mean=", mean), func(t *testing.T) {
			s := newServer(t, tinkertest.Options{Mean: mean})
			c := newClient(t, s.URL)
			reference := newPolicy(t, c)
			p := newPolicy(t, c)
			require.Equal(t, mean, p.Scaling() == tinker.ScalingMean)
			var samples replayed
			config := training(p, newEngine(t, c), reference)
			config.OnRollouts = recordInto(&samples)
			trainer, err := rl.NewTrainer(config)
			require.NoError(t, err)
			require.NoError(t, trainer.Run(t.Context()))
			remote := trainer.Metrics()
			require.Len(t, samples.runs, 5)
			require.Less(t, remote["objective/engine_mismatch"], 1e-6, "the engine samples from what the policy published")

			table := s.Base()
			local, err := rl.NewTrainer(training(tableAtFloat32{table}, &samples, s.Base()))
			require.NoError(t, err)
			require.NoError(t, local.Run(t.Context()))
			moved := 0.0
			got, start := s.Logits(), s.Base()
			for prev := range int32(12) {
				for v, want := range table.Logits(prev) {
					require.InDelta(t, want, got[int(prev)*12+v], 1e-6)
					moved = max(moved, want-start.Logits(prev)[v])
				}
			}
			require.Greater(t, moved, 0.1, "something was learned")
			for _, name := range []string{"loss", "grad_norm", "reward/0", "step/b/correct", "credit/b/masked"} {
				require.Contains(t, remote, name)
				require.InDelta(t, local.Metrics()[name], remote[name], 1e-5, name)
			}
		})
	}
}

// tableAtFloat32 rounds log-probs as they are rounded on the wire, because whether a
// ratio is clipped can depend on its last bits.
type tableAtFloat32 struct{ *policytest.TablePolicy }

func (p tableAtFloat32) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	if err := p.TablePolicy.LogProbs(ctx, b, dst); err != nil {
		return err
	}
	for _, d := range dst {
		for i := range d {
			d[i] = float64(float32(d[i]))
		}
	}
	return nil
}

// A run that is saved and restored in another process continues with the same numbers.
func TestTrainerResumes(t *testing.T) {
	s := newServer(t, tinkertest.Options{Mean: true, MaxModels: 4})
	c := newClient(t, s.URL)
	reference := newPolicy(t, c)
	open := func() *rl.Trainer {
		p, err := tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingMean})
		require.NoError(t, err)
		trainer, err := rl.NewTrainer(training(p, newEngine(t, c), reference))
		require.NoError(t, err)
		return trainer
	}
	trainer := open()
	for range 2 {
		_, err := trainer.Step(t.Context())
		require.NoError(t, err)
	}
	state, err := trainer.Save(t.Context(), "000001-step-2")
	require.NoError(t, err)
	for range 2 {
		_, err := trainer.Step(t.Context())
		require.NoError(t, err)
	}
	want, wantMetrics := s.Logits(), trainer.Metrics()

	again := open()
	require.NoError(t, again.Restore(t.Context(), state))
	for range 2 {
		_, err := again.Step(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, want, s.Logits())
	require.Equal(t, wantMetrics["loss"], again.Metrics()["loss"])
	require.Equal(t, wantMetrics["reward/0"], again.Metrics()["reward/0"])
}

// What the server cannot do is refused before anything is sampled.
func TestTrainerRefuses(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	c := newClient(t, s.URL)
	p := newPolicy(t, c)
	for want, change := range map[string]func(*rl.Config){
		"MaxNorm is 1: the policy does not support clipping of the gradient by its norm": func(c *rl.Config) { c.MaxNorm = 1 },
		"Objective: the policy does not support entropies":                               func(c *rl.Config) { c.Objective = objective.Terms{c.Objective, objective.EntropyBonus{Coef: 0.1}} },
		"Objective: the policy does not support candidates":                              func(c *rl.Config) { c.Objective = objective.ForwardKL{} },
		"asks for temperature 0.7: the policy does not support log-probs at temperatures other than 1": func(c *rl.Config) {
			c.Source = &rl.SliceSource{Problems: []rl.Problem{warm{say{[]int32{1}}}, warm{say{[]int32{2}}}, warm{say{[]int32{3}}}, warm{say{[]int32{4}}}}}
		},
	} {
		config := training(p, newEngine(t, c), p)
		change(&config)
		_, err := rl.NewTrainer(config)
		require.ErrorIs(t, err, rl.ErrUnsupported)
		require.ErrorContains(t, err, want)
	}
	require.Zero(t, s.Count("/asample"))
}

type warm struct{ say }

func (w warm) Request() (rollout.Request, error) {
	r, err := w.say.Request()
	r.Params.Temperature = 0.7
	return r, err
}
