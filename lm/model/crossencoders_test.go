package model_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// crossEncoders are the classifiers of testdata/crossencoders.py.
var crossEncoders = []string{"bert-cls", "bert-score", "roberta-cls", "xlmr-score"}

func loadCrossEncoder(t *testing.T, dir string) *model.Encoder {
	t.Helper()
	e, err := model.LoadEncoder(reference.New(), dir)
	require.NoError(t, err)
	return e
}

func TestCrossEncodersAreWhatTheirFoldersSay(t *testing.T) {
	shape := model.Config{Vocab: 29, Dim: 16, Layers: 2, Heads: 4, KVHeads: 4, HeadDim: 4, FF: 24, MaxSeq: 32, NormEps: 1e-5}
	for name, want := range map[string]model.EncoderConfig{
		"roberta-cls": {Style: model.RoBERTaStyle, TokenTypes: 1, FirstPosition: 5, DenseHead: true, Classes: 3, Pooling: model.FirstPooling},
		"xlmr-score":  {Style: model.XLMRobertaStyle, TokenTypes: 1, FirstPosition: 2, DenseHead: true, Classes: 1, Pooling: model.FirstPooling},
		"bert-score":  {Style: model.BERTStyle, TokenTypes: 2, DenseHead: true, Classes: 1, Pooling: model.FirstPooling},
	} {
		want.Config = shape
		if want.Style == model.BERTStyle {
			want.NormEps = 1e-12
		}
		cfg, err := model.ReadEncoderConfig(filepath.Join("testdata", name))
		require.NoError(t, err)
		require.Equal(t, want, cfg)
	}
	require.Equal(t, model.FirstPooling, loadPretrained(t, "testdata/xlmr").Config().Pooling)
	require.Equal(t, model.MeanPooling, loadPretrained(t, "testdata/roberta").Config().Pooling)
	for name, body := range map[string]bool{"roberta": true, "xlmr": true, "roberta-cls": false, "xlmr-score": false, "bert-cls": false, "bert": true} {
		in, err := model.Inspect(filepath.Join("testdata", name))
		require.NoError(t, err)
		require.NoError(t, in.Problem, name)
		require.Equal(t, body, in.Body, name)
		require.Positive(t, in.Loaded, name)
	}
}

// A body with a linear layer is written for this library; RobertaModel reads its body.
func TestLinearClassifiersOfRoBERTaSurviveSaveAndLoad(t *testing.T) {
	for _, name := range []string{"roberta", "xlmr", "roberta-cls"} {
		e, err := model.PretrainedEncoder(backendtest.NewAsync(reference.New()), filepath.Join("testdata", name), 5, 3)
		require.NoError(t, err)
		require.False(t, e.Config().DenseHead)
		require.Equal(t, "score.bias", e.Params()[len(e.Params())-1].Name)
		survives(t, e)
	}
}

// BERT's pooler and the first layer of RoBERTa's classifier are loaded if the
// checkpoint has them; the last layer is drawn.
func TestDenseHeadsAreLoadedIfThereIsOne(t *testing.T) {
	for _, c := range []struct {
		dir, dense, last string
		loaded           bool
	}{
		{"bert", "bert.pooler.dense.weight", "classifier.weight", true},
		{"bert-mlm", "bert.pooler.dense.weight", "classifier.weight", false},
		{"bert-cls", "bert.pooler.dense.weight", "classifier.weight", true},
		{"roberta", "classifier.dense.weight", "classifier.out_proj.weight", false},
		{"xlmr", "classifier.dense.weight", "classifier.out_proj.weight", false},
		{"roberta-cls", "classifier.dense.weight", "classifier.out_proj.weight", true},
	} {
		load := func(seed uint64) *model.Encoder {
			e, err := model.PretrainedEncoder(reference.New(), filepath.Join("testdata", c.dir), 2, seed, model.WithDenseHead())
			require.NoError(t, err, c.dir)
			require.True(t, e.Config().DenseHead)
			return e
		}
		one, other := load(1), load(2)
		require.NotEqual(t, paramOf(t, one, c.last), paramOf(t, other, c.last), c.dir)
		require.Equal(t, c.loaded, slices.Equal(paramOf(t, one, c.dense), paramOf(t, other, c.dense)), c.dir)
	}
	_, err := model.PretrainedEncoder(reference.New(), "testdata/qwen3-embedding", 2, 1, model.WithDenseHead())
	require.ErrorContains(t, err, `model_type is "qwen3", want "bert", "roberta" or "xlm-roberta" with WithDenseHead`)
	_, err = model.PretrainedEncoder(reference.New(), "testdata/bert", 2, 1, model.WithDenseHead(), model.WithPooling(model.MeanPooling))
	require.ErrorContains(t, err, `EncoderConfig.Pooling is "mean", want "first" with DenseHead`)
}

// Folders differ in names: LayerNorm's old ones, tables of positions, RoBERTa's pooler,
// which its classifiers do not use.
func TestCrossEncodersWithOtherNames(t *testing.T) {
	for _, name := range crossEncoders {
		src := filepath.Join("testdata", name)
		want := predict(t, loadCrossEncoder(t, src), []int32{3, 14, 15})
		tensors := renamed(readStored(t, filepath.Join(src, model.WeightsFile)), func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(s, "LayerNorm.weight", "LayerNorm.gamma"), "LayerNorm.bias", "LayerNorm.beta")
		})
		extra := maps.Clone(tensors)
		for name, s := range tensors {
			prefix, embeddings, ok := strings.Cut(name, "embeddings.LayerNorm.gamma")
			if ok && embeddings == "" {
				extra[prefix+"embeddings.position_ids"] = s
				if prefix == "roberta." {
					extra["roberta.pooler.dense.bias"] = s
				}
			}
		}
		require.Greater(t, len(extra), len(tensors))
		dir := changed(t, src, map[string]any{"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity", "output_past": true})
		writeStored(t, filepath.Join(dir, model.WeightsFile), extra)
		require.Equal(t, want, predict(t, loadCrossEncoder(t, dir), []int32{3, 14, 15}), name)
	}
}

func TestCrossEncoderOptionsThatCannotBeExpressedAreRefused(t *testing.T) {
	for want, change := range map[string]map[string]any{
		`hidden_act is "relu", want "gelu"`:                                    {"hidden_act": "relu"},
		`pad_token_id is 36, want a position with others after it`:             {"pad_token_id": 36},
		`pad_token_id is -1, want a position`:                                  {"pad_token_id": -1},
		`pad_token_id is "x", want a position`:                                 {"pad_token_id": "x"},
		`shape [37 16], want [40 16]`:                                          {"max_position_embeddings": 40},
		`tensor "classifier.out_proj.bias" has shape [3], want [2]`:            {"id2label": map[string]string{"0": "a", "1": "b"}},
		`architectures is "BertForSequenceClassification"`:                     {"architectures": []string{"BertForSequenceClassification"}},
		`architectures is "RobertaForTokenClassification"`:                     {"architectures": []string{"RobertaForTokenClassification"}, "stepwise_encoder": map[string]any{"classes": 2}},
		`id2label: array, want an object`:                                      {"id2label": []string{"a"}},
		`EncoderConfig.Classes is 0, want at least 1`:                          {"id2label": map[string]string{}},
		`no tensor "roberta.encoder.layer.2.attention.self.query.weight"`:      {"num_hidden_layers": 3},
		`position_embedding_type is "relative_key", want "absolute"`:           {"position_embedding_type": "relative_key"},
		`type_vocab_size is 1.5, want an integer`:                              {"type_vocab_size": 1.5},
		`tensor "roberta.embeddings.token_type_embeddings.weight" has shape [`: {"type_vocab_size": 3},
	} {
		dir := changed(t, "testdata/roberta-cls", change)
		_, err := model.LoadEncoder(reference.New(), dir)
		require.ErrorContains(t, err, want)
	}
}

func TestRoBERTaErrorsNameTheField(t *testing.T) {
	good := model.EncoderConfig{Config: model.Config{Vocab: 29, Dim: 16, Layers: 1, Heads: 4, KVHeads: 4, FF: 24, MaxSeq: 32}, Style: model.RoBERTaStyle, Classes: 1}
	e, err := model.NewEncoder(reference.New(), good, 1)
	require.NoError(t, err)
	require.Equal(t, 2, e.Config().FirstPosition)
	require.Equal(t, 1, e.Config().TokenTypes)
	for want, change := range map[string]func(c *model.EncoderConfig){
		"FirstPosition is -1, want 0 (for 2) or more":     func(c *model.EncoderConfig) { c.FirstPosition = -1 },
		"FirstPosition is 1, want 0 (only":                func(c *model.EncoderConfig) { c.FirstPosition, c.Style = 1, model.BERTStyle },
		`DenseHead is true, want false with Style "llama`: func(c *model.EncoderConfig) { c.DenseHead, c.Style = true, model.LlamaStyle },
		"with DenseHead": func(c *model.EncoderConfig) { c.DenseHead, c.Pooling = true, model.LastPooling },
		`QKNorm is true, want false with Style "roberta"`: func(c *model.EncoderConfig) { c.QKNorm = true },
		`Style is "deberta", want one of`:                 func(c *model.EncoderConfig) { c.Style = "deberta" },
	} {
		c := good
		change(&c)
		_, err := model.NewEncoder(reference.New(), c, 1)
		require.ErrorContains(t, err, want)
	}
}

// Types gives what a pack does not say, and is checked as if the pack said it.
func TestEncoderAsksForTypes(t *testing.T) {
	e := loadCrossEncoder(t, "testdata/bert-cls")
	ids := []int32{3, 14, 15, 9}
	plain := predict(t, e, ids, ids[:2])
	var p model.Pack
	p.Add(ids, -1)
	p.Add(ids[:2], -1)
	p.Types = []int32{0, 0, 1, 1, 0, 0}
	want := make([]float32, 6)
	require.NoError(t, e.Predict(&p, want))
	require.NotEqual(t, plain, want)

	e.Types = func(sequence []int32) []int32 {
		if len(sequence) < 4 {
			return nil
		}
		return []int32{0, 0, 1, 1}
	}
	require.Equal(t, want, predict(t, e, ids, ids[:2]))
	p.Types = nil
	got := make([]float32, 6)
	require.NoError(t, e.Forward(&p, got))
	require.NoError(t, e.Backward(make([]float32, 6)))
	require.Equal(t, want, got)
	require.Empty(t, p.Types, "the pack is left as it is")
	p.Types = make([]int32, 6)
	require.NoError(t, e.Predict(&p, got))
	require.Equal(t, plain, got, "the pack's types count")

	p.Types = nil
	e.Types = func([]int32) []int32 { return []int32{0} }
	require.ErrorContains(t, e.Predict(&p, got), "2 token types for 6 tokens")
	e.Types = func(s []int32) []int32 { return s }
	require.ErrorContains(t, e.Predict(&p, got), "row 0 has token type 3, but the model has 2 types")
}
