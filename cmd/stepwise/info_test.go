package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func TestInfoHelp(t *testing.T) { checkHelp(t, "info") }

// field returns what stands beside a name in the output of info.
func field(t *testing.T, out, name string) string {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+"  "); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("no %q in\n%s", name, out)
	return ""
}

func TestInfo(t *testing.T) {
	dir := modelFolder(t, tinyModel, nil)
	status, out, errs := stepwise("", "info", dir)
	require.Zero(t, status, errs)
	for name, want := range map[string]string{
		"architecture": "LlamaForCausalLM (llama)",
		// Per layer 16·16 + 2·8·16 + 16·16 for q, k, v, o, 3·16·24 for the
		// MLP, and two norms of 16; one more at the end.
		"parameters":    "8,080",
		"norms":         "80",
		"attention":     "1,536",
		"MLP":           "2,304",
		"embedding":     "4,160",
		"output":        "the embedding's",
		"stored as":     "F32, 31.6 KiB",
		"weights":       "31.6 KiB, and about as much again laid out for decoding",
		"KV cache":      "8.0 KiB for a context of 64 tokens, 128 B a token",
		"tokenizer":     "260 tokens, 1 of them special",
		"eos_token":     `"<end>"`,
		"chat template": "default, 131 bytes",
	} {
		if name == "parameters" {
			require.Contains(t, out, "parameters     "+want)
			continue
		}
		require.Equal(t, want, field(t, out, name), name)
	}
	require.Contains(t, out, "126.2 KiB: weights, gradients and AdamW's two moments")

	// Every part may be missing but the configuration.
	bare := modelFolder(t, tinyModel, map[string]string{"tokenizer.json": "", "tokenizer_config.json": "", "model.safetensors": ""})
	_, out, errs = stepwise("", "info", bare)
	require.Empty(t, errs)
	require.Equal(t, "none: the folder has no weights", field(t, out, "parameters"))
	require.Equal(t, "none: the folder has no tokenizer.json", field(t, out, "tokenizer"))

	require.NotContains(t, out, "pytorch_model.bin")
	require.NoError(t, os.WriteFile(filepath.Join(bare, "pytorch_model.bin"), nil, 0o666))
	_, out, _ = stepwise("", "info", bare)
	require.Contains(t, out, "pytorch_model.bin is not read here: transformers can save it again as safetensors")
	_, err := model.LoadDecoder(reference.New(), bare)
	require.ErrorContains(t, err, "only pytorch_model.bin, which transformers can save again")

	// What cannot run here is counted all the same.
	other := modelFolder(t, tinyModel, map[string]string{"config.json": `{"model_type": "mamba", "architectures": ["MambaForCausalLM"]}`})
	_, out, errs = stepwise("", "info", other)
	require.Empty(t, errs)
	require.Contains(t, out, `cannot be loaded here: model: `+filepath.Join(other, "config.json")+`: model_type is "mamba"`)
	require.Equal(t, "2,304", field(t, out, "MLP"))

	small := tinyModel
	small.Vocab = 258
	_, out, _ = stepwise("", "info", modelFolder(t, small, nil))
	require.Contains(t, out, "does not fit: model: the tokenizer has 260 tokens")
}

func TestInfoEncoder(t *testing.T) {
	e, err := model.NewEncoder(reference.New(), model.EncoderConfig{
		Config: model.Config{Vocab: 50, Dim: 16, Layers: 2, Heads: 4, KVHeads: 4, FF: 24, MaxSeq: 64}, Classes: 3,
	}, 1)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, e.Save(dir))
	status, out, errs := stepwise("", "info", dir)
	require.Zero(t, status, errs)
	require.Contains(t, out, "an encoder: 2 layers of width 16, 4 heads of 4, MLP of 24, 3 classes")
	require.NotContains(t, out, "KV cache")
}

// A published encoder is for PretrainedEncoder.
func TestInfoOfABody(t *testing.T) {
	status, out, errs := stepwise("", "info", "../../lm/model/testdata/bert-mlm")
	require.Zero(t, status, errs)
	require.Equal(t, "BertForMaskedLM (bert)", field(t, out, "architecture"))
	require.Contains(t, out, "an encoder: 2 layers of width 16, 4 heads of 4, MLP of 24, pooling first, without a classifier")
	require.NotContains(t, out, "cannot be loaded")
	require.Equal(t, "nothing", field(t, out, "before queries"))
	require.Equal(t, "nothing", field(t, out, "before documents"))
	require.Contains(t, out, "sentence-transformers cuts texts off at 32 tokens")
	require.Contains(t, out, "weights, gradients and AdamW's two moments")
	require.Equal(t, "F16, 10.4 KiB", field(t, out, "stored as"))
}

func TestInfoOfRankers(t *testing.T) {
	status, out, errs := stepwise("", "info", "../../lm/model/testdata/modernbert-cls")
	require.Zero(t, status, errs)
	require.Contains(t, out, "one layer in 3 reads the whole context, the others 2 tokens to each side")
	require.Contains(t, out, "MLP of 24, 3 classes")
	status, out, errs = stepwise("", "info", "../../lm/local/testdata/xlmr-reranker")
	require.Zero(t, status, errs)
	require.Equal(t, "XLMRobertaForSequenceClassification (xlm-roberta)", field(t, out, "architecture"))
	require.Contains(t, out, "MLP of 24, one score")
	require.Contains(t, out, "context of 120 tokens, vocabulary of 64")
	require.Equal(t, "64 tokens, 4 of them special", field(t, out, "tokenizer"))
	status, out, errs = stepwise("", "info", "../../lm/local/testdata/qwen3-embedding")
	require.Zero(t, status, errs)
	require.Equal(t, "Qwen3Model (qwen3)", field(t, out, "architecture"))
	require.Contains(t, out, "pooling last, without a classifier")
	require.Contains(t, out, "each token reads those before it")
	require.Contains(t, field(t, out, "before queries"), `"Instruct: Given a web search query`)
	require.Equal(t, "nothing", field(t, out, "before documents"))
	require.NotContains(t, out, "laid out for decoding")
}

// restored returns the folder of tinyModel with all tensors, of zeros, in
// another type of n bytes.
func restored(t *testing.T, dtype string, n int) string {
	dir := modelFolder(t, tinyModel, nil)
	path := filepath.Join(dir, model.WeightsFile)
	r, err := safetensors.Open(path)
	require.NoError(t, err)
	defer r.Close()
	header, at := map[string]any{}, 0
	for _, info := range r.Tensors() {
		header[info.Name] = map[string]any{"dtype": dtype, "shape": info.Shape, "data_offsets": []int{at, at + n*info.Len()}}
		at += n * info.Len()
	}
	text, err := json.Marshal(header)
	require.NoError(t, err)
	data := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	require.NoError(t, os.WriteFile(path, append(data, make([]byte, at)...), 0o666))
	return dir
}

// What info says of a folder is what the loader does with it.
func TestInfoAgreesWithTheLoader(t *testing.T) {
	for dtype, want := range map[string]struct {
		bytes  int
		stored string
	}{"F8_E4M3": {1, "F8_E4M3, 7.9 KiB"}, "F8_E8M0": {1, "F8_E8M0, 7.9 KiB"}, "I32": {4, "I32, 31.6 KiB"}} {
		dir := restored(t, dtype, want.bytes)
		status, out, errs := stepwise("", "info", dir)
		require.Zero(t, status, errs)
		require.Contains(t, out, "parameters     8,080")
		require.Equal(t, want.stored, field(t, out, "stored as"))
		_, err := model.LoadDecoder(reference.New(), dir)
		require.ErrorContains(t, err, "is "+dtype+", want F32, F16, BF16 or F64")
		require.Contains(t, out, "cannot be loaded here: "+err.Error())
		require.NotContains(t, out, "to train")
	}
	doubles := restored(t, "F64", 8)
	status, out, errs := stepwise("", "info", doubles)
	require.Zero(t, status, errs)
	require.Equal(t, "F64, 63.1 KiB", field(t, out, "stored as"))
	require.Contains(t, out, "to train")
	_, err := model.LoadDecoder(reference.New(), doubles)
	require.NoError(t, err)
	dir := modelFolder(t, tinyModel, map[string]string{"config.json": `{"model_type": "llama", "vocab_size": NaN}`})
	_, _, errs = stepwise("", "info", dir)
	require.Contains(t, errs, "config.json: line 1: NaN is not JSON, want a finite number or null")
}

// Cases from the field, where they are.
func TestInfoOfSharedCases(t *testing.T) {
	const dir = "../../../shared/cases/files/"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no shared cases: ", err)
	}
	for name, want := range map[string]string{
		"bert-info":            "without a classifier",
		"f8-info":              "F8_E4M3, 19.2 KiB",
		"no-model-prefix":      "the embedding's",
		"tied-other-head":      "output       2,048",
		"rope-linear-original": "to train",
	} {
		status, out, errs := stepwise("", "info", dir+name)
		require.Zero(t, status, errs)
		require.Contains(t, out, want, name)
		require.Equal(t, name == "f8-info", strings.Contains(out, "cannot be loaded"), name)
	}
}

func TestInfoErrors(t *testing.T) {
	for _, c := range []struct {
		status int
		want   string
		args   []string
	}{
		{exitUsage, "0 arguments, want DIR", nil},
		{exitUsage, "2 arguments, want DIR", []string{"a", "b"}},
		{exitInput, "no such file or directory", []string{filepath.Join(t.TempDir(), "none")}},
		{exitInput, "has no config.json", []string{t.TempDir()}},
		{exitInput, "model.safetensors", []string{modelFolder(t, tinyModel, map[string]string{"model.safetensors": "short"})}},
		{exitInput, "tokenizer_config.json: bos_token is 1", []string{modelFolder(t, tinyModel, map[string]string{"tokenizer_config.json": `{"bos_token": 1}`})}},
		{exitInput, "tokenizer", []string{modelFolder(t, tinyModel, map[string]string{"tokenizer.json": `{}`})}},
	} {
		status, out, errs := stepwise("", append([]string{"info"}, c.args...)...)
		require.Equal(t, c.status, status, errs)
		require.Contains(t, errs, c.want)
		require.Empty(t, out)
	}
}

// A real checkpoint without a tokenizer.
func TestInfoOfAPublishedModel(t *testing.T) {
	dir := "../../../shared/models/verl_arith"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no published checkpoint: ", err)
	}
	status, out, errs := stepwise("", "info", dir)
	require.Zero(t, status, errs)
	require.Contains(t, out, "parameters     795,776\n")
	require.Equal(t, "BF16, 1.5 MiB", field(t, out, "stored as"))
	require.Equal(t, "none: the folder has no tokenizer.json", field(t, out, "tokenizer"))
	require.Equal(t, "default, 419 bytes", field(t, out, "chat template"))
}

// The estimate of activations is what a step takes, to 2%.
func TestActivations(t *testing.T) {
	for _, c := range []model.Config{
		tinyModel,
		{Vocab: 64, Dim: 32, Layers: 3, Heads: 4, KVHeads: 4, HeadDim: 16, FF: 40, MaxSeq: 256, QKNorm: true},
		{Vocab: 5000, Dim: 16, Layers: 1, Heads: 2, KVHeads: 1, FF: 64, MaxSeq: 256, QKVBias: true},
	} {
		d, err := model.NewDecoder(reference.New(), c, 1)
		require.NoError(t, err)
		const rows = 240
		var p model.Pack
		var targets model.Targets
		for row := range int32(rows) {
			targets.Rows, targets.IDs = append(targets.Rows, row), append(targets.IDs, 0)
		}
		for range rows / 60 {
			p.Add(make([]int32, 60), -1)
		}
		grad := make([]float32, rows)
		require.NoError(t, d.Forward(&p, &targets, make([]float32, rows), nil))
		require.NoError(t, d.Backward(grad, nil))
		require.InEpsilon(t, d.ActivationBytes(), 4*activationFloats(d.Config(), rows), 0.02)
	}
}
