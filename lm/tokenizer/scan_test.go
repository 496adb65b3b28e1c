package tokenizer

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// tricky draws text in which the rules of the patterns meet.
var tricky = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{
		"a", "é", "漢", "1", "½", "٣", "'", "'s", "'S", "ſ", "'ll", "l", "L", "ve", "Ve", "rE", "!", "🎉", "\u0301", " ", " ", "  ",
		"\n", "\r", "\r\n", "\t", "\u00a0", "\u3000", "\u0085", "\u200b", "\xff", "\xe6\xbc",
	}), 0, 20).Draw(t, "pieces"), "")
})

// words cuts a text and sees to it that the words are the text.
func words(t require.TestingT, s splitter, text string) []string {
	var out []string
	at := 0
	s.split(text, func(start, end int) {
		require.Equal(t, at, start)
		require.Less(t, start, end)
		out = append(out, text[start:end])
		at = end
	})
	require.Equal(t, len(text), at)
	return out
}

// knownTo reports whether package unicode knows the characters of a text as we
// do: regexp2 asks it, and it may be older than our tables.
func knownTo(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return letters.has(r) != unicode.IsLetter(r) || numbers.has(r) != unicode.IsNumber(r)
	})
}

// requireAsPattern compares each scanner with its regular expression.
func requireAsPattern(t require.TestingT, text string) {
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		re, err := newRegexpSplitter(pattern)
		require.NoError(t, err)
		require.Equal(t, words(t, re, text), words(t, patterns[pattern], text), "%q", text)
	}
}

func TestScannersAsPatterns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		requireAsPattern(t, rapid.OneOf(tricky, rapid.String()).Filter(knownTo).Draw(t, "text"))
	})
}

func FuzzScanners(f *testing.F) {
	for _, s := range []string{"", "it's 12 o'clock\n\n", "we'LL 'ſ", "  \u3000 x \r\n\r\n y!\n", "\xff\xfe é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !knownTo(text) {
			t.Skip("characters newer than package unicode")
		}
		requireAsPattern(t, text)
	})
}

// The tables are the library's, whose Unicode is never older than ours.
func TestTables(t *testing.T) {
	for r := range rune(unicode.MaxRune + 1) {
		if unicode.IsLetter(r) {
			require.True(t, letters.has(r), "%U", r)
		}
		if unicode.IsNumber(r) {
			require.True(t, numbers.has(r), "%U", r)
		}
	}
	require.False(t, letters.has(-1))
}

func TestInvalidUTF8IsCutByByte(t *testing.T) {
	// A broken byte is a sign like any other: it joins signs, not letters.
	require.Equal(t, []string{"a", "\xff\xc3", " b", "\xe6\xbc!"}, words(t, scannerGPT2, "a\xff\xc3 b\xe6\xbc!"))
	require.Equal(t, []string{"a", "\xff\xc3", " b", "\xe6\xbc!\n"}, words(t, scannerLlama3, "a\xff\xc3 b\xe6\xbc!\n"))
	require.Equal(t, []string{"\xffb", "1"}, words(t, scannerQwen2, "\xffb1"))
}

func TestDigits(t *testing.T) {
	require.Equal(t, []string{"a", "1", "2", " b", "½", "c"}, words(t, digitSplitter{single: true}, "a12 b½c"))
	require.Equal(t, []string{"a", "12", " b", "½", "c"}, words(t, digitSplitter{}, "a12 b½c"))
	require.Equal(t, []string{"a", " ", "1", "2", " b"}, words(t, chain{digitSplitter{single: true}, scannerGPT2}, "a 12 b"))
}

// Each character is looked at a bounded number of times: were it once for each
// character of a run, these texts would take hours.
func TestLongRuns(t *testing.T) {
	const n = 1 << 19
	for _, unit := range []string{"a", " ", "1", "!", "\n", "\u3000", "é", "'", "'l", " \n", "\n ", " a", "a ", "a'", "!\n", "\xff"} {
		text := strings.Repeat(unit, n/len(unit))
		for _, s := range []splitter{scannerGPT2, scannerQwen2, scannerLlama3, digitSplitter{}, bertSplitter{}, markSplitter{}, chain{digitSplitter{}, scannerGPT2}} {
			words := 0
			s.split(text, func(int, int) { words++ })
			require.LessOrEqual(t, words, len(text))
			s.split(text+"x", func(int, int) {})
		}
	}
}
