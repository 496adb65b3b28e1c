package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var tiny = model.Config{Vocab: 13, Dim: 16, Layers: 2, Heads: 2, KVHeads: 1, FF: 24, MaxSeq: 32, TieEmbeddings: true}

func open(t *testing.T, b tensor.Backend, maxRows int) *local.Policy {
	t.Helper()
	return openSeed(t, b, maxRows, 5)
}

func openSeed(t *testing.T, b tensor.Backend, maxRows int, seed uint64) *local.Policy {
	t.Helper()
	d, err := model.NewDecoder(b, tiny, seed)
	require.NoError(t, err)
	p, err := local.NewPolicy(local.PolicyConfig{Decoder: d, MaxRows: maxRows, Dir: t.TempDir()})
	require.NoError(t, err)
	return p
}

func TestPolicyContract(t *testing.T) {
	for name, c := range map[string]struct {
		backend func() tensor.Backend
		maxRows int
	}{
		"one micro-batch":      {func() tensor.Backend { return reference.New() }, 0},
		"many micro-batches":   {func() tensor.Backend { return reference.New() }, 9},
		"asynchronous backend": {func() tensor.Backend { return backendtest.NewAsync(reference.New()) }, 9},
		"cpu backend": {func() tensor.Backend {
			b, err := cpu.New(cpu.Options{})
			require.NoError(t, err)
			return b
		}, 9},
		"a sample at a time": {func() tensor.Backend { return reference.New() }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			policytest.Run(t, policytest.Options{
				Open:  func(t *testing.T) rl.Policy { return open(t, c.backend(), c.maxRows) },
				Vocab: tiny.Vocab,
			})
		})
	}
}

// linear is the loss Σ weight·logp, with a hook.
type linear struct {
	before func(s *objective.Sequence) error
}

func (linear) Needs() objective.Inputs { return 0 }
func (linear) Validate() error         { return nil }
func (l linear) Eval(s *objective.Sequence, m objective.Metrics) (float64, error) {
	if l.before != nil {
		if err := l.before(s); err != nil {
			return 0, err
		}
	}
	loss := 0.0
	for t, w := range s.Weight {
		loss += w * s.LogP[t]
		s.Grad[t] += w
	}
	m.Add("sequences", 1, 1)
	return loss, nil
}

func sample(prompt int, weight float64, tokens ...int32) rl.Sample {
	s := rl.Sample{Prompt: prompt, Tokens: tokens}
	for range tokens {
		s.Weight = append(s.Weight, weight)
	}
	return s
}

// batch has two prompts whose samples alternate, and an empty completion.
func batch() *rl.Batch {
	return &rl.Batch{
		Prompts: [][]int32{{1, 2, 3}, {4}},
		Samples: []rl.Sample{
			sample(0, -1, 5, 6, 7), sample(1, 0.5, 8), sample(0, -2, 9, 9), sample(1, 1), sample(1, -1, 1, 2, 3, 4),
		},
		Temperature: 0.8,
	}
}

func TestMicroBatchesChangeNothingButRounding(t *testing.T) {
	type outcome struct {
		loss, norm float64
		logp       [][]float64
	}
	run := func(maxRows int) outcome {
		p, b := open(t, reference.New(), maxRows), batch()
		loss, m, err := p.ForwardBackward(t.Context(), b, linear{})
		require.NoError(t, err)
		require.Equal(t, objective.Sum{Sum: 5, Count: 5}, m["sequences"], "every sample is evaluated, the empty one too")
		info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-3, MaxNorm: 1})
		require.NoError(t, err)
		require.EqualValues(t, 1, info.Version)
		o := outcome{loss: loss, norm: info.GradNorm}
		for i := range b.Samples {
			o.logp = append(o.logp, b.Samples[i].LogP)
		}
		return o
	}
	whole := run(0)
	for _, maxRows := range []int{1, 4, 7} {
		got := run(maxRows)
		require.InEpsilon(t, whole.loss, got.loss, 1e-6)
		require.InEpsilon(t, whole.norm, got.norm, 1e-5)
		for i := range whole.logp {
			require.InDeltaSlice(t, whole.logp[i], got.logp[i], 1e-5)
		}
	}
}

func TestErrorsNameTheSample(t *testing.T) {
	p := open(t, reference.New(), 0)
	for want, change := range map[string]func(b *rl.Batch){
		"prompt 0: token 1 has id 13, want 0 to 12":               func(b *rl.Batch) { b.Prompts[0] = []int32{1, 13} },
		"sample 2: token 1 has id -1, want 0 to 12":               func(b *rl.Batch) { b.Samples[2].Tokens[1] = -1 },
		"sample 1 is of prompt 2, but there are 2":                func(b *rl.Batch) { b.Samples[1].Prompt = 2 },
		"sample 1: its prompt 1 is empty":                         func(b *rl.Batch) { b.Prompts[1] = nil },
		"sample 0: a prompt of 31 tokens and 3 more are too long": func(b *rl.Batch) { b.Prompts[0] = make([]int32, 31) },
		"temperature -1": func(b *rl.Batch) { b.Temperature = -1 },
	} {
		b := batch()
		change(b)
		_, _, err := p.ForwardBackward(t.Context(), b, linear{})
		require.ErrorContains(t, err, want)
	}
	refusal := errors.New("refused")
	_, _, err := p.ForwardBackward(t.Context(), batch(), linear{func(s *objective.Sequence) error {
		if len(s.Weight) == 2 {
			return refusal
		}
		return nil
	}})
	require.ErrorIs(t, err, refusal)
	require.ErrorContains(t, err, "sample 2")
}

func TestCancellationTakesEffectBetweenMicroBatches(t *testing.T) {
	p := open(t, reference.New(), 1)
	ctx, cancel := context.WithCancel(t.Context())
	evaluated := 0
	_, _, err := p.ForwardBackward(ctx, batch(), linear{func(*objective.Sequence) error {
		evaluated++
		cancel()
		return nil
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, evaluated)
	info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 1})
	require.NoError(t, err)
	require.Zero(t, info.GradNorm)
}

func TestBackendErrorsLeaveAUsablePolicy(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	p := open(t, b, 0)
	boom := errors.New("device lost")
	for _, after := range []int{0, 40, 80} {
		_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
		require.NoError(t, err)
		b.FailAfter(after, boom)
		_, _, err = p.ForwardBackward(t.Context(), batch(), linear{})
		require.ErrorIs(t, err, boom)
		info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0})
		require.NoError(t, err)
		require.Zero(t, info.GradNorm, "the gradient accumulated before the error is cleared")
	}
	require.NoError(t, b.Sync())
}

func TestConfigErrorsNameTheSetting(t *testing.T) {
	d, err := model.NewDecoder(reference.New(), tiny, 0)
	require.NoError(t, err)
	for want, c := range map[string]local.PolicyConfig{
		"Config.Decoder is nil":    {},
		"Config.MaxRows is -1":     {Decoder: d, MaxRows: -1},
		"Config.Optimizer: optim:": {Decoder: d, Optimizer: optim.Config{Beta1: 2}},
	} {
		_, err := local.NewPolicy(c)
		require.ErrorContains(t, err, want)
	}
}

func TestPublishHandsOutTheDecoder(t *testing.T) {
	p := open(t, reference.New(), 0)
	_, err := p.OptimStep(t.Context(), rl.OptimOptions{})
	require.NoError(t, err)
	w, err := p.Publish(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, w.Version)
	require.Same(t, p.Decoder(), w.Local)
}

// train takes two steps and returns the loss before the second.
func train(t *testing.T, p *local.Policy) float64 {
	var loss float64
	for range 2 {
		var err error
		loss, _, err = p.ForwardBackward(t.Context(), batch(), linear{})
		require.NoError(t, err)
		_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-2})
		require.NoError(t, err)
	}
	return loss
}

func TestAnotherProcessContinuesBitForBit(t *testing.T) {
	p := open(t, reference.New(), 0)
	train(t, p)
	ref, err := p.Save(t.Context(), "step-2")
	require.NoError(t, err)
	want := train(t, p)

	q := openSeed(t, backendtest.NewAsync(reference.New()), 0, 77)
	require.NoError(t, q.Load(t.Context(), ref))
	require.EqualValues(t, 2, q.Version())
	require.Equal(t, want, train(t, q))
}

func TestSaveReplacesACheckpointOfTheSameName(t *testing.T) {
	p := open(t, reference.New(), 0)
	_, err := p.Save(t.Context(), "last")
	require.NoError(t, err)
	train(t, p)
	ref, err := p.Save(t.Context(), "last")
	require.NoError(t, err)
	train(t, p)
	require.NoError(t, p.Load(t.Context(), ref))
	require.EqualValues(t, 2, p.Version())
	entries, err := os.ReadDir(filepath.Dir(ref))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing temporary is left")
}

func TestSaveRefuses(t *testing.T) {
	p := open(t, reference.New(), 0)
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "/a"} {
		_, err := p.Save(t.Context(), name)
		require.ErrorContains(t, err, "no plain file name", name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Save(ctx, "late")
	require.ErrorIs(t, err, context.Canceled)

	nowhere, err := local.NewPolicy(local.PolicyConfig{Decoder: p.Decoder()})
	require.NoError(t, err)
	_, err = nowhere.Save(t.Context(), "x")
	require.ErrorContains(t, err, "Config.Dir")
}

func TestLoadRefusesADamagedCheckpointAndChangesNothing(t *testing.T) {
	p := open(t, reference.New(), 0)
	train(t, p)
	for _, name := range []string{model.WeightsFile, model.ConfigFile, "optimizer.safetensors", "state.json"} {
		ref, err := p.Save(t.Context(), "c")
		require.NoError(t, err)
		path := filepath.Join(ref, name)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		data[len(data)-3] ^= 0x10
		require.NoError(t, os.WriteFile(path, data, 0o666))
		require.ErrorContains(t, p.Load(t.Context(), ref), name)
		require.NoError(t, os.Remove(path))
		require.ErrorContains(t, p.Load(t.Context(), ref), name)
	}
	require.EqualValues(t, 2, p.Version())
}

func TestLoadRefusesAnotherModel(t *testing.T) {
	p := open(t, reference.New(), 0)
	ref, err := p.Save(t.Context(), "c")
	require.NoError(t, err)
	other := tiny
	other.Heads = 4
	d, err := model.NewDecoder(reference.New(), other, 0)
	require.NoError(t, err)
	q, err := local.NewPolicy(local.PolicyConfig{Decoder: d})
	require.NoError(t, err)
	require.ErrorContains(t, q.Load(t.Context(), ref), "Heads:2")
}

func TestAFrozenCloneStaysBehind(t *testing.T) {
	p := open(t, reference.New(), 0)
	ref := local.NewLogProber(p.Decoder().Clone(), 4)
	logProbs := func(s rl.LogProber) [][]float64 {
		b := batch()
		dst := make([][]float64, len(b.Samples))
		for i := range dst {
			dst[i] = make([]float64, len(b.Samples[i].Tokens))
		}
		require.NoError(t, s.LogProbs(t.Context(), b, dst))
		return dst
	}
	before := logProbs(p)
	train(t, p)
	for i, row := range logProbs(ref) {
		require.InDeltaSlice(t, before[i], row, 1e-6)
	}
	require.NotEqual(t, before, logProbs(p))
}
