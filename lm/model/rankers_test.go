package model_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// onBackends runs a test on every backend, and on one without optional operations, with
// the relative difference allowed: rotary angles are float32 in transformers.
func onBackends(t *testing.T, name string, test func(t *testing.T, dir string, b tensor.Backend, tol float64)) {
	dir := filepath.Join("testdata", name)
	for backend, c := range backends {
		t.Run(name+"/"+backend, func(t *testing.T) { test(t, dir, c.open(), 1e-5) })
	}
	plain := struct{ tensor.Backend }{reference.New()}
	t.Run(name+"/plain", func(t *testing.T) { test(t, dir, plain, 1e-5) })
}

// TestClassifiersAgreeWithTransformers compares logits, gradients and ten steps of
// training with what testdata/rankers.py and crossencoders.py wrote.
func TestClassifiersAgreeWithTransformers(t *testing.T) {
	for _, name := range append([]string{"modernbert-cls", "modernbert-score", "qwen3-cls"}, crossEncoders...) {
		onBackends(t, name, checkClassifier)
	}
}

func checkClassifier(t *testing.T, dir string, b tensor.Backend, tol float64) {
	g := readGolden(t, dir)
	e, err := model.LoadEncoder(b, dir)
	require.NoError(t, err)
	defer e.Free()
	p := g.pack()
	p.Types = slices.Concat(g.Types...)
	g.checkLogits(t, b, e, p, tol)
}

// checkLogits compares the logits of a pack, and the training on it.
func (g *golden) checkLogits(t *testing.T, b tensor.Backend, e *model.Encoder, p *model.Pack, tol float64) {
	logits := make([]float32, len(g.IDs)*e.Config().Classes)
	step := func() float64 {
		require.NoError(t, e.Forward(p, logits))
		loss, dlogits := classifierLoss(logits, g.Labels)
		require.NoError(t, e.Backward(dlogits))
		return loss
	}
	require.InEpsilon(t, g.Loss, step(), tol)
	requireClose(t, g.tensor(t, "logits"), logits, tol, "logits")
	g.checkTraining(t, b, e.Params(), tol, step)
}

// classifierLoss is the cross-entropy, or the mean square of scores less labels, and its
// gradient.
func classifierLoss(logits []float32, labels []int) (loss float64, dlogits []float32) {
	if len(logits) > len(labels) {
		return crossEntropy(logits, labels)
	}
	for i, v := range logits {
		d, n := float64(v)-float64(labels[i]), float64(len(labels))
		loss += d * d / n
		dlogits = append(dlogits, float32(2*d/n))
	}
	return loss, dlogits
}

// TestBodiesAgreeWithTransformers compares pooled states, and what is loaded of a head.
func TestBodiesAgreeWithTransformers(t *testing.T) {
	for _, name := range []string{"modernbert", "modernbert-model", "qwen3-embedding", "roberta", "xlmr"} {
		onBackends(t, name, func(t *testing.T, dir string, b tensor.Backend, tol float64) {
			g := readGolden(t, dir)
			e, err := model.PretrainedEncoder(b, dir, 2, 1, model.Frozen())
			require.NoError(t, err)
			defer e.Free()
			g.checkStates(t, e, g.pack(), tol)
		})
	}
}

func loadPretrained(t *testing.T, dir string, options ...model.LoadOption) *model.Encoder {
	t.Helper()
	e, err := model.PretrainedEncoder(reference.New(), dir, 2, 1, options...)
	require.NoError(t, err)
	return e
}

func paramOf(t *testing.T, e *model.Encoder, name string) []float32 {
	t.Helper()
	for _, p := range e.Params() {
		if p.Name == name {
			v := make([]float32, p.Len())
			require.NoError(t, e.Backend().Read(v, p.Value))
			return v
		}
	}
	t.Fatalf("no parameter %q", name)
	return nil
}

func TestModernBERTsHeadIsLoadedIfThereIsOne(t *testing.T) {
	one := loadPretrained(t, "testdata/modernbert")
	other, err := model.PretrainedEncoder(reference.New(), "testdata/modernbert", 2, 7)
	require.NoError(t, err)
	const head, classifier = "head.dense.weight", "classifier.weight"
	require.Equal(t, paramOf(t, one, head), paramOf(t, other, head))
	require.NotEqual(t, paramOf(t, one, classifier), paramOf(t, other, classifier))

	body := loadPretrained(t, "testdata/modernbert-model")
	other, err = model.PretrainedEncoder(reference.New(), "testdata/modernbert-model", 2, 7)
	require.NoError(t, err)
	require.NotEqual(t, paramOf(t, body, head), paramOf(t, other, head), "the checkpoint has none, so it is drawn")
	require.Equal(t, paramOf(t, body, "model.layers.4.attn.Wqkv.weight"), paramOf(t, other, "model.layers.4.attn.Wqkv.weight"))
}

func TestRankersAreWhatTheirFoldersSay(t *testing.T) {
	shape := model.Config{Vocab: 29, Dim: 16, Layers: 5, Heads: 4, KVHeads: 4, HeadDim: 4, FF: 24, MaxSeq: 32, RopeTheta: 160000, NormEps: 1e-5}
	modern := model.EncoderConfig{
		Config: shape, Style: model.ModernBERTStyle, GlobalEvery: 3, Window: 2, LocalRopeTheta: 10000, Classes: 2, Pooling: model.MeanPooling,
	}
	require.Equal(t, modern, loadPretrained(t, "testdata/modernbert").Config(), "as transformers 4 writes it")
	require.Equal(t, modern, loadPretrained(t, "testdata/modernbert-model").Config(), "as transformers 5 writes it")
	require.Equal(t, model.FirstPooling, loadPretrained(t, "testdata/modernbert", model.WithPooling(model.FirstPooling)).Config().Pooling)

	cfg, err := model.ReadEncoderConfig("testdata/modernbert-cls")
	require.NoError(t, err)
	modern.Classes, modern.Pooling = 3, model.FirstPooling
	require.Equal(t, modern, cfg)
	cfg, err = model.ReadEncoderConfig("testdata/modernbert-score")
	require.NoError(t, err)
	require.Equal(t, 1, cfg.Classes)
	require.Equal(t, 1, cfg.GlobalEvery)

	qwen := loadPretrained(t, "testdata/qwen3-embedding").Config()
	require.True(t, qwen.Causal && qwen.QKNorm && !qwen.TieEmbeddings)
	require.Equal(t, model.LastPooling, qwen.Pooling)
	cfg, err = model.ReadEncoderConfig("testdata/qwen3-cls")
	require.NoError(t, err)
	qwen.Classes = 3
	require.Equal(t, qwen, cfg)
	_, err = model.LoadDecoder(reference.New(), "testdata/qwen3-cls")
	require.ErrorContains(t, err, `is of an encoder, want a decoder's: model_type is "qwen3", architectures is ["Qwen3ForSequenceClassification"] (LoadEncoder loads`)
	_, err = model.LoadEncoder(reference.New(), "testdata/qwen3-embedding")
	require.ErrorContains(t, err, "is not an encoder's with a classifier")

	for name, body := range map[string]bool{
		"modernbert": true, "modernbert-model": true, "modernbert-cls": false, "modernbert-score": false, "qwen3-embedding": true, "qwen3-cls": false,
	} {
		in, err := model.Inspect(filepath.Join("testdata", name))
		require.NoError(t, err)
		require.NoError(t, in.Problem, name)
		require.NotNil(t, in.Encoder, name)
		require.Nil(t, in.Decoder, name)
		require.Equal(t, body, in.Body, name)
		require.Positive(t, in.Loaded, name)
	}
	in, err := model.Inspect("testdata/qwen3")
	require.NoError(t, err)
	require.NotNil(t, in.Decoder, "a decoder without sentence-transformers' files stays one")
}

func TestRankersSurviveSaveAndLoad(t *testing.T) {
	for _, name := range []string{"modernbert", "qwen3-embedding"} {
		for _, pooling := range []model.Pooling{model.MeanPooling, model.FirstPooling, model.LastPooling} {
			if name == "modernbert" && pooling == model.LastPooling {
				continue
			}
			e, err := model.PretrainedEncoder(backendtest.NewAsync(reference.New()), filepath.Join("testdata", name), 5, 3, model.WithPooling(pooling))
			require.NoError(t, err)
			survives(t, e)
		}
	}
}

// TestExportOfRankers: what is written is read back as the same model. With -export it
// also writes the logits, for testdata/check_rankers.py.
func TestExportOfRankers(t *testing.T) {
	out := *exportDir
	if out == "" {
		out = t.TempDir()
	}
	b := reference.New()
	load := func(dir string) (*model.Encoder, error) { return model.LoadEncoder(b, dir) }
	fresh := func(dir string) (*model.Encoder, error) {
		return model.PretrainedEncoder(b, dir, 2, 1, model.WithDenseHead())
	}
	for name, open := range map[string]func(dir string) (*model.Encoder, error){
		"bert-cls": load, "roberta-cls": load, "xlmr-score": load, "modernbert-cls": load, "qwen3-cls": load,
		"bert": fresh, "roberta": fresh, "xlmr": fresh,
		"modernbert":      func(dir string) (*model.Encoder, error) { return model.PretrainedEncoder(b, dir, 1, 1) },
		"qwen3-embedding": func(dir string) (*model.Encoder, error) { return model.PretrainedEncoder(b, dir, 2, 1) },
	} {
		for kind, o := range exported {
			t.Run(name+"/"+kind, func(t *testing.T) {
				d, err := open(filepath.Join("testdata", name))
				require.NoError(t, err)
				dir := filepath.Join(out, "ranker-"+name+"-"+kind)
				require.NoError(t, d.Export(dir, o))
				e, err := model.LoadEncoder(b, dir)
				require.NoError(t, err)
				require.Equal(t, d.Config(), e.Config())
				requireRounded(t, b, d.Params(), e.Params(), o.DType)
				ids := []int32{3, 14, 15, 9, 2, 6, 5, 3, 5}
				writeExpected(t, dir, ids, predict(t, e, ids))
			})
		}
	}
}

// A classifier of before transformers 4.31 has the tables of rotary frequencies, too.
func TestClassifierWithOldTables(t *testing.T) {
	dir := changed(t, "testdata/qwen3-cls", nil)
	path := filepath.Join(dir, model.WeightsFile)
	all := readStored(t, path)
	all["model.layers.0.self_attn.rotary_emb.inv_freq"] = stored{safetensors.Tensor{DType: "F32", Shape: []int{2}}, []float32{1, 1}}
	writeStored(t, path, all)
	e, err := model.LoadEncoder(reference.New(), dir)
	require.NoError(t, err)
	want, err := model.LoadEncoder(reference.New(), "testdata/qwen3-cls")
	require.NoError(t, err)
	require.Equal(t, predict(t, want, []int32{5, 6, 7}), predict(t, e, []int32{5, 6, 7}))
}

// Tokenizers of ModernBERT give types to pairs, which the model has none of.
func TestModernBERTAsksForNoTypes(t *testing.T) {
	e, err := model.LoadEncoder(reference.New(), "testdata/modernbert-cls")
	require.NoError(t, err)
	want := predict(t, e, []int32{5, 6, 7})
	e.Types = func(ids []int32) []int32 { return []int32{0, 1, 1} }
	require.Equal(t, want, predict(t, e, []int32{5, 6, 7}))
}

// Recomputing gives the same bits, and saliency leaves the gradients alone.
func TestModernBERTRecomputesAndKeepsGradients(t *testing.T) {
	gradients := func(recompute bool) (all [][]float32) {
		e, err := model.LoadEncoder(reference.New(), "testdata/modernbert-cls")
		require.NoError(t, err)
		e.Recompute = recompute
		var p model.Pack
		p.Add([]int32{3, 1, 4, 1, 5, 9, 2, 6}, -1)
		read := func() (all [][]float32) {
			for _, param := range e.Params() {
				v := make([]float32, param.Len())
				require.NoError(t, e.Backend().Read(v, param.Grad))
				all = append(all, v)
			}
			return all
		}
		require.NoError(t, e.Forward(&p, make([]float32, 3)))
		require.NoError(t, e.Backward([]float32{1, -2, 0.5}))
		all = read()
		inputs := make([]float32, p.Rows()*16)
		require.NoError(t, e.InputGradient(&p, make([]float32, 16), inputs, func(_, d []float32) { d[3] = 1 }))
		require.NotZero(t, inputs[0])
		require.Equal(t, all, read())
		return all
	}
	require.Equal(t, gradients(false), gradients(true))
}

func TestModernBERTOptionsThatCannotBeExpressedAreRefused(t *testing.T) {
	rope := func(kind string, options map[string]any) map[string]any {
		return map[string]any{"rope_parameters": map[string]any{kind: options}}
	}
	for want, change := range map[string]map[string]any{
		`hidden_activation is "relu", want "gelu"`:                                        {"hidden_activation": "relu"},
		`classifier_activation is "tanh", want "gelu"`:                                    {"classifier_activation": "tanh"},
		`classifier_pooling is "max", want "cls" or "mean"`:                               {"classifier_pooling": "max"},
		"norm_bias is true, want false":                                                   {"norm_bias": true},
		"classifier_bias is true, want false":                                             {"classifier_bias": true},
		"attention_bias is true, want false":                                              {"attention_bias": true},
		"mlp_bias is true, want false":                                                    {"mlp_bias": true},
		"local_attention is 1, want at least 2":                                           {"local_attention": 1},
		"layer_types is of 1 layers, want num_hidden_layers (5)":                          {"layer_types": []string{"full_attention"}},
		`layer_types[0] is "sliding_attention", want "full_attention"`:                    {"layer_types": strings.Fields("sliding_attention full_attention full_attention full_attention full_attention")},
		`layer_types[3] is "sliding_attention", want "full_attention", as every 1 layers`: {"layer_types": strings.Fields("full_attention full_attention full_attention sliding_attention full_attention")},
		"global_attn_every_n_layers is 0, want at least 1":                                {"global_attn_every_n_layers": 0, "layer_types": nil},
		`rope_parameters.full_attention.rope_type is "yarn", want "default"`:              rope("full_attention", map[string]any{"rope_type": "yarn"}),
		"rope_parameters.sliding_attention.partial_rotary_factor is 0.5, want 1":          rope("sliding_attention", map[string]any{"partial_rotary_factor": 0.5}),
		`rope_parameters has "other", want full_attention and sliding_attention`:          rope("other", map[string]any{}),
		`rope_scaling.rope_type is "linear", want "default"`:                              {"rope_scaling": map[string]any{"rope_type": "linear", "factor": 2}},
		`architectures is "ModernBertForQuestionAnswering"`:                               {"architectures": []string{"ModernBertForQuestionAnswering"}},
		"alpha is 2, which is not known here":                                             {"alpha": 2},
		"local_attention is \"wide\", want an integer":                                    {"local_attention": "wide"},
		"Dim (16) is no multiple of Heads (5)":                                            {"num_attention_heads": 5},
		`no tensor "model.layers.5.attn_norm.weight"`:                                     {"num_hidden_layers": 6, "layer_types": nil},
		`tensor "embeddings.norm.weight" has shape [16]`:                                  {"hidden_size": 8, "num_attention_heads": 2},
	} {
		dir := changed(t, "testdata/modernbert-model", change)
		_, err := model.PretrainedEncoder(reference.New(), dir, 2, 1)
		require.ErrorContains(t, err, want)
	}
}
