package model_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

var exportDir = flag.String("export", "", "keep what TestExport writes in this directory, for testdata/check_export.py")

// exported are the ways in which TestExport writes every model.
var exported = map[string]model.ExportOptions{
	"f32":          {},
	"bf16-sharded": {DType: safetensors.BF16, ShardBytes: 3000},
	"f16":          {DType: safetensors.F16, Generation: &model.Generation{BOS: ptr[int32](1), EOS: model.TokenIDs{2, 3}, Temperature: ptr(0.6), Sample: ptr(true)}},
}

func ptr[T any](v T) *T { return &v }

// TestExport: what is written is read back as the same model. It also writes the
// model's outputs beside each checkpoint, to be compared by another program.
func TestExport(t *testing.T) {
	out := *exportDir
	if out == "" {
		out = t.TempDir()
	}
	b := reference.New()
	for _, name := range []string{"llama", "llama-linear", "llama-dynamic", "llama3", "smollm", "mistral", "qwen2", "qwen3"} {
		for kind, o := range exported {
			t.Run(name+"/"+kind, func(t *testing.T) {
				d, err := model.LoadDecoder(b, filepath.Join("testdata", name))
				require.NoError(t, err)
				dir := filepath.Join(out, name+"-"+kind)
				require.NoError(t, d.Export(dir, o))
				e, err := model.LoadDecoder(b, dir)
				require.NoError(t, err)
				require.Equal(t, d.Config(), e.Config())
				requireRounded(t, b, d.Params(), e.Params(), o.DType)

				ids := []int32{3, 14, 15, 9, 2, 6, 5, 28, 0}
				var p model.Pack
				p.Add(ids, -1)
				logits := make([]float32, len(ids)*e.Config().Vocab)
				require.NoError(t, e.Logits(&p, []int32{0, 1, 2, 3, 4, 5, 6, 7, 8}, logits))
				writeExpected(t, dir, ids, logits)
			})
		}
	}
	for _, name := range []string{"bert", "roberta", "xlmr"} {
		for kind, o := range exported {
			t.Run(name+"/"+kind, func(t *testing.T) {
				d, err := model.PretrainedEncoder(b, filepath.Join("testdata", name), 3, 1, model.WithPooling(model.MeanPooling))
				require.NoError(t, err)
				dir := filepath.Join(out, name+"-"+kind)
				require.NoError(t, d.Export(dir, o))
				e, err := model.LoadEncoder(b, dir)
				require.NoError(t, err)
				require.Equal(t, d.Config(), e.Config())
				requireRounded(t, b, d.Params(), e.Params(), o.DType)

				ids := []int32{3, 14, 15, 9, 2}
				var p model.Pack
				p.Add(ids, -1)
				state := make([]float32, e.Config().Dim)
				require.NoError(t, e.Embed(&p, state))
				writeExpected(t, dir, ids, state)
			})
		}
	}
}

// requireRounded requires that got are want, rounded to another type.
func requireRounded(t *testing.T, b tensor.Backend, want, got []*tensor.Param, dtype safetensors.DType) {
	t.Helper()
	tol := map[safetensors.DType]float64{"": 0, safetensors.BF16: 1.0 / 256, safetensors.F16: 1.0 / 1024}[dtype]
	for i, p := range want {
		v, w := make([]float32, p.Len()), make([]float32, p.Len())
		require.NoError(t, b.Read(v, p.Value))
		require.NoError(t, b.Read(w, got[i].Value))
		for j := range v {
			require.InDelta(t, v[j], w[j], tol*max(float64(v[j]), -float64(v[j]), 1e-3), p.Name)
		}
	}
}

func writeExpected(t *testing.T, dir string, ids []int32, values []float32) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"ids": ids, "values": values})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "expected.json"), text, 0o666))
}

func TestExportReplacesTheOtherKindOfWeights(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	dir := t.TempDir()
	for range 2 {
		require.NoError(t, d.Save(dir))
		require.FileExists(t, filepath.Join(dir, model.WeightsFile))
		require.NoFileExists(t, filepath.Join(dir, model.IndexFile))
		require.NoError(t, d.Export(dir, model.ExportOptions{ShardBytes: 5000}))
		require.NoFileExists(t, filepath.Join(dir, model.WeightsFile))
		require.FileExists(t, filepath.Join(dir, model.IndexFile))
		shards, err := filepath.Glob(filepath.Join(dir, "model-*-of-00004.safetensors"))
		require.NoError(t, err)
		require.Len(t, shards, 4)
		for _, path := range shards {
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Less(t, info.Size(), int64(5000+2000), "the header's 2000 aside")
		}
	}
}

func TestExportCopiesTheTokenizer(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	from, dir := t.TempDir(), t.TempDir()
	require.ErrorContains(t, d.Export(dir, model.ExportOptions{TokenizerFrom: from}), from+" has no tokenizer file")
	for name, text := range map[string]string{"tokenizer.json": "{}", "chat_template.jinja": "{{ x }}", "README.md": "no"} {
		require.NoError(t, os.WriteFile(filepath.Join(from, name), []byte(text), 0o666))
	}
	require.NoError(t, d.Export(dir, model.ExportOptions{TokenizerFrom: from}))
	text, err := os.ReadFile(filepath.Join(dir, "chat_template.jinja"))
	require.NoError(t, err)
	require.Equal(t, "{{ x }}", string(text))
	require.FileExists(t, filepath.Join(dir, "tokenizer.json"))
	require.NoFileExists(t, filepath.Join(dir, "README.md"))
	require.NoError(t, d.Export(dir, model.ExportOptions{TokenizerFrom: dir}), "from where they are")
}

func TestGenerationSurvivesExport(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	for _, g := range []model.Generation{
		{},
		{BOS: ptr[int32](0), EOS: model.TokenIDs{7}, Pad: ptr[int32](5)},
		{EOS: model.TokenIDs{1, 2}, Sample: ptr(true), Temperature: ptr(0.7), TopK: ptr(20), TopP: ptr(0.8), MinP: ptr(0.1), RepetitionPenalty: ptr(1.05), MaxLength: ptr(100), MaxNewTokens: ptr(9)},
	} {
		dir := t.TempDir()
		require.NoError(t, d.Export(dir, model.ExportOptions{Generation: &g}))
		got, err := model.ReadGeneration(dir)
		require.NoError(t, err)
		require.Equal(t, g, got)

		require.NoError(t, os.Remove(filepath.Join(dir, model.GenerationFile)))
		got, err = model.ReadGeneration(dir)
		require.NoError(t, err)
		require.Equal(t, model.Generation{BOS: g.BOS, EOS: g.EOS, Pad: g.Pad}, got, "the special tokens stand in config.json too")
	}
}

// All options that transformers 4 wrote with their defaults, and others that
// change nothing.
func TestGenerationOptionsThatChangeNothing(t *testing.T) {
	dir := t.TempDir()
	text := `{"max_length": 20, "max_new_tokens": null, "min_length": 0, "min_new_tokens": null, "early_stopping": false, "max_time": null,
		"stop_strings": null, "do_sample": true, "num_beams": 1, "num_beam_groups": 1, "penalty_alpha": null, "dola_layers": null, "use_cache": true,
		"cache_implementation": null, "cache_config": null, "return_legacy_cache": null, "prefill_chunk_size": null, "temperature": 0.6, "top_k": 50,
		"top_p": 1.0, "min_p": null, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "diversity_penalty": 0.0, "repetition_penalty": 1.0,
		"encoder_repetition_penalty": 1.0, "length_penalty": 1.0, "no_repeat_ngram_size": 0, "bad_words_ids": null, "force_words_ids": null,
		"renormalize_logits": false, "constraints": null, "forced_bos_token_id": null, "forced_eos_token_id": null, "remove_invalid_values": false,
		"exponential_decay_length_penalty": null, "suppress_tokens": [], "begin_suppress_tokens": null, "sequence_bias": null, "token_healing": false,
		"guidance_scale": 1, "low_memory": null, "watermarking_config": null, "num_return_sequences": 1, "output_attentions": false,
		"output_hidden_states": false, "output_scores": false, "output_logits": null, "return_dict_in_generate": false, "pad_token_id": null,
		"bos_token_id": 1, "eos_token_id": [2, 3], "encoder_no_repeat_ngram_size": 0, "decoder_start_token_id": null, "is_assistant": false,
		"num_assistant_tokens": 20, "num_assistant_tokens_schedule": "constant", "assistant_confidence_threshold": 0.4, "prompt_lookup_num_tokens": null,
		"max_matching_ngram_size": null, "assistant_early_exit": null, "assistant_lookbehind": 10, "target_lookbehind": 10, "disable_compile": false,
		"trust_remote_code": true, "_from_model_config": true, "transformers_version": "4.57.0", "something_new": null}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, model.GenerationFile), []byte(text), 0o666))
	got, err := model.ReadGeneration(dir)
	require.NoError(t, err)
	require.Equal(t, model.Generation{
		BOS: ptr[int32](1), EOS: model.TokenIDs{2, 3}, Sample: ptr(true), Temperature: ptr(0.6), TopK: ptr(50), TopP: ptr(1.0),
		RepetitionPenalty: ptr(1.0), MaxLength: ptr(20),
	}, got)
}

func TestGenerationOptionsThatAreNotKnown(t *testing.T) {
	dir := t.TempDir()
	_, err := model.ReadGeneration(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
	for text, want := range map[string]string{
		`{"num_beams": 4}`:                    "num_beams is 4, want 1",
		`{"eos_token_id": "end"}`:             `eos_token_id is "end", want a`,
		`{"eos_token_id": 1} x`:               "after top-level value",
		`{"frobnicate": 1, "typical_p": 0.5}`: "frobnicate is 1, which is not known here; typical_p is 0.5, want 1",
		`{"transformers_version": "5.23.0", "_from_model_config": true, "output_attentions": false, "output_hidden_states": false, "use_cache": true}`: "",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, model.GenerationFile), []byte(text), 0o666))
		_, err := model.ReadGeneration(dir)
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}
