package local_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/rollout"
)

// 16 prompts of 64 tokens, 8 completions of 64 tokens each, from a model of
// 0.3M parameters.
func BenchmarkGenerate(b *testing.B) {
	d, err := model.NewDecoder(openBackend(b, "cpu"), model.Config{
		Vocab: 512, Dim: 96, Layers: 3, Heads: 4, KVHeads: 2, FF: 256, MaxSeq: 256, TieEmbeddings: true,
	}, 1)
	require.NoError(b, err)
	e, err := local.NewEngine(d, byteLetters{}, local.EngineOptions{})
	require.NoError(b, err)
	defer e.Free()
	var reqs []rollout.Request
	for i := range 16 {
		prompt := make([]int32, 64)
		for k := range prompt {
			prompt[k] = int32((7*k + 13*i) % 512)
		}
		reqs = append(reqs, rollout.Request{
			Prompt: prompt, N: 8, Params: rollout.Params{Temperature: 1, MaxTokens: 64}, Stream: [3]uint64{0, 0, uint64(i)},
		})
	}
	tokens := 0
	b.ReportAllocs()
	for b.Loop() {
		err := e.Generate(context.Background(), reqs, func(c rollout.Completion) error {
			tokens += len(c.Tokens)
			return c.Err
		})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}
