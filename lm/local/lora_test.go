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
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

var adapters = model.LoRAConfig{Rank: 4, Alpha: 8, Targets: model.AllProjections}

var backends = map[string]func(t *testing.T) tensor.Backend{
	"reference":    func(*testing.T) tensor.Backend { return reference.New() },
	"asynchronous": func(*testing.T) tensor.Backend { return backendtest.NewAsync(reference.New()) },
	"cpu": func(t *testing.T) tensor.Backend {
		b, err := cpu.New(cpu.Options{})
		require.NoError(t, err)
		return b
	},
}

// openLoRA returns a policy that trains adapters.
func openLoRA(t *testing.T, b tensor.Backend, maxRows int) (*local.Policy, *model.LoRA) {
	t.Helper()
	d, err := model.NewDecoder(b, tiny, 5)
	require.NoError(t, err)
	lora, err := d.AddLoRA(adapters, 6)
	require.NoError(t, err)
	p, err := local.NewPolicy(local.PolicyConfig{Decoder: d, MaxRows: maxRows, Dir: t.TempDir()})
	require.NoError(t, err)
	return p, lora
}

func TestPolicyContractWithAdapters(t *testing.T) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			policytest.Run(t, policytest.Options{
				Open: func(t *testing.T) rl.Policy {
					p, _ := openLoRA(t, open(t), 9)
					return p
				},
				Vocab: tiny.Vocab,
			})
		})
	}
}

// scores are the log-probs of the fixed batch.
func scores(t *testing.T, s rl.LogProber) [][]float64 {
	t.Helper()
	b := batch()
	dst := make([][]float64, len(b.Samples))
	for i := range dst {
		dst[i] = make([]float64, len(b.Samples[i].Tokens))
	}
	require.NoError(t, s.LogProbs(t.Context(), b, dst))
	return dst
}

func TestOnlyAdaptersAreTrainedAndSaved(t *testing.T) {
	p, lora := openLoRA(t, reference.New(), 0)
	plain := scores(t, open(t, reference.New(), 0))
	require.Equal(t, plain, scores(t, p), "fresh adapters change nothing")
	train(t, p)
	require.NotEqual(t, plain, scores(t, p))
	frozen := local.NewLogProber(lora.Base(), 0)
	require.Equal(t, plain, scores(t, frozen), "the reference policy stays behind")

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
	d, err := model.NewDecoder(reference.New(), tiny, 5)
	require.NoError(t, err)
	_, err = d.LoadLoRA(ref)
	require.NoError(t, err)
	require.Equal(t, scores(t, p), scores(t, local.NewLogProber(d, 0)))

	// Another process continues bit for bit.
	want := train(t, p)
	q, _ := openLoRA(t, backendtest.NewAsync(reference.New()), 0)
	require.NoError(t, q.Load(t.Context(), ref))
	require.EqualValues(t, 2, q.Version())
	require.Equal(t, want, train(t, q))
}

func TestLoadRefusesOtherAdapters(t *testing.T) {
	p, _ := openLoRA(t, reference.New(), 0)
	ref, err := p.Save(t.Context(), "c")
	require.NoError(t, err)
	require.ErrorContains(t, open(t, reference.New(), 0).Load(t.Context(), ref), "config.json")

	d, err := model.NewDecoder(reference.New(), tiny, 5)
	require.NoError(t, err)
	other := adapters
	other.Alpha = 16 // no tensor has another shape
	_, err = d.AddLoRA(other, 6)
	require.NoError(t, err)
	q, err := local.NewPolicy(local.PolicyConfig{Decoder: d})
	require.NoError(t, err)
	require.ErrorContains(t, q.Load(t.Context(), ref), "Alpha:8")

	for _, name := range []string{model.LoRAConfigFile, model.LoRAWeightsFile} {
		ref, err := p.Save(t.Context(), "c")
		require.NoError(t, err)
		path := filepath.Join(ref, name)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		data[len(data)-3] ^= 0x10
		require.NoError(t, os.WriteFile(path, data, 0o666))
		require.ErrorContains(t, p.Load(t.Context(), ref), name)
	}
}

// letters gives every token a letter.
type letters struct{}

func (letters) Bytes(id int32) []byte { return []byte{'a' + byte(id)} }

// TestAnEngineSamplesWithTheAdapters: what the engine of a published policy
// says of the tokens that it sampled is what the policy says of them.
func TestAnEngineSamplesWithTheAdapters(t *testing.T) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) { checkEngine(t, open(t)) })
	}
}

func checkEngine(t *testing.T, backend tensor.Backend) {
	p, lora := openLoRA(t, backend, 0)
	engine, err := local.NewEngine(p.Decoder(), letters{}, local.EngineOptions{})
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
	score := func(s rl.LogProber) [][]float64 {
		dst := make([][]float64, len(b.Samples))
		for i := range dst {
			dst[i] = make([]float64, len(b.Samples[i].Tokens))
		}
		require.NoError(t, s.LogProbs(t.Context(), b, dst))
		return dst
	}
	got, base := score(p), score(local.NewLogProber(lora.Base(), 0))
	for i := range want {
		require.InDeltaSlice(t, want[i], got[i], 1e-5)
		require.NotEqual(t, got[i], base[i])
	}
}
