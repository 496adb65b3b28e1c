package tokenizer_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// families are the files of testdata/families; see families.py there.
var families = []string{"qwen3", "llama3_1", "gpt2", "bert", "llama2", "first", "always", "smollm", "gpt4o", "flags", "xlmr", "bytes"}

// family is what the library makes of the texts.
type family struct {
	Tokenizer json.RawMessage `json:"tokenizer"`
	IDs       [][]int32       `json:"ids"`
	Spans     [][][2]int      `json:"spans"`
	Decoded   []string        `json:"decoded"`
	Special   []int32         `json:"special"` // "Hello, world", and what the model expects around it
	Pair      [2][]int32      `json:"pair"`    // "Hello," and "world" likewise, and the types
}

func readFamily(t testing.TB, name string, v any) {
	readGzip(t, "testdata/families/"+name+".json.gz", v)
}

func readGzip(t testing.TB, path string, v any) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(r).Decode(v))
}

func readTexts(t testing.TB) (texts []string) {
	readFamily(t, "texts", &texts)
	require.Greater(t, len(texts), 1000)
	return texts
}

// The tokens are the library's, for each text and family; so are the ranges,
// the decoded text, and what is put around a text.
func TestFamilies(t *testing.T) {
	texts := readTexts(t)
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			var g family
			readFamily(t, name, &g)
			tok, err := tokenizer.Parse(g.Tokenizer)
			require.NoError(t, err)
			for i, text := range texts {
				ids, ranges := tok.EncodeRanges(text)
				require.Equal(t, g.IDs[i], nonNil(ids), "%q", text)
				require.Equal(t, g.IDs[i], nonNil(tok.Encode(text)), "%q", text)
				rewritten := strings.Contains(text, "  ") || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
				if isUnigram(name) && rewritten {
					requireUnigramRanges(t, tok, text, g.Spans[i], ranges)
				} else {
					requireRanges(t, text, g.Spans[i], ranges)
				}
				// Of invalid UTF-8 we keep the bytes, and of added tokens the
				// content: the library reads "é" in one as a byte's spelling.
				if decoded := tok.Decode(ids); utf8.ValidString(decoded) && name != "flags" {
					require.Equal(t, g.Decoded[i], decoded, "%q", text)
				}
			}
			require.Equal(t, g.Special, tok.AddSpecial(tok.Encode("Hello, world")))
			ids, types := tok.AddSpecialPair(tok.Encode("Hello,"), tok.Encode("world"))
			require.Equal(t, g.Pair, [2][]int32{ids, types})

			// Written and read again it is the same tokenizer.
			data, err := json.Marshal(tok)
			require.NoError(t, err)
			again, err := tokenizer.Parse(data)
			require.NoError(t, err)
			for _, text := range texts {
				require.Equal(t, tok.Encode(text), again.Encode(text), "%q", text)
			}
			var was, is map[string]any
			require.NoError(t, json.Unmarshal(g.Tokenizer, &was))
			require.NoError(t, json.Unmarshal(data, &is))
			delete(was, "model") // its merges may be in the older form
			delete(is, "model")
			require.Equal(t, was, is)
		})
	}
}

// requireRanges compares our ranges with the library's, which are made of whole
// characters: where the text is in normal form, ours are those, or a part of
// such a character. Where a normaliser puts characters together the library names
// the first of them; we name them all.
func requireRanges(t *testing.T, text string, want [][2]int, got []tokenizer.Range) {
	require.Len(t, got, len(want))
	for i, s := range got {
		start, end := s.Start, s.End
		for start > 0 && !utf8.RuneStart(text[start]) {
			start--
		}
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}
		if start == end { // the space before a text: the library gives it the first character
			require.Equal(t, want[i][0], start)
		} else if norm.NFC.IsNormalString(text) {
			require.Equal(t, want[i], [2]int{start, end}, "%q: token %d", text, i)
		} else {
			require.LessOrEqual(t, start, want[i][0], "%q: token %d", text, i)
			require.GreaterOrEqual(t, end, want[i][1], "%q: token %d", text, i)
		}
	}
}

func isUnigram(family string) bool { return family == "xlmr" || family == "bytes" }

// With the models' own files, which families.py tells how to get, the tokens
// are the same as with the committed ones, which have only the tokens that
// occur.
func TestWholeFamilies(t *testing.T) {
	dir := os.Getenv("STEPWISE_TOKENIZERS")
	if dir == "" {
		t.Skip("STEPWISE_TOKENIZERS does not name the folder of the models' own files: see testdata/families.py")
	}
	sums := map[string]string{}
	data, err := os.ReadFile("testdata/families/sha256.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &sums))
	texts := readTexts(t)
	for name, want := range sums {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, name, "tokenizer.json"))
			require.NoError(t, err)
			sum := sha256.Sum256(data)
			require.Equal(t, want, hex.EncodeToString(sum[:]))
			tok, err := tokenizer.Parse(data)
			require.NoError(t, err)
			var g family
			readFamily(t, name, &g)
			for i, text := range texts {
				require.Equal(t, g.IDs[i], nonNil(tok.Encode(text)), "%q", text)
			}
		})
	}
}

func TestMarkedErrors(t *testing.T) {
	var g family
	readFamily(t, "first", &g)
	for _, c := range []struct{ old, new, want string }{
		{`"ignore_merges":false`, `"ignore_merges":true`, `model: ignore_merges: true is not supported where spaces are marked`},
		{`"byte_fallback":true`, `"byte_fallback":false`, `model: byte_fallback: false is not supported where spaces are marked`},
		{`"normalizer":null`, `"normalizer":{"type":"NFC"}`, `normalizer: only null is supported with the pre_tokenizer "Metaspace"`},
		{`,{"type":"Fuse"}`, ``, `decoder: {"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},"content":" "},` +
			`{"type":"ByteFallback"},{"type":"Strip","content":" ","start":1,"stop":0}]} is not supported, only ` +
			`{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},` +
			`{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`},
		{`"<0x00>":3,`, ``, `model.vocab: the token of byte 0x00: "<0x00>" is not in the vocabulary`},
	} {
		require.Contains(t, string(g.Tokenizer), c.old)
		_, err := tokenizer.Parse([]byte(strings.Replace(string(g.Tokenizer), c.old, c.new, 1)))
		require.EqualError(t, err, "tokenizer: "+c.want)
	}
	readFamily(t, "llama2", &g)
	_, err := tokenizer.Parse([]byte(strings.Replace(string(g.Tokenizer), `"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Whitespace"}`, 1)))
	require.EqualError(t, err, `tokenizer: pre_tokenizer: {"type":"Whitespace"} is not supported where the normalizer marks spaces, only null`)
}

// However long a word and whatever the text, encoding takes about as long as
// it is long; were it quadratic, these would take hours.
func TestLongTexts(t *testing.T) {
	const n = 1 << 17
	for _, name := range []string{"qwen3", "bert", "llama2", "flags", "xlmr", "bytes"} {
		tok := loadFamily(t, name)
		for _, unit := range []string{"a", " ", "\n", "é", "e\u0301", "\u0301\u0323", "漢", "👍", "'", "[", "<|", "<|im_start|>", "[MASK] ", " \n<s>", "\n\n", "\xff"} {
			text := strings.Repeat(unit, n/len(unit))
			ids, ranges := tok.EncodeRanges(text)
			require.Len(t, ranges, len(ids))
			require.NotEmpty(t, tok.Encode("x"+text+"x"))
		}
	}
}
