package local_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// What a training step asks of a device: how many operations, and above all how
// often the host waits. Each wait leaves the device idle.
func TestCallsOfATrainingStep(t *testing.T) {
	b := backendtest.NewCounter(reference.New())
	p := newPolicy(t, b, 0)
	update := func() backendtest.Counts {
		_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
		require.NoError(t, err)
		_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-3, MaxNorm: 1})
		require.NoError(t, err)
		return b.Take()
	}
	update()
	got := update()
	// 103 operations forward and back, 2 in the optimiser, and one for each gradient
	// to clear. What is read are 10 log-probs and the gradient's norm.
	require.Equal(t, backendtest.Counts{Calls: 130, Reads: 2, ReadElements: 11, Writes: 1, WriteElements: 10}, got)
}

// What a decoding step asks of a device that draws tokens: one wait for three values
// a token.
func TestCallsOfADecodingStep(t *testing.T) {
	b := backendtest.NewCounter(reference.New())
	e := newEngine(t, sharpDecoder(t, b), local.EngineConfig{})
	r := rollout.Request{Prompt: []int32{1, 5, 3}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 6}}
	generate(t, e, r)
	b.Take()
	for _, c := range generate(t, e, r)[0] {
		require.Len(t, c.Tokens, 6)
	}
	// A pass is an embedding, 16 operations in each of two layers, the head's norm and
	// product, and the drawing. No row of logits is read.
	require.Equal(t, backendtest.Counts{Calls: 6 * 37, Reads: 6, ReadElements: 6 * 4 * 3}, b.Take())
}
