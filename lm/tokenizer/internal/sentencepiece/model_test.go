package sentencepiece_test

import (
	"encoding/binary"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer/internal/sentencepiece"
)

// The functions below write protocol buffers.

func number(field int, v uint64) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(field)<<3), v))
}

func float(field int, v float32) string {
	key := binary.AppendUvarint(nil, uint64(field)<<3|5)
	return string(binary.LittleEndian.AppendUint32(key, math.Float32bits(v)))
}

func message(field int, parts ...string) string {
	data := strings.Join(parts, "")
	key := binary.AppendUvarint(nil, uint64(field)<<3|2)
	return string(binary.AppendUvarint(key, uint64(len(data)))) + data
}

var (
	piece      = message(1, message(1, "<s>"), float(2, 0), number(3, 3)) + message(1, message(1, "a"), float(2, -1.5))
	trainer    = message(2, number(3, 2), number(35, 1), message(1, "corpus.txt"))
	normalizer = message(3, message(1, "identity"), number(3, 1), number(4, 0))
)

func TestParse(t *testing.T) {
	m, err := sentencepiece.Parse([]byte(piece + trainer + normalizer + message(4, message(1))))
	require.NoError(t, err)
	require.Equal(t, &sentencepiece.Model{
		Pieces:       []sentencepiece.Piece{{Text: "<s>", Type: sentencepiece.TypeControl}, {Text: "a", Score: -1.5, Type: sentencepiece.TypeNormal}},
		BOS:          "<s>",
		ByteFallback: true,
		DummyPrefix:  true,
	}, m)

	// What is not said is as the format has it.
	m, err = sentencepiece.Parse([]byte(message(1, message(1, "a")) + message(2, number(3, 2)) + message(3)))
	require.NoError(t, err)
	require.Equal(t, &sentencepiece.Model{
		Pieces:      []sentencepiece.Piece{{Text: "a", Type: sentencepiece.TypeNormal}},
		DummyPrefix: true,
		TrimSpaces:  true,
	}, m)
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{"", "trainer_spec is missing"},
		{trainer, "normalizer_spec is missing"},
		{trainer + normalizer, "there are no pieces"},
		{piece + trainer + trainer, "trainer_spec occurs twice"},
		{piece + message(2, number(3, 1)), "trainer_spec: model_type: UNIGRAM is not supported, only BPE"},
		{piece + message(2), "trainer_spec: model_type: UNIGRAM is not supported, only BPE"},
		{piece + message(2, number(3, 9)), "trainer_spec: model_type: 9 is not supported, only BPE"},
		{piece + message(2, number(3, 2), number(24, 1)), "trainer_spec: treat_whitespace_as_suffix: true is not supported"},
		{message(3, message(2, "x")), "normalizer_spec: precompiled_charsmap is not supported, only the identity"},
		{message(3, number(5, 0)), "normalizer_spec: escape_whitespaces: false is not supported"},
		{message(3, number(9, 0)), "normalizer_spec: field 9 is not one of a normalizer_spec"},
		{message(1, number(1, 0)), "pieces[0]: field 1 has wire type 0, want 2"},
		{piece + message(1), "pieces[2]: the text is empty"},
		{piece + piece + trainer + normalizer, `pieces[2]: "<s>" is pieces[0] already`},
		{message(1, message(1, "\xff")), `pieces[0]: "\xff" is not valid UTF-8`},
		{message(1, message(1, "a"), float(2, float32(math.NaN()))), `pieces[0]: the score of "a" is not a number`},
		{message(1, message(1, "a"), number(3, 7)), "pieces[0]: type 7, want 1 to 6"},
		{message(1, message(1, "a"), number(4, 7)), "pieces[0]: field 4 is not one of a piece"},
		{message(6), "field 6 is not one of a SentencePiece model"},
		{number(1, 0), "field 1 has wire type 0, want 2"},
		{"\x0a\xff\xff\xff\xff\x0f", "byte 0: the message ends inside a field: field 1 wants 4294967295 bytes, 0 are left"},
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "byte 0: the message ends inside a field: field 1 wants 18446744073709551615 bytes, 0 are left"},
		{"\x0a" + strings.Repeat("\xff", 11), "byte 0: a number is larger than 64 bits"},
		{"\x0a", "byte 0: the message ends inside a field"},
		{"\x00", "byte 0: field number 0 is none"},
		{"\x0b", "byte 0: field 1 has wire type 3, want 0, 1, 2 or 5"},
		{"\x0d\x00", "byte 0: the message ends inside a field"},
		{"\x09\x00", "byte 0: the message ends inside a field"},
	} {
		_, err := sentencepiece.Parse([]byte(c.data))
		require.EqualError(t, err, "sentencepiece: "+c.want)
	}
}

// A file that ends early is an error, wherever it ends: pieces may be missing
// without a trace only if the specifications are too.
func TestTruncated(t *testing.T) {
	data, err := os.ReadFile("../../testdata/sentencepiece/tiny.model")
	require.NoError(t, err)
	for n := range data {
		_, err := sentencepiece.Parse(data[:n])
		require.ErrorContains(t, err, "sentencepiece: ", "%d of %d bytes", n, len(data))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(piece + trainer + normalizer))
	f.Add([]byte(message(1, message(1, "ab"), float(2, -2)) + trainer + message(3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := sentencepiece.Parse(data)
		if err != nil {
			require.ErrorContains(t, err, "sentencepiece: ")
			return
		}
		require.NotEmpty(t, m.Pieces)
		require.LessOrEqual(t, len(m.Pieces), len(data))
	})
}
