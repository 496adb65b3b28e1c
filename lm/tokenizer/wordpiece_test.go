package tokenizer_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

const bertFile = `{"version":"1.0","truncation":{"max_length":128},"padding":null,
"added_tokens":[{"id":0,"content":"[UNK]","special":true},{"id":1,"content":"[CLS]","special":true}],
"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":null,"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":8,
"vocab":{"[UNK]":0,"[CLS]":1,"un":2,"##aff":3,"##able":4,"!":5,"a":6,"##a":7,"it":9,"'":10,"s":11}}}`

func TestWordPiece(t *testing.T) {
	tok, err := tokenizer.Parse([]byte(bertFile))
	require.NoError(t, err)
	require.Equal(t, 12, tok.VocabSize())

	require.Equal(t, []int32{0, 5, 0, 0}, tok.Encode("Unaff\u00e1ble!  x unx"), "nine characters are one too many")
	ids, ranges := tok.EncodeRanges("UN\u00c0!  x unx")
	require.Equal(t, []int32{2, 7, 5, 0, 0}, ids)
	require.Equal(t, []tokenizer.Range{{0, 2}, {2, 4}, {4, 5}, {7, 8}, {9, 12}}, ranges)
	require.Equal(t, "una!", tok.Decode(ids))
	require.Equal(t, "it ' s a", tok.Decode(tok.Encode("it's a")))

	// A token that goes on is named as in the file and stands for its letters.
	id, ok := tok.ID("##able")
	require.True(t, ok)
	require.Equal(t, "able", string(tok.Bytes(id)))
	_, ok = tok.ID("able")
	require.False(t, ok)
	// Id 8 is not used.
	require.Nil(t, tok.Bytes(8))
	require.Equal(t, "", tok.Decode([]int32{8}))
}

func TestWordPieceErrors(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"unk_token":"[UNK]"`, `"unk_token":"?"`, `model: unk_token: "?" is not in the vocabulary`},
		{`"continuing_subword_prefix":"##"`, `"continuing_subword_prefix":""`, `model: continuing_subword_prefix: empty`},
		{`_word":8`, `_word":0`, `model: max_input_chars_per_word: 0 is not supported, want 1 to 1000`},
		{`_word":8`, `_word":8,"x":1`, `model: unknown field "x"`},
		{`"BertPreTokenizer"`, `"Whitespace"`, `pre_tokenizer: type: "Whitespace" is not supported with WordPiece, only "BertPreTokenizer"`},
		{`{"type":"BertPreTokenizer"}`, `null`, `pre_tokenizer: null is not supported with WordPiece, only "BertPreTokenizer"`},
		{`"prefix":"##"`, `"prefix":"@@"`, `decoder: prefix: "@@", but the model's is "##"`},
		{`{"type":"WordPiece","prefix":"##","cleanup":true}`, `{"type":"Fuse"}`, `decoder: type: "Fuse" is not supported, only "WordPiece"`},
		{`"lowercase":true`, `"lowercase":true,"fold":1`, `normalizer: unknown field "fold"`},
	} {
		require.Contains(t, bertFile, c.old)
		_, err := tokenizer.Parse([]byte(strings.Replace(bertFile, c.old, c.new, 1)))
		require.EqualError(t, err, "tokenizer: "+c.want)
	}
}
