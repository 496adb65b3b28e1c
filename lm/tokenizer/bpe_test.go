package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/tokenizer/internal/sentencepiece"
)

// naive merges a word by the textbook: the lowest rank first, leftmost first.
func (m *bpe) naive(word string) []int32 {
	var ids []int32
	for i := range len(word) {
		ids = append(ids, m.byteID[word[i]])
	}
	for {
		best, at := merge{rank: 1 << 30}, -1
		for i := 1; i < len(ids); i++ {
			if c, ok := m.merges.get(pair(ids[i-1], ids[i])); ok && c.rank < best.rank {
				best, at = c, i-1
			}
		}
		if at < 0 {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, best.id)
	}
}

// The merge table need not come from training: any order of ranks must do, and equal
// ones, as pairs have that make the same piece of SentencePiece.
func TestMergesAsTextbook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, err := (&TrainOptions{VocabSize: 256}).definition()
		require.NoError(t, err)
		words := []string{"a", "b", "c"}
		for range rapid.IntRange(1, 12).Draw(t, "merges") {
			m := [2]string{rapid.SampledFrom(words).Draw(t, "left"), rapid.SampledFrom(words).Draw(t, "right")}
			if !slices.Contains(d.merges, m) {
				d.merges = append(d.merges, m)
			}
			if w := m[0] + m[1]; !slices.Contains(words, w) {
				words = append(words, w)
				d.spelling = append(d.spelling, w)
			}
		}
		d.merges = rapid.Permutation(d.merges).Draw(t, "ranks")
		if rapid.Bool().Draw(t, "ties") {
			d.ranks = rapid.SliceOfN(rapid.Int32Range(0, 3), len(d.merges), len(d.merges)).Draw(t, "equal ranks")
		}
		tok, err := build(d)
		require.NoError(t, err)
		word := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 1, 40, -1).Draw(t, "word")
		require.Equal(t, tok.model.(*bpe).naive(word), tok.EncodeOrdinary(word))
	})
}

// A long word takes n log n steps, not n²: this would run for hours.
func TestLongWord(t *testing.T) {
	tok, err := Train(slices.Values([]string{strings.Repeat("a", 64), strings.Repeat("b", 64)}),
		TrainOptions{VocabSize: 300, MinCount: 1})
	require.NoError(t, err)
	text := strings.Repeat("a", 1<<19) + strings.Repeat(" ", 1<<19) + strings.Repeat("b", 1<<19)
	require.Equal(t, text, tok.Decode(tok.Encode(text)))
}

// So does a long piece of a SentencePiece model when it is loaded.
func TestLongPiece(t *testing.T) {
	var pieces []sentencepiece.Piece
	for n := 1; n <= 1<<20; n *= 2 {
		pieces = append(pieces, sentencepiece.Piece{Text: strings.Repeat("a", n), Score: -float32(n), Type: sentencepiece.TypeNormal})
	}
	var d definition
	require.NoError(t, d.setPieceMerges(pieces))
	require.Len(t, d.merges, len(pieces)-1, "each is two of the one before it")
	for i, m := range d.merges {
		require.True(t, m[0] == pieces[i].Text && m[1] == pieces[i].Text)
	}
}
