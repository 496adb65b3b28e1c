package tokenizer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// english is the prose of this repository.
func english(b *testing.B) string {
	var text strings.Builder
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../examples/*/*.md"} {
		paths, err := filepath.Glob(pattern)
		require.NoError(b, err)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			require.NoError(b, err)
			text.Write(data)
		}
	}
	require.Greater(b, text.Len(), 10_000)
	return text.String()
}

// loadWhole returns the model's own tokenizer, or the committed part of it.
func loadWhole(b *testing.B, name string) *tokenizer.Tokenizer {
	if dir := os.Getenv("STEPWISE_TOKENIZERS"); dir != "" {
		tok, err := tokenizer.Load(filepath.Join(dir, name, "tokenizer.json"))
		require.NoError(b, err)
		return tok
	}
	var g family
	readFamily(b, name, &g)
	tok, err := tokenizer.Parse(g.Tokenizer)
	require.NoError(b, err)
	return tok
}

// BenchmarkEncode prints MB/s of English. With STEPWISE_TOKENIZERS set it is
// that of the models' own vocabularies; without, most words are rarer than in
// them and have to be merged.
func BenchmarkEncode(b *testing.B) {
	text := english(b)
	for _, name := range []string{"gpt2", "llama3_1", "qwen3", "bert", "llama2", "xlmr"} {
		b.Run(name, func(b *testing.B) {
			tok := loadWhole(b, name)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Encode(text)
			}
		})
	}
}

// BenchmarkLoad is the time to read a file of Qwen3's size.
func BenchmarkLoad(b *testing.B) {
	data, err := json.Marshal(loadWhole(b, "qwen3"))
	require.NoError(b, err)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := tokenizer.Parse(data)
		require.NoError(b, err)
	}
}
