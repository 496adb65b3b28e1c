package local_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

var _ posir.Scorer = (*local.CrossEncoder)(nil)

// crossGolden is testdata/crossencoder.json.
type crossGolden struct {
	Queries, Documents []string
	Folders            map[string]struct {
		IDs, Types     [][]int32
		Logits, States [][]float64
	}
}

func readCrossGolden(t *testing.T) (g crossGolden) {
	text, err := os.ReadFile("testdata/crossencoder.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	require.Len(t, g.Folders, 3)
	return g
}

func openCrossEncoder(t *testing.T, name string, maxTokens, maxRows int) (*local.CrossEncoder, *model.Encoder, *tokenizer.Tokenizer) {
	dir := filepath.Join("testdata", name)
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	require.NoError(t, err)
	encoder, err := model.LoadEncoder(reference.New(), dir)
	require.NoError(t, err)
	t.Cleanup(encoder.Free)
	require.NoError(t, encoder.Config().CheckTokenizer(tok.VocabSize()))
	e, err := local.NewCrossEncoder(local.CrossEncoderConfig{Encoder: encoder, Tokenizer: tok, MaxTokens: maxTokens, MaxRows: maxRows})
	require.NoError(t, err)
	return e, encoder, tok
}

// From texts to logits: as transformers does it with the same folders.
func TestCrossEncodersAgreeWithTransformers(t *testing.T) {
	g := readCrossGolden(t)
	for name, want := range g.Folders {
		for _, maxRows := range []int{0, 1, 100} {
			e, encoder, tok := openCrossEncoder(t, name, 0, maxRows)
			k := 0
			for _, query := range g.Queries {
				logits, err := e.Logits(t.Context(), query, g.Documents)
				require.NoError(t, err)
				grades, err := e.Score(t.Context(), query, g.Documents)
				require.NoError(t, err)
				for i, document := range g.Documents {
					ids, types := e.Pair(query, document)
					require.Equal(t, want.IDs[k], ids, "%s: %q, %q", name, query, document)
					require.Equal(t, want.Types[k], types, "%s: %q, %q", name, query, document)
					require.InDeltaSlice(t, want.Logits[k], logits[i], 1e-4, "%s: %q, %q", name, query, document)
					require.InDelta(t, grade(want.Logits[k]), grades[i], 1e-4)
					if encoder.Config().TokenTypes > 1 {
						require.Equal(t, types, tok.PairTypes(ids))
					} else {
						require.Nil(t, tok.PairTypes(ids))
					}
					k++
				}
			}
		}
	}
}

func grade(z []float64) float64 {
	if len(z) == 1 {
		return 1 / (1 + math.Exp(-z[0]))
	}
	a, b, c := math.Exp(z[0]), math.Exp(z[1]), math.Exp(z[2])
	return (b/2 + c) / (a + b + c)
}

// A student of a cross-encoder's encoder gives the same logits, types included; the
// embedder gives the first token's states.
func TestStudentsAndEmbeddersOfTheseModels(t *testing.T) {
	g := readCrossGolden(t)
	for name, want := range g.Folders {
		_, encoder, tok := openCrossEncoder(t, name, 0, 0)
		s, err := local.NewStudent(local.StudentConfig{Encoder: encoder})
		require.NoError(t, err)
		got := make([][]float64, len(want.IDs))
		for i := range got {
			got[i] = make([]float64, encoder.Config().Classes)
		}
		require.NoError(t, s.Logits(t.Context(), want.IDs, got, true))
		near(t, want.Logits, got, 1e-4)
		require.NoError(t, s.Backward(t.Context(), want.Logits))

		e, err := local.NewEmbedder(local.EmbedderConfig{Encoder: encoder, Tokenizer: tok})
		require.NoError(t, err)
		vectors, err := e.Embed(t.Context(), g.Documents)
		require.NoError(t, err)
		for i, v := range vectors {
			require.InDeltaSlice(t, want.States[i], v, 1e-4, "%s: %q", name, g.Documents[i])
		}
	}
}

// The query keeps two thirds at most, and the end of the document is cut.
func TestCrossEncoderCuts(t *testing.T) {
	e, _, tok := openCrossEncoder(t, "roberta-reranker", 13, 0)
	ids, _ := e.Pair("qqqqqqqqqqqqqqq", "ddddddddd")
	require.Equal(t, "qqqqqqddd", tok.Decode(ids))
	require.Len(t, ids, 13)
	ids, _ = e.Pair("qq", "ddddddddddddddd")
	require.Equal(t, "qqddddddd", tok.Decode(ids))
}

func TestCrossEncoderErrors(t *testing.T) {
	_, encoder, tok := openCrossEncoder(t, "xlmr-reranker", 0, 0)
	causal, err := model.PretrainedEncoder(reference.New(), "testdata/qwen3-reranker", 1, 1)
	require.NoError(t, err)
	defer causal.Free()
	for want, c := range map[string]local.CrossEncoderConfig{
		"CrossEncoderConfig.Encoder is nil":                                                 {Tokenizer: tok},
		"CrossEncoderConfig.Tokenizer is nil":                                               {Encoder: encoder},
		"MaxRows is -1, want at least 0":                                                    {Encoder: encoder, Tokenizer: tok, MaxRows: -1},
		"MaxTokens is 4, want 0 or more than the 4 special tokens and at most MaxSeq (120)": {Encoder: encoder, Tokenizer: tok, MaxTokens: 4},
		"MaxTokens is 121, want 0":                                                          {Encoder: encoder, Tokenizer: tok, MaxTokens: 121},
		"which needs its prompt: that is RerankerConfig.Encoder":                            {Encoder: causal, Tokenizer: tok},
	} {
		_, err := local.NewCrossEncoder(c)
		require.ErrorContains(t, err, want)
	}
}
