package sample_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// The loop of an engine: logits in, tokens out, until the sequence is done.
func Example() {
	r := rollout.Request{
		Prompt: []int32{0}, N: 1,
		Params: rollout.Params{Temperature: 1, TopK: 1, MaxTokens: 10, Stop: []string{"cd"}},
	}
	sampler := sample.NewSampler(letters{})
	seq := sample.NewSequence(0, &r, 0)
	for !seq.Done() {
		logits := make([]float32, 26) // a model that knows the alphabet
		logits[len(seq.Tokens())] = 3
		if err := sampler.Next(seq, logits); err != nil {
			seq.Fail(err)
		}
	}
	c := seq.Completion()
	fmt.Printf("%q %s %.2f\n", c.Text, c.Finish, c.LogP)
	// Output: "abcd" stop [-0.81 -0.81 -0.81 -0.81]
}
