package tokenizer_test

import (
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/tokenizer"
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
	ids, spans := t.EncodeSpans(text)
	for i, id := range ids {
		fmt.Printf(" %d:%q", id, text[spans[i].Start:spans[i].End])
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
