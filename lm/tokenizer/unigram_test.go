package tokenizer_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// unigrams is testdata/unigram.json.gz; see unigram.py there.
type unigrams struct {
	Texts    []string
	Variants map[string]family
}

func readUnigrams(t testing.TB) (u unigrams) {
	readGzip(t, "testdata/unigram.json.gz", &u)
	require.Greater(t, len(u.Texts), 1000)
	return u
}

// Normalisers, grapheme clusters, the forms of Metaspace, byte fallback, and ways that
// are equally good: as in the library.
func TestUnigramVariants(t *testing.T) {
	u := readUnigrams(t)
	for name, g := range u.Variants {
		t.Run(name, func(t *testing.T) {
			tok, err := tokenizer.Parse(g.Tokenizer)
			require.NoError(t, err)
			for i, text := range u.Texts {
				ids, ranges := tok.EncodeRanges(text)
				require.Equal(t, g.IDs[i], nonNil(ids), "%q", text)
				require.Equal(t, g.Decoded[i], tok.Decode(ids), "%q", text)
				requireUnigramRanges(t, tok, text, g.Spans[i], ranges)
			}
			require.Equal(t, g.Special, tok.AddSpecial(tok.Encode("Hello, world")))
			ids, types := tok.AddSpecialPair(tok.Encode("Hello,"), tok.Encode("world"))
			require.Equal(t, g.Pair, [2][]int32{ids, types})

			data, err := json.Marshal(tok)
			require.NoError(t, err)
			require.JSONEq(t, string(g.Tokenizer), string(data))
		})
	}
}

// requireUnigramRanges compares our ranges with the library's, which gives text that
// the normaliser removes to the token before it, and counts wrong after text that it
// removes at the beginning.
func requireUnigramRanges(t *testing.T, tok *tokenizer.Tokenizer, text string, want [][2]int, got []tokenizer.Range) {
	require.Len(t, got, len(want))
	if first, _ := utf8.DecodeRuneInString(text); len(tok.EncodeOrdinary(string(first))) == 0 {
		return
	}
	for i, s := range got {
		require.LessOrEqual(t, s.Start, want[i][1], "%q: token %d", text, i)
		require.GreaterOrEqual(t, s.End, want[i][0], "%q: token %d", text, i)
	}
}

// What a normaliser makes of a text from outside is no special token, unlike in the
// library, and neither is invalid UTF-8.
func TestUnigramKeepsSpecialTokensApart(t *testing.T) {
	tok := loadFamily(t, "xlmr")
	require.Contains(t, tok.Encode("a<s>"), int32(0))
	for _, text := range []string{"a<s>", "a＜s＞", "＜／s＞", "<mask>", "＜unk＞"} {
		for _, id := range tok.EncodeOrdinary(text) {
			require.False(t, tok.Special(id) && tok.Content(id) != "<unk>", "%q: %s", text, tok.Content(id))
		}
	}
	require.NotContains(t, tok.Encode("a＜s＞"), int32(0))
	require.Equal(t, tok.Encode("a\uFFFDb"), tok.Encode("a\xffb"))
}

func TestUnigramErrors(t *testing.T) {
	good := string(readUnigrams(t).Variants["clusters"].Tokenizer)
	for _, c := range []struct{ old, new, want string }{
		{`"unk_id":3`, `"unk_id":null`, `model: unk_id: want the id of a token`},
		{`"unk_id":3`, `"unk_id":99`, `model: unk_id: want the id of a token`},
		{`["a",-1.125]`, `["b",-1.125]`, `model.vocab: "b" has two ids, 5 and 6`},
		{`["a",-1.125]`, `["",-1.125]`, `model.vocab: the token of id 5 is empty`},
		{`["a",-1.125]`, `["a"]`, `model: model.vocab: ["a"] is not a token and its score`},
		{`["a",-1.125]`, `["a","b"]`, `model: model.vocab: ["a","b"] is not a token and its score`},
		{`["a",-1.125]`, `["a",1e999]`, `model: model.vocab: ["a",1e999] is not a token and its score`},
		{`"byte_fallback":false`, `"byte_fallback":false,"x":1`, `model: unknown field "x"`},
		{`"type":"Precompiled"`, `"type":"Lowercase"`, `normalizer: type: "Lowercase" is not supported with Unigram, only "Precompiled", "NFC", "Strip" and "Replace"`},
		{`"precompiled_charsmap":"`, `"precompiled_charsmap":"!`, `normalizer: illegal base64 data at input byte 0`},
		{`"type":"WhitespaceSplit"`, `"type":"Whitespace"`, `pre_tokenizer: {"type":"Whitespace"} is not supported here with Unigram, only "WhitespaceSplit" and then "Metaspace"`},
		{`"prepend_scheme":"always"`, `"prepend_scheme":"last"`, `pre_tokenizer: prepend_scheme: "last" is not supported, only "always", "first" and "never"`},
		{`"prepend_scheme":"always"`, `"add_prefix_space":false`, `pre_tokenizer: add_prefix_space: false, but prepend_scheme is "always"`},
		{`"cls":["<s>",0]`, `"cls":["<s>"]`, `post_processor: cls: want a token and its id`},
		{`"sep":["</s>",2]`, `"sep":["</s>",777]`, `post_processor: id 777 is not in the vocabulary`},
		{`"sep":["</s>",2]`, `"sep":["</s>",2],"x":0`, `post_processor: unknown field "x"`},
		{`"decoder":{"type":"Metaspace"`, `"decoder":{"type":"ByteLevel"`, `decoder: {"type":"ByteLevel","replacement":"▁","prepend_scheme":"always","split":true} is not supported with Unigram, only "Metaspace" or, with byte_fallback, {"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`},
	} {
		text := strings.ReplaceAll(good, `\u2581`, "▁")
		require.Contains(t, text, c.old)
		_, err := tokenizer.Parse([]byte(strings.Replace(text, c.old, c.new, 1)))
		require.EqualError(t, err, "tokenizer: "+c.want)
	}
	for charsmap, want := range map[string]string{
		"":                         "0 bytes, want at least 4",
		"\x08\x00\x00\x00abcd":     "a trie of 8 bytes in 4, want a multiple of 4 that fits",
		"\x00\x00\x00\x00":         "a trie of 0 bytes in 0, want a multiple of 4 that fits",
		"\xff\xff\xff\xff1":        "a trie of 4294967295 bytes in 1, want a multiple of 4 that fits",
		"\x04\x00\x00\x00abcd\xff": "the text after the trie is not valid UTF-8",
	} {
		_, err := tokenizer.Parse(withCharsmap(t, good, []byte(charsmap)))
		require.EqualError(t, err, "tokenizer: normalizer: precompiled_charsmap: "+want)
	}
}

// withCharsmap puts another table into a tokenizer.json.
func withCharsmap(t testing.TB, file string, charsmap []byte) []byte {
	var parts map[string]any
	require.NoError(t, json.Unmarshal([]byte(file), &parts))
	parts["normalizer"] = map[string]any{"type": "Precompiled", "precompiled_charsmap": charsmap}
	data, err := json.Marshal(parts)
	require.NoError(t, err)
	return data
}

// A table that is damaged leads nowhere, but not out of bounds.
func FuzzCharsmap(f *testing.F) {
	good := string(readUnigrams(f).Variants["clusters"].Tokenizer)
	var parts struct {
		Normalizer struct {
			Charsmap []byte `json:"precompiled_charsmap"`
		}
	}
	require.NoError(f, json.Unmarshal([]byte(good), &parts))
	f.Add(parts.Normalizer.Charsmap, "a\u0301 ﬁ ①")
	f.Add([]byte("\x04\x00\x00\x00\x00\xff\xff\xff"), "a")
	f.Fuzz(func(t *testing.T, charsmap []byte, text string) {
		tok, err := tokenizer.Parse(withCharsmap(t, good, charsmap))
		if err != nil {
			require.ErrorContains(t, err, "precompiled_charsmap: ")
			return
		}
		requireInOrder(t, text, tok)
	})
}
