package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// tricky draws text in which the rules of the pattern meet.
var tricky = rapid.Custom(func(t *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{
		"a", "é", "漢", "1", "½", "'", "'s", "'ll", "ve", "re", "!", "🎉", "\u0301", " ", " ", "  ", "\n", "\t", "\u00a0", "\u3000", "\u0085", "\u200b",
	}), 0, 20).Draw(t, "pieces")
	return strings.Join(pieces, "")
})

// The scanner cuts words as GPT-2's regular expression does.
func TestWordsAsPattern(t *testing.T) {
	pattern := regexp2.MustCompile(`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, regexp2.None)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(tricky, rapid.String()).Draw(t, "text")
		var want, got []string
		m, err := pattern.FindStringMatch(text)
		for ; m != nil && err == nil; m, err = pattern.FindNextMatch(m) {
			want = append(want, m.String())
		}
		require.NoError(t, err)
		gpt2.split(text, func(start, end int) { got = append(got, text[start:end]) })
		require.Equal(t, want, got)
	})
}

func TestInvalidUTF8IsCutByByte(t *testing.T) {
	// A broken byte is a sign like any other: it joins signs, not letters.
	text := "a\xff\xc3 b\xe6\xbc!"
	var got []string
	gpt2.split(text, func(start, end int) { got = append(got, text[start:end]) })
	require.Equal(t, []string{"a", "\xff\xc3", " b", "\xe6\xbc!"}, got)
}

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

// The merge table need not come from training: any order of ranks must do.
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
		tok, err := build(d)
		require.NoError(t, err)
		word := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 1, 40, -1).Draw(t, "word")
		require.Equal(t, tok.model.(*bpe).naive(word), tok.EncodeOrdinary(word))
	})
}

// A long word takes n log n steps, not n²: this would run for minutes.
func TestLongWord(t *testing.T) {
	tok, err := Train(slices.Values([]string{strings.Repeat("a", 64), strings.Repeat("b", 64)}),
		TrainOptions{VocabSize: 300, MinCount: 1})
	require.NoError(t, err)
	text := strings.Repeat("a", 1<<18) + strings.Repeat(" ", 1<<18) + strings.Repeat("b", 1<<18)
	require.Equal(t, text, tok.Decode(tok.Encode(text)))
}
