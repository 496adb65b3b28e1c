package tokenizer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// marked draws text with marks, Hangul and broken bytes.
var marked = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{
		"a", "e", "A", "é", "Å", "\u212b", "q", " ", "\u0301", "\u0323", "\u0307", "\u0300", "\u0315", "\u05ae", "\u0344", "\u0958", "\u0f71", "\u0f72",
		"\u1100", "\u1161", "\u11a8", "가", "각", "\u09c7", "\u09be", "漢", "\uf900", "İ", "\xff", "\xcc", "🎉", "▁", "\x00", "\u00ad",
	}), 0, 20).Draw(t, "pieces"), "")
})

func TestNFC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isNew := func(text string) bool { return strings.ContainsFunc(text, unsorted.has) }
		text := rapid.OneOf(marked, rapid.String()).Filter(func(s string) bool { return !isNew(s) }).Draw(t, "text")
		n := nfc{}.normalize(text)
		require.Equal(t, norm.NFC.String(text), n.text)
		// The ranges are parts of the text that normalise to the parts they
		// stand for, and together they are the text.
		at, from := 0, 0
		for _, s := range n.stretches {
			require.Equal(t, at, s.origin.Start)
			require.Equal(t, n.text[from:s.end], norm.NFC.String(text[s.origin.Start:s.origin.End]))
			at, from = s.origin.End, s.end
		}
		if n.stretches != nil {
			require.Equal(t, len(text), at)
		}
	})
}

// The library leaves marks that it does not know where they are.
func TestNFCNewMarks(t *testing.T) {
	for text, want := range map[string]string{
		"e\u08eb\u08e3": "e\u08e3\u08eb", // both known
		"e\u1df7\u1ddc": "e\u1df7\u1ddc", // the first is not
		"e\u1ddc\u0301": "e\u1ddc\u0301",
		"e\u1df7\u0301": "e\u1df7\u0301",
	} {
		require.Equal(t, want, nfc{}.normalize(text).text)
	}
}

// Package norm would break up more than 30 marks; the standard does not.
func TestNFCManyMarks(t *testing.T) {
	text := "a" + strings.Repeat("\u0323", 40) + "\u0301\u0307"
	require.Equal(t, "ạ"+strings.Repeat("\u0323", 39)+"\u0301\u0307", nfc{}.normalize(text).text)
	require.Contains(t, norm.NFC.String(text), "\u034f")

	// Marks are sorted, not shuffled one by one: were it so, this would not end.
	text = "a" + strings.Repeat("\u0301\u0323", 1<<19)
	require.Equal(t, "ạ"+strings.Repeat("\u0323", 1<<19-1)+strings.Repeat("\u0301", 1<<19), nfc{}.normalize(text).text)
}

// Whatever a normaliser does, the origin of each part is a part of the text,
// and later parts do not come from before earlier ones.
func TestOrigins(t *testing.T) {
	for name, m := range map[string]normalizer{
		"nfc":           nfc{},
		"bert":          bertNormalizer{clean: true, chinese: true, strip: true, lower: true},
		"bert, unclean": bertNormalizer{chinese: true, strip: true, lower: true},
		"llama2":        spaceMarker{prefix: true},
		"trim":          spaceMarker{prefix: true, trim: true},
	} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			text := rapid.OneOf(marked, tricky, rapid.String()).Draw(t, "text")
			n := m.normalize(text)
			last := Range{}
			for i := range n.text {
				s := n.origin(i, min(len(n.text), i+rapid.IntRange(1, 3).Draw(t, "length")))
				require.LessOrEqual(t, last.Start, s.Start)
				require.LessOrEqual(t, s.Start, s.End)
				require.LessOrEqual(t, s.End, len(text))
				last = s
			}
		}))
	}
}

func TestBertNormalizer(t *testing.T) {
	all := bertNormalizer{clean: true, chinese: true, strip: true, lower: true}
	for text, want := range map[string]string{
		"Ünïcødé\tİ\x00\u00adÀ": "unicøde ia",
		"a中b":                   "a 中 b",
		"\ufffd\xff\u200d":      "",
	} {
		require.Equal(t, want, all.normalize(text).text)
	}
	require.Equal(t, "ünï i\u0307\xff", bertNormalizer{lower: true}.normalize("ÜNÏ İ\xff").text)
	require.Equal(t, "Uni", bertNormalizer{strip: true}.normalize("Üni").text)
}

func TestSpaceMarker(t *testing.T) {
	for _, c := range []struct {
		m          spaceMarker
		text, want string
	}{
		{spaceMarker{}, " a  b ", "▁a▁▁b▁"},
		{spaceMarker{prefix: true}, " a  b ", "▁▁a▁▁b▁"},
		{spaceMarker{prefix: true, trim: true}, "  a   b \n ▁ ", "▁a▁b▁\n"},
		{spaceMarker{prefix: true, trim: true}, "   ", ""},
		{spaceMarker{prefix: true}, "", ""},
	} {
		require.Equal(t, c.want, c.m.normalize(c.text).text, "%+v %q", c.m, c.text)
	}
}
