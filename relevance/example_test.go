package relevance_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/relevance"
)

// A run file changes what it names; a mistake is an error that says where.
func ExampleDecodeConfig() {
	c, err := relevance.DecodeConfig([]byte(`
seed: 3
warmup: {steps: 400}
reinforce:
  credits:
    - {name: mask, credit: {kind: mask, fill: {kind: grpo, epsilon: 1e-4}}}
`), relevance.Default())
	fmt.Println(c.Seed, c.Warmup.Steps, c.Warmup.Batch, c.Reinforce.Credits[0].Name, err)

	_, err = relevance.DecodeConfig([]byte("warmup: {step: 400}"), relevance.Default())
	fmt.Println(err)
	// Output:
	// 3 400 16 mask <nil>
	// settings: warmup.step: unknown field, want steps, passes, batch, lr or probe_prompts
}
