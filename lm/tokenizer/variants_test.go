package tokenizer_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// The odd kinds of files that are published, as testdata/variants.py lists them,
// are read as the library reads them.
func TestVariants(t *testing.T) {
	var variants []struct {
		Name      string
		Tokenizer json.RawMessage
		Cases     [][3]json.RawMessage
	}
	readGzip(t, "testdata/variants.json.gz", &variants)
	require.Len(t, variants, 70)
	for _, v := range variants {
		t.Run(v.Name, func(t *testing.T) {
			tok, err := tokenizer.Parse(v.Tokenizer)
			require.NoError(t, err)
			written, err := json.Marshal(tok)
			require.NoError(t, err)
			again, err := tokenizer.Parse(written)
			require.NoError(t, err)
			for _, c := range v.Cases {
				var text, decoded *string
				ids := []int32{}
				require.NoError(t, json.Unmarshal(c[0], &text))
				require.NoError(t, json.Unmarshal(c[1], &ids))
				require.NoError(t, json.Unmarshal(c[2], &decoded))
				if text != nil {
					require.Equal(t, ids, nonNil(tok.Encode(*text)), "%q", *text)
					require.Equal(t, ids, nonNil(again.Encode(*text)), "%q", *text)
					requireInOrder(t, *text, tok)
				}
				if decoded != nil {
					require.Equal(t, *decoded, tok.Decode(ids), "%s", c[0])
				}
			}
		})
	}
}

// A file whose model does not say its type is saved with it: the library refuses an
// empty one.
func TestModelsWithoutATypeAreSavedWithIt(t *testing.T) {
	var variants []struct {
		Name      string
		Tokenizer json.RawMessage
	}
	readGzip(t, "testdata/variants.json.gz", &variants)
	for _, v := range variants {
		kind, ok := strings.CutPrefix(v.Name, "no type, ")
		if !ok {
			continue
		}
		tok, err := tokenizer.Parse(v.Tokenizer)
		require.NoError(t, err)
		written, err := json.Marshal(tok)
		require.NoError(t, err)
		var file struct{ Model struct{ Type string } }
		require.NoError(t, json.Unmarshal(written, &file))
		require.Equal(t, kind, file.Model.Type)
	}
	_, err := tokenizer.Parse([]byte(`{"version":"1.0","model":{"unk_token":"a","vocab":{"a":0}}}`))
	require.ErrorContains(t, err, `model: type: "" is not supported`)
}

// A byte that has no token becomes U+FFFD; where it stands is known.
func TestBytesWithoutATokenAreReplaced(t *testing.T) {
	var variants []struct {
		Name      string
		Tokenizer json.RawMessage
	}
	readGzip(t, "testdata/variants.json.gz", &variants)
	for _, name := range []string{"lacks impossible bytes", "lacks some impossible bytes", "byte fallback lacks impossible bytes"} {
		for _, v := range variants {
			if v.Name != name {
				continue
			}
			tok, err := tokenizer.Parse(v.Tokenizer)
			require.NoError(t, err)
			const text = "a\xffé\xc0\xc1e\u0301\xf5"
			ids, ranges := tok.EncodeRanges(text)
			require.Len(t, ranges, len(ids))
			decoded := tok.Decode(ids)
			require.Contains(t, decoded, "a\ufffdé")
			require.Equal(t, tok.Decode(tok.Encode("\xff")), "\ufffd")
			require.Equal(t, tokenizer.Range{Start: 1, End: 2}, ranges[tokenizer.Overlapping(ranges, tokenizer.Range{Start: 1, End: 2}).Start])
			requireInOrder(t, text, tok)
		}
	}
}

// The space that add_prefix_space adds is in no range.
func TestRangesWithoutTheAddedSpace(t *testing.T) {
	var variants []struct {
		Name      string
		Tokenizer json.RawMessage
	}
	readGzip(t, "testdata/variants.json.gz", &variants)
	for _, v := range variants {
		if v.Name != "add_prefix_space, composed" {
			continue
		}
		tok, err := tokenizer.Parse(v.Tokenizer)
		require.NoError(t, err)
		for text, want := range map[string][]tokenizer.Range{
			"ab":       {{Start: 0, End: 1}, {Start: 1, End: 2}}, // Ġa b
			" ab":      {{Start: 0, End: 2}, {Start: 2, End: 3}},
			"b":        {{Start: 0, End: 0}, {Start: 0, End: 1}}, // Ġ b
			"e\u0301a": {{Start: 0, End: 0}, {Start: 0, End: 3}, {Start: 3, End: 4}},
		} {
			_, ranges := tok.EncodeRanges(text)
			require.Equal(t, want, ranges, "%q", text)
		}
	}
}

// Cases from the field, where they are.
func TestSharedTokenizers(t *testing.T) {
	const dir = "../../../shared/cases/files/"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no shared cases: ", err)
	}
	for name, want := range map[string][2]any{
		"tok-added-twice":      {"<X>", []int32{256}},
		"tok-empty-sequence":   {"ab", []int32{97, 98}},
		"tok-impossible-bytes": {"ab", []int32{97, 98}},
		"tok-strip-swallows":   {"<X>  ", []int32{256}},
	} {
		tok, err := tokenizer.Load(dir + name + "/tokenizer.json")
		require.NoError(t, err)
		require.Equal(t, want[1], tok.Encode(want[0].(string)), name)
	}
}
