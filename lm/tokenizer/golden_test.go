package tokenizer_test

import (
	"encoding/json"
	"flag"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

var update = flag.Bool("update", false, "write testdata/ours.json")

// golden is what testdata/golden.py wrote.
type golden struct {
	Texts       []string  `json:"texts"`
	HF          [][]int32 `json:"hf"`
	Ours        [][]int32 `json:"ours"`
	OursDecoded []string  `json:"ours_decoded"`
}

func readGolden(t *testing.T) (g golden) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	require.Greater(t, len(g.Texts), 400)
	return g
}

func corpus(t testing.TB) iter.Seq[string] {
	data, err := os.ReadFile("testdata/corpus.txt")
	require.NoError(t, err)
	return slices.Values(strings.Split(string(data), "\n\n"))
}

func trainOurs(t testing.TB) *tokenizer.Tokenizer {
	tok, err := tokenizer.Train(corpus(t), tokenizer.TrainOptions{
		VocabSize: 480,
		Special:   []string{"<|end|>", "<|pad|>"},
		Added:     []string{"<step", "</step>", "step>"},
	})
	require.NoError(t, err)
	return tok
}

// The committed file, which the library has read, is what Train and Save make
// today, byte for byte.
func TestTrainedFile(t *testing.T) {
	tok := trainOurs(t)
	require.Equal(t, 480, tok.VocabSize())
	path := t.TempDir() + "/tokenizer.json"
	if *update {
		path = "testdata/ours.json"
	}
	require.NoError(t, tok.Save(path))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/ours.json")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// The library encodes with our file as we do, and decodes to the same text.
func TestOursAsLibrary(t *testing.T) {
	g := readGolden(t)
	loaded, err := tokenizer.Load("testdata/ours.json")
	require.NoError(t, err)
	for name, tok := range map[string]*tokenizer.Tokenizer{"trained": trainOurs(t), "loaded": loaded} {
		for i, text := range g.Texts {
			require.Equal(t, nonNil(g.Ours[i]), nonNil(tok.Encode(text)), "%s: %q", name, text)
			if decoded := tok.Decode(g.Ours[i]); utf8.ValidString(decoded) {
				require.Equal(t, g.OursDecoded[i], decoded, "%s: %q", name, text)
			}
		}
	}
}

// We encode with the library's file as it does.
func TestLibraryAsOurs(t *testing.T) {
	g := readGolden(t)
	tok, err := tokenizer.Load("testdata/hf.json")
	require.NoError(t, err)
	for i, text := range g.Texts {
		require.Equal(t, nonNil(g.HF[i]), nonNil(tok.Encode(text)), "%q", text)
	}

	// Written and read again it is the same tokenizer.
	path := t.TempDir() + "/tokenizer.json"
	require.NoError(t, tok.Save(path))
	again, err := tokenizer.Load(path)
	require.NoError(t, err)
	require.Equal(t, tok, again)
}

// We learn the merges that the library learns from the same corpus.
func TestTrainAsLibrary(t *testing.T) {
	tok, err := tokenizer.Train(corpus(t), tokenizer.TrainOptions{
		VocabSize: 2000, Special: []string{"<|end|>", "<|pad|>"},
	})
	require.NoError(t, err)
	type file struct {
		Model struct {
			Vocab  map[string]int32
			Merges [][2]string
		}
	}
	var ours, hf file
	data, err := json.Marshal(tok)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &ours))
	data, err = os.ReadFile("testdata/hf.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &hf))
	// The corpus holds no more: both stop where no pair occurs twice.
	require.Greater(t, len(ours.Model.Merges), 250)
	require.Equal(t, hf.Model.Merges, ours.Model.Merges)
	require.Equal(t, hf.Model.Vocab, ours.Model.Vocab)
}

func nonNil(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}
