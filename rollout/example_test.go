package rollout_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

// yesNo is a vocabulary of two words and an end of text.
type yesNo struct{}

func (yesNo) Bytes(id int32) []byte { return [][]byte{[]byte("yes"), []byte("no"), nil}[id] }

// Two requests are sampled; completions come in any order, and say whose they
// are.
func Example() {
	var engine rollout.Engine = &enginetest.Fake{
		VocabSize: 3, Vocab: yesNo{}, EOS: []int32{2},
		Logits: func(prompt, tokens []int32, dst []float32) error {
			clear(dst)
			if len(tokens) > 0 {
				dst[2] = 50 // one word, then the end
			} else {
				dst[prompt[0]] = 50 // the prompt says which
			}
			return nil
		},
	}
	params := rollout.Params{Temperature: 1, MaxTokens: 4}
	requests := []rollout.Request{
		{ID: "first", Prompt: []int32{0}, N: 2, Params: params, Stream: [3]uint64{42, 0, 0}},
		{ID: "second", Prompt: []int32{1}, N: 1, Params: params, Stream: [3]uint64{42, 0, 1}},
	}
	err := engine.Generate(context.Background(), requests, func(c rollout.Completion) error {
		fmt.Println(requests[c.Request].ID, c.Index, c.Text, c.Finish)
		return nil
	})
	fmt.Println(err)
	// Output:
	// first 0 yes stop
	// first 1 yes stop
	// second 0 no stop
	// <nil>
}
