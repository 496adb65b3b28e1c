package local_test

import (
	"errors"
	"flag"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/internal/gputest"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cuda"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/opencl"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

var long = flag.Bool("long", false, "train in bf16 on the fake libcuda, too, which emulates tensor cores")

// gpus are the backends of devices: OpenCL on what there is, such as PoCL on a
// CPU, and CUDA on the fake libcuda. tolerance is how far from package cpu they
// may be after 20 optimiser steps, in a log-prob, a logit or a loss.
var gpus = []struct {
	name, setting string
	tolerance     float64
}{
	{"opencl", "", 1e-5},
	{"cuda", "", 1e-5},
	{"cuda", ",precision=bf16", 5e-2},
}

func onGPUs(t *testing.T, run func(t *testing.T, b tensor.Backend, tolerance float64)) {
	onGPUsWith(t, "", run)
}

// onGPUsWith opens the devices with further settings.
func onGPUsWith(t *testing.T, settings string, run func(t *testing.T, b tensor.Backend, tolerance float64)) {
	for _, g := range gpus {
		t.Run(g.name+g.setting, func(t *testing.T) {
			if g.setting != "" && !*long {
				t.Skip("use -long")
			}
			spec := g.name + g.setting + settings
			if g.name == "cuda" {
				spec += ",library=" + gputest.FakeCUDA(t)
			}
			b, err := tensor.Open(spec)
			if errors.Is(err, tensor.ErrNoDevice) {
				t.Skip(err)
			}
			require.NoError(t, err)
			defer func() { require.NoError(t, tensor.Close(b)) }()
			run(t, b, g.tolerance)
		})
	}
}

// rollouts records completions of a decoder on package cpu, with their log-probs
// then and advantages made up.
func rollouts(t *testing.T) *rl.Batch {
	d := newDecoder(t, openCPU(t), 5)
	e := newEngine(t, d, local.EngineConfig{})
	b := &rl.Batch{Prompts: [][]int32{{1, 5, 3}, {7, 7, 1, 0, 4}}, Temperature: 0.9}
	for i, prompt := range b.Prompts {
		r := rollout.Request{Prompt: prompt, N: 2, Params: rollout.Params{Temperature: 0.9, MaxTokens: 5}, Stream: [3]uint64{1, 1, uint64(i)}}
		for j, c := range generate(t, e, r)[0] {
			s := sample(i, 1.0/32, c.Tokens...)
			for range c.Tokens {
				s.Adv = append(s.Adv, float64(j)-0.5)
			}
			b.Samples = append(b.Samples, s)
		}
	}
	for i, logp := range logProbs(t, policyOf(t, d, 0), b) {
		b.Samples[i].Old = logp
	}
	return b
}

// A policy takes 20 optimiser steps on recorded rollouts, and every loss and all
// log-probs are those of package cpu.
func TestGPUsTrainAPolicy(t *testing.T) {
	recorded := rollouts(t)
	run := func(t *testing.T, b tensor.Backend) (losses []float64, logp [][]float64) {
		// With Eps far above a gradient's rounding: with less, AdamW would make
		// full-sized steps of what is 0 but for that.
		c := optim.DefaultConfig()
		c.Eps = 1e-4
		p, err := local.NewPolicy(local.PolicyConfig{Decoder: newDecoder(t, b, 5), MaxRows: 16, Optimizer: c})
		require.NoError(t, err)
		for range 20 {
			batch := *recorded
			batch.Samples = slices.Clone(recorded.Samples)
			loss, _, err := p.ForwardBackward(t.Context(), &batch, objective.PPO{ClipLow: 1, ClipHigh: math.Inf(1)})
			require.NoError(t, err)
			losses = append(losses, loss)
			for i := range batch.Samples {
				logp = append(logp, slices.Clone(batch.Samples[i].LogP))
			}
			_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-3, MaxNorm: 1})
			require.NoError(t, err)
		}
		return losses, logp
	}
	losses, logp := run(t, openCPU(t))
	require.Less(t, losses[19], losses[0]-0.02, "it learns")
	onGPUs(t, func(t *testing.T, b tensor.Backend, tolerance float64) {
		gotLosses, got := run(t, b)
		worst := 0.0
		for i, l := range losses {
			worst = max(worst, math.Abs(l-gotLosses[i]))
		}
		for i := range logp {
			for j := range logp[i] {
				worst = max(worst, math.Abs(logp[i][j]-got[i][j]))
			}
		}
		t.Logf("largest difference to cpu in 20 losses and %d times all log-probs: %.1e", len(losses), worst)
		require.LessOrEqual(t, worst, tolerance)
	})
}

// A student takes 20 optimiser steps, and all logits are those of package cpu.
func TestGPUsTrainAStudent(t *testing.T) {
	run := func(t *testing.T, b tensor.Backend) (all [][]float64) {
		s := newStudent(t, b, 3, 0)
		for range 20 {
			all = append(all, logits(t, s, inputs, true)...)
			require.NoError(t, s.Backward(t.Context(), slopes(len(inputs))))
			_, err := s.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-3, MaxNorm: 1})
			require.NoError(t, err)
		}
		return all
	}
	want := run(t, openCPU(t))
	onGPUs(t, func(t *testing.T, b tensor.Backend, tolerance float64) {
		worst := 0.0
		for i, got := range run(t, b) {
			for j := range got {
				worst = max(worst, math.Abs(got[j]-want[i][j]))
			}
		}
		t.Logf("largest difference to cpu in 20 times all logits: %.1e", worst)
		require.LessOrEqual(t, worst, tolerance)
	})
}

// What was too large for the memory of a device is an error of its own call: the same
// log-prober and the same engine compute what fits.
func TestGPUsGoOnAfterTheyLackMemory(t *testing.T) {
	onGPUsWith(t, ",memory=4MiB", func(t *testing.T, b tensor.Backend, tolerance float64) {
		d := newDecoder(t, b, 5)
		prober := local.NewLogProber(d, 1<<20)
		want := logProbs(t, local.NewLogProber(newDecoder(t, openCPU(t), 5), 0), batch())
		large := &rl.Batch{Prompts: [][]int32{{1}}}
		for range 3000 {
			large.Samples = append(large.Samples, sample(0, 0, slices.Repeat([]int32{2}, 40)...))
		}
		room := make([][]float64, len(large.Samples))
		for i := range room {
			room[i] = make([]float64, 40)
		}
		for range 2 {
			require.ErrorIs(t, prober.LogProbs(t.Context(), large, room), tensor.ErrOutOfMemory)
			near(t, want, logProbs(t, prober, batch()), tolerance)
		}

		e := newEngine(t, d, local.EngineConfig{Sequences: 512})
		r := rollout.Request{Prompt: []int32{1, 5}, N: 2, Params: rollout.Params{MaxTokens: 6}}
		all := slices.Repeat([]rollout.Request{{Prompt: []int32{1}, N: 512, Params: rollout.Params{MaxTokens: 47}}}, 3)
		require.ErrorIs(t, e.Generate(t.Context(), all, func(rollout.Completion) error { return nil }), tensor.ErrOutOfMemory)
		got := generate(t, e, r)[0]
		for i, c := range generate(t, newEngine(t, newDecoder(t, openCPU(t), 5), local.EngineConfig{}), r)[0] {
			require.Equal(t, c.Tokens, got[i].Tokens)
		}
	})
}
