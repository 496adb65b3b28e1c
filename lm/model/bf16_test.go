package model_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
)

// With products of bfloat16s, log-probs, gradients and ten optimiser steps stay within these
// distances of transformers in float32: the largest and the mean of a log-prob, in nats, the
// norm of the gradients' error as a share of the gradients', and of a loss.
const (
	bf16LogP     = 0.06
	bf16MeanLogP = 0.01
	bf16Gradient = 0.04
	bf16Loss     = 0.02
)

func TestBF16AgreesWithTransformers(t *testing.T) {
	var options []cpu.Options
	for _, isa := range []cpu.ISA{cpu.ISAGo, cpu.ISAAuto} {
		if o := (cpu.Options{ISA: isa, Precision: tensor.PrecisionBFloat16}); o.Validate() == nil {
			options = append(options, o)
		}
	}
	for _, name := range []string{"llama", "llama3", "smollm", "mistral", "qwen2", "qwen3"} {
		for _, o := range options {
			b, err := cpu.New(o)
			require.NoError(t, err)
			t.Run(name+"/"+b.ISA().String(), func(t *testing.T) { checkBF16(t, filepath.Join("testdata", name), b) })
		}
	}
}

func checkBF16(t *testing.T, dir string, b tensor.Backend) {
	g := readGolden(t, dir)
	d, err := model.LoadDecoder(b, dir)
	require.NoError(t, err)
	p, tg := packAll(g.IDs)
	loss, logp := meanLoss(t, d, p, tg)

	largest, mean := 0.0, 0.0
	for i, want := range slices.Concat(g.LogP...) {
		diff := math.Abs(want - float64(logp[i]))
		largest = max(largest, diff)
		mean += diff / float64(len(logp))
	}
	var wrong, size float64
	for _, param := range d.Params() {
		got := make([]float32, param.Len())
		require.NoError(t, b.Read(got, param.Grad))
		for i, want := range g.tensor(t, "grad."+param.Name) {
			wrong += (float64(want) - float64(got[i])) * (float64(want) - float64(got[i]))
			size += float64(want) * float64(want)
		}
	}
	gradient := math.Sqrt(wrong / size)

	opt, err := optim.NewAdamW(b, d.Params(), optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-6, WeightDecay: 0.1})
	require.NoError(t, err)
	defer opt.Free()
	after := 0.0
	for _, want := range g.Steps {
		opt.ZeroGrad()
		loss, _ := meanLoss(t, d, p, tg)
		after = max(after, math.Abs(loss-want)/want)
		_, err := opt.Step(0.01, 0)
		require.NoError(t, err)
	}
	t.Logf("log-probs move by at most %.4f and %.5f in the mean, gradients by %.4f, the loss by %.5f and in ten steps by %.5f",
		largest, mean, gradient, math.Abs(loss-g.Loss)/g.Loss, after)
	require.Positive(t, mean)
	require.Less(t, largest, bf16LogP)
	require.Less(t, mean, bf16MeanLogP)
	require.Less(t, gradient, bf16Gradient)
	require.Less(t, after, bf16Loss)
}
