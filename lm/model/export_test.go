package model_test

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
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
	"f16":          {DType: safetensors.F16, Generation: &model.Generation{BOS: new(int32(1)), EOS: model.TokenIDs{2, 3}, Temperature: new(0.6), Sample: new(true)}},
}

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

// Programs that take all weights of a folder (vLLM without an index) must not find those of
// an earlier export.
func TestExportRemovesOldShards(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	dir := t.TempDir()
	other := filepath.Join(dir, "model-draft-of-00004.safetensors")
	require.NoError(t, os.WriteFile(other, nil, 0o666))
	for _, c := range []struct {
		bytes int64
		want  int
	}{{5000, 4}, {12000, 2}, {0, 0}} {
		require.NoError(t, d.Export(dir, model.ExportOptions{ShardBytes: c.bytes}))
		shards, err := filepath.Glob(filepath.Join(dir, "model-0*"))
		require.NoError(t, err)
		require.Len(t, shards, c.want)
		_, err = model.LoadDecoder(reference.New(), dir)
		require.NoError(t, err)
	}
	require.FileExists(t, other)
}

func TestExportCopiesTheTokenizer(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	from, dir := t.TempDir(), t.TempDir()
	require.ErrorContains(t, d.Export(dir, model.ExportOptions{TokenizerFrom: from}), from+" has no tokenizer file")
	for name, text := range map[string]string{"tokenizer.json": "{}", "chat_template.jinja": "{{ x }}", "README.md": "no"} {
		require.NoError(t, os.WriteFile(filepath.Join(from, name), []byte(text), 0o666))
	}
	require.NoError(t, os.Mkdir(filepath.Join(from, "additional_chat_templates"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(from, "additional_chat_templates", "tool_use.jinja"), []byte("{{ tools }}"), 0o666))
	require.NoError(t, d.Export(dir, model.ExportOptions{TokenizerFrom: from}))
	for name, want := range map[string]string{"chat_template.jinja": "{{ x }}", "additional_chat_templates/tool_use.jinja": "{{ tools }}"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	require.FileExists(t, filepath.Join(dir, "tokenizer.json"))
	require.NoFileExists(t, filepath.Join(dir, "README.md"))
	require.NoError(t, d.Export(dir, model.ExportOptions{TokenizerFrom: dir}), "from where they are")
}

func TestGenerationSurvivesExport(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	for _, g := range []model.Generation{
		{},
		{BOS: new(int32(0)), EOS: model.TokenIDs{7}, Pad: new(int32(5))},
		{EOS: model.TokenIDs{1, 2}, Sample: new(true), Temperature: new(0.7), TopK: new(20), TopP: new(0.8), MinP: new(0.1), RepetitionPenalty: new(1.05), MaxLength: new(100), MaxNewTokens: new(9)},
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

// The tokens that end a text come from generation_config.json, which has more of them
// than config.json in folders such as Qwen's and Llama's, or else from config.json.
func TestEndTokensOfAFolder(t *testing.T) {
	require.Nil(t, newDecoder(t, reference.New(), tiny).EOS())
	dir := t.TempDir()
	require.NoError(t, newDecoder(t, reference.New(), tiny).Export(dir, model.ExportOptions{Generation: &model.Generation{EOS: model.TokenIDs{3}}}))
	for text, want := range map[string][]int32{
		`{"eos_token_id": 5}`:                        {5},
		`{"eos_token_id": [6, 5], "num_beams": 4}`:   {6, 5}, // which ReadGeneration refuses
		`{"eos_token_id": [-1, 2, 1000]}`:            {2},
		`{"eos_token_id": null, "temperature": 0.6}`: {3},
		`{"bos_token_id": 1}`:                        {3},
		"":                                           {3}, // no file
	} {
		path := filepath.Join(dir, model.GenerationFile)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		if text == "" {
			require.NoError(t, os.Remove(path))
		}
		d, err := model.LoadDecoder(reference.New(), dir)
		require.NoError(t, err)
		require.Equal(t, want, d.EOS(), text)
		require.Equal(t, want, d.Clone().EOS())
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, model.GenerationFile), []byte(`{"eos_token_id": "</s>"}`), 0o666))
	_, err := model.LoadDecoder(reference.New(), dir)
	require.ErrorContains(t, err, `generation_config.json: eos_token_id is "</s>", want a token id or a list of them`)
	in, inspected := model.Inspect(dir)
	require.NoError(t, inspected)
	require.EqualError(t, in.Problem, err.Error())
}

// Whoever names the tokens that end a text, Save and Export write them.
func TestEndTokensAreSaved(t *testing.T) {
	ends := func(save func(dir string) error) []int32 {
		dir := t.TempDir()
		require.NoError(t, save(dir))
		g, err := model.ReadGeneration(dir)
		require.NoError(t, err)
		d, err := model.LoadDecoder(reference.New(), dir)
		require.NoError(t, err)
		require.EqualValues(t, d.EOS(), g.EOS)
		return d.EOS()
	}
	with := func(d *model.Decoder, g model.Generation) func(dir string) error {
		return func(dir string) error { return d.Export(dir, model.ExportOptions{Generation: &g}) }
	}
	d := newDecoder(t, reference.New(), tiny)
	require.Empty(t, ends(d.Save))
	require.NoError(t, d.SetEOS(2, 5))
	require.Equal(t, []int32{2, 5}, d.EOS())
	require.Equal(t, []int32{2, 5}, ends(d.Save))
	require.Equal(t, []int32{2, 5}, ends(d.Clone().Save))
	require.Equal(t, []int32{2, 5}, ends(with(d, model.Generation{Temperature: new(.6)})))
	require.Equal(t, []int32{3}, ends(with(d, model.Generation{EOS: model.TokenIDs{3}})))
	require.ErrorContains(t, d.SetEOS(2, -1), "model: SetEOS: token id -1, want 0 to ")
	require.Error(t, d.SetEOS(int32(tiny.Vocab)))
	require.Equal(t, []int32{2, 5}, d.EOS(), "an error changes nothing")

	// Those of generation_config.json are more than config.json has, or it has none.
	dir := t.TempDir()
	require.NoError(t, d.Save(dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, model.GenerationFile), []byte(`{"temperature": 0.6}`), 0o666))
	g, err := model.ReadGeneration(dir)
	require.NoError(t, err)
	require.Equal(t, model.Generation{EOS: model.TokenIDs{2, 5}, Temperature: new(.6)}, g)
	require.NoError(t, os.WriteFile(filepath.Join(dir, model.GenerationFile), []byte(`{"eos_token_id": [6, 5, 2]}`), 0o666))
	loaded, err := model.LoadDecoder(reference.New(), dir)
	require.NoError(t, err)
	require.Equal(t, []int32{6, 5, 2}, ends(loaded.Save))
	require.NoError(t, loaded.SetEOS(1))
	require.Equal(t, []int32{1}, ends(loaded.Save))
	require.NoError(t, loaded.SetEOS())
	require.Empty(t, ends(loaded.Save))
}

// A generation_config.json that the folder has already does not bring back other tokens.
func TestEndTokensAreSavedBesideOtherSettings(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, model.GenerationFile)
	d := newDecoder(t, reference.New(), tiny)
	require.NoError(t, d.Export(dir, model.ExportOptions{Generation: &model.Generation{EOS: model.TokenIDs{3}}}))
	require.NoError(t, os.WriteFile(path, []byte(`{"eos_token_id": [3, 4], "temperature": 0.6, "num_beams": 4}`), 0o666))
	for _, c := range []struct {
		ends []int32
		text string
	}{
		{[]int32{3, 4}, `{"eos_token_id": [3, 4], "temperature": 0.6, "num_beams": 4}`},
		{[]int32{2, 5}, `{"eos_token_id": [2, 5], "temperature": 0.6, "num_beams": 4}`},
		{nil, `{"temperature": 0.6, "num_beams": 4}`},
		{[]int32{1}, `{"temperature": 0.6, "num_beams": 4}`}, // config.json says it
	} {
		d, err := model.LoadDecoder(reference.New(), dir)
		require.NoError(t, err)
		require.NoError(t, d.SetEOS(c.ends...))
		require.NoError(t, d.Save(dir))
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.JSONEq(t, c.text, string(text))
		d, err = model.LoadDecoder(reference.New(), dir)
		require.NoError(t, err)
		require.Equal(t, c.ends, d.EOS())
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
		BOS: new(int32(1)), EOS: model.TokenIDs{2, 3}, Sample: new(true), Temperature: new(0.6), TopK: new(50), TopP: new(1.0),
		RepetitionPenalty: new(1.0), MaxLength: new(20),
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

// What config.json says to other programs is written again, and what is not said is left
// to them. A new classifier has no labels yet.
func TestExportKeepsWhatOtherProgramsRead(t *testing.T) {
	says := map[string]any{
		"bos_token_id": 5.0, "eos_token_id": []any{6.0, 7.0}, "pad_token_id": 2.0, "problem_type": "single_label_classification",
		"id2label": map[string]any{"0": "bad", "1": "ok", "2": "good"}, "label2id": map[string]any{"bad": 0.0, "ok": 1.0, "good": 2.0},
		"sentence_transformers":                map[string]any{"activation_fn": "torch.nn.modules.linear.Identity", "version": "5.0.0"},
		"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
	}
	tokens := []string{"bos_token_id", "eos_token_id", "pad_token_id"}
	read := func(dir string) (config map[string]any) {
		text, err := os.ReadFile(filepath.Join(dir, model.ConfigFile))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &config))
		return config
	}
	for _, name := range []string{"bert-cls", "roberta-cls", "modernbert-cls", "qwen3-cls"} {
		src := filepath.Join("testdata", name)
		change := maps.Clone(says)
		if name == "roberta-cls" { // positions count from it
			change["pad_token_id"] = read(src)["pad_token_id"]
		}
		src = changed(t, src, change)
		e, err := model.LoadEncoder(reference.New(), src)
		require.NoError(t, err, name)
		dir := t.TempDir()
		require.NoError(t, e.Save(dir))
		for field, want := range change {
			require.Equal(t, want, read(dir)[field], "%s: %s", name, field)
		}
		e, err = model.PretrainedEncoder(reference.New(), src, 2, 1)
		require.NoError(t, err, name)
		dir = t.TempDir()
		require.NoError(t, e.Save(dir))
		for _, field := range tokens {
			require.Equal(t, change[field], read(dir)[field], "%s: %s", name, field)
		}
		require.NotContains(t, read(dir), "sentence_transformers")
		require.NotEqual(t, change["id2label"], read(dir)["id2label"])
	}
	d, err := model.LoadDecoder(reference.New(), changed(t, "testdata/qwen3", map[string]any{"bos_token_id": 5, "eos_token_id": []int{6, 7}, "pad_token_id": 2}))
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, d.Clone().Save(dir))
	for _, field := range tokens {
		require.Equal(t, says[field], read(dir)[field], field)
	}
	require.NoError(t, d.Export(dir, model.ExportOptions{Generation: &model.Generation{EOS: model.TokenIDs{3}}}))
	require.Equal(t, 3.0, read(dir)["eos_token_id"])
	require.ErrorContains(t, d.Export(dir, model.ExportOptions{Body: true}), "ExportOptions.Body is true, want false")
}

// A body is what transformers calls so, and gives the same vectors.
func TestExportOfBodies(t *testing.T) {
	b := reference.New()
	for name, want := range map[string]string{
		"bert-cls": "BertModel", "roberta-cls": "RobertaModel", "xlmr": "XLMRobertaModel", "modernbert-cls": "ModernBertModel", "qwen3-cls": "Qwen3Model", "qwen3-embedding": "Qwen3Model",
	} {
		src, options := filepath.Join("testdata", name), model.WithPooling(model.FirstPooling)
		e, err := model.PretrainedEncoder(b, src, 2, 1, options)
		require.NoError(t, err)
		if strings.HasSuffix(name, "-cls") { // with its classifier
			e, err = model.LoadEncoder(b, src)
			require.NoError(t, err)
			options = model.WithPooling(e.Config().Pooling)
		}
		dir := t.TempDir()
		require.NoError(t, e.Export(dir, model.ExportOptions{Body: true}))
		in, err := model.Inspect(dir)
		require.NoError(t, err)
		require.Equal(t, []string{want}, in.Architectures)
		for _, s := range in.Tensors {
			require.NotRegexp(t, "^(model|bert|roberta|score|classifier|head)\\.", s.Name, name)
		}
		_, err = model.LoadEncoder(b, dir)
		require.ErrorContains(t, err, want)
		f, err := model.PretrainedEncoder(b, dir, 2, 1, options)
		require.NoError(t, err)
		vector := func(e *model.Encoder) []float32 {
			var p model.Pack
			p.Add([]int32{3, 14, 15}, -1)
			v := make([]float32, e.Config().Dim)
			require.NoError(t, e.Embed(&p, v))
			return v
		}
		require.Equal(t, vector(e), vector(f), name)
	}
	e, err := model.NewEncoder(b, model.EncoderConfig{Config: model.Config{Vocab: 9, Dim: 8, Layers: 1, Heads: 2, KVHeads: 2, FF: 8, MaxSeq: 8}, Classes: 2}, 1)
	require.NoError(t, err)
	require.ErrorContains(t, e.Export(t.TempDir(), model.ExportOptions{Body: true}), `transformers has no body of Style "llama" without Causal`)
}
