package enginetest_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

// bits is a vocabulary of two tokens and an end.
type bits struct{}

func (bits) Bytes(id int32) []byte { return [][]byte{[]byte("0"), []byte("1"), nil}[id] }

// A fake engine that counts up and stops, for the test of a trainer.
func ExampleFake() {
	e := &enginetest.Fake{
		VocabSize: 3, Vocab: bits{}, EOS: []int32{2},
		Logits: func(prompt, tokens []int32, dst []float32) error {
			clear(dst)
			dst[min(len(tokens), 2)] = 50 // 0, then 1, then the end
			return nil
		},
	}
	reqs := []rollout.Request{{
		Prompt: []int32{0}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 9},
	}}
	err := e.Generate(context.Background(), reqs, func(c rollout.Completion) error {
		fmt.Printf("%d: %q %v %v %s\n", c.Index, c.Text, c.Tokens, c.Ends, c.Finish)
		return nil
	})
	fmt.Println(err)
	// Output:
	// 0: "01" [0 1 2] [1 2 2] stop
	// 1: "01" [0 1 2] [1 2 2] stop
	// <nil>
}
