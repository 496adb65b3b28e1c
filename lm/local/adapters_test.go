package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

func TestPolicyContractWithAdapters(t *testing.T) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			policytest.Run(t, policytest.Options{
				Open: func(t *testing.T) rl.Policy {
					p, _ := newLoRAPolicy(t, open(t), 9)
					return p
				},
				Vocab: tiny.Vocab,
			})
		})
	}
}

func TestOnlyAdaptersAreTrainedAndSaved(t *testing.T) {
	p, lora := newLoRAPolicy(t, reference.New(), 0)
	plain := logProbs(t, newPolicy(t, reference.New(), 0), batch())
	require.Equal(t, plain, logProbs(t, p, batch()), "fresh adapters change nothing")
	train(t, p)
	require.NotEqual(t, plain, logProbs(t, p, batch()))
	frozen := local.NewLogProber(lora.Base(), 0)
	require.Equal(t, plain, logProbs(t, frozen, batch()), "the reference policy stays behind")

	ref, err := p.Save(t.Context(), "step-2")
	require.NoError(t, err)
	entries, err := os.ReadDir(ref)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{"adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "state.json"}, names)

	// A checkpoint is a folder of adapters to whoever serves them.
	d := newDecoder(t, reference.New(), 5)
	_, err = d.LoadLoRA(ref)
	require.NoError(t, err)
	require.Equal(t, logProbs(t, p, batch()), logProbs(t, local.NewLogProber(d, 0), batch()))

	// Another process continues bit for bit.
	want := train(t, p)
	q, _ := newLoRAPolicy(t, backendtest.NewAsync(reference.New()), 0)
	require.NoError(t, q.Load(t.Context(), ref))
	require.EqualValues(t, 2, q.Version())
	require.Equal(t, want, train(t, q))
}

func TestCheckpointsOfSelectedAdapters(t *testing.T) {
	open := func() *local.Policy {
		d := newDecoder(t, reference.New(), 5)
		_, err := d.AddLoRA(model.LoRAConfig{Rank: 2, Alpha: 4, Select: `{"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}`}, 6)
		require.NoError(t, err)
		return policyOf(t, d, 0)
	}
	p, q := open(), open()
	train(t, p)
	ref, err := p.Save(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, q.Load(t.Context(), ref))
	require.Equal(t, logProbs(t, p, batch()), logProbs(t, q, batch()))
}

func TestLoadRefusesOtherAdapters(t *testing.T) {
	p, _ := newLoRAPolicy(t, reference.New(), 0)
	ref, err := p.Save(t.Context(), "c")
	require.NoError(t, err)
	require.ErrorContains(t, newPolicy(t, reference.New(), 0).Load(t.Context(), ref), "config.json")

	d := newDecoder(t, reference.New(), 5)
	other := tinyLoRA
	other.Alpha = 16 // no tensor has another shape
	_, err = d.AddLoRA(other, 6)
	require.NoError(t, err)
	q, err := local.NewPolicy(local.PolicyConfig{Decoder: d})
	require.NoError(t, err)
	require.ErrorContains(t, q.Load(t.Context(), ref), "Alpha:8")

	for _, name := range []string{model.LoRAConfigFile, model.LoRAWeightsFile} {
		ref, err := p.Save(t.Context(), "c")
		require.NoError(t, err)
		damage(t, filepath.Join(ref, name))
		require.ErrorContains(t, p.Load(t.Context(), ref), name)
	}
}

// damage changes a bit of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)-3] ^= 0x10
	require.NoError(t, os.WriteFile(path, data, 0o666))
}

// The log-probs that an engine gives with its samples are those of the policy
// with its adapters.
func TestAnEngineSamplesWithTheAdapters(t *testing.T) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) { checkEngine(t, open(t)) })
	}
}

func checkEngine(t *testing.T, backend tensor.Backend) {
	p, lora := newLoRAPolicy(t, backend, 0)
	engine, err := p.NewEngine(letters{}, local.EngineConfig{EOS: []int32{}})
	require.NoError(t, err)
	for range 10 {
		train(t, p)
	}
	w, err := p.Publish(t.Context())
	require.NoError(t, err)
	require.NoError(t, engine.Refresh(t.Context(), w))

	b := &rl.Batch{Prompts: [][]int32{{1, 2, 3}, {4}}}
	var want [][]float64
	err = engine.Generate(t.Context(), []rollout.Request{
		{Prompt: b.Prompts[0], N: 3, Params: rollout.Params{Temperature: 1, MaxTokens: 8}},
		{Prompt: b.Prompts[1], N: 3, Params: rollout.Params{Temperature: 1, MaxTokens: 8}},
	}, func(c rollout.Completion) error {
		b.Samples = append(b.Samples, rl.Sample{Prompt: c.Request, Tokens: c.Tokens})
		want = append(want, c.LogP)
		require.EqualValues(t, p.Version(), c.FirstVersion)
		return c.Err
	})
	require.NoError(t, err)
	require.Len(t, want, 6)
	got, base := logProbs(t, p, b), logProbs(t, local.NewLogProber(lora.Base(), 0), b)
	for i := range want {
		require.InDeltaSlice(t, want[i], got[i], 1e-5)
		require.NotEqual(t, got[i], base[i])
	}
}
