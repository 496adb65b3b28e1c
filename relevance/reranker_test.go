package relevance_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

const (
	rerankerDir     = "../lm/local/testdata/qwen3-reranker"
	crossEncoderDir = "../lm/local/testdata/xlmr-reranker"
)

// The grades are those of the model card's code (lm/local/testdata/reranker.py).
func TestRerankerIsAScorer(t *testing.T) {
	var golden struct {
		Cases []struct {
			Query     string
			Documents []string
			Grades    []float64
		}
	}
	text, err := os.ReadFile("../lm/local/testdata/reranker.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &golden))
	c := golden.Cases[0]
	documents := make([]rows.Document, len(c.Documents))
	for i, d := range c.Documents {
		documents[i].Body = d
	}
	score := func(labels ...string) []relevance.Score {
		s, err := relevance.OpenReranker(rerankerDir, relevance.RerankerOptions{Labels: labels, Backend: "cpu"})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		scores, err := s.Score(t.Context(), c.Query, documents, relevance.ScoreOptions{})
		require.NoError(t, err)
		require.Len(t, scores, len(documents))
		return scores
	}
	for i, s := range score() {
		require.InDelta(t, c.Grades[i], s.Grade, 1e-5)
		require.InDeltaSlice(t, []float64{1 - c.Grades[i], c.Grades[i]}, s.P, 1e-5)
		require.Equal(t, "yes", s.Label)
	}
	// .767, .834, .814, .823 of the way from 0 to 3
	for i, s := range score("0", "1", "2", "3") {
		require.InDelta(t, 3*c.Grades[i], s.Grade, 3e-5)
		require.Nil(t, s.P, "one number is no distribution over four labels")
		require.Equal(t, []string{"2", "3", "2", "2"}[i], s.Label)
	}
}

// A single logit of a causal model is that of yes less no, after the same prompt; what is
// not finite is no grade.
func TestCausalClassifierIsAScorer(t *testing.T) {
	b, err := tensor.Open("cpu")
	require.NoError(t, err)
	e, err := model.PretrainedEncoder(b, rerankerDir, 1, 1)
	require.NoError(t, err)
	defer e.Free()
	score := func() relevance.Score {
		dir := t.TempDir()
		require.NoError(t, e.Export(dir, model.ExportOptions{TokenizerFrom: rerankerDir}))
		s, err := relevance.OpenReranker(dir, relevance.RerankerOptions{Backend: "cpu", Instruction: "Judge."})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		scores, err := s.Score(t.Context(), "a", []rows.Document{{Body: "b"}}, relevance.ScoreOptions{})
		require.NoError(t, err)
		return scores[0]
	}
	weights := e.Params()[len(e.Params())-1]
	b.Fill(weights.Value, 0)
	require.Equal(t, []float64{.5, .5}, score().P)
	b.Fill(weights.Value, float32(math.NaN()))
	s := score()
	require.True(t, math.IsNaN(s.Grade))
	require.Nil(t, s.P)
	require.Empty(t, s.Label)
}

func TestOpenRerankerNamesTheFault(t *testing.T) {
	b, err := tensor.Open("cpu")
	require.NoError(t, err)
	e, err := model.LoadEncoder(b, crossEncoderDir)
	require.NoError(t, err)
	defer e.Free()
	body := t.TempDir()
	require.NoError(t, e.Export(body, model.ExportOptions{Body: true, TokenizerFrom: crossEncoderDir}))
	for want, c := range map[string]struct {
		dir string
		o   relevance.RerankerOptions
	}{
		"stat abacus: no such": {"abacus", relevance.RerankerOptions{}},
		`["Qwen3Model"], without a classifier: it embeds texts and does not rerank`: {"../lm/local/testdata/qwen3-embedding", relevance.RerankerOptions{}},
		`["XLMRobertaModel"], without a classifier`:                                 {body, relevance.RerankerOptions{}},
		"tokenizer.json": {t.TempDir(), relevance.RerankerOptions{Backend: "cpu"}},
		`RerankerOptions.Labels is ["a"], want at least two`: {rerankerDir, relevance.RerankerOptions{Backend: "cpu", Labels: []string{"a"}}},
		"MaxTokens is 3":                  {rerankerDir, relevance.RerankerOptions{Backend: "cpu", MaxTokens: 3}},
		"RerankerOptions.MaxTokens is -1": {rerankerDir, relevance.RerankerOptions{Backend: "cpu", MaxTokens: -1}},
		filepath.Base(rerankerDir):        {rerankerDir, relevance.RerankerOptions{Backend: "cpu", MaxTokens: 5}},
		"abacus":                          {rerankerDir, relevance.RerankerOptions{Backend: "abacus"}},
		"MaxTokens is 4":                  {crossEncoderDir, relevance.RerankerOptions{Backend: "cpu", MaxTokens: 4}},
		"takes no instruction":            {crossEncoderDir, relevance.RerankerOptions{Backend: "cpu", Instruction: "find it"}},
	} {
		_, err := relevance.OpenReranker(c.dir, c.o)
		require.ErrorContains(t, err, want)
	}
}

// The grades are those of transformers (lm/local/testdata/crossencoder.py).
func TestCrossEncoderIsAScorer(t *testing.T) {
	var golden struct {
		Queries, Documents []string
		Folders            map[string]struct{ Logits [][]float64 }
	}
	text, err := os.ReadFile("../lm/local/testdata/crossencoder.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &golden))
	var documents []rows.Document
	for _, d := range golden.Documents {
		documents = append(documents, rows.Document{Body: d})
	}
	s, err := relevance.OpenReranker(crossEncoderDir, relevance.RerankerOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	scores, err := s.Score(t.Context(), golden.Queries[0], documents, relevance.ScoreOptions{})
	require.NoError(t, err)
	for i, s := range scores {
		require.InDelta(t, 1/(1+math.Exp(-golden.Folders["xlmr-reranker"].Logits[i][0])), s.Grade, 1e-4)
	}
	// In one call, of all queries.
	var pairs []rows.Example
	for _, q := range golden.Queries {
		for _, d := range documents {
			pairs = append(pairs, rows.Example{Query: q, Document: d})
		}
	}
	scores, err = s.ScorePairs(t.Context(), pairs, relevance.ScoreOptions{})
	require.NoError(t, err)
	for i, s := range scores {
		require.InDelta(t, 1/(1+math.Exp(-golden.Folders["xlmr-reranker"].Logits[i][0])), s.Grade, 1e-4)
	}
}

// Three classes are a distribution over three labels, and over others a grade.
func TestCrossEncoderWithClasses(t *testing.T) {
	score := func(meaning string, labels ...string) relevance.Score {
		s, err := relevance.OpenReranker("../lm/local/testdata/roberta-reranker", relevance.RerankerOptions{Labels: labels})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		require.Contains(t, strings.Join(s.Info().Meanings, "; "), meaning)
		scores, err := s.Score(t.Context(), "red shoes", []rows.Document{{Body: "Das Haus"}}, relevance.ScoreOptions{})
		require.NoError(t, err)
		return scores[0]
	}
	three, named, five := score(""), score("", "bad", "fair", "good"), score("", "1", "2", "3", "4", "5")
	require.Len(t, three.P, 3)
	require.Equal(t, three.P, named.P)
	require.Equal(t, []string{"bad", "fair", "good"}[slices.Index(three.P, slices.Max(three.P))], named.Label)
	require.InDelta(t, three.P[1]+2*three.P[2], three.Grade, 1e-12)
	require.Nil(t, five.P)
	require.InDelta(t, 2*three.Grade, five.Grade, 1e-6)
	two := score("the expected class of the model", "no", "yes")
	require.InDelta(t, three.Grade/2, two.P[1], 1e-12)
}

// A cross-encoder's pairs are cut off where its tokenizer says, unless the caller does.
func TestCrossEncoderReadsAsManyTokens(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(crossEncoderDir)))
	reads := func(o relevance.RerankerOptions) int {
		s, err := relevance.OpenReranker(dir, o)
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		return s.Info().MaxLength
	}
	require.Greater(t, reads(relevance.RerankerOptions{}), 12)
	config := filepath.Join(dir, "tokenizer_config.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"model_max_length": 12}`), 0o666))
	require.Equal(t, 12, reads(relevance.RerankerOptions{}))
	require.Equal(t, 14, reads(relevance.RerankerOptions{MaxTokens: 14}))
	require.NoError(t, os.WriteFile(config, []byte(`{"model_max_length": 0}`), 0o666))
	_, err := relevance.OpenReranker(dir, relevance.RerankerOptions{})
	require.ErrorContains(t, err, "model_max_length is 0, want at least 1")
}
