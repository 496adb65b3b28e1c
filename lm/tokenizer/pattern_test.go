package tokenizer

import (
	"strings"
	"testing"
	"time"

	"github.com/dlclark/regexp2"
	"github.com/stretchr/testify/require"
)

// A pattern that runs out of time leaves the rest of the text in one word.
func TestPatternTimeout(t *testing.T) {
	s, err := newRegexpSplitter(`x|(a+)+$`)
	require.NoError(t, err)
	s.(regexpSplitter).re.MatchTimeout = 10 * time.Millisecond
	rest := strings.Repeat("a", 60) + "b"
	require.Equal(t, []string{"x", rest}, words(t, s, "x"+rest))
}

// What lies between two matches is a word too.
func TestPatternGaps(t *testing.T) {
	s, err := newRegexpSplitter(`b+|(?=d)`)
	require.NoError(t, err)
	require.Equal(t, []string{"\xff漢", "bb", "c", "d"}, words(t, s, "\xff漢bbcd"))
	require.Empty(t, words(t, s, ""))
}

func TestTranslate(t *testing.T) {
	for pattern, want := range map[string]string{
		``:                         ``,
		`'s|\s+(?!\S)|[sS]|\p{Ls}`: `'s|\s+(?!\S)|[sS]|\p{Ls}`, // no flag, no change
		`(?i:'s|'t)s`:              `(?i:'[sſ]|'t)s`,
		`(?i)s(?-i:s)(?-i)s`:       `(?i)[sſ](?-i:s)(?-i)s`,
		`((?i)s)s`:                 `((?i)[sſ])s`,
		`(?im:(?:s(?=S)))(?x-i:s)`: `(?is:(?:[sſ](?=[sſ])))(?x-i:s)`,
		`(?i:[a-h]|[q-z]|[^\]s])`:  `(?i:[a-h]|[q-zſ]|[^\]sſ])`,
		`(?i:i|[a-i]|[^i])`:        `(?i:(?-i:[iI])|(?:(?!(?-i:İ))[a-i])|(?:[^i]|(?-i:İ)))`,
		`(?i:\s\S\x{73}\ss)`:       `(?i:\s\S\x{73}\s[sſ])`,
		`a?+b++\p{L}*+[x]++`:       `(?>a?)(?>b+)(?>\p{L}*)(?>[x]+)`,
		`(?:a|b)++c+?d*?e{2,3}+`:   `(?>(?:a|b)+)c+?d*?(?:e{2,3})+`,
		`a{2}?b{1,2}?c{,3}d{e}`:    `(?:a{2})?b{1,2}?c{0,3}d{e}`,
		`\$\^[$^\b]\s+$`:           `\$\^[$^\b]\s+(?=\n|\z)`,
		`\w[\w-]\W`:                `[\p{L}\p{M}\p{N}\p{Pc}][\p{L}\p{M}\p{N}\p{Pc}-][^\p{L}\p{M}\p{N}\p{Pc}]`,
		`(?i:s)++`:                 `(?>(?i:[sſ])+)`,
		`\++[+]+(?<n>s)\k<n>`:      `\++[+]+(?<n>s)\k<n>`,
	} {
		got, err := translate(pattern)
		require.NoError(t, err, pattern)
		require.Equal(t, want, got, pattern)
	}
}

// What would be read otherwise without a word is an error that names it.
func TestPatternsThatAreRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		`[[:alpha:]]+|.`:  "the class [[:alpha:]] has a class within it",
		`[a-c[x-z]]+`:     "the class [a-c[x-z]] has a class within it",
		`[\p{L}&&[^a-m]]`: `the class [\p{L}&&[^a-m]] has a class within it`,
		`[a-z&&x]`:        "the class [a-z&&x] has a class within it",
		`[a-z-[m-p]]+`:    "the class [a-z-[m-p]] has a class within it",
		`a|[^\W_]`:        `the class [^\W_] has \W`,
	} {
		_, err := newRegexpSplitter(pattern)
		require.ErrorContains(t, err, want, pattern)
	}
	_, err := newRegexpSplitter(`[\[a&\]&]+`)
	require.NoError(t, err)
}

// FuzzTranslate: no pattern panics, and what has nothing that regexp2 reads otherwise is
// as it was.
func FuzzTranslate(f *testing.F) {
	for _, pattern := range []string{`(?i:'s|'t)s`, `a?+b++[^\]s]++`, `((?i)s`, `[`, `\`, `\p{`, `(?`, `)`, `(?i:[`, `+`, `?+`, `(?i:[z-a])`, `a{,3}+`, `{2}?`, `^$\w`, `[a[`} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		got, err := translate(pattern)
		if err == nil && !strings.ContainsAny(pattern, `?^${\`) && !strings.Contains(pattern, "++") && !strings.Contains(pattern, "*+") {
			require.Equal(t, pattern, got)
		}
		_, _ = regexp2.Compile(got, regexp2.None)
	})
}
