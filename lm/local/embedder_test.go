package local_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// alphabet is a tokenizer of the letters a to z, between tokens 26 and 27.
type alphabet struct{}

func (alphabet) EncodeOrdinary(text string) (ids []int32) {
	for _, b := range []byte(text) {
		ids = append(ids, int32(b-'a'))
	}
	return ids
}

func (alphabet) AddSpecial(ids []int32) []int32 { return append(append([]int32{26}, ids...), 27) }
func (alphabet) Clip(text string, n int) string { return text[:min(n, len(text))] }

// alphabetConfig is of a model for alphabet.
var alphabetConfig = model.Config{Vocab: 28, Dim: 8, Layers: 2, Heads: 2, KVHeads: 2, FF: 6, MaxSeq: 12}

func newEmbedder(t *testing.T, maxTokens, maxRows int) *local.Embedder {
	t.Helper()
	encoder, err := model.NewEncoder(backendtest.NewAsync(reference.New()), model.EncoderConfig{
		Config: alphabetConfig, Classes: 2, Style: model.BERTStyle,
	}, 1)
	require.NoError(t, err)
	t.Cleanup(encoder.Free)
	e, err := local.NewEmbedder(local.EmbedderConfig{Encoder: encoder, Tokenizer: alphabet{}, MaxTokens: maxTokens, MaxRows: maxRows})
	require.NoError(t, err)
	return e
}

func embed(t *testing.T, e *local.Embedder, texts ...string) [][]float32 {
	t.Helper()
	v, err := e.Embed(t.Context(), texts)
	require.NoError(t, err)
	require.Len(t, v, len(texts))
	return v
}

func TestEmbedderCutsTextsAndBatches(t *testing.T) {
	e := newEmbedder(t, 0, 0)
	texts := []string{"abc", "zyxwvutsrqponm", "", "k"}
	all := embed(t, e, texts...)
	for _, maxRows := range []int{1, 7, 15} {
		small := newEmbedder(t, 0, maxRows)
		for i, v := range embed(t, small, texts...) {
			require.InDeltaSlice(t, all[i], v, 1e-6)
		}
	}
	require.Equal(t, all[1], embed(t, e, "zyxwvutsrq")[0], "12 tokens, two of them special")
	require.Equal(t, embed(t, e, "abc")[0], embed(t, newEmbedder(t, 5, 0), "abcdefg")[0])
	require.NotEqual(t, all[0], all[3])
	require.Equal(t, []string{"abcdefghij", "klm"}, e.Chunks("abcdefghijklm"))
	require.Equal(t, []string{""}, e.Chunks(""))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Embed(ctx, texts)
	require.ErrorIs(t, err, context.Canceled)
}

func TestEmbedderSettings(t *testing.T) {
	encoder, err := model.NewEncoder(reference.New(), model.EncoderConfig{Config: model.Config{Vocab: 28, Dim: 8, Layers: 1, Heads: 2, KVHeads: 2, FF: 6, MaxSeq: 12}, Classes: 2}, 1)
	require.NoError(t, err)
	for want, c := range map[string]local.EmbedderConfig{
		"Encoder is nil":   {Tokenizer: alphabet{}},
		"Tokenizer is nil": {Encoder: encoder},
		"MaxTokens is 2":   {Encoder: encoder, Tokenizer: alphabet{}, MaxTokens: 2},
		"MaxTokens is 13":  {Encoder: encoder, Tokenizer: alphabet{}, MaxTokens: 13},
		"MaxRows is -1":    {Encoder: encoder, Tokenizer: alphabet{}, MaxRows: -1},
	} {
		_, err := local.NewEmbedder(c)
		require.ErrorContains(t, err, want)
	}
	// An encoder that has room for the special tokens alone.
	short, err := model.NewEncoder(reference.New(), model.EncoderConfig{Config: model.Config{Vocab: 28, Dim: 8, Layers: 1, Heads: 2, KVHeads: 2, FF: 6, MaxSeq: 2}, Classes: 2}, 1)
	require.NoError(t, err)
	_, err = local.NewEmbedder(local.EmbedderConfig{Encoder: short, Tokenizer: alphabet{}})
	require.ErrorContains(t, err, "MaxTokens is 0, want 0 or more than the 2 special tokens and at most MaxSeq (2)")
}

// The gradient of the cosine has no part along the document's own vector, so it does
// not vanish with the query's direction only: it is 0 where query and document are the
// same.
func TestSaliency(t *testing.T) {
	e := newEmbedder(t, 0, 0)
	norms, err := e.Saliency(t.Context(), "abc", "zyxw")
	require.NoError(t, err)
	require.Len(t, norms, 4)
	for _, v := range norms {
		require.Greater(t, v, 1e-4)
	}
	same, err := e.Saliency(t.Context(), "abc", "abc")
	require.NoError(t, err)
	for _, v := range same {
		require.InDelta(t, 0, v, 1e-5)
	}
	_, err = e.Saliency(t.Context(), "abc", "")
	require.ErrorContains(t, err, "no tokens")
	require.Equal(t, 1, posir.SummarizeSaliency([][]float64{norms}).Documents)
}

func TestProductsAreThoseOfPosir(t *testing.T) {
	e := newEmbedder(t, 0, 0)
	var queries []posir.Query
	var documents []posir.Document
	for i := range 20 {
		text := strings.Repeat(string(rune('a'+i)), 1+i%3)
		queries, documents = append(queries, posir.Query{ID: text, Text: text}), append(documents, posir.Document{ID: text, Text: text + "a"})
	}
	corpus := func(yield func(posir.Document, error) bool) {
		for _, d := range documents {
			if !yield(d, nil) {
				return
			}
		}
	}
	search := func(p posir.Products) posir.Run {
		run, err := posir.Search(t.Context(), posir.Prefixed{Embed: e.Embed, Query: "q"}, queries, corpus, posir.SearchOptions{Products: p, Block: 7})
		require.NoError(t, err)
		return run
	}
	want, got := search(nil), search(local.Products(backendtest.NewAsync(reference.New())))
	for _, q := range queries {
		scores := map[string]float64{}
		for _, h := range want[q.ID] {
			scores[h.Document] = h.Score
		}
		for _, h := range got[q.ID] {
			require.InDelta(t, scores[h.Document], h.Score, 1e-6)
			require.LessOrEqual(t, math.Abs(h.Score), 1.000001)
		}
	}
}

// See lm/model's TestMiniLMGivesThePublishedEmbeddings for how to get the model.
func TestSaliencyAgreesWithTorch(t *testing.T) {
	dir := os.Getenv("STEPWISE_MINILM")
	if dir == "" {
		t.Skip("STEPWISE_MINILM does not name all-MiniLM-L6-v2's folder")
	}
	var golden struct {
		Query, Document string
		Norms           []float64
	}
	text, err := os.ReadFile("testdata/saliency.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &golden))
	tokens, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	require.NoError(t, err)
	encoder, err := model.PretrainedEncoder(openCPU(t), dir, 2, 0)
	require.NoError(t, err)
	defer encoder.Free()
	e, err := local.NewEmbedder(local.EmbedderConfig{Encoder: encoder, Tokenizer: tokens})
	require.NoError(t, err)
	got, err := e.Saliency(t.Context(), golden.Query, golden.Document)
	require.NoError(t, err)
	require.Len(t, got, len(golden.Norms))
	for i, want := range golden.Norms {
		require.InEpsilon(t, want, got[i], 1e-5, i)
	}
}
