package tokenizer_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// pieces is what SentencePiece makes of the texts: testdata/pieces.py.
type pieces struct {
	IDs     [][]int32 `json:"ids"`
	Decoded []string  `json:"decoded"`
	BOS     int32     `json:"bos"`
	Size    int       `json:"size"`
}

// requirePieces compares a model with its golden file.
func requirePieces(t *testing.T, path, name string) *tokenizer.Tokenizer {
	var g pieces
	readGzip(t, "testdata/sentencepiece/"+name+".json.gz", &g)
	tok, err := tokenizer.LoadSentencePiece(path)
	require.NoError(t, err)
	require.Equal(t, g.Size, tok.VocabSize())
	for i, text := range readTexts(t) {
		ids := tok.EncodeOrdinary(text)
		require.Equal(t, g.IDs[i], nonNil(ids), "%q", text)
		if decoded := tok.Decode(ids); utf8.ValidString(decoded) {
			require.Equal(t, g.Decoded[i], decoded, "%q", text)
		}
	}
	require.Equal(t, append([]int32{g.BOS}, g.IDs[100]...), tok.AddSpecial(g.IDs[100]))
	return tok
}

func TestSentencePiece(t *testing.T) {
	tok := requirePieces(t, "testdata/sentencepiece/tiny.model", "tiny")

	// Text that is not UTF-8 is kept, byte by byte.
	const broken = "a\xff\xc3 b\xe6\xbc!"
	ids, ranges := tok.EncodeRanges(broken)
	require.Equal(t, broken, tok.Decode(ids))
	require.Equal(t, tokenizer.Range{Start: 1, End: 2}, ranges[1])

	// Saved as tokenizer.json it is the same, but for how the merges are written.
	data, err := json.Marshal(tok)
	require.NoError(t, err)
	again, err := tokenizer.Parse(data)
	require.NoError(t, err)
	for _, text := range readTexts(t) {
		require.Equal(t, tok.Encode(text), again.Encode(text), "%q", text)
	}
	require.Equal(t, tok.AddSpecial(nil), again.AddSpecial(nil))
}

func TestStories260K(t *testing.T) {
	const dir = "../../../shared/models/stories260K"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no pretrained model: ", err)
	}
	tok := requirePieces(t, dir+"/tok512.model", "tok512")

	// The sentence that the model's reference values are for.
	var golden struct {
		Text string  `json:"text"`
		IDs  []int32 `json:"ids"`
	}
	data, err := os.ReadFile(dir + "/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	require.Equal(t, golden.IDs, tok.AddSpecial(tok.Encode(golden.Text)))
}

func TestSentencePieceErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/sentencepiece/tiny.model")
	require.NoError(t, err)
	for _, c := range []struct{ old, new, want string }{
		{"<0x00>\x15\x00\x00\x00\x00\x18\x06", "<0x00>\x15\x00\x00\x00\x00\x18\x04", `pieces[3]: "<0x00>" is user-defined or unused, which is not supported`},
		{"<0x00>\x15", "<0xZZ>\x15", `pieces[3]: "<0xZZ>" does not spell a byte`},
		{"\x98\x02\x01", "\x98\x02\x00", "trainer_spec: byte_fallback: false is not supported"},
		{"\x0a\x01w", "\x0a\x01\x7f", `pieces[271]: "▁w" is not supported: its character 'w' is not a piece`},
	} {
		require.Contains(t, string(data), c.old)
		_, err := tokenizer.ParseSentencePiece([]byte(strings.Replace(string(data), c.old, c.new, 1)))
		require.EqualError(t, err, "tokenizer: "+c.want)
	}
	_, err = tokenizer.LoadSentencePiece("testdata/corpus.txt")
	require.ErrorContains(t, err, "tokenizer: testdata/corpus.txt: sentencepiece: byte 0: ")
}
