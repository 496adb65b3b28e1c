package tokenizer_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
)

func TestAddedTokens(t *testing.T) {
	tok := trainOurs(t)
	end, ok := tok.ID("<|end|>")
	require.True(t, ok)
	require.Equal(t, int32(0), end)
	step, ok := tok.ID("<step")
	require.True(t, ok)

	ids, ranges := tok.EncodeRanges("é<step<|end|>\n")
	newline, _ := tok.ID("\n")
	e, ok := tok.ID("é")
	require.True(t, ok)
	require.Equal(t, []int32{e, step, end, newline}, ids)
	require.Equal(t, []tokenizer.Range{{0, 2}, {2, 7}, {7, 14}, {14, 15}}, ranges)

	require.True(t, tok.Special(end))
	require.Nil(t, tok.Bytes(end))
	require.Equal(t, "<|end|>", tok.Content(end))
	require.False(t, tok.Special(step))
	require.Equal(t, "<step", string(tok.Bytes(step)))
	require.Equal(t, "é<step\n", tok.Decode(ids))

	// Text from outside cannot fake a special token.
	require.NotContains(t, tok.EncodeOrdinary("<|end|>"), end)
	require.Equal(t, "<|end|>", tok.Decode(tok.EncodeOrdinary("<|end|>")))
}

// Markup that is exempt is ordinary text, whatever the kind of tokenizer and however
// tokens overlap; what is not exempt is found as ever.
func TestEncodeExcept(t *testing.T) {
	for _, name := range families {
		tok := loadFamily(t, name)
		pieces := []string{"a", " ", "\n", "<", "|", "é", "中", "e\u0301", "<|", "|>", "S>", "<S"}
		for id := range int32(tok.VocabSize()) {
			if tok.Special(id) {
				pieces = append(pieces, tok.Content(id), tok.Content(id)[:1+len(tok.Content(id))/2])
			}
		}
		pieces = append(pieces, "<think>", "</tool_call>")
		count := func(ids []int32) (n int) {
			for _, id := range ids {
				if tok.Special(id) {
					n++
				}
			}
			return n
		}
		text := rapid.Custom(func(rt *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(rt, "pieces"), "")
		})
		rapid.Check(t, func(rt *rapid.T) {
			before, after := text.Draw(rt, "before"), text.Draw(rt, "after")
			require.Equal(rt, tok.Encode(before), tok.EncodeExcept(before, nil), name)
			ids := tok.EncodeExcept(after, tok.Markup(after, false))
			require.Zero(rt, count(ids), "%s: %q", name, after)
			require.Equal(rt, tok.Decode(tok.EncodeOrdinary(after)), tok.Decode(ids), "%s: %q", name, after)

			// Only what is exempt is. (The letter keeps tokens from growing together.)
			var exempt []int
			for _, i := range tok.Markup(after, false) {
				exempt = append(exempt, len(before)+1+i)
			}
			ids = tok.EncodeExcept(before+"a"+after, exempt)
			require.Equal(rt, count(tok.Encode(before+"a")), count(ids), "%s: %q %q", name, before, after)
		})
	}
	tok := trainOurs(t)
	require.Equal(t, []int{0, 8, 15}, tok.Markup("<|end|> <|end|><step", false)) // a tag is markup, too
	require.Equal(t, []int{0, 8}, tok.Markup("<|end|> <|end|><step", true))
	require.Empty(t, tok.Markup("an end", false))
}

// A clipped text fits, ends between characters, and has no room for one more.
func TestClip(t *testing.T) {
	texts := readTexts(t)
	for _, name := range families {
		tok := loadFamily(t, name)
		text := rapid.OneOf(rapid.SampledFrom(texts), rapid.String(), rapid.Custom(func(rt *rapid.T) string {
			return rapid.SampledFrom(texts).Draw(rt, "a") + rapid.SampledFrom([]string{"", " ", "中", "🙂", "<|im_end|>"}).Draw(rt, "b") + rapid.SampledFrom(texts).Draw(rt, "c")
		}))
		rapid.Check(t, func(rt *rapid.T) {
			text, n := text.Draw(rt, "text"), rapid.IntRange(0, 40).Draw(rt, "n")
			got := tok.Clip(text, n)
			rest, found := strings.CutPrefix(text, got)
			require.True(rt, found)
			require.LessOrEqual(rt, len(tok.EncodeOrdinary(got)), n)
			if rest == "" || n == 0 {
				return
			}
			require.Equal(rt, utf8.ValidString(text), utf8.ValidString(got) && utf8.ValidString(rest), "%q %q", got, rest)
			_, size := utf8.DecodeRuneInString(rest)
			require.Greater(rt, len(tok.EncodeOrdinary(got+rest[:size])), n, "%q, %q", got, rest)
		})
	}
	tok := loadFamily(t, "qwen3")
	for text, want := range map[string]string{
		"":            "",
		"C++ 3.5mm 🙂": "C++ 3.5",
		"上海亲子乐园":      "上海亲",
	} {
		require.Equal(t, want, tok.Clip(text, 6), text)
	}
	require.Equal(t, "", tok.Clip("text", -1))
	// Text that no token stands for costs no more than other text: with the square of its
	// length this would not end.
	blank := strings.Repeat(" ", 1<<20)
	for _, name := range []string{"bert", "xlmr"} {
		tok := loadFamily(t, name)
		got := tok.Clip("a"+blank+"b c", 1)
		require.GreaterOrEqual(t, len(got), 1<<20, name)
	}
}

func TestOverlapping(t *testing.T) {
	ranges := []tokenizer.Range{{0, 0}, {0, 3}, {3, 5}, {3, 5}, {7, 9}} // a gap before the last
	for _, c := range []struct{ part, want tokenizer.Range }{
		{tokenizer.Range{0, 9}, tokenizer.Range{1, 5}},
		{tokenizer.Range{0, 1}, tokenizer.Range{1, 2}},
		{tokenizer.Range{2, 4}, tokenizer.Range{1, 4}},
		{tokenizer.Range{4, 5}, tokenizer.Range{2, 4}},
		{tokenizer.Range{5, 7}, tokenizer.Range{4, 4}},
		{tokenizer.Range{8, 20}, tokenizer.Range{4, 5}},
		{tokenizer.Range{20, 30}, tokenizer.Range{5, 5}},
		{tokenizer.Range{4, 4}, tokenizer.Range{2, 2}},
	} {
		require.Equal(t, c.want, tokenizer.Overlapping(ranges, c.part), "%v", c.part)
	}
	require.Equal(t, tokenizer.Range{}, tokenizer.Overlapping(nil, tokenizer.Range{0, 5}))
}

// A model's output layer may have more rows than there are tokens.
func TestUnknownID(t *testing.T) {
	tok := trainOurs(t)
	for _, id := range []int32{-1, int32(tok.VocabSize())} {
		require.Nil(t, tok.Bytes(id))
		require.Equal(t, "", tok.Content(id))
		require.False(t, tok.Special(id))
		require.Equal(t, "", tok.Decode([]int32{id}))
	}
}

// The vocabulary depends on the words alone: not on the order of the texts,
// nor on what special and added tokens stand between them.
func TestTrainingOrder(t *testing.T) {
	texts := slices.Collect(corpus(t))
	want := trainOurs(t)
	rapid.Check(t, func(rt *rapid.T) {
		shuffled := rapid.Permutation(texts).Draw(rt, "texts")
		shuffled[0] = "<|end|><|end|>" + shuffled[0] + "<|pad|>"
		got, err := tokenizer.Train(slices.Values(shuffled), tokenizer.TrainOptions{
			VocabSize: 480, Special: []string{"<|end|>", "<|pad|>"}, Added: []string{"<step", "</step>", "step>"},
		})
		require.NoError(rt, err)
		require.Equal(rt, want, got)
	})
}

func TestTrainErrors(t *testing.T) {
	for _, c := range []struct {
		o    tokenizer.TrainOptions
		want string
	}{
		{tokenizer.TrainOptions{VocabSize: 256, Special: []string{"<|end|>"}},
			"VocabSize is 256, want at least 257: 256 bytes and 1 special and added tokens"},
		{tokenizer.TrainOptions{VocabSize: 300, MinCount: -1}, "MinCount is -1, want 0 or more"},
		{tokenizer.TrainOptions{VocabSize: 300, Special: []string{""}}, "added_tokens[0]: the content is empty"},
		{tokenizer.TrainOptions{VocabSize: 300, Special: []string{"<a>"}, Added: []string{"<a>"}}, `added_tokens[1]: "<a>" occurs twice`},
		{tokenizer.TrainOptions{VocabSize: 300, Added: []string{"\xff<"}}, `added_tokens[0]: "\xff<" is not valid UTF-8`},
		{tokenizer.TrainOptions{VocabSize: 300, Added: []string{"é"}}, `token "é" is too short: this single character stands for a byte, use "<é>" for example`},
		{tokenizer.TrainOptions{VocabSize: 10, MinCount: -1, Special: []string{"x", "y"}}, "MinCount is -1, want 0 or more\n" +
			`token "x" is too short: this single character stands for a byte, use "<x>" for example` + "\n" +
			`token "y" is too short: this single character stands for a byte, use "<y>" for example` + "\n" +
			"VocabSize is 10, want at least 258: 256 bytes and 2 special and added tokens"},
	} {
		_, err := tokenizer.Train(slices.Values([]string{"text"}), c.o)
		require.EqualError(t, err, "tokenizer: train: "+c.want)
		require.Equal(t, err, c.o.Validate())
	}
}

func TestLoadErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/ours.json")
	require.NoError(t, err)
	const (
		byteLevel = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":true}`
		pre       = `"pre_tokenizer":` + byteLevel
	)
	sequence := func(parts string) string {
		return `"pre_tokenizer":{"type":"Sequence","pretokenizers":[` + parts + `]}`
	}
	split := func(fields string) string { return sequence(`{"type":"Split",` + fields + `},` + byteLevel) }
	template := func(single, tokens string) string {
		return `"post_processor":{"type":"TemplateProcessing","single":[` + single + `],"pair":[],"special_tokens":{` + tokens + `}}`
	}
	for _, c := range []struct{ old, new, want string }{
		{`{"version":"1.0"`, `{"version":"2.0"`, `version: "2.0" is not supported, only "1.0"`},
		{`"normalizer":null`, `"normalizer":{"type":"NFKC"}`,
			`normalizer: {"type":"NFKC"} is not supported, only "NFC", "BertNormalizer" and what marks spaces as Llama 2 does`},
		{`"normalizer":null`, `"normalizer":{"type":"NFC","x":1}`, `normalizer: unknown field "x"`},
		{`"normalizer":null`, `"normalizer":{"type":"Sequence","normalizers":[null]}`, `normalizer: normalizers[0]: null, want a part`},
		{`"normalizer":null`, `"normalizer":{"type":"Sequence"}`, `normalizer: normalizers: want a list`},
		{`"normalizer":null`, `"normalizer":{"type":"Sequence","pretokenizers":[]}`, `normalizer: unknown field "pretokenizers"`},
		{`"normalizer":null`, `"normalizer":` + strings.Repeat(`{"type":"Sequence","normalizers":[`, 40) + strings.Repeat("]}", 40),
			`normalizer: more than 32 Sequences in one another are not supported`},
		{`"normalizer":null`, `"normalizer":{"type":"Sequence","normalizers":[{"content":"▁","pattern":{"String":" "},"type":"Replace"}]}`,
			`model: byte_fallback: false is not supported where spaces are marked`},
		{`"pre_tokenizer":{"type":"ByteLevel"`, `"pre_tokenizer":{"type":"Whitespace"`,
			`pre_tokenizer: type: "Whitespace" is not supported, only "ByteLevel" alone or after others`},
		{pre, `"pre_tokenizer":{"type":"Metaspace","replacement":"_"}`, `pre_tokenizer: replacement: "_" is not supported, only "▁"`},
		{pre, `"pre_tokenizer":{"type":"Metaspace","replacement":"▁"}`, `pre_tokenizer: split: true is not supported with BPE`},
		{pre, `"pre_tokenizer":{"type":"Metaspace","replacement":"▁","split":false,"prepend_scheme":"last"}`,
			`pre_tokenizer: prepend_scheme: "last" is not supported, only "always", "first" and "never"`},
		{`"pre_tokenizer":{`, `"pre_tokenizer":{"type":"Sequence","pretokenizers":[]},"x":{`, `unknown field "x"`},
		{`"use_regex":true`, `"use_regex":true,"behavior":1`, `pre_tokenizer: unknown field "behavior"`},
		{pre, split(`"pattern":{"Regex":"a"},"behavior":"Removed"`), `pre_tokenizer: behavior: "Removed" is not supported, only "Isolated"`},
		{pre, split(`"pattern":{"Regex":"a"},"behavior":"Isolated","invert":true`), `pre_tokenizer: invert: true is not supported`},
		{pre, split(`"pattern":{"String":"a"},"behavior":"Isolated"`), `pre_tokenizer: pattern: only Regex is supported`},
		{pre, split(`"pattern":{"Regex":"("},"behavior":"Isolated"`), "pre_tokenizer: pattern \"(\": error parsing regexp: missing closing ) in `(`"},
		{pre, sequence(`{"type":"Whitespace"},` + byteLevel), `pre_tokenizer: type: "Whitespace" is not supported, only "Split", "Digits" and "ByteLevel"`},
		{pre, sequence(byteLevel + "," + byteLevel), `pre_tokenizer: ByteLevel is supported only as the last of a Sequence`},
		{pre, sequence(""), `pre_tokenizer: null is not supported without byte_fallback`},
		{`"post_processor":null`, `"post_processor":{"type":"Roberta"}`,
			`post_processor: type: "Roberta" is not supported, only "ByteLevel", "TemplateProcessing", "BertProcessing" and "RobertaProcessing"`},
		{`"post_processor":null`, template(`{"SpecialToken":{"id":"<s>","type_id":0}}`, `"<s>":{"id":"<s>","ids":[480],"tokens":["<s>"]}`),
			`post_processor: single: the text "A" is missing`},
		{`"post_processor":null`, template(`{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<s>","type_id":0}}`, ``),
			`post_processor: single[1]: special_tokens has no ids for "<s>"`},
		{`"post_processor":null`, template(`{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<s>","type_id":0}}`, `"<s>":{"id":"<s>","ids":[480],"tokens":["<s>"]}`),
			`post_processor: id 480 is not in the vocabulary`},
		{`"post_processor":null`, `"post_processor":{"type":"Sequence","processors":[` + byteLevel + `,{"type":"BertProcessing"}]}`,
			`post_processor: cls: want a token and its id`},
		{`"post_processor":null`, template(`{"Sequence":{"id":"B","type_id":0}}`, ``),
			`post_processor: single[0]: the text "B" is not supported here: want each once and in order`},
		{`"post_processor":null`, template(`{}`, ``), `post_processor: single[0]: want a SpecialToken or a Sequence`},
		{`"decoder":{"type":"ByteLevel"`, `"decoder":{"type":"Fuse"`, `decoder: type: "Fuse" is not supported, only "ByteLevel"`},
		{`"type":"BPE"`, `"type":"WordLevel"`, `model: type: "WordLevel" is not supported, only "BPE", "WordPiece" and "Unigram"`},
		{`"dropout":null`, `"dropout":0.1`, "model: dropout: only null is supported"},
		{`"byte_fallback":false`, `"byte_fallback":true`, "model: byte_fallback: true is supported only where spaces are marked"},
		{`"end_of_word_suffix":null`, `"end_of_word_suffix":"</w>"`, `model: end_of_word_suffix: "</w>" is not supported, only null`},
		{`"id":2,"content":"<step"`, `"id":2,"content":"<|pad|> "`, `added_tokens[2] ("<|pad|> "): id 2 is that of "<step"`},
		{`"!":5,`, ``, `model.vocab: the token of byte 0x21: "!" is not in the vocabulary`},
		{`"!":5,`, `"!":-5,`, `model.vocab: id -5 of "!" is not supported, only 0 to 2097151`},
		{`"!":5,`, `"!":2097152,`, `model.vocab: id 2097152 of "!" is not supported, only 0 to 2097151`},
		{`"!":5,`, `"":5,`, `model.vocab: the token of id 5 is empty`},
		{`"!":5,`, `"!!":5,`, `model.vocab: the token of byte 0x21: "!" is not in the vocabulary`},
		{`"!":5,`, `" !":5,`, `model.vocab: token " !" (id 5) is not spelled in byte-level characters`},
		{`"!":5,`, `"!":5,"!!":5,`, `model.vocab: id 5 is that of "!" and of "!!"`},
		{`"merges":[`, `"merges":[["q","q"],`, `model.merges[0]: "qq" is not in the vocabulary`},
		{`"merges":[`, `"merges":["a b c",`, `model: model.merges: "a b c" is not a pair of tokens`},
		{"]]}}\n", "]]}} x", "something follows the JSON value"},
	} {
		require.Contains(t, string(data), c.old)
		_, err := tokenizer.Parse([]byte(strings.Replace(string(data), c.old, c.new, 1)))
		require.EqualError(t, err, "tokenizer: "+c.want)
	}
	for text, want := range map[string]string{
		"\ufeff{}":           "begins with a byte order mark, want JSON in UTF-8 without one",
		`{"version": NaN}`:   "line 1: NaN is not JSON, want a finite number or null",
		`{"added_tokens":[]`: "unexpected EOF",
	} {
		_, err := tokenizer.Parse([]byte(text))
		require.EqualError(t, err, "tokenizer: "+want)
	}
	_, err = tokenizer.Load(t.TempDir())
	require.ErrorContains(t, err, "a directory, want a regular file")
	_, err = tokenizer.Load("testdata/corpus.txt")
	require.ErrorContains(t, err, "tokenizer: testdata/corpus.txt: invalid character")
}

// Older files write a merge as one string.
func TestOldMerges(t *testing.T) {
	data, err := os.ReadFile("testdata/ours.json")
	require.NoError(t, err)
	head, merges, found := strings.Cut(string(data), `"merges":`)
	require.True(t, found)
	joined := strings.NewReplacer(`["`, `"`, `","`, ` `, `"]`, `"`).Replace(merges[1:])
	got, err := tokenizer.Parse([]byte(head + `"merges":[` + joined))
	require.NoError(t, err)
	require.Equal(t, trainOurs(t), got)
}

// The marks of a syntax can be tokens of their own, single characters too.
func TestMarksOfASyntaxAsAddedTokens(t *testing.T) {
	template := prompt.Template[string]{Steps: []prompt.Step[string]{{Name: "label"}}, Input: func(s string) string { return s }}
	text := `<step name="label">so }} \boxed{3}}</step>`
	tok, err := tokenizer.Train(slices.Values([]string{text, text, text}), tokenizer.TrainOptions{
		VocabSize: 300, Special: []string{"<|end|>"}, Added: template.Marks(),
	})
	require.NoError(t, err)
	for _, mark := range template.Marks() {
		id, ok := tok.ID(mark)
		require.True(t, ok, mark)
		require.Equal(t, []int32{id}, tok.Encode(mark))
		require.Equal(t, mark, string(tok.Bytes(id)))
	}
	brace, _ := tok.ID("}")
	n := 0
	for _, id := range tok.Encode(text) {
		if id == brace {
			n++
		}
	}
	require.Equal(t, 4, n, "never merged")
	data, err := tok.MarshalJSON()
	require.NoError(t, err)
	again, err := tokenizer.Parse(data)
	require.NoError(t, err)
	require.Equal(t, tok.Encode(text), again.Encode(text))
}
