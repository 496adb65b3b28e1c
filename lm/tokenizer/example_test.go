package tokenizer_test

import (
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// Train learns a vocabulary; the text and the tokens' offsets go together.
func Example() {
	corpus := []string{"the mill by the river", "the river by the mill", "the path to the mill"}
	t, err := tokenizer.Train(slices.Values(corpus), tokenizer.TrainOptions{
		VocabSize: 270,
		Special:   []string{"<|end|>"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	text := "the mill by the path<|end|>"
	ids, ranges := t.EncodeRanges(text)
	for i, id := range ids {
		fmt.Printf(" %d:%q", id, text[ranges[i].Start:ranges[i].End])
	}
	fmt.Printf("\n%q\n", t.Decode(ids))
	// Output:
	// 258:"the" 263:" mill" 268:" by" 261:" the" 221:" " 80:"p" 65:"a" 257:"th" 0:"<|end|>"
	// "the mill by the path"
}

// Text from outside is encoded without looking for special tokens in it.
func ExampleTokenizer_EncodeOrdinary() {
	t, err := tokenizer.Train(slices.Values([]string{"a"}), tokenizer.TrainOptions{
		VocabSize: 257,
		Special:   []string{"<|end|>"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(t.Encode("a<|end|>")), len(t.EncodeOrdinary("a<|end|>")))
	// Output: 2 8
}

// What a model expects around a text is added apart from encoding it: here
// what BERT does.
func ExampleTokenizer_AddSpecialPair() {
	t, err := tokenizer.Parse([]byte(`{"version":"1.0",
		"added_tokens":[{"id":1,"content":"[CLS]","special":true},{"id":2,"content":"[SEP]","special":true}],
		"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
		"pre_tokenizer":{"type":"BertPreTokenizer"},
		"post_processor":{"type":"TemplateProcessing",
			"single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],
			"pair":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}},
				{"Sequence":{"id":"B","type_id":1}},{"SpecialToken":{"id":"[SEP]","type_id":1}}],
			"special_tokens":{"[CLS]":{"id":"[CLS]","ids":[1],"tokens":["[CLS]"]},"[SEP]":{"id":"[SEP]","ids":[2],"tokens":["[SEP]"]}}},
		"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
			"vocab":{"[UNK]":0,"[CLS]":1,"[SEP]":2,"red":3,"kettle":4,"##s":5}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	ids, types := t.AddSpecialPair(t.Encode("Red kettle"), t.Encode("kettles"))
	fmt.Println(ids)
	fmt.Println(types)
	// Output:
	// [1 3 4 2 4 5 2]
	// [0 0 0 0 1 1 1]
}

// Ranges lead from a part of the text to its tokens.
func ExampleOverlapping() {
	t, err := tokenizer.LoadSentencePiece("testdata/sentencepiece/tiny.model")
	if err != nil {
		fmt.Println(err)
		return
	}
	const text = "the mill by the river"
	ids, ranges := t.EncodeRanges(text)
	part := tokenizer.Overlapping(ranges, tokenizer.Range{Start: 4, End: 8}) // "mill"
	for i := part.Start; i < part.End; i++ {
		fmt.Printf("%d %q\n", ids[i], text[ranges[i].Start:ranges[i].End])
	}
	// Output: 349 " mill"
}
