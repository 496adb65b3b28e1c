package model_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func TestDecoderSurvivesSaveAndLoad(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		cfg := tiny
		cfg.QKNorm = rapid.Bool().Draw(r, "QKNorm")
		cfg.QKVBias = rapid.Bool().Draw(r, "QKVBias")
		cfg.TieEmbeddings = rapid.Bool().Draw(r, "TieEmbeddings")
		cfg.HeadDim = rapid.SampledFrom([]int{0, 2, 6}).Draw(r, "HeadDim")
		cfg.RopeTheta = rapid.SampledFrom([]float64{0, 5e5}).Draw(r, "RopeTheta")
		cfg.RopeScaling = rapid.SampledFrom([]model.RopeScaling{
			{},
			{Type: model.RopeLinear, Factor: 2},
			{Type: model.RopeDynamic, Factor: 4},
			{Type: model.RopeLlama3, Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxSeq: 8},
		}).Draw(r, "RopeScaling")
		d := newDecoder(t, b, cfg)
		shards := rapid.SampledFrom([]int64{0, 0, 3000}).Draw(r, "ShardBytes")
		require.NoError(t, d.Export(dir, model.ExportOptions{ShardBytes: shards}))
		e, err := model.LoadDecoder(b, dir)
		require.NoError(t, err)
		require.Equal(t, d.Config(), e.Config())
		for i, p := range d.Params() {
			want, got := make([]float32, p.Len()), make([]float32, p.Len())
			require.NoError(t, b.Read(want, p.Value))
			require.NoError(t, b.Read(got, e.Params()[i].Value))
			require.Equal(t, want, got, p.Name)
		}
		d.Free()
		e.Free()
		require.NoError(t, b.Sync())
	})
}

func TestConfigsThatCannotBeExpressedAreRefused(t *testing.T) {
	text, err := os.ReadFile("testdata/qwen3/config.json")
	require.NoError(t, err)
	dir := t.TempDir()
	for want, change := range map[string]map[string]any{
		`model_type is "gpt2", want one of ["llama" "mistral" "qwen2" "qwen3"]`: {"model_type": "gpt2"},
		`hidden_act is "gelu"`:                                        {"hidden_act": "gelu"},
		"attention_bias is true":                                      {"attention_bias": true},
		"mlp_bias is true":                                            {"mlp_bias": true},
		"use_sliding_window is true, want false":                      {"use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1, "layer_types": nil},
		"layer_types is of 1 layers, want num_hidden_layers (2)":      {"layer_types": []string{"full_attention"}},
		`layer_types[1] is "sliding_attention"`:                       {"layer_types": []string{"full_attention", "sliding_attention"}},
		`architectures is ["Qwen3ForSequenceClassification"]`:         {"architectures": []string{"Qwen3ForSequenceClassification"}},
		`rope_parameters.rope_type is "yarn", want "default"`:         {"rope_parameters": map[string]any{"rope_type": "yarn", "beta_fast": 32}},
		`rope_scaling.rope_type is "longrope"`:                        {"rope_scaling": map[string]any{"type": "longrope"}},
		"Config.RopeScaling.Factor is 0, want at least 1":             {"rope_scaling": map[string]any{"type": "linear"}},
		"Config.RopeScaling.LowFreqFactor is 0, want more than 0":     {"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8}},
		`rope_scaling: mrope_section is [1], which is not known here`: {"rope_scaling": map[string]any{"rope_type": "dynamic", "factor": 2, "mrope_section": []int{1}}},
		`rope_scaling: factor is "two", want a number`:                {"rope_scaling": map[string]any{"rope_type": "dynamic", "factor": "two"}},
		"partial_rotary_factor is 0.5, want 1":                        {"rope_parameters": map[string]any{"rope_type": "default", "partial_rotary_factor": 0.5}},
		"Config.RopeScaling.Factor is 0.5, want at least 1":           {"rope_scaling": map[string]any{"rope_type": "linear", "factor": 0.5}},
		`quantization_config is {"bits":4}, want null`:                {"quantization_config": map[string]any{"bits": 4}},
		`residual_multiplier is 0.22, want 1`:                         {"residual_multiplier": 0.22},
		"rope_interleaved is true":                                    {"rope_interleaved": true},
		"Config.Dim is 0":                                             {"hidden_size": 0},
		`hidden_size is "big", want an integer`:                       {"hidden_size": "big"},
		`architectures is 3, want a list of string`:                   {"architectures": 3},
		`gate is 1, which is not known here; mlp_bias is true, want false; use_qk_norm is true, want false`: {"gate": 1, "mlp_bias": true, "use_qk_norm": true},
		"config.json: model: Config.KVHeads is 3, want a divisor":                                           {"num_key_value_heads": 3},
	} {
		var config map[string]any
		require.NoError(t, json.Unmarshal(text, &config))
		maps.Copy(config, change)
		changed, err := json.Marshal(config)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, model.ConfigFile), changed, 0o666))
		_, err = model.ReadConfig(dir)
		require.ErrorContains(t, err, want)
	}
}

func TestWeightsThatDoNotFitAreRefusedAndChangeNothing(t *testing.T) {
	b := reference.New()
	d := newDecoder(t, b, tiny)
	before := make([]float32, d.Params()[0].Len())
	require.NoError(t, b.Read(before, d.Params()[0].Value))
	for want, change := range map[string]func(c *model.Config){
		`tensor "model.embed_tokens.weight" has shape [12 16], want [11 16]`:     func(c *model.Config) { c.Vocab = 12 },
		`no tensor "model.layers.1.`:                                             func(c *model.Config) { c.Layers = 1 },
		`tensor "model.layers.2.self_attn.q_proj.weight" is none of the model's`: func(c *model.Config) { c.Layers = 3 },
		`no tensor "lm_head.weight"`:                                             func(c *model.Config) { c.TieEmbeddings = true },
		`no tensor "model.layers.0.self_attn.q_norm.weight"`:                     func(c *model.Config) { c.QKNorm = false },
		`tensor "model.layers.0.self_attn.q_proj.bias" is none of the model's`:   func(c *model.Config) { c.QKVBias = true },
	} {
		cfg := tiny
		change(&cfg)
		other, err := model.NewDecoder(b, cfg, 1)
		require.NoError(t, err)
		dir := t.TempDir()
		require.NoError(t, other.Save(dir))
		require.ErrorContains(t, model.ReadParams(b, d.Params(), filepath.Join(dir, model.WeightsFile)), want)
	}
	after := make([]float32, len(before))
	require.NoError(t, b.Read(after, d.Params()[0].Value))
	require.Equal(t, before, after)
}

func TestAConfigCannotClaimMoreMemoryThanTheWeights(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	dir := t.TempDir()
	require.NoError(t, d.Save(dir))
	text, err := os.ReadFile(filepath.Join(dir, model.ConfigFile))
	require.NoError(t, err)
	for field, want := range map[string]string{
		"vocab_size":        "has shape [11 16], want [2000000000 16]",
		"num_hidden_layers": "25 tensors for 2000000000 layers",
	} {
		var config map[string]any
		require.NoError(t, json.Unmarshal(text, &config))
		config[field] = 2_000_000_000
		changed, err := json.Marshal(config)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, model.ConfigFile), changed, 0o666))
		_, err = model.LoadDecoder(reference.New(), dir)
		require.ErrorContains(t, err, want)
	}
}
