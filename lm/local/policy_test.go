package local_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

func TestPolicyContract(t *testing.T) {
	for name, c := range map[string]struct {
		backend string
		maxRows int
	}{
		"one micro-batch":      {"reference", 0},
		"many micro-batches":   {"reference", 9},
		"asynchronous backend": {"asynchronous", 9},
		"cpu backend":          {"cpu", 9},
		"a sample at a time":   {"reference", 1},
	} {
		t.Run(name, func(t *testing.T) {
			policytest.Run(t, policytest.Options{
				Open:  func(t *testing.T) rl.Policy { return newPolicy(t, backends[c.backend](t), c.maxRows) },
				Vocab: tiny.Vocab,
			})
		})
	}
}

func TestPolicyDoesNotDependOnTheMicroBatch(t *testing.T) {
	type outcome struct {
		loss, norm float64
		logp       [][]float64
	}
	run := func(maxRows int) outcome {
		p, b := newPolicy(t, reference.New(), maxRows), batch()
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

func TestPolicyErrorsNameTheSample(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	for want, change := range map[string]func(b *rl.Batch){
		"prompt 0: token 1 has id 12, want 0 to 11: was the tokenizer compared with the model (model.Config.CheckTokenizer)?": func(b *rl.Batch) { b.Prompts[0] = []int32{1, 12} },
		"sample 2: token 1 has id -1, want 0 to 11":               func(b *rl.Batch) { b.Samples[2].Tokens[1] = -1 },
		"sample 1 is of prompt 2, but there are 2":                func(b *rl.Batch) { b.Samples[1].Prompt = 2 },
		"sample 1: its prompt 1 is empty":                         func(b *rl.Batch) { b.Prompts[1] = nil },
		"sample 0: a prompt of 47 tokens and 3 more are too long": func(b *rl.Batch) { b.Prompts[0] = make([]int32, 47) },
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

func TestPolicyCancellationTakesEffectBetweenMicroBatches(t *testing.T) {
	p := newPolicy(t, reference.New(), 1)
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

	_, _, err = p.ForwardBackward(t.Context(), batch(), linear{})
	require.NoError(t, err)
	_, err = p.OptimStep(ctx, rl.OptimOptions{LR: 1})
	require.ErrorIs(t, err, context.Canceled)
	info, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 1})
	require.NoError(t, err)
	require.Zero(t, info.GradNorm, "an optimiser step that was cancelled drops the gradient")
}

func TestBackendErrorsLeaveAUsablePolicy(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	p := newPolicy(t, b, 0)
	boom := errors.New("device lost")
	for _, after := range []int{0, 40, 80} {
		_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
		require.NoError(t, err)
		b.FailAfter(after, boom)
		_, _, err = p.ForwardBackward(t.Context(), batch(), linear{})
		if err == nil { // the backward pass, which nobody waits for
			_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 0})
		}
		require.ErrorIs(t, err, boom)
		info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0})
		require.NoError(t, err)
		require.Zero(t, info.GradNorm, "the gradient accumulated before the error is cleared")
	}
	require.NoError(t, b.Sync())
}

func TestInvalidPolicySettingsAreNamed(t *testing.T) {
	d := newDecoder(t, reference.New(), 1)
	for want, c := range map[string]local.PolicyConfig{
		"local: PolicyConfig.Decoder is nil":                             {},
		"local: PolicyConfig.MaxRows is -1, want 0 (for 4096) or more":   {Decoder: d, MaxRows: -1},
		"local: PolicyConfig.Optimizer: optim: Config.Beta1 is 2, want ": {Decoder: d, Optimizer: optim.Config{Beta1: 2}},
	} {
		require.ErrorContains(t, c.Validate(), want)
		_, err := local.NewPolicy(c)
		require.ErrorContains(t, err, want)
	}
}

// What is frozen cannot be trained: a policy of it is refused, as it is after its adapters
// were merged, and a student of it computes but takes no optimiser step.
func TestFrozenModelsAreNotTrained(t *testing.T) {
	d := newDecoder(t, reference.New(), 1)
	lora, err := d.AddLoRA(tinyLoRA, 2)
	require.NoError(t, err)
	policyOf(t, d, 0)
	lora.Merge()
	_, err = local.NewPolicy(local.PolicyConfig{Decoder: d})
	require.ErrorContains(t, err, "local: PolicyConfig.Decoder is frozen, ")

	dir := t.TempDir()
	e, err := model.NewEncoder(reference.New(), tinyEncoder, 1)
	require.NoError(t, err)
	require.NoError(t, e.Save(dir))
	e, err = model.LoadEncoder(reference.New(), dir, model.Frozen())
	require.NoError(t, err)
	s, err := local.NewStudent(local.StudentConfig{Encoder: e})
	require.NoError(t, err)
	logits(t, s, inputs, true)
	require.NoError(t, s.Backward(t.Context(), slopes(len(inputs))))
	_, err = s.OptimStep(t.Context(), rl.OptimOptions{LR: 1})
	require.ErrorContains(t, err, "local: the model is frozen")
}

func TestAPolicyRefusesAStaticEngine(t *testing.T) {
	_, err := newPolicy(t, reference.New(), 0).NewEngine(letters{}, local.EngineConfig{Static: true})
	require.EqualError(t, err, "local: EngineConfig.Static is set, but the policy trains the decoder")
}

func TestPublishHandsOutTheDecoder(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	_, err := p.OptimStep(t.Context(), rl.OptimOptions{})
	require.NoError(t, err)
	w, err := p.Publish(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, w.Version)
	require.Same(t, p.Decoder(), w.Local)
}

func TestPolicyContinuesBitForBit(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	train(t, p)
	ref, err := p.Save(t.Context(), "step-2")
	require.NoError(t, err)
	want := train(t, p)

	q := policyOf(t, newDecoder(t, backendtest.NewAsync(reference.New()), 77), 0)
	require.NoError(t, q.Load(t.Context(), ref))
	require.EqualValues(t, 2, q.Version())
	require.Equal(t, want, train(t, q))
}

func TestLoadRefusesAnotherModel(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	ref, err := p.Save(t.Context(), "c")
	require.NoError(t, err)
	other := tiny
	other.Heads = 2
	d, err := model.NewDecoder(reference.New(), other, 0)
	require.NoError(t, err)
	q, err := local.NewPolicy(local.PolicyConfig{Decoder: d})
	require.NoError(t, err)
	require.ErrorContains(t, q.Load(t.Context(), ref), "Heads:4")
}

func TestAFrozenCloneStaysBehind(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	ref := local.NewLogProber(p.Decoder().Clone(), 4)
	before := logProbs(t, p, batch())
	train(t, p)
	for i, row := range logProbs(t, ref, batch()) {
		require.InDeltaSlice(t, before[i], row, 1e-6)
	}
	require.NotEqual(t, before, logProbs(t, p, batch()))
}
