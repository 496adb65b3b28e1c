package relevance_test

import (
	"context"
	"fmt"

	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// A published reranker as a scorer: any folder of a cross-encoder or a Qwen3-Reranker. The
// one here is tiny and random.
func ExampleOpenReranker() {
	scorer, err := relevance.OpenReranker("../lm/local/testdata/bert-reranker", relevance.RerankerOptions{})
	if err != nil {
		panic(err)
	}
	defer scorer.Close()
	documents := []rows.Document{{Body: "a pair of red shoes"}, {Title: "mug", Body: "blue"}}
	scores, err := scorer.Score(context.Background(), "red shoes", documents, relevance.ScoreOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(scorer.Labels(), len(scores), scores[0].P[1] == scores[0].Grade)
	// Output: [no yes] 2 true
}

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
