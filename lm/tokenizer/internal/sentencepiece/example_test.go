package sentencepiece_test

import (
	"fmt"
	"os"

	"github.com/stepwise-rl/stepwise/lm/tokenizer/internal/sentencepiece"
)

// A model is a list of pieces; the place of a piece is its id.
func ExampleParse() {
	data, err := os.ReadFile("../../testdata/sentencepiece/tiny.model")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := sentencepiece.Parse(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(m.Pieces), m.BOS, m.ByteFallback, m.DummyPrefix)
	for id := 258; id < 262; id++ {
		fmt.Printf("%d %+v\n", id, m.Pieces[id])
	}
	// Output:
	// 480 <s> true true
	// 258 {Text:<0xFF> Score:0 Type:6}
	// 259 {Text:aa Score:-0 Type:1}
	// 260 {Text:▁t Score:-1 Type:1}
	// 261 {Text:he Score:-2 Type:1}
}
