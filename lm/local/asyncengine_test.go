package local_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

func newAsyncEngine(t testing.TB, d *model.Decoder, c local.EngineConfig) *local.AsyncEngine {
	t.Helper()
	c.EOS = []int32{end}
	e, err := local.NewAsyncEngine(d, letters{}, c)
	require.NoError(t, err)
	t.Cleanup(e.Free)
	return e
}

// The weights come from another backend, and calls overlap.
func TestAsyncEngineContract(t *testing.T) {
	src := sharpDecoder(t, reference.New())
	checkContract(t, src, func(t *testing.T) rollout.Engine {
		e := newAsyncEngine(t, newDecoder(t, openCPU(t), 9), local.EngineConfig{})
		require.NoError(t, e.Refresh(t.Context(), rollout.Weights{Local: src}))
		return e
	})
}

// The engine has the policy's bits after a refresh, and keeps them while the policy is
// trained, until the next one.
func TestAsyncEngineHasItsOwnWeights(t *testing.T) {
	for _, static := range []bool{false, true} {
		p := newPolicy(t, openCPU(t), 0)
		d := newDecoder(t, openCPU(t), 9)
		d.Freeze()
		e := newAsyncEngine(t, d, local.EngineConfig{Static: static})
		own, err := p.NewEngine(letters{}, local.EngineConfig{EOS: []int32{end}})
		require.NoError(t, err)
		var before rollout.Completion
		for range 2 {
			w := publish(t, p)
			require.NoError(t, own.Refresh(t.Context(), w))
			require.NoError(t, e.Refresh(t.Context(), w))
			require.Equal(t, weightsOf(t, p.Decoder()), weightsOf(t, d))
			want := sampleOne(t, own)
			require.Equal(t, want, sampleOne(t, e.Engine))
			require.NotEqual(t, before.LogP, want.LogP)
			before = want
			train(t, p)
			require.Equal(t, want, sampleOne(t, e.Engine))
			require.NotEqual(t, want.LogP, sampleOne(t, own).LogP)
		}
	}
}

func TestAsyncEngineRefuses(t *testing.T) {
	b := reference.New()
	p, d := newPolicy(t, b, 0), newDecoder(t, reference.New(), 9)
	e := newAsyncEngine(t, d, local.EngineConfig{})
	kept := sampleOne(t, e.Engine)
	refused := func(w rollout.Weights, want string) {
		t.Helper()
		require.ErrorContains(t, e.Refresh(t.Context(), w), want)
		require.Equal(t, kept, sampleOne(t, e.Engine), "nothing has changed")
	}
	wide := tiny
	wide.FF++
	other, err := model.NewDecoder(b, wide, 1)
	require.NoError(t, err)
	adapted, _ := newLoRAPolicy(t, b, 0)
	refused(rollout.Weights{Version: 3, Local: other}, "FF:25")
	refused(rollout.Weights{Version: 3, Local: newDecoder(t, d.Backend(), 9)}, "on the asynchronous engine's own backend")
	refused(rollout.Weights{Version: 3, Local: d}, "on the asynchronous engine's own backend")
	refused(rollout.Weights{Version: 3, Local: adapted.Decoder()}, "by an Exporter whose Form is rollout.FormAdapter")
	refused(rollout.Weights{Version: 3}, "want the *model.Decoder to sample from")

	// An error of a backend is returned, and the next refresh is whole.
	boom := errors.New("out of order")
	failing := backendtest.NewAsync(reference.New())
	d = newDecoder(t, failing, 9)
	e = newAsyncEngine(t, d, local.EngineConfig{})
	failing.FailAfter(2, boom)
	require.ErrorIs(t, e.Refresh(t.Context(), publish(t, p)), boom)
	require.NoError(t, e.Refresh(t.Context(), publish(t, p)))
	require.Equal(t, weightsOf(t, p.Decoder()), weightsOf(t, d))
}

// lastID is a reward that tells samples apart.
func lastID(_ context.Context, c *rollout.Completion) (float64, error) {
	return float64(c.Tokens[len(c.Tokens)-1]), nil
}

// asyncRun trains for some steps and returns the versions that each collection was
// sampled with, and the rewards.
func asyncRun(t *testing.T, p rl.Policy, e rollout.Engine, a rl.Async) (versions []int64, rewards []float64) {
	t.Helper()
	problem := rl.NewProblem(rollout.Request{
		Prompt: []int32{1, 2}, N: 8, Params: rollout.Params{Temperature: 1, MaxTokens: 5},
	}, lastID)
	tr, err := rl.NewTrainer(rl.Config{
		Policy: p, Engine: e, Async: a, Batching: rl.Batching{Prompts: 2}, Steps: 6, LR: rl.Constant{LR: 1e-2},
		Source:    &rl.SliceSource{Problems: slices.Repeat([]rl.Problem{problem}, 12)},
		Estimator: advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Objective: objective.Corrected{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.28}, Max: 2},
		OnRollouts: func(_ int64, r *rl.Rollouts) error {
			for _, g := range r.Groups {
				for _, c := range g {
					require.Equal(t, c.FirstVersion, c.LastVersion)
					versions, rewards = append(versions, c.FirstVersion), append(rewards, c.Rewards[0])
				}
			}
			versions = slices.Compact(versions)
			return nil
		},
	})
	require.NoError(t, err)
	require.NoError(t, tr.Run(t.Context()))
	return versions, rewards
}

// An asynchronous run is the same bit for bit every time, with whole weights and with
// adapters; in turns, the engine gives what the policy's own gives.
func TestAsyncEngineTrains(t *testing.T) {
	type parts struct {
		policy rl.Policy
		engine rollout.Engine
		own    *local.Policy
	}
	whole := func(t *testing.T) parts {
		p := newPolicy(t, openCPU(t), 0)
		return parts{p, newAsyncEngine(t, newDecoder(t, openCPU(t), 9), local.EngineConfig{}), p}
	}
	adapters := func(t *testing.T) parts {
		p, _ := newLoRAPolicy(t, openCPU(t), 0)
		x, err := local.NewExporter(p, local.ExporterConfig{Form: rollout.FormAdapter, Dir: t.TempDir()})
		require.NoError(t, err)
		return parts{x, newAsyncEngine(t, newDecoder(t, openCPU(t), 5), local.EngineConfig{}), p}
	}
	for name, open := range map[string]func(t *testing.T) parts{"whole": whole, "adapters": adapters} {
		t.Run(name, func(t *testing.T) {
			var weights [2][]float32
			var rewards [2][]float64
			for i := range weights {
				x := open(t)
				var versions []int64
				versions, rewards[i] = asyncRun(t, x.policy, x.engine, rl.Async{Staleness: 1})
				require.Equal(t, []int64{0, 1, 2, 3, 4}, versions)
				weights[i] = weightsOf(t, x.own.Decoder())
			}
			require.Equal(t, weights[0], weights[1])
			require.Equal(t, rewards[0], rewards[1])
		})
	}
	x := whole(t)
	_, got := asyncRun(t, x.policy, x.engine, rl.Async{})
	p := newPolicy(t, openCPU(t), 0)
	own, err := p.NewEngine(letters{}, local.EngineConfig{EOS: []int32{end}})
	require.NoError(t, err)
	_, want := asyncRun(t, p, own, rl.Async{})
	require.Equal(t, want, got)
	require.Equal(t, weightsOf(t, p.Decoder()), weightsOf(t, x.own.Decoder()))

	// A policy's own engine is no asynchronous one.
	_, err = rl.NewTrainer(rl.Config{Policy: p, Engine: own, Async: rl.Async{Staleness: 1},
		Source: &rl.SliceSource{}, Batching: rl.Batching{Prompts: 1}, LR: rl.Constant{LR: 1}})
	require.ErrorContains(t, err, "which *local.Engine is not")
}
